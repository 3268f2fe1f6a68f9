"""The HTTP connections of one worker: they come in, are ticked, counted, and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.limits import MIB
from cluster.edge.http.answer import Waiting
from cluster.edge.http.connection import HttpConnection
from cluster.edge.http.http_socket import HttpSocket
from cluster.edge.http.interfaces import Exchange
from cluster.edge.http.opening import Media
from cluster.edge.http.player import Player
from cluster.edge.http.replies import Replies
from cluster.edge.http.request import Request
from cluster.edge.http.requests import HttpRequests
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.peers.door import Arrival, Door
from cluster.edge.peers.places import Places
from cluster.edge.streams.rounds import Rounds
from cluster.edge.streams.streams import Streams
from cluster.net.outbox import StreamSocket
from cluster.net.poller import Poller
from cluster.net.tls_certificate import HTTP2

logger = logging.getLogger(__name__)

#: Read at once from one connection: a request, or some that were sent ahead.
READ_BYTES = 16 * 1024

#: Viewers are ticked once in this many ticks.
TICKS_PER_VIEWER = 5

#: Requests of all peers of a worker that are not whole, or whose turn has not come.
MAX_UNFINISHED_BYTES = 64 * MIB


class HttpRules(NamedTuple):
    """What the options say. ``origin``: whose pages may read the answers in a browser. ``secret``: what
    tickets are signed with."""

    origin: str
    handshake_timeout_s: float
    idle_timeout_s: float
    hls_bytes: int
    secret: bytes


class HttpSessions:
    """The set of connections. What their requests mean is the business of ``HttpRequests``."""

    def __init__(
        self, streams: Streams, poller: Poller, places: Places, identity: WorkerIdentity,
        rules: HttpRules, control: AccessControl,
    ) -> None:  # fmt: skip
        self._streams = streams
        self.counters = streams.counters
        self.identity = identity
        self.poller = poller
        self.turn = streams.turn
        self.replies = Replies(rules.origin)
        self.handshake_timeout_s = rules.handshake_timeout_s
        self.idle_timeout_s = rules.idle_timeout_s
        self.receive_buffer = memoryview(bytearray(READ_BYTES))
        self._requests = HttpRequests(
            streams, places, self.replies, rules.hls_bytes, control, rules.secret
        )
        self._places = places
        self._connections: dict[HttpSocket, None] = {}
        #: Those in this round that keep a part of a request.
        self._unfinished: list[HttpSocket] = []
        self._rounds = Rounds(self.turn, self._look_at, self._bound_unfinished)
        self._door = Door(self, places, rules.handshake_timeout_s, self.counters.http_closes, for_http=True)
        self.accept = self._door.accept
        self.accept_tls = self._door.accept_tls
        self.wait_until_empty = self._door.wait_until_empty

    def __len__(self) -> int:
        return len(self._door)

    def prepare_tls(self) -> None:
        """Connections over TLS may come: what they need is imported now, not when media has to wait."""
        _h2_connections()

    @property
    def now(self) -> float:
        return self._requests.now

    @property
    def draining(self) -> bool:
        return self._requests.draining

    def sweep(self) -> None:
        """A few times a second: what players wait for."""
        self._requests.tick()

    def tick(self) -> None:
        """Once a second: timeouts. Of viewers a fifth is looked at each time."""
        self._door.tick()
        self._rounds.begin(self._connections)

    def _look_at(self, connection: HttpSocket) -> None:
        if connection not in self._connections:
            return  # it has gone since the round began
        if connection.unfinished_bytes:
            self._unfinished.append(connection)
        arrival = connection.arrival
        is_viewer = arrival.place.plays and connection.close_reason is None
        if not is_viewer or (arrival.number - self._rounds.number) % TICKS_PER_VIEWER == 0:
            connection.tick(self.now)

    def _bound_unfinished(self) -> None:
        """Close those that keep most, until all together keep no more than they may."""
        unfinished = {each: each.unfinished_bytes for each in self._unfinished}
        self._unfinished.clear()
        held = sum(unfinished.values())
        for connection in sorted(unfinished, key=unfinished.__getitem__, reverse=True):
            if held <= MAX_UNFINISHED_BYTES:
                return
            held -= unfinished[connection]
            why = f"{unfinished[connection]} bytes of requests without an answer, and too many in all"
            connection.close(CloseReason.WORKER_MEMORY, why)

    def drain(self) -> None:
        """The server is about to end: who waits for nothing may go, the others after their answer."""
        self._requests.draining = True
        for connection in list(self._connections):
            connection.drain()

    def serve_again(self) -> None:
        """The drain is called off."""
        self._requests.draining = False

    def end_all(self, reason: CloseReason) -> None:
        """The drain is over: every connection that is left is closed."""
        self._door.close_handshakes(reason)
        for connection in list(self._connections):
            connection.end_with_goodbye(reason, "the server is shutting down")

    def close_all(self, reason: CloseReason) -> None:
        self._door.close_handshakes(reason)
        for connection in list(self._connections):
            connection.close(reason, "")
        self._requests.close()
        self._door.log_sum()

    # ---- called by the door ------------------------------------------------------------------

    def came(self) -> None:
        """A connection was accepted."""
        self.counters.http_connections_accepted += 1

    def opened(self, accepted: StreamSocket, arrival: Arrival) -> Callable[[CloseReason, str], None]:
        """A connection may send its first request."""
        connection: HttpSocket
        if arrival.alpn == HTTP2:
            connection = _h2_connections()(self, accepted, arrival)
        else:
            connection = HttpConnection(self, accepted, arrival)
        self._connections[connection] = None
        self._places.roster.add(arrival.number, connection)
        return connection.close

    def count_changed(self) -> None:
        """Another number of connections is open."""
        self.counters.http_connections = len(self._door)
        self.counters.connections_half_open = self._places.half_open

    # ---- called by connections ---------------------------------------------------------------

    def begin(self, exchange: Exchange, request: Request) -> Waiting | None:
        """Answer ``request``, now or later."""
        waiting = self._requests.begin(exchange, request)
        self.counters.connections_half_open = self._places.half_open
        return waiting

    def count(self, status: int) -> None:
        """A request is answered with ``status``."""
        requests, name = self.counters.http_requests, str(status)
        requests[name] = requests.get(name, 0) + 1

    def play_opens(self, player: Player, media: Media, since_seq: int) -> None:
        self._requests.play_opens(player, media, since_seq)

    def play_ended(self, player: Player) -> None:
        self._requests.play_ended(player)

    def play_over(self, connection: HttpSocket, reason: CloseReason, detail: str) -> None:
        """What was played on a stream of ``connection`` is over, and the connection stays."""
        closes = self.counters.http_closes
        closes[reason] = closes.get(reason, 0) + 1
        fields = {"reason": reason.value, "detail": detail}
        extra = {"event": "play_over", **connection.facts()}
        logger.info("what was played is over: %(reason)s (%(detail)s)", fields, extra=extra)

    def is_fed(self, key: str) -> bool:
        """See ``ConnectionOwner``."""
        stream = self._streams.by_key.get(key)
        return stream is not None and stream.offline_since is None

    def ended(self, connection: HttpSocket, reason: CloseReason, detail: str) -> None:
        """The connection's one end: its player goes, and the reason is counted."""
        carried: dict[str, object] = {"bytes_received": connection.bytes_received}
        if (sent := connection.bytes_sent()) is not None:
            carried["bytes_sent"] = sent
        connection.ended_as = connection.kind
        players = connection.take_players()
        if skipped := sum(player.reader.skipped for player in players):
            carried["dropped"] = skipped
        for player in players:
            self._requests.play_ended(player)
        level = self._door.ended(
            reason, connection.arrival.peer, has_spoken=connection.bytes_received > 0,
            is_stranger=not connection.has_played,
        )  # fmt: skip
        if level is not None:
            arrival = connection.arrival
            self._door.log_close(level, connection.facts(), arrival.began_at, (reason, detail), carried)

    def forget(self, connection: HttpSocket) -> None:
        """The socket of ``connection`` is closed."""
        del self._connections[connection]
        self._places.roster.discard(connection.arrival.number)
        self._door.leave(connection.arrival.place)


def _h2_connections() -> type[HttpSocket]:
    from cluster.edge.http.h2_connection import H2Connection

    return H2Connection
