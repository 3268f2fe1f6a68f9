"""Connections whose proxy has not said yet whose they are: read up to the end of that, bounded in time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cluster.core import proxy_protocol
from cluster.core.errors import CloseReason, PeerViolation, lost_by
from cluster.net.poller import Pace, Poller

#: A proxy sends the header as soon as it has connected: one retransmission, and some patience.
HEADER_S = 5.0

#: Host and port of whoever is behind the proxy; None: the connection is the proxy's own.
Source = tuple[str, int] | None


class HeaderOwner(Protocol):
    """What these need from the worker they are in."""

    poller: Poller

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""


class ProxyHeaders:
    """The connections of one worker whose header has not come in whole."""

    def __init__(self, owner: HeaderOwner, timeout_s: float) -> None:
        self._owner = owner
        self._timeout_s = min(timeout_s, HEADER_S)
        self._waiting: set[AwaitedHeader] = set()

    def begin(
        self,
        accepted: socket.socket,
        introduced: Callable[[socket.socket, Source], None],
        failed: Callable[[AwaitedHeader, CloseReason, str], None],
    ) -> AwaitedHeader:
        """Take over an accepted socket, and give it to ``introduced`` when its header is read; or close it,
        and call ``failed``."""
        waiting = AwaitedHeader(self._owner, self._waiting, accepted, introduced, failed)
        self._waiting.add(waiting)
        return waiting

    def late(self, now: float) -> list[Callable[[], None]]:
        """For each that takes too long, what ends it, if it still waits then."""
        return [
            partial(self._time_out, waiting)
            for waiting in self._waiting if now - waiting.began_at >= self._timeout_s
        ]  # fmt: skip

    def _time_out(self, waiting: AwaitedHeader) -> None:
        if waiting in self._waiting:
            why = f"no whole header of the PROXY protocol in {self._timeout_s:g} s"
            waiting.end(CloseReason.PROXY_HEADER, why)

    def close_all(self, reason: CloseReason) -> None:
        for waiting in list(self._waiting):
            waiting.end(reason, "before the header of the PROXY protocol")


class AwaitedHeader:
    """The header of one accepted connection. What follows it stays in the socket."""

    def __init__(
        self, owner: HeaderOwner, all_waiting: set[AwaitedHeader], accepted: socket.socket,
        introduced: Callable[[socket.socket, Source], None],
        failed: Callable[[AwaitedHeader, CloseReason, str], None],
    ) -> None:  # fmt: skip
        self.began_at = owner.now
        self.has_spoken = False
        self._owner = owner
        self._all_waiting = all_waiting
        self._socket = accepted
        self._introduced = introduced
        self._failed = failed
        self._held = b""
        owner.poller.register(accepted.fileno(), self._on_ready, Pace.STRANGER)

    def end(self, reason: CloseReason, detail: str) -> None:
        """Close it; the only way this fails."""
        self._leave()
        self._socket.close()
        self._failed(self, reason, detail)

    def _leave(self) -> None:
        self._all_waiting.discard(self)
        self._owner.poller.unregister(self._socket.fileno())

    def _on_ready(self, mask: int) -> None:
        try:
            came = self._socket.recv(proxy_protocol.LONGEST_HEADER - len(self._held), socket.MSG_PEEK)
            if not came:
                self.end(CloseReason.PEER_CLOSED, "before the header of the PROXY protocol")
                return
            self.has_spoken = True
            header = proxy_protocol.parse(self._held + came)
            if header is None:
                self._held += self._socket.recv(len(came))  # all of it belongs to the header
                return
            self._socket.recv(header.size - len(self._held))
        except BlockingIOError:
            return  # it was ready for the one that had this descriptor before
        except PeerViolation as violation:
            self.end(violation.reason, violation.detail)
        except OSError as error:
            self.end(lost_by(error) if self.has_spoken else CloseReason.PEER_CLOSED, str(error))
        else:
            self._leave()
            self._introduced(self._socket, header.source)
