"""The RTMP connections of one worker: they are accepted, ticked, counted, and ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.limits import MIB, Limits
from cluster.core.rtmp.events import PlayRequested, PublishRequested, SharedObjectReceived
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.status import Code, Level
from cluster.edge.peers import log_facts
from cluster.edge.peers.door import Arrival, Door
from cluster.edge.peers.places import Place, Places
from cluster.edge.rtmp.connection import STRANGER_READ_BYTES, Connection
from cluster.edge.rtmp.encoding import SHARED_CHUNK_SIZE
from cluster.edge.rtmp.logged_session import LoggedSession, session_class
from cluster.edge.rtmp.publisher import end_idle_publishes
from cluster.edge.rtmp.requests import Requests
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.rounds import Rounds
from cluster.net.outbox import StreamSocket
from cluster.net.poller import Poller

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

#: Messages of all peers of a worker that wait for an answer to a connect or publish: a slow answer must not
#: cost the memory of the streams. One may keep 512 KiB, so 512 encoders that nobody answers have room.
MAX_WAITING_BYTES = 256 * MIB

#: What a connection settles with: it is not half-open any more.
_TAKE_PLACES = frozenset((PublishRequested, PlayRequested, SharedObjectReceived))


class Sessions:
    """The set of connections. What their sessions ask for is the business of ``Requests``.

    ``publish_idle_s``: how long a publish may bring no media; 0 is for ever.
    """

    def __init__(
        self,
        requests: Requests,
        poller: Poller,
        limits: Limits,
        places: Places,
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
        self.turn = requests.turn
        self._limits = limits
        self._publish_idle_s = publish_idle_s
        self._places = places
        self._connections: dict[Connection, Place] = {}
        #: Those in this round that keep messages: without an end, and waiting for an answer.
        self._unfinished: list[Connection] = []
        self._held: list[Connection] = []
        self._rounds = Rounds(self.turn, self._look_at, self._bound_memory)
        self._door = Door(self, places, limits.handshake_timeout_s, counters.closes)
        self.accept = self._door.accept
        self.accept_tls = self._door.accept_tls
        self.wait_until_empty = self._door.wait_until_empty

    @property
    def now(self) -> float:
        return self._requests.now

    def __len__(self) -> int:
        return len(self._door)

    def came(self) -> None:
        """A connection was accepted."""
        self.counters.connections_accepted += 1

    def opened(self, accepted: StreamSocket, arrival: Arrival) -> Callable[[CloseReason, str], None]:
        """A connection may speak RTMP."""
        make_session = session_class()
        session = make_session(
            limits=self._limits, entropy=os.urandom(ENTROPY_BYTES), now=arrival.began_at,
            chunk_size=SHARED_CHUNK_SIZE,
        )  # fmt: skip
        connection = Connection(self, accepted, arrival.peer, session, arrival.number)
        if isinstance(session, LoggedSession):
            who = log_facts.who(self.identity, arrival.number, arrival.peer)
            session.begin(who)
            logger.debug("accepted", extra={"event": "connection_accepted", **who})
        self._connections[connection] = arrival.place
        self._places.roster.add(arrival.number, connection)
        return connection.close

    def tick(self) -> None:
        """Once a second: timeouts and pings.

        Sessions that publish or play have only their pings, many seconds apart: a fifth of them is
        looked at each time.
        """
        self._door.tick()
        self._rounds.begin(self._connections)

    def _look_at(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # it has gone since the round began
        is_busy, session = connection.is_busy, connection.session
        if session.held_bytes:
            self._held.append(connection)
        if not is_busy and session.unfinished_bytes:
            self._unfinished.append(connection)
        if not is_busy or (connection.number - self._rounds.number) % TICKS_PER_BUSY_SESSION == 0:
            connection.tick(self.now)
            if connection.publications and self._publish_idle_s:
                ended = end_idle_publishes(connection, self.now, self._publish_idle_s)
                self.counters.publishes_idle += ended

    def _bound_memory(self) -> None:
        """Unfinished ones of publishers count in the memory of their streams."""
        unfinished = {each: each.session.unfinished_bytes for each in self._unfinished}
        held = {each: each.session.held_bytes for each in self._held}
        self._unfinished.clear()
        self._held.clear()
        _bound(unfinished, MAX_UNFINISHED_BYTES, "messages that do not end")
        _bound(held, MAX_WAITING_BYTES, "messages that wait for an answer")

    def ask_to_reconnect(self) -> None:
        """A drain begins: peers that understand it are asked to move elsewhere by themselves."""
        self._requests.draining = True
        for connection in list(self._connections):
            if connection.session.request_reconnect(description="the server is shutting down"):
                connection.write_control()

    def serve_again(self) -> None:
        """The drain is called off."""
        self._requests.draining = False

    def end_all(self, reason: CloseReason) -> None:
        """The drain is over: every session that is left is told so and closed."""
        self._door.close_handshakes(reason)
        for connection in list(self._connections):
            connection.session.send_status(
                0, Level.ERROR, Code.CONNECT_APP_SHUTDOWN, "the server is shutting down; connect again"
            )
            connection.end(reason, "the drain timeout is over")

    def close_all(self, reason: CloseReason) -> None:
        self._door.close_handshakes(reason)
        for connection in list(self._connections):
            connection.close(reason, "")
        self._door.log_sum()

    # ---- called by connections ---------------------------------------------------------------

    def handle(self, connection: Connection, event: object) -> None:
        """One event of ``connection``'s session."""
        takes_place = type(event) in _TAKE_PLACES and not self._waits_for_verdict(event)
        if not takes_place or self.settle(connection, event):
            self._requests.handle(connection, event)

    def _waits_for_verdict(self, event: object) -> bool:
        """Somebody is asked about it first. Until then its connection is half-open, and may have to make
        room for others."""
        return self._requests.admission is not None and not isinstance(event, SharedObjectReceived)

    def settle(self, connection: Connection, event: object) -> bool:
        """Give a peer its place for what it does. False if there is none, which the peer is told."""
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
        if connection in self._connections:
            self._places.ends(self._connections[connection], self.now)
        self.counters.aggregates_truncated += connection.session.truncated_aggregates
        self.counters.messages_ignored += connection.session.ignored_messages
        self.counters.publisher_messages_dropped += connection.session.dropped_messages
        session = connection.session
        has_spoken = session.bytes_received > 0
        level = self._door.ended(
            reason, connection.peer, has_spoken=has_spoken, is_stranger=connection.is_stranger
        )
        if level is None:
            return
        carried: dict[str, object] = {"bytes_received": session.bytes_received}
        if (sent := connection.bytes_sent()) is not None:
            carried["bytes_sent"] = sent
        if dropped := connection.dropped + session.dropped_messages:
            carried["dropped"] = dropped
        self._door.log_close(level, connection.facts(), connection.opened_at, (reason, detail), carried)

    def forget(self, connection: Connection) -> None:
        """The socket of ``connection`` is closed."""
        self._places.roster.discard(connection.number)
        self._door.leave(self._connections.pop(connection))

    def count_changed(self) -> None:
        """Another number of connections is open."""
        self.counters.connections = len(self)
        self.counters.connections_half_open = self._places.half_open


def _bound(kept: dict[Connection, int], most: int, what: str) -> None:
    """End those that keep most, until all together keep no more than ``most`` bytes."""
    in_all = sum(kept.values())
    for connection in sorted(kept, key=kept.__getitem__, reverse=True):
        if in_all <= most:
            return
        in_all -= kept[connection]
        why = f"{kept[connection]} bytes of {what}, and too many in all"
        connection.close(CloseReason.WORKER_MEMORY, why)
