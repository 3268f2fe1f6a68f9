"""What each event of an RTMP session means for the worker's streams."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import StreamKey
from cluster.core.rtmp import events
from cluster.core.rtmp.arguments import TO_THE_END
from cluster.core.rtmp.shared_registry import SharedObjects
from cluster.core.rtmp.status import Code
from cluster.edge.peers.access import Allow, Deny, Verdict
from cluster.edge.peers.join_rates import JOINS_PER_S, JoinRates, sender_of
from cluster.edge.rtmp.admission import Admission, Request, deny
from cluster.edge.rtmp.connection import Connection
from cluster.edge.rtmp.encoding import encoding_for
from cluster.edge.rtmp.player import Player
from cluster.edge.rtmp.publisher import RtmpPublisher
from cluster.edge.rtmp.request_book import WHOLE_CONNECTION, RequestBook
from cluster.edge.rtmp.turn_away import turn_away
from cluster.edge.rtmp.work_budget import HEADER_BYTES_PER_WORK
from cluster.edge.streams.streams import Streams
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)
_paced = Complaints(logger, "joins_paced")

#: A play of more than a year asks for no less than a play without an end.
_LONGEST_PLAY_S = 366 * 24 * 3600

_TOO_MANY_WAIT = Deny("too many requests wait for an answer; try again")


class SessionObserver(Protocol):
    """A listener to everything that peers do, told after the worker has acted on it."""

    def heard(self, connection: Connection, event: object) -> None:
        """An event of a session."""

    def ended(self, connection: Connection, reason: CloseReason) -> None:
        """The connection is over."""


class Requests:
    """Acts on the events of sessions. Without an ``admission`` everybody is let in, at once."""

    def __init__(
        self, streams: Streams, admission: Admission | None = None, observer: SessionObserver | None = None
    ) -> None:
        self.draining = False
        self.turn = streams.turn
        self._streams = streams
        #: None: everybody is let in, at once.
        self.admission = admission
        self._observer = observer
        self._book = RequestBook(self.turn.loop)
        self._rates = JoinRates()
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
        """The time of this turn."""
        return self.turn.now

    @property
    def waiting(self) -> int:
        """Requests that have no answer yet."""
        return len(self._book)

    async def close(self) -> None:
        """Cancel what still waits for an answer."""
        await self._book.close()

    def handle(self, connection: Connection, event: object) -> None:
        """One event of ``connection``'s session; those without an entry need nothing from us."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(connection, event)
        if self._observer is not None:
            self._observer.heard(connection, event)

    def ended(self, connection: Connection, reason: CloseReason) -> None:
        """The connection is over, and with it all that it asked for."""
        self._book.take_back_all(connection)
        for stream_id in list(connection.publications):
            connection.end_publish(stream_id)
        for stream_id in list(connection.players):
            connection.end_play(stream_id)
        self._shared_objects.leave(connection)
        if self._observer is not None:
            self._observer.ended(connection, reason)

    # ---- connecting --------------------------------------------------------------------------

    def _connect_requested(self, connection: Connection, event: events.ConnectRequested) -> None:
        admission = self.admission
        if admission is None:
            self._accept_connect(connection)
            return

        async def decide() -> None:
            answer = admission.connect(connection, event)
            if await self._allowed(connection, event, answer) is not None:
                self._accept_connect(connection)

        self._start(connection, WHOLE_CONNECTION, event, decide)

    def _accept_connect(self, connection: Connection) -> None:
        connection.session.accept_connect()
        connection.receive(b"")  # what it has sent behind connect, without waiting for the answer

    # ---- publishing --------------------------------------------------------------------------

    def _publish_requested(self, connection: Connection, event: events.PublishRequested) -> None:
        connection.use = ("publisher", "")
        try:
            key = StreamKey.parse(connection.session.app, event.name)
        except PeerViolation as violation:
            deny(connection, event, Deny(violation.detail))
            return
        connection.use = ("publisher", key)
        if self.draining:
            deny(connection, event, Deny("this node is shutting down; connect again"))
        else:
            wait_s = self._wait_s(connection)
            self._start(
                connection, event.stream_id, event, lambda: self._publish(connection, event, key, wait_s)
            )

    async def _publish(
        self, connection: Connection, event: events.PublishRequested, asked: str, wait_s: float
    ) -> None:
        await self._pass_time(wait_s)
        key, most_bytes_per_s = asked, None
        if self.admission is not None:
            answer = self.admission.publish(connection, asked, event)
            allowed = await self._allowed(connection, event, answer)
            if allowed is None:
                return
            key, most_bytes_per_s = allowed.key or asked, allowed.most_bytes_per_s
        publisher = RtmpPublisher(connection, event.stream_id, most_bytes_per_s)
        with self._streams.room.asking(key) as no_room:
            if no_room is not None:
                turn_away(connection, event, no_room)
                return
            await self._streams.publishing.request(key, publisher)

    def _publish_ended(self, connection: Connection, event: events.PublishEnded) -> None:
        self._book.take_back(connection, event.stream_id)
        connection.end_publish(event.stream_id)

    # ---- playing -----------------------------------------------------------------------------

    def _play_requested(self, connection: Connection, event: events.PlayRequested) -> None:
        connection.use = ("player", "")
        try:
            key = StreamKey.parse(connection.session.app, event.name)
        except PeerViolation as violation:
            connection.session.reject_play(event.stream_id, Code.PLAY_FAILED, violation.detail)
            connection.end(CloseReason.STREAM_NOT_FOUND, violation.detail)
            return
        connection.use = ("player", key)
        admission = self.admission
        wait_s = self._wait_s(connection)
        if admission is None and not wait_s:
            self._play(connection, event, key)
            return

        async def decide() -> None:
            await self._pass_time(wait_s)
            allowed: Allow | None = Allow()
            if admission is not None:
                answer = admission.play(connection, key, event)
                allowed = await self._allowed(connection, event, answer)
            if allowed is not None:
                self._play(connection, event, allowed.key or key)

        self._start(connection, event.stream_id, event, decide)

    def _play(self, connection: Connection, event: events.PlayRequested, key: str) -> None:
        """Play ``key``; ``event.duration`` of media at most, in seconds."""
        if (no_room := self._streams.room.for_player(key)) is not None:
            turn_away(connection, event, no_room)
            return
        if not connection.session.accept_play(event.stream_id):
            return  # it closed the stream while a verdict was pending
        connection.write_control()
        if connection.close_reason is not None:
            return
        duration_s = min(event.duration, _LONGEST_PLAY_S)
        limit_ms = None if event.duration == TO_THE_END else round(duration_s * 1000)
        player = Player(connection, event.stream_id)
        live = self.now < (connection.played or {}).get(key, -math.inf)
        reader = self._streams.play(key, player, encoding_for(event.stream_id), limit_ms, live=live)
        connection.session.note_side_work(reader.stream.log.headers_cost_bytes // HEADER_BYTES_PER_WORK)

    def _play_ended(self, connection: Connection, event: events.PlayEnded) -> None:
        self._book.take_back(connection, event.stream_id)
        connection.end_play(event.stream_id)

    def _pause_changed(self, connection: Connection, event: events.PauseChanged) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None:
            if event.paused:
                player.reader.pause()
            else:
                player.reader.resume()

    def _audio_enabled(self, connection: Connection, event: events.AudioEnabled) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None:
            player.reader.want(audio=event.on)

    def _video_enabled(self, connection: Connection, event: events.VideoEnabled) -> None:
        player = connection.players.get(event.stream_id)
        if player is not None:
            player.reader.want(video=event.on)

    # ---- rates -------------------------------------------------------------------------------

    def _wait_s(self, connection: Connection) -> float:
        """How long a request to play or publish has to wait, because its address has sent too many."""
        wait_s = self._rates.wait_s(connection.peer, self.now)
        if wait_s:
            self._streams.counters.joins_paced += 1
            _paced.warn_about(
                sender_of(connection.peer),
                "%(peer)s asks to play or publish more than %(rate)d times a second: its requests wait",
                {"peer": sender_of(connection.peer), "rate": JOINS_PER_S},
            )
        return wait_s

    async def _pass_time(self, wait_s: float) -> None:
        if wait_s:
            await asyncio.sleep(wait_s)
            self.turn.begin()

    # ---- verdicts ----------------------------------------------------------------------------

    def _start(
        self, connection: Connection, stream_id: int, request: Request,
        work: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:  # fmt: skip
        if not self._book.start(connection, stream_id, work):
            deny(connection, request, _TOO_MANY_WAIT)

    async def _allowed(
        self, connection: Connection, request: Request, answer: Awaitable[Verdict]
    ) -> Allow | None:
        """The answer, if the peer may go on; None if it was denied, or has gone meanwhile."""
        try:
            verdict = await answer
        except Exception:
            logger.exception(
                "nobody could decide; the peer is denied",
                extra={"event": "verdict_failed", **connection.facts()},
            )
            verdict = Deny("the server cannot decide now")
        self.turn.begin()
        if connection.close_reason is not None:
            return None
        if isinstance(verdict, Deny):
            deny(connection, request, verdict)
            return None
        if not isinstance(request, events.ConnectRequested) and not connection.settle(request):
            return None
        connection.user = verdict.user or connection.user
        if verdict.ends_at is not None:
            ends_at = self.now + verdict.ends_at - time.time()
            connection.ends_at = min(ends_at, connection.ends_at or math.inf)
        return verdict

    # ---- the rest ----------------------------------------------------------------------------

    def _shared_object_received(
        self, connection: Connection, event: events.SharedObjectReceived
    ) -> None:
        """Shared objects live in this worker, for the peers of one app that are connected to it."""
        app = connection.session.app
        replies = self._shared_objects.receive(connection, app, event.shared, self.now)
        connection.session.in_use = self._shared_objects.uses(connection)
        self._streams.counters.shared_objects_refused = self._shared_objects.refused
        for user, message in replies:
            user.session.send_shared_object(message)
            user.write_control()  # one by one: a user that does not read is closed before the next

    def _close_requested(self, connection: Connection, event: events.CloseRequested) -> None:
        connection.end(CloseReason.PEER_CLOSED, "by its close command")
