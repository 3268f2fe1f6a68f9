"""The RTMP connections of one worker: they are accepted, ticked, counted, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket

from cluster.core.errors import CloseReason
from cluster.core.limits import Limits
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.status import Code, Level
from cluster.edge.rtmp.connection import Connection, StreamSocket
from cluster.edge.rtmp.encoding import SHARED_CHUNK_SIZE
from cluster.edge.rtmp.requests import Requests
from cluster.edge.streams.counters import Counters
from cluster.net.addresses import BindAddress
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.tls_handshakes import TlsHandshakes
from cluster.net.tls_socket import TlsSocket
from cluster.process.stranger_lines import StrangerLines

logger = logging.getLogger(__name__)

#: How often whoever runs sessions looks at what happens by time alone: grace periods, slow players.
SWEEP_INTERVAL_S = 0.25

#: Sessions are ticked (timeouts, pings) every this many sweeps.
SWEEPS_PER_TICK = 4

#: When the server ends, peers get this long to read why they are closed.
LAST_WORDS_S = 0.5

#: Busy sessions (those that publish or play) are ticked once in this many ticks.
TICKS_PER_BUSY_SESSION = 5

#: The most that one read takes, so that one fast publisher cannot hold up a turn.
RECEIVE_BUFFER_BYTES = 256 * 1024


class Sessions:
    """The set of connections. What their sessions ask for is the business of ``Requests``."""

    def __init__(
        self,
        requests: Requests,
        poller: Poller,
        limits: Limits,
        max_connections: int,
        counters: Counters,
    ) -> None:
        self.counters = counters
        self.poller = poller
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self._requests = requests
        self._limits = limits
        self._max_connections = max_connections
        self._connections: set[Connection] = set()
        self._handshakes = TlsHandshakes(self, limits.handshake_timeout_s)
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
        return len(self._connections) + len(self._handshakes)

    def accept(self, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that a listener accepted."""
        if self._has_room_for(accepted, peer):
            self._open(accepted, _spelled(peer), self.now)

    def accept_tls(self, certificate: Certificate, accepted: socket.socket, peer: tuple[str, int]) -> None:
        """Take over a connection that has to speak TLS first."""
        if self._has_room_for(accepted, peer):
            self._handshakes.begin(accepted, certificate.context, _spelled(peer))
            self.counters.connections = len(self)

    def _has_room_for(self, accepted: socket.socket, peer: tuple[str, int]) -> bool:
        self.counters.connections_accepted += 1
        if len(self) < self._max_connections:
            return True
        accepted.close()
        reason = CloseReason.TOO_MANY_CONNECTIONS
        self._count_close(reason)
        if self._stranger_lines.admit(logging.WARNING, reason, peer[0]):
            logger.warning("refused: %d connections are open", len(self), extra={"peer": peer[0]})
        return False

    def _open(self, accepted: StreamSocket, peer: str, began_at: float) -> None:
        session = ServerSession(
            limits=self._limits, entropy=os.urandom(ENTROPY_BYTES), now=began_at,
            chunk_size=SHARED_CHUNK_SIZE,
        )  # fmt: skip
        self._numbered += 1
        self._connections.add(Connection(self, accepted, peer, session, self._numbered))
        self.counters.connections = len(self)

    def tick(self) -> None:
        """Once a second: timeouts and pings.

        Sessions that publish or play have only their pings, many seconds apart: a fifth of them is
        looked at each time.
        """
        self._ticks += 1
        turn = self._ticks % TICKS_PER_BUSY_SESSION
        self._stranger_lines.tick()
        self._handshakes.tick(self.now)
        for connection in list(self._connections):
            if connection.number % TICKS_PER_BUSY_SESSION == turn or not connection.is_busy:
                connection.tick(self.now)

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
        self._requests.handle(connection, event)

    def ended(self, connection: Connection, reason: CloseReason, detail: str) -> None:
        """The connection's one end: its players and publications go, and the reason is counted."""
        self._requests.ended(connection, reason)
        self.counters.aggregates_truncated += connection.session.truncated_aggregates
        self.counters.messages_ignored += connection.session.ignored_messages
        self.counters.publisher_messages_dropped += connection.session.dropped_messages
        self._log_close(
            connection.peer, connection.opened_at, reason, detail, connection.session.bytes_received,
            is_stranger=connection.is_stranger,
        )  # fmt: skip

    def forget(self, connection: Connection) -> None:
        """The socket of ``connection`` is closed."""
        self._connections.discard(connection)
        self._note_count()

    # ---- called by TLS handshakes ------------------------------------------------------------

    def shook_hands(self, ready: TlsSocket, peer: str, began_at: float) -> None:
        """A connection speaks RTMP from here on. Its handshake has what is left of the same timeout."""
        self._open(ready, peer, began_at)

    def handshake_failed(self, peer: str, began_at: float, reason: CloseReason, detail: str) -> None:
        """A connection that has ended before it spoke RTMP."""
        self._log_close(peer, began_at, reason, detail, 0, is_stranger=True)
        self._note_count()

    def _log_close(
        self, peer: str, began_at: float, reason: CloseReason, detail: str, bytes_received: int,
        *, is_stranger: bool,
    ) -> None:  # fmt: skip
        self._count_close(reason)
        if is_stranger and not self._stranger_lines.admit(logging.INFO, reason, _host_of(peer)):
            return
        logger.info(
            "closed: %s%s", reason.value, f" ({detail})" if detail else "",
            extra={
                "event": "connection_closed", "reason": reason.value, "peer": peer,
                "age_s": round(self.now - began_at, 3), "bytes_received": bytes_received,
            },
        )  # fmt: skip

    def _count_close(self, reason: CloseReason) -> None:
        closes = self.counters.closes
        closes[reason] = closes.get(reason, 0) + 1

    def _note_count(self) -> None:
        self.counters.connections = len(self)
        if not len(self):
            self._empty.set()


def _spelled(peer: tuple[str, int]) -> str:
    """``HOST:PORT``, an IPv6 host in brackets."""
    return str(BindAddress(*peer))


def _host_of(spelled: str) -> str:
    return spelled.rpartition(":")[0].strip("[]")
