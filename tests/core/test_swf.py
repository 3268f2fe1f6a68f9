"""SWF verification: the proof, and both sessions that ask for it and give it."""

from __future__ import annotations

import pytest
from session_support import (
    ENTROPY,
    LIMITS,
    URL,
    client_peer,
    connected,
    connected_client,
    converse,
    summary,
)

from cluster.core.errors import MisuseError
from cluster.core.message import Message
from cluster.core.rtmp import control, swf
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.events import SwfVerified
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.swf import SwfFile

#: Computed with openssl.
FILE = SwfFile(13, bytes.fromhex("89fefc5c274f64475ad79e3c6e4902f17a19481572bcee1a65fdcdf3d27b457e"))
KEY = bytes(range(32))
PROOF = bytes.fromhex("9bf7239cff6dad3c7538aa7ef5e183c022596a84f6e2fc33ce4141afef90923f")
OTHER = SwfFile(13, bytes(32))


def test_the_identity_of_a_file() -> None:
    assert SwfFile.of(b"FWS test file") == FILE


def test_a_hash_of_another_length_is_misuse() -> None:
    with pytest.raises(MisuseError):
        SwfFile(13, bytes(31))


def test_the_answer() -> None:
    assert swf.response(FILE, KEY) == Message(
        4, 0, bytes.fromhex("001b 0101 0000000d 0000000d") + PROOF
    )


def answer(body: bytes) -> control.UserControl:
    return control.read_user_control(Message(4, 0, b"\x00\x1b" + body))


def test_what_proves_it_and_what_does_not() -> None:
    good = bytes.fromhex("0101 0000000d 0000000d") + PROOF
    assert swf.proves(answer(good), FILE, KEY)
    assert swf.proves(answer(good + b"more"), FILE, KEY)
    assert not swf.proves(answer(good), OTHER, KEY)
    assert not swf.proves(answer(good), FILE, bytes(32))
    for cut in range(len(good)):
        assert not swf.proves(answer(good[:cut]), FILE, KEY)
    for position in range(2, len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        assert not swf.proves(answer(bytes(changed)), FILE, KEY)


@pytest.mark.parametrize("handshake", ["auto", "simple"])
@pytest.mark.parametrize(("played", "told"), [(FILE, [True]), (OTHER, [False]), (None, [])])
def test_two_sessions(handshake: str, played: SwfFile | None, told: list[bool]) -> None:
    server = ServerSession(limits=LIMITS, entropy=ENTROPY, now=0.0, verify_swf=FILE)
    client = ClientSession(limits=LIMITS, entropy=ENTROPY[1:], now=0.0, handshake=handshake)  # type: ignore[arg-type]
    client.start(URL, swf_file=played)
    received = [item for side, item in converse(server, client) if side == "server"]
    assert [event.genuine for event in received if isinstance(event, SwfVerified)] == told


def test_a_request_without_a_file_is_ignored() -> None:
    client, peer = connected_client()
    assert peer.send(control.swf_verify_request()) == []
    assert (client.ignored_messages, peer.output()) == (1, [])


def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    server, peer = connected()
    assert peer.send(swf.response(FILE, KEY), control.swf_verify_request()) == []
    assert (server.ignored_messages, peer.output()) == (2, [])


def test_a_client_answers_requests_only() -> None:
    client, peer = client_peer(swf_file=FILE)
    assert peer.send(swf.response(FILE, KEY)) == []
    assert client.ignored_messages == 1
    peer.output()
    peer.send(control.swf_verify_request())
    assert [line[0] for line in summary(peer.output())] == [4]
