"""The door of one protocol: its connections come in here, have a place, and are told of when they end.

A connection of a TLS address is here until it has shaken hands. What it speaks then is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.edge.peers import log_facts
from cluster.edge.peers.log_facts import Facts
from cluster.edge.peers.places import Place, Places
from cluster.net.addresses import BindAddress
from cluster.net.outbox import StreamSocket
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.tls_handshakes import TlsHandshake, TlsHandshakes
from cluster.net.tls_socket import TlsSocket
from cluster.process.stranger_lines import StrangerLines, host_of

logger = logging.getLogger(__name__)

_EVICTED = (
    "too many connections have neither published nor played (--max-half-open, --max-connections), and it "
    "is the oldest of them"
)

#: Why a connection gets no place, and what says so.
_LIMITS = {
    CloseReason.TOO_MANY_CONNECTIONS: "--max-connections",
    CloseReason.TOO_MANY_FROM_ADDRESS: "--max-from-address, --new-from-address",
}


class Arrival(NamedTuple):
    """A connection that has come in. ``number`` counts those of the worker, ``began_at``: when it came.

    ``alpn``: what its peer has agreed to speak over TLS, if that was talked about.
    """

    peer: str
    number: int
    began_at: float
    place: Place
    alpn: str = ""


class DoorOwner(Protocol):
    """Whose connections come in at a door."""

    poller: Poller
    identity: WorkerIdentity

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    def came(self) -> None:
        """A connection was accepted; it may be refused at once."""

    def opened(self, accepted: StreamSocket, arrival: Arrival) -> Callable[[CloseReason, str], None]:
        """A connection may speak; returns what closes it."""

    def count_changed(self) -> None:
        """Another number of connections is open."""


class Door:
    """Takes over what a listener accepts. ``closes`` counts the ends by reason. ``for_http``: over TLS,
    HTTP is offered by its name."""

    def __init__(
        self, owner: DoorOwner, places: Places, handshake_timeout_s: float, closes: dict[str, int],
        *, for_http: bool = False,
    ) -> None:  # fmt: skip
        self.poller = owner.poller
        self._owner = owner
        self._places = places
        self._closes = closes
        self._for_http = for_http
        self._handshakes = TlsHandshakes(self, handshake_timeout_s)
        #: The places and numbers of those that are in their TLS handshake.
        self._shaking: dict[TlsHandshake, tuple[Place, int]] = {}
        self._open = 0
        self._empty = asyncio.Event()
        self._lines = StrangerLines(logger, "closed", lambda: owner.now)

    def __len__(self) -> int:
        """Connections that are open, also those in their TLS handshake."""
        return self._open

    @property
    def now(self) -> float:
        return self._owner.now

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Return once no connection is open, or after the timeout."""
        if self._open:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def tick(self) -> None:
        """Once a second: handshakes that take too long, and sums in the log."""
        self._lines.tick()
        self._handshakes.tick(self.now)

    def close_handshakes(self, reason: CloseReason) -> None:
        """Close those that have not said what they want."""
        self._handshakes.close_all(reason)

    def log_sum(self) -> None:
        """Log what has been summed, if anything has."""
        self._lines.log_sum()

    # ---- coming in ---------------------------------------------------------------------------

    def accept(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that a listener accepted."""
        admitted = self._admit(accepted, peer)
        if admitted is not None:
            self._open_up(accepted, Arrival(_spelled(peer), admitted[1], self.now, admitted[0]))

    def accept_tls(self, certificate: Certificate, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that has to speak TLS first."""
        admitted = self._admit(accepted, peer)
        if admitted is None:
            return
        place, number = admitted
        spelled = _spelled(peer)
        context = certificate.http_context if self._for_http else certificate.context
        try:
            handshake = self._handshakes.begin(accepted, context, spelled)
        except OSError:
            why = CloseReason.PEER_CLOSED, "before the TLS handshake"
            self._ended_unserved(Arrival(spelled, number, self.now, place), why, has_spoken=False)
            self.leave(place)
            return
        self._shaking[handshake] = admitted
        place.evict = partial(handshake.end, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._owner.count_changed()

    def _admit(self, accepted: socket.socket, peer: tuple[str, int]) -> tuple[Place, int] | None:
        number = self._places.next_number()
        self._owner.came()
        place = self._places.take(peer[0], self.now)
        if isinstance(place, Place):
            self._open += 1
            return place, number
        accepted.close()
        self._count_close(place)
        if self._lines.admit(logging.WARNING, place, peer[0]):
            who = log_facts.who(self._owner.identity, number, _spelled(peer))
            fields = {"reason": place.value, "limit": _LIMITS[place], "open": len(self._places)}
            logger.warning(
                "refused: %(reason)s (%(limit)s), %(open)d are open", fields,
                extra={"event": "connection_refused", **who},
            )  # fmt: skip
        return None

    def _open_up(self, accepted: StreamSocket, arrival: Arrival) -> None:
        close = self._owner.opened(accepted, arrival)
        arrival.place.evict = partial(close, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._owner.count_changed()

    # ---- called by TLS handshakes ------------------------------------------------------------

    def shook_hands(self, handshake: TlsHandshake, ready: TlsSocket) -> None:
        """A connection may speak from here on. Its own handshake has what is left of the same timeout."""
        place, number = self._shaking.pop(handshake)
        self._open_up(ready, Arrival(handshake.peer, number, handshake.began_at, place, ready.alpn))

    def handshake_failed(self, handshake: TlsHandshake, reason: CloseReason, detail: str) -> None:
        """A connection that has ended before it could say what it wants."""
        place, number = self._shaking.pop(handshake)
        arrival = Arrival(handshake.peer, number, handshake.began_at, place)
        self._ended_unserved(arrival, (reason, detail), has_spoken=handshake.has_spoken)
        self.leave(place)

    # ---- going -------------------------------------------------------------------------------

    def leave(self, place: Place) -> None:
        """The socket of the connection that had ``place`` is closed."""
        self._places.leave(place, self.now)
        self._open -= 1
        self._owner.count_changed()
        if not self._open:
            self._empty.set()

    def ended(
        self, reason: CloseReason, peer: str, *, has_spoken: bool, is_stranger: bool
    ) -> int | None:
        """Count the end of a connection; the level on which it is to be logged, None if not at all."""
        self._count_close(reason)
        level = _level_of(reason, has_spoken=has_spoken)
        if is_stranger and not self._lines.admit(level, reason, host_of(peer)):
            return None
        return level

    def log_close(
        self, level: int, facts: Facts, began_at: float, why: tuple[CloseReason, str], carried: Facts
    ) -> None:
        """The line about it."""
        reason, detail = why
        fields = {"reason": reason.value, "detail": detail} if detail else {"reason": reason.value}
        message = "closed: %(reason)s (%(detail)s)" if detail else "closed: %(reason)s"
        age_s = round(self.now - began_at, 3)
        extra = {"event": "connection_closed", **facts, "age_s": age_s, **carried}
        logger.log(level, message, fields, extra=extra)

    def _ended_unserved(
        self, arrival: Arrival, why: tuple[CloseReason, str], *, has_spoken: bool
    ) -> None:
        level = self.ended(why[0], arrival.peer, has_spoken=has_spoken, is_stranger=True)
        if level is not None:
            facts = log_facts.who(self._owner.identity, arrival.number, arrival.peer)
            self.log_close(level, facts, arrival.began_at, why, {})

    def _count_close(self, reason: CloseReason) -> None:
        self._closes[reason] = self._closes.get(reason, 0) + 1


def _level_of(reason: CloseReason, *, has_spoken: bool) -> int:
    """A probe that connects, says nothing and leaves is worth no line: load balancers do it all day."""
    is_probe = reason is CloseReason.PEER_CLOSED and not has_spoken
    return logging.DEBUG if is_probe else logging.INFO


def _spelled(peer: tuple[str, int]) -> str:
    """``HOST:PORT``, an IPv6 host in brackets."""
    return str(BindAddress(*peer))
