"""Connections that are still in their TLS handshake: driven by readiness, bounded in time."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cluster.core.errors import CloseReason, PeerViolation
from cluster.net.poller import Pace, Poller
from cluster.net.tls_socket import TlsSocket

#: The first byte of an RTMP handshake (RTMP 1.0, section 5.2.2) and of a TLS one (RFC 8446, section 5.1).
_RTMP_VERSION = 0x03
_TLS_HANDSHAKE = 0x16
#: The first letters of GET, HEAD, OPTIONS and POST.
_METHODS = frozenset((b"G", b"H", b"O", b"P"))
_USE_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"this address speaks TLS: use https://\n"
)

#: By a part of OpenSSL's word: what an alert of the peer's (RFC 8446, section 6.2), or ours, comes from.
_MEANINGS = {
    "UNKNOWN_CA": "the peer does not trust --tls-cert, which must lead to a root that it knows",
    "CERTIFICATE_EXPIRED": "the peer finds --tls-cert expired: renew it, or set the clocks",
    "CERTIFICATE": "the peer refuses --tls-cert: is the name that it connects to in it?",
    "UNSUPPORTED_PROTOCOL": "the peer speaks neither TLS 1.2 nor TLS 1.3",
}


class HandshakeOwner(Protocol):
    """What handshakes need from the worker they are in."""

    poller: Poller

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    def shook_hands(self, handshake: TlsHandshake, ready: TlsSocket) -> None:
        """Take over a connection that speaks RTMP from here on."""

    def handshake_failed(self, handshake: TlsHandshake, reason: CloseReason, detail: str) -> None:
        """The connection has ended before it could speak RTMP."""


class TlsHandshakes:
    """The TLS handshakes of one worker that have begun and not ended."""

    def __init__(self, owner: HandshakeOwner, timeout_s: float) -> None:
        self._owner = owner
        self._timeout_s = timeout_s
        self._going_on: set[TlsHandshake] = set()

    def __len__(self) -> int:
        return len(self._going_on)

    def begin(self, accepted: socket.socket, context: ssl.SSLContext, peer: str) -> TlsHandshake:
        """Take over an accepted socket; the owner hears how it went. OSError if the peer has gone."""
        handshake = TlsHandshake(self._owner, self._going_on, TlsSocket(accepted, context), peer)
        self._going_on.add(handshake)
        return handshake

    def late(self, now: float) -> list[Callable[[], None]]:
        """For each that takes too long, what ends it, if it still goes on then."""
        return [
            partial(self._time_out, handshake)
            for handshake in self._going_on if now - handshake.began_at >= self._timeout_s
        ]  # fmt: skip

    def _time_out(self, handshake: TlsHandshake) -> None:
        if handshake in self._going_on:
            handshake.end(CloseReason.HANDSHAKE_TIMEOUT, f"no TLS handshake in {self._timeout_s:g} s")

    def close_all(self, reason: CloseReason) -> None:
        for handshake in list(self._going_on):
            handshake.end(reason, "during the TLS handshake")


class TlsHandshake:
    """The TLS handshake of one accepted connection."""

    def __init__(
        self, owner: HandshakeOwner, going_on: set[TlsHandshake], tls_socket: TlsSocket, peer: str
    ) -> None:
        self.began_at = owner.now
        self.peer = peer
        self._owner = owner
        self._going_on = going_on
        self._socket = tls_socket
        self.has_spoken = False
        owner.poller.register(tls_socket.fileno(), self._on_ready, Pace.STRANGER)

    def end(self, reason: CloseReason, detail: str) -> None:
        """Close it; the only way a handshake fails."""
        self._leave()
        self._socket.close()
        self._owner.handshake_failed(self, reason, detail)

    def _leave(self) -> None:
        self._going_on.discard(self)
        self._owner.poller.unregister(self._socket.fileno())

    def _on_ready(self, mask: int) -> None:
        try:
            if not self.has_spoken:
                self._judge(self._socket.peek())
            self._socket.do_handshake()
        except PeerViolation as violation:
            self.end(violation.reason, violation.detail)
        except BlockingIOError:
            return  # it was ready for the one that had this descriptor before
        except ssl.SSLWantReadError:
            self._owner.poller.want_write(self._socket.fileno(), False)
        except ssl.SSLWantWriteError:
            self._owner.poller.want_write(self._socket.fileno(), True)
        except ssl.SSLEOFError:
            self.end(CloseReason.PEER_CLOSED, "during the TLS handshake")
        except ssl.SSLError as error:
            self.end(CloseReason.TLS_FAILED, _explained(error))
        except OSError as error:
            if self.has_spoken:
                self.end(CloseReason.PEER_RESET, str(error))
            else:
                self.end(CloseReason.PEER_CLOSED, "before the TLS handshake")
        else:
            self._leave()
            self._owner.shook_hands(self, self._socket)

    def _judge(self, first: bytes) -> None:
        """Refuse what is not TLS by its first byte; OpenSSL would only say "wrong version number"."""
        if not first:
            raise PeerViolation(CloseReason.PEER_CLOSED, "before the TLS handshake")
        self.has_spoken = True
        if first[0] == _RTMP_VERSION:
            raise PeerViolation(
                CloseReason.NOT_TLS,
                "plain RTMP on an address of --bind-tls: use rtmps://, or rtmp:// at one of --bind",
            )
        if first in _METHODS:
            self._socket.answer_plainly(_USE_HTTPS)
            raise PeerViolation(
                CloseReason.NOT_TLS, "plain HTTP on an address that speaks TLS: use https://"
            )
        if first[0] != _TLS_HANDSHAKE:
            raise PeerViolation(CloseReason.NOT_TLS, f"first byte {first[0]:#04x}: not a TLS handshake")


def _explained(error: ssl.SSLError) -> str:
    """What OpenSSL says, and what it means where that is known."""
    reason = error.reason or str(error)
    meaning = next((text for word, text in _MEANINGS.items() if word in reason), "")
    return f"{reason}: {meaning}" if meaning else reason
