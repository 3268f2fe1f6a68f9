"""The door of one protocol: its connections come in here, have a place, and are told of when they end.

A connection of a proxy is here until it has said whose it is, and one of a TLS address until it has shaken
hands. What it speaks then is not known here.
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
from cluster.edge.streams.rounds import Rounds
from cluster.edge.streams.turn import Turn
from cluster.net.addresses import BindAddress
from cluster.net.outbox import StreamSocket
from cluster.net.poller import Poller
from cluster.net.proxy_headers import AwaitedHeader, ProxyHeaders, Source
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


#: What follows when it is known whose connection it is.
_GoOn = Callable[[socket.socket, Arrival], None]


class DoorOwner(Protocol):
    """Whose connections come in at a door."""

    poller: Poller
    identity: WorkerIdentity
    turn: Turn

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
        self._headers = ProxyHeaders(self, handshake_timeout_s)
        self._for_http = for_http
        self._handshakes = TlsHandshakes(self, handshake_timeout_s)
        #: Those that are in their TLS handshake.
        self._shaking: dict[TlsHandshake, Arrival] = {}
        self._open = 0
        self._empty = asyncio.Event()
        #: Ends them: many may have come together.
        self._late: Rounds[Callable[[], None]] = Rounds(owner.turn, lambda end: end())
        self._lines = StrangerLines(logger, "closed", lambda: owner.now)

    def __len__(self) -> int:
        """Connections that are open, also those that may not speak yet."""
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
        self._late.begin((*self._headers.late(self.now), *self._handshakes.late(self.now)))

    def close_handshakes(self, reason: CloseReason) -> None:
        """Close those that have not said what they want."""
        self._headers.close_all(reason)
        self._handshakes.close_all(reason)

    def log_sum(self) -> None:
        """Log what has been summed, if anything has."""
        self._lines.log_sum()

    # ---- coming in ---------------------------------------------------------------------------

    def accept(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that a listener accepted."""
        self._come_in(accepted, peer, self._open_up)

    def accept_tls(self, certificate: Certificate, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that has to speak TLS first."""
        self._come_in(accepted, peer, partial(self._shake_hands, certificate))

    def _come_in(self, accepted: socket.socket, peer: tuple[str, int], go_on: _GoOn) -> None:
        number = self._places.next_number()
        self._owner.came()
        is_proxy = self._places.is_proxy(peer[0])
        taken = self._places.take_nameless() if is_proxy else self._places.take(peer[0], self.now)
        if not isinstance(taken, Place):
            accepted.close()
            self._refuse(taken, peer, number)
            return
        self._open += 1
        arrival = Arrival(_spelled(peer), number, self.now, taken)
        if is_proxy:
            self._await_header(accepted, arrival, go_on)
        else:
            go_on(accepted, arrival)

    def _refuse(self, reason: CloseReason, peer: tuple[str, int], number: int) -> None:
        self._count_close(reason)
        if self._lines.admit(logging.WARNING, reason, peer[0]):
            who = log_facts.who(self._owner.identity, number, _spelled(peer))
            fields = {"reason": reason.value, "limit": _LIMITS[reason], "open": len(self._places)}
            logger.warning(
                "refused: %(reason)s (%(limit)s), %(open)d are open", fields,
                extra={"event": "connection_refused", **who},
            )  # fmt: skip

    def _await_header(self, accepted: socket.socket, arrival: Arrival, go_on: _GoOn) -> None:
        """The proxy says first whose connection it is; everything else is about that address."""

        def introduced(accepted: socket.socket, source: Source) -> None:
            if source is None:
                go_on(accepted, arrival)
            elif (reason := self._places.name(arrival.place, source[0], self.now)) is None:
                go_on(accepted, arrival._replace(peer=_spelled(source)))
            else:
                accepted.close()
                self._refuse(reason, source, arrival.number)
                self.leave(arrival.place)

        def failed(waiting: AwaitedHeader, reason: CloseReason, detail: str) -> None:
            self._ended_unserved(arrival, (reason, detail), has_spoken=waiting.has_spoken)
            self.leave(arrival.place)

        waiting = self._headers.begin(accepted, introduced, failed)
        arrival.place.evict = partial(waiting.end, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._owner.count_changed()

    def _shake_hands(self, certificate: Certificate, accepted: socket.socket, arrival: Arrival) -> None:
        context = certificate.http_context if self._for_http else certificate.context
        try:
            handshake = self._handshakes.begin(accepted, context, arrival.peer)
        except OSError:
            why = CloseReason.PEER_CLOSED, "before the TLS handshake"
            self._ended_unserved(arrival, why, has_spoken=False)
            self.leave(arrival.place)
            return
        self._shaking[handshake] = arrival
        arrival.place.evict = partial(handshake.end, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._owner.count_changed()

    def _open_up(self, accepted: StreamSocket, arrival: Arrival) -> None:
        close = self._owner.opened(accepted, arrival)
        arrival.place.evict = partial(close, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._owner.count_changed()

    # ---- called by TLS handshakes ------------------------------------------------------------

    def shook_hands(self, handshake: TlsHandshake, ready: TlsSocket) -> None:
        """A connection may speak from here on. Its own handshake has what is left of the same timeout."""
        arrival = self._shaking.pop(handshake)
        self._open_up(ready, arrival._replace(alpn=ready.alpn))

    def handshake_failed(self, handshake: TlsHandshake, reason: CloseReason, detail: str) -> None:
        """A connection that has ended before it could say what it wants."""
        arrival = self._shaking.pop(handshake)
        self._ended_unserved(arrival, (reason, detail), has_spoken=handshake.has_spoken)
        self.leave(arrival.place)

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
    """A probe that connects, says nothing and leaves is worth no line: load balancers do it all day. Nor is
    a step of a dialogue, whose end has one."""
    is_probe = reason is CloseReason.PEER_CLOSED and not has_spoken
    return logging.DEBUG if is_probe or reason is CloseReason.LOGIN_ASKED else logging.INFO


def _spelled(peer: tuple[str, int]) -> str:
    """``HOST:PORT``, an IPv6 host in brackets."""
    return str(BindAddress(*peer))
