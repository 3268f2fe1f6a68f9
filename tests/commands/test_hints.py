"""What is advised against each way of not getting through to a server."""

from __future__ import annotations

import pytest

from cluster.client.errors import (
    ConnectionClosed,
    HandshakeFailed,
    PlayFailed,
    RtmpError,
    Timeout,
    TlsFault,
    Unreachable,
)
from cluster.commands.hints import hint, unused_tls_options
from cluster.core.errors import CloseReason
from cluster.core.rtmp.url import RtmpUrl
from cluster.net.tls_client import Tls

PLAIN = RtmpUrl.parse("rtmp://h/live/x")
SECURE = RtmpUrl.parse("rtmps://h:1443/live/x")
SECURE_443 = RtmpUrl.parse("rtmps://h/live/x")


@pytest.mark.parametrize(
    ("error", "url", "says"),
    [
        (Unreachable("refused"), PLAIN, "is the address right, and an RTMP server there?"),
        (Unreachable("refused"), SECURE, "is the address right, and an RTMP server there?"),
        (Unreachable("refused"), SECURE_443, "443 is the port of an rtmps address without one"),
        (Unreachable("no", TlsFault.UNTRUSTED), SECURE, "--ca-file FILE"),
        (Unreachable("no", TlsFault.WRONG_NAME), SECURE, "--server-name NAME"),
        (Unreachable("no", TlsFault.OUT_OF_DATE), SECURE, "the server needs a new one"),
        (Unreachable("no", TlsFault.REFUSED), SECURE, "--insecure"),
        (Unreachable("no", TlsFault.NO_TLS), SECURE, "write rtmp:// instead of rtmps://"),
        (Timeout("late"), PLAIN, "--timeout S"),
        (HandshakeFailed(CloseReason.NOT_RTMP, "x"), PLAIN, "write rtmps:// instead of rtmp://"),
        (HandshakeFailed(CloseReason.PEER_RESET, "x"), PLAIN, "write rtmps:// instead of rtmp://"),
        (HandshakeFailed(CloseReason.PEER_CLOSED, "x"), SECURE, "is it a port for RTMP?"),
        (ConnectionClosed(CloseReason.PEER_CLOSED, "x"), PLAIN, ""),
        (PlayFailed("NetStream.Play.StreamNotFound", "x"), PLAIN, ""),
    ],
)
def test_hints(error: RtmpError, url: RtmpUrl, says: str) -> None:
    advice = hint(error, url)
    assert says in advice
    assert bool(advice) == bool(says)


def test_each_fault_of_tls_has_one() -> None:
    for fault in TlsFault:
        assert hint(Unreachable("no", fault), SECURE)


@pytest.mark.parametrize(
    ("tls", "flags"),
    [
        (Tls(), ""),
        (Tls(verify=False), ""),
        (Tls(ca_file="a.pem"), "--ca-file"),
        (Tls(ca_file="a.pem", server_name="a"), "--ca-file and --server-name"),
    ],
)
def test_options_for_tls_beside_an_address_without(tls: Tls, flags: str) -> None:
    said = f"rtmp:// is not encrypted, and {flags} changes nothing: is it rtmps://?"
    assert unused_tls_options(tls) == (said if flags else "")
