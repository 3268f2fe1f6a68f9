"""The RTMP connections of one worker: they are accepted, ticked, counted, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from functools import partial

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.limits import MIB, Limits
from cluster.core.rtmp.events import PlayRequested, PublishRequested, SharedObjectReceived
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.status import Code, Level
from cluster.edge.peers import log_facts
from cluster.edge.peers.log_facts import Facts
from cluster.edge.peers.places import Place, PlaceBounds, Places
from cluster.edge.rtmp.connection import STRANGER_READ_BYTES, Connection
from cluster.edge.rtmp.encoding import SHARED_CHUNK_SIZE
from cluster.edge.rtmp.logged_session import LoggedSession, session_class
from cluster.edge.rtmp.publisher import end_idle_publishes
from cluster.edge.rtmp.requests import Requests
from cluster.edge.streams.counters import Counters
from cluster.net.addresses import BindAddress
from cluster.net.outbox import StreamSocket
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.tls_handshakes import TlsHandshake, TlsHandshakes
from cluster.net.tls_socket import TlsSocket
from cluster.process.stranger_lines import StrangerLines, host_of

logger = logging.getLogger(__name__)

#: How often whoever runs sessions looks at what happens by time alone: grace periods, slow players.
SWEEP_INTERVAL_S = 0.25

#: Sessions are ticked (timeouts, pings) every this many sweeps.
SWEEPS_PER_TICK = 4

#: When the server ends, peers get this long to read why they are closed.
LAST_WORDS_S = 0.5

#: Unfinished messages of all peers of a worker that publish nothing. One may keep 128 KiB (see ``Limits``),
#: and real ones keep none for longer than it takes to send them.
MAX_UNFINISHED_BYTES = 64 * MIB

#: Busy sessions (those that publish or play) are ticked once in this many ticks.
TICKS_PER_BUSY_SESSION = 5

#: The most that one read takes, so that one fast publisher cannot hold up a turn.
RECEIVE_BUFFER_BYTES = 256 * 1024

#: What a connection settles with: it is not half-open any more.
_TAKE_PLACES = frozenset((PublishRequested, PlayRequested, SharedObjectReceived))

_EVICTED = (
    "too many connections have neither published nor played (--max-half-open, --max-connections), and it "
    "is the oldest of them"
)

#: Why a connection gets no place, and what says so.
_LIMITS = {
    CloseReason.TOO_MANY_CONNECTIONS: "--max-connections",
    CloseReason.TOO_MANY_FROM_ADDRESS: "--max-from-address, --new-from-address",
}


class Sessions:
    """The set of connections. What their sessions ask for is the business of ``Requests``.

    ``publish_idle_s``: how long a publish may bring no media; 0 is for ever.
    """

    def __init__(
        self,
        requests: Requests,
        poller: Poller,
        limits: Limits,
        bounds: PlaceBounds,
        counters: Counters,
        identity: WorkerIdentity,
        publish_idle_s: float = 0.0,
    ) -> None:
        self.counters = counters
        self.identity = identity
        self.poller = poller
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.stranger_buffer = self.receive_buffer[:STRANGER_READ_BYTES]
        self._requests = requests
        self._limits = limits
        self._publish_idle_s = publish_idle_s
        self._places = Places(bounds)
        self._connections: dict[Connection, Place] = {}
        self._handshakes = TlsHandshakes(self, limits.handshake_timeout_s)
        #: The places and numbers of those that are in their TLS handshake.
        self._shaking: dict[TlsHandshake, tuple[Place, int]] = {}
        self._numbered = 0
        self._empty = asyncio.Event()
        self._ticks = 0
        self._stranger_lines = StrangerLines(logger, "closed", lambda: self.now)

    @property
    def now(self) -> float:
        return self._requests.now

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Return once no connection is open, or after the timeout."""
        if len(self):
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def __len__(self) -> int:
        return len(self._places)

    def accept(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that a listener accepted."""
        place = self._admit(accepted, peer)
        if place is not None:
            self._open(accepted, _spelled(peer), self.now, place, self._numbered)

    def accept_tls(self, certificate: Certificate, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that has to speak TLS first."""
        place = self._admit(accepted, peer)
        if place is None:
            return
        spelled = _spelled(peer)
        try:
            handshake = self._handshakes.begin(accepted, certificate.context, spelled)
        except OSError:
            why = CloseReason.PEER_CLOSED, "before the TLS handshake"
            self._ended_unserved(self._numbered, spelled, self.now, why, has_spoken=False)
            self._leave(place)
            return
        self._shaking[handshake] = place, self._numbered
        place.evict = partial(handshake.end, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._note_count()

    def _admit(self, accepted: socket.socket, peer: tuple[str, int]) -> Place | None:
        self.counters.connections_accepted += 1
        self._numbered += 1
        place = self._places.take(peer[0], self.now)
        if isinstance(place, Place):
            return place
        accepted.close()
        self._count_close(place)
        if self._stranger_lines.admit(logging.WARNING, place, peer[0]):
            who = log_facts.who(self.identity, self._numbered, _spelled(peer))
            fields = {"reason": place.value, "limit": _LIMITS[place], "open": len(self)}
            logger.warning(
                "refused: %(reason)s (%(limit)s), %(open)d are open", fields,
                extra={"event": "connection_refused", **who},
            )  # fmt: skip
        return None

    def _open(
        self, accepted: StreamSocket, peer: str, began_at: float, place: Place, number: int
    ) -> None:
        make_session = session_class()
        session = make_session(
            limits=self._limits, entropy=os.urandom(ENTROPY_BYTES), now=began_at,
            chunk_size=SHARED_CHUNK_SIZE,
        )  # fmt: skip
        connection = Connection(self, accepted, peer, session, number)
        if isinstance(session, LoggedSession):
            who = log_facts.who(self.identity, number, peer)
            session.begin(who)
            logger.debug("accepted", extra={"event": "connection_accepted", **who})
        self._connections[connection] = place
        place.evict = partial(connection.close, CloseReason.HALF_OPEN_EVICTED, _EVICTED)
        self._note_count()

    def tick(self) -> None:
        """Once a second: timeouts and pings.

        Sessions that publish or play have only their pings, many seconds apart: a fifth of them is
        looked at each time.
        """
        self._ticks += 1
        turn = self._ticks % TICKS_PER_BUSY_SESSION
        self._stranger_lines.tick()
        self._handshakes.tick(self.now)
        unfinished: dict[Connection, int] = {}
        for connection in list(self._connections):
            if not connection.is_busy and connection.session.unfinished_bytes:
                unfinished[connection] = connection.session.unfinished_bytes
            if connection.number % TICKS_PER_BUSY_SESSION == turn or not connection.is_busy:
                connection.tick(self.now)
                if connection.publications and self._publish_idle_s:
                    ended = end_idle_publishes(connection, self.now, self._publish_idle_s)
                    self.counters.publishes_idle += ended

        self._bound_unfinished(unfinished)

    def _bound_unfinished(self, unfinished: dict[Connection, int]) -> None:
        """End those that keep most of unfinished messages, until all together keep no more than they may.

        Those of publishers count in the memory of their streams.
        """
        held = sum(unfinished.values())
        for connection in sorted(unfinished, key=unfinished.__getitem__, reverse=True):
            if held <= MAX_UNFINISHED_BYTES:
                return
            held -= unfinished[connection]
            why = f"{unfinished[connection]} bytes of messages that do not end, and too many in all"
            connection.close(CloseReason.WORKER_MEMORY, why)

    def ask_to_reconnect(self) -> None:
        """A drain begins: peers that understand it are asked to move elsewhere by themselves."""
        self._requests.draining = True
        for connection in list(self._connections):
            if connection.session.request_reconnect(description="the server is shutting down"):
                connection.write_control()

    def end_all(self, reason: CloseReason) -> None:
        """The drain is over: every session that is left is told so and closed."""
        self._handshakes.close_all(reason)
        for connection in list(self._connections):
            connection.session.send_status(
                0, Level.ERROR, Code.CONNECT_APP_SHUTDOWN, "the server is shutting down; connect again"
            )
            connection.end(reason, "the drain timeout is over")

    def close_all(self, reason: CloseReason) -> None:
        self._handshakes.close_all(reason)
        for connection in list(self._connections):
            connection.close(reason, "")
        self._stranger_lines.log_sum()

    # ---- called by connections ---------------------------------------------------------------

    def handle(self, connection: Connection, event: object) -> None:
        """One event of ``connection``'s session."""
        if type(event) not in _TAKE_PLACES or self._may_stay(connection, event):
            self._requests.handle(connection, event)

    def _may_stay(self, connection: Connection, event: object) -> bool:
        """Whether there is a place for what a peer asks to do. If not, the peer is told so."""
        place = self._connections.get(connection)
        if place is None:
            return True  # it is closed already
        if isinstance(event, PublishRequested):
            self._places.publishes(place)
        elif not self._places.may_play(place):
            why = "this server has no room for more players; try again later"
            if isinstance(event, PlayRequested):
                connection.session.reject_play(event.stream_id, Code.PLAY_FAILED, why)
            connection.end(CloseReason.TOO_MANY_PLAYERS, why)
            return False
        self.counters.connections_half_open = self._places.half_open
        return True

    def ended(self, connection: Connection, reason: CloseReason, detail: str) -> None:
        """The connection's one end: its players and publications go, and the reason is counted."""
        self._requests.ended(connection, reason)
        self.counters.aggregates_truncated += connection.session.truncated_aggregates
        self.counters.messages_ignored += connection.session.ignored_messages
        self.counters.publisher_messages_dropped += connection.session.dropped_messages
        self._count_close(reason)
        session = connection.session
        level = _level_of(reason, has_spoken=session.bytes_received > 0)
        host = host_of(connection.peer)
        if connection.is_stranger and not self._stranger_lines.admit(level, reason, host):
            return
        carried: dict[str, object] = {"bytes_received": session.bytes_received}
        if (sent := connection.bytes_sent()) is not None:
            carried["bytes_sent"] = sent
        if dropped := connection.dropped + session.dropped_messages:
            carried["dropped"] = dropped
        self._log_close(level, connection.facts(), connection.opened_at, (reason, detail), carried)

    def forget(self, connection: Connection) -> None:
        """The socket of ``connection`` is closed."""
        self._leave(self._connections.pop(connection))

    def _leave(self, place: Place) -> None:
        self._places.leave(place, self.now)
        self._note_count()

    # ---- called by TLS handshakes ------------------------------------------------------------

    def shook_hands(self, handshake: TlsHandshake, ready: TlsSocket) -> None:
        """A connection speaks RTMP from here on. Its handshake has what is left of the same timeout."""
        self._open(ready, handshake.peer, handshake.began_at, *self._shaking.pop(handshake))

    def handshake_failed(self, handshake: TlsHandshake, reason: CloseReason, detail: str) -> None:
        """A connection that has ended before it spoke RTMP."""
        place, number = self._shaking.pop(handshake)
        why = reason, detail
        self._ended_unserved(
            number, handshake.peer, handshake.began_at, why, has_spoken=handshake.has_spoken
        )
        self._leave(place)

    def _ended_unserved(
        self, number: int, peer: str, began_at: float, why: tuple[CloseReason, str], *, has_spoken: bool
    ) -> None:
        self._count_close(why[0])
        level = _level_of(why[0], has_spoken=has_spoken)
        if self._stranger_lines.admit(level, why[0], host_of(peer)):
            self._log_close(level, log_facts.who(self.identity, number, peer), began_at, why, {})

    def _log_close(
        self, level: int, facts: Facts, began_at: float, why: tuple[CloseReason, str], carried: Facts
    ) -> None:
        reason, detail = why
        fields = {"reason": reason.value, "detail": detail} if detail else {"reason": reason.value}
        message = "closed: %(reason)s (%(detail)s)" if detail else "closed: %(reason)s"
        age_s = round(self.now - began_at, 3)
        extra = {"event": "connection_closed", **facts, "age_s": age_s, **carried}
        logger.log(level, message, fields, extra=extra)

    def _count_close(self, reason: CloseReason) -> None:
        closes = self.counters.closes
        closes[reason] = closes.get(reason, 0) + 1

    def _note_count(self) -> None:
        self.counters.connections = len(self)
        self.counters.connections_half_open = self._places.half_open
        if not len(self):
            self._empty.set()


def _level_of(reason: CloseReason, *, has_spoken: bool) -> int:
    """A probe that connects, says nothing and leaves is worth no line: load balancers do it all day."""
    is_probe = reason is CloseReason.PEER_CLOSED and not has_spoken
    return logging.DEBUG if is_probe else logging.INFO


def _spelled(peer: tuple[str, int]) -> str:
    """``HOST:PORT``, an IPv6 host in brackets."""
    return str(BindAddress(*peer))
