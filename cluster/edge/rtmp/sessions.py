"""The sessions of one worker: what each event of an RTMP session means for the worker's streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import StreamKey
from cluster.core.limits import Limits
from cluster.core.rtmp import events
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.shared_registry import SharedObjects
from cluster.core.rtmp.status import Code, Level
from cluster.edge.embed.decisions import Decisions
from cluster.edge.rtmp.connection import Connection, StreamSocket
from cluster.edge.rtmp.player import SHARED_CHUNK_SIZE
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.hub import Hub
from cluster.net.addresses import BindAddress
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.tls_handshakes import TlsHandshakes
from cluster.net.tls_socket import TlsSocket

logger = logging.getLogger(__name__)

#: How often whoever runs sessions looks at what happens by time alone: grace periods, slow players.
SWEEP_INTERVAL_S = 0.25

#: Sessions are ticked (timeouts, pings) every this many sweeps.
SWEEPS_PER_TICK = 4

#: When the server ends, peers get this long to read why they are closed.
LAST_WORDS_S = 0.5

#: Busy sessions (those that publish or play) are ticked once in so many ticks.
TICKS_PER_BUSY_SESSION = 5

#: The most that one read takes, so that one fast publisher cannot hold up a turn.
RECEIVE_BUFFER_BYTES = 256 * 1024


class Sessions:
    """Accepts connections, answers their sessions' events, and ends them; see ``Connection``."""

    def __init__(
        self,
        hub: Hub,
        poller: Poller,
        limits: Limits,
        max_connections: int,
        counters: Counters,
        decisions: Decisions | None = None,
    ) -> None:
        self.counters = counters
        self.poller = poller
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self.draining = False
        self._hub = hub
        self._limits = limits
        self._max_connections = max_connections
        self._connections: set[Connection] = set()
        self._handshakes = TlsHandshakes(self, limits.handshake_timeout_s)
        self._numbered = 0
        self._empty = asyncio.Event()
        self._ticks = 0
        self._decisions = decisions
        self._shared_objects: SharedObjects[Connection] = SharedObjects()
        self._handlers: dict[type, Callable[[Connection, Any], None]] = {
            events.ConnectRequested: self._connect_requested,
            events.PublishRequested: self._publish_requested,
            events.PublishEnded: self._publish_ended,
            events.PlayRequested: self._play_requested,
            events.PlayEnded: self._play_ended,
            events.PauseChanged: self._pause_changed,
            events.AudioEnabled: self._audio_enabled,
            events.VideoEnabled: self._video_enabled,
            events.SharedObjectReceived: self._shared_object_received,
            events.CloseRequested: self._close_requested,
        }

    @property
    def now(self) -> float:
        return self._hub.now

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
        """The same of one that has to speak TLS first."""
        if self._has_room_for(accepted, peer):
            self._handshakes.begin(accepted, certificate.context, _spelled(peer))
            self.counters.connections = len(self)

    def _has_room_for(self, accepted: socket.socket, peer: tuple[str, int]) -> bool:
        self.counters.connections_accepted += 1
        if len(self) < self._max_connections:
            return True
        accepted.close()
        self._count_close(CloseReason.TOO_MANY_CONNECTIONS)
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
        self._handshakes.tick(self.now)
        for connection in list(self._connections):
            if connection.number % TICKS_PER_BUSY_SESSION == turn or not connection.is_busy:
                connection.tick(self.now)

    def ask_to_reconnect(self) -> None:
        """A drain begins: peers that understand it are asked to move elsewhere by themselves."""
        self.draining = True
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

    # ---- called by connections ---------------------------------------------------------------

    def handle(self, connection: Connection, event: object) -> None:
        """One event of ``connection``'s session; those without an entry need nothing from us."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(connection, event)
        if self._decisions is not None:
            self._decisions.heard(connection, event)

    def ended(self, connection: Connection, reason: CloseReason, detail: str) -> None:
        """The connection's one end: its players and publications go, and the reason is counted."""
        for stream_id in list(connection.publications):
            self._hub.end_publish(connection, stream_id)
        for stream_id in list(connection.players):
            self._hub.end_play(connection, stream_id)
        self._shared_objects.leave(connection)
        self.counters.aggregates_truncated += connection.session.truncated_aggregates
        self.counters.messages_ignored += connection.session.ignored_messages
        self.counters.publisher_messages_dropped += connection.session.dropped_messages
        if self._decisions is not None:
            self._decisions.ended(connection, reason)
        self._log_close(
            connection.peer, connection.opened_at, reason, detail, connection.session.bytes_received
        )

    def forget(self, connection: Connection) -> None:
        """Its socket is closed."""
        self._connections.discard(connection)
        self._note_count()

    # ---- called by TLS handshakes ------------------------------------------------------------

    def shook_hands(self, ready: TlsSocket, peer: str, began_at: float) -> None:
        """It speaks RTMP from here on; its RTMP handshake has what is left of the same timeout."""
        self._open(ready, peer, began_at)

    def handshake_failed(self, peer: str, began_at: float, reason: CloseReason, detail: str) -> None:
        """A connection that has ended before it spoke RTMP."""
        self._log_close(peer, began_at, reason, detail, 0)
        self._note_count()

    def _log_close(
        self, peer: str, began_at: float, reason: CloseReason, detail: str, bytes_received: int
    ) -> None:
        self._count_close(reason)
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

    # ---- events ------------------------------------------------------------------------------

    def _connect_requested(self, connection: Connection, event: events.ConnectRequested) -> None:
        if self._decisions is None:
            self._accept_connect(connection)
        else:
            self._decisions.connect(connection, event, lambda: self._accept_connect(connection))

    def _accept_connect(self, connection: Connection) -> None:
        connection.session.accept_connect()
        connection.receive(b"")  # what it has sent behind connect, without waiting for the answer

    def _publish_requested(self, connection: Connection, event: events.PublishRequested) -> None:
        try:
            key = StreamKey.parse(connection.session.app, event.name)
        except PeerViolation as violation:
            self._refuse_publish(connection, event.stream_id, violation.detail)
            return
        if self.draining:
            self._refuse_publish(connection, event.stream_id, "this node is shutting down; connect again")
        elif self._decisions is None:
            self._hub.publish(connection, event.stream_id, key)
        else:
            self._decisions.publish(
                connection, key, event, lambda: self._hub.publish(connection, event.stream_id, key)
            )

    def _refuse_publish(self, connection: Connection, stream_id: int, why: str) -> None:
        connection.session.reject_publish(stream_id, Code.PUBLISH_DENIED, why)
        connection.end(CloseReason.PUBLISH_REFUSED, why)

    def _publish_ended(self, connection: Connection, event: events.PublishEnded) -> None:
        self._hub.end_publish(connection, event.stream_id)

    def _play_requested(self, connection: Connection, event: events.PlayRequested) -> None:
        try:
            key = StreamKey.parse(connection.session.app, event.name)
        except PeerViolation as violation:
            connection.session.reject_play(event.stream_id, Code.PLAY_FAILED, violation.detail)
            connection.end(CloseReason.STREAM_NOT_FOUND, violation.detail)
            return
        if self._decisions is None:
            self._hub.play(connection, event.stream_id, key, event.duration)
        else:
            self._decisions.play(
                connection, key, event,
                lambda: self._hub.play(connection, event.stream_id, key, event.duration),
            )  # fmt: skip

    def _play_ended(self, connection: Connection, event: events.PlayEnded) -> None:
        self._hub.end_play(connection, event.stream_id)

    def _pause_changed(self, connection: Connection, event: events.PauseChanged) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None:
            if event.paused:
                player.stream.pause(player)
            else:
                player.stream.resume(player)

    def _audio_enabled(self, connection: Connection, event: events.AudioEnabled) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None and player.audio != event.on:
            player.stream.change_media(player, audio=event.on, video=player.video)

    def _video_enabled(self, connection: Connection, event: events.VideoEnabled) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None and player.video != event.on:
            player.stream.change_media(player, audio=player.audio, video=event.on)

    def _shared_object_received(
        self, connection: Connection, event: events.SharedObjectReceived
    ) -> None:
        """Shared objects live in this worker, for the peers of one app that are connected to it."""
        app = connection.session.app
        replies = self._shared_objects.receive(connection, app, event.shared)
        connection.session.in_use = self._shared_objects.uses(connection)
        for user, message in replies:
            user.session.send_shared_object(message)
            user.write_control()  # each for itself: who does not read is closed before the next is encoded

    def _close_requested(self, connection: Connection, event: events.CloseRequested) -> None:
        connection.end(CloseReason.PEER_CLOSED, "by its close command")


def _spelled(peer: tuple[str, int]) -> str:
    """``HOST:PORT``, an IPv6 host in brackets."""
    return str(BindAddress(*peer))
