"""The streams of one worker: who publishes, who plays, and what the link to the routers does for them.

A stream exists here while it is published here or played here. Its log is fed either by a publisher
of this worker or, spliced from the bus, by the worker that is its origin; players notice neither.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from dataclasses import dataclass

from cluster.core.bus.control import DRAINING, Granted, Refused, Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.splice import Splice, SpliceOutput, SpliceState
from cluster.core.errors import CloseReason
from cluster.core.media.log_entry import LogEntry
from cluster.core.rtmp.arguments import TO_THE_END
from cluster.core.rtmp.status import Code, Level
from cluster.edge.embed.decisions import Decisions
from cluster.edge.link.link import Link
from cluster.edge.link.local import LocalLink
from cluster.edge.node.config import EdgeConfig
from cluster.edge.rtmp.connection import Connection
from cluster.edge.rtmp.player import Player
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.stream import SlowPlayerRule, Stream

logger = logging.getLogger(__name__)

#: A play of more than a year asks for no less than a play without an end.
_LONGEST_PLAY_S = 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Publisher:
    """A publisher of this worker, and the epoch it was granted."""

    connection: Connection
    stream_id: int
    epoch: int


class Hub:
    """All streams of one worker by stream key. ``now`` is the loop's time, refreshed at each wake-up."""

    def __init__(self, config: EdgeConfig, counters: Counters, loop: asyncio.AbstractEventLoop) -> None:
        self.link: Link | LocalLink  # set by the worker: the two need each other
        self.decisions: Decisions | None = None  # of an embedding program
        self.counters = counters
        self.streams: dict[str, Stream] = {}
        self.dirty_streams: list[Stream] = []
        self.now = loop.time()
        self._config = config
        self._loop = loop
        self._slow_rule = SlowPlayerRule(round(config.slow_skip_s * 1000), config.slow_close_s)
        self._publishers: dict[str, Publisher] = {}
        self._splices: dict[str, Splice] = {}
        self._requests: dict[tuple[Connection, int], asyncio.Task[None]] = {}
        self._flush_scheduled = False

    # ---- turns -------------------------------------------------------------------------------

    def before_turn(self) -> None:
        """A wake-up begins: one look at the clock serves everything in it."""
        self.now = self._loop.time()

    def after_turn(self) -> None:
        """Everything that arrived in this turn goes out, one write per player."""
        while self.dirty_streams:
            self.dirty_streams.pop().flush()

    def _flush_soon(self) -> None:
        """What the bus brought in this iteration of the loop goes out together, at its end."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self.after_turn()

    def sweep(self) -> None:
        """What happens by time alone: slow players, grace periods, streams nobody needs any more."""
        self.now = self._loop.time()
        for stream in list(self.streams.values()):
            stream.sweep(self.now)
            if stream.offline_since is not None:
                self._dismiss_waiting(stream)
            if not stream.players and not stream.is_local:
                self._drop(stream)
        self.counters.streams = len(self.streams)

    def _dismiss_waiting(self, stream: Stream) -> None:
        """The players of a stream without publisher are told so once their time is up.

        Who saw the publisher leave is kept for the grace period, who came later for the play wait.
        """
        assert stream.offline_since is not None
        grace_is_over = self.now >= stream.offline_since + self._config.publish_grace_s
        for player in list(stream.players):
            if player.joined_at < stream.offline_since:
                if grace_is_over and not player.was_told_end:
                    self._tell_end(player)
            elif self.now >= player.joined_at + self._config.play_wait_s:
                self._not_found(player)

    def _tell_end(self, player: Player) -> None:
        """The stream has ended. Who does not leave waits for it to return; a playlist goes on instead."""
        connection = player.connection
        if connection.players.get(player.stream_id) is not player:
            return  # it has stopped by itself meanwhile
        if connection.session.suspend_play(player.stream_id):
            player.was_told_end = True
            player.stream.park(player)
            connection.write_control()
        else:
            self._play_ended(player)

    def _tell_return(self, stream: Stream) -> None:
        """A publisher begins: who was told the end is told the beginning, before its first message."""
        for player in [player for player in stream.players if player.was_told_end]:
            player.was_told_end = False
            player.connection.session.resume_play(player.stream_id)
            player.connection.write_control()

    def _play_ended(self, player: Player) -> None:
        connection = player.connection
        self.end_play(connection, player.stream_id)
        connection.receive(b"")  # the next of its playlist
        connection.update_pace()  # what it asks for next is answered at once

    def _not_found(self, player: Player) -> None:
        why = f"nobody has published {player.stream.key} within {self._config.play_wait_s:g} s"
        player.connection.session.send_status(
            player.stream_id, Level.ERROR, Code.PLAY_STREAM_NOT_FOUND, why
        )
        player.connection.end(CloseReason.STREAM_NOT_FOUND, why)

    async def close(self) -> None:
        """Cancel what still waits for a router."""
        requests = list(self._requests.values())
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)

    # ---- playing -----------------------------------------------------------------------------

    def play_over(self, player: Player) -> None:
        """``player`` has been sent as much as it asked for."""
        self._loop.call_soon(self._complete, player)

    def _complete(self, player: Player) -> None:
        self.before_turn()
        connection = player.connection
        if connection.players.get(player.stream_id) is player:  # it has not stopped by itself meanwhile
            connection.session.end_play(player.stream_id)
            self._play_ended(player)

    def play(
        self, connection: Connection, stream_id: int, key: str, duration_s: float = TO_THE_END
    ) -> None:
        """``connection`` plays ``key`` on ``stream_id``: from the log, or once there is a publisher.

        ``duration_s`` of media at most, counted from the first frame.
        """
        if not connection.session.accept_play(stream_id):
            return  # it closed the stream while a decision was pending
        connection.write_control()
        if connection.close_reason is not None:
            return
        stream = self._stream(key)
        limit_ms = None if duration_s == TO_THE_END else round(min(duration_s, _LONGEST_PLAY_S) * 1000)
        player = Player(connection, stream_id, stream, self.now, limit_ms)
        connection.players[stream_id] = player
        self.counters.players += 1
        stream.add(player)
        if not stream.is_local and key not in self._splices:
            self._splices[key] = Splice()
            self.link.watch(key)
        logger.info("play %s", key, extra={"event": "play", "stream": key, "peer": connection.peer})
        if self.decisions is not None:
            self.decisions.playing(connection, key, True)

    def end_play(self, connection: Connection, stream_id: int) -> None:
        """The player leaves; its stream goes with the next sweep if nobody needs it."""
        player = connection.players.pop(stream_id, None)
        if player is not None:
            player.stream.remove(player)
            self.counters.players -= 1
            if self.decisions is not None:
                self.decisions.playing(connection, player.stream.key, False)

    def _stream(self, key: str) -> Stream:
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream(key, self, self._config.log_limits(), self._slow_rule)
        return stream

    def _drop(self, stream: Stream) -> None:
        del self.streams[stream.key]
        self._unwatch(stream.key)

    def _unwatch(self, key: str) -> None:
        if self._splices.pop(key, None) is not None:
            self.link.unwatch(key)

    # ---- publishing --------------------------------------------------------------------------

    def publish(self, connection: Connection, stream_id: int, key: str) -> None:
        """``connection`` wants to publish ``key``: the registry decides, the session waits."""
        place = connection, stream_id
        request = self._requests[place] = self._loop.create_task(self._publish(connection, stream_id, key))
        request.add_done_callback(lambda _: self._answered(place, request))

    def _answered(self, place: tuple[Connection, int], request: asyncio.Task[None]) -> None:
        if self._requests.get(place) is request:
            del self._requests[place]

    def _take_back(self, connection: Connection, stream_id: int) -> None:
        """The peer does not want to publish any more: the answer must not go to what it does next."""
        request = self._requests.pop((connection, stream_id), None)
        if request is not None:
            request.cancel()

    async def _publish(self, connection: Connection, stream_id: int, key: str) -> None:
        replace = self._config.on_duplicate == "replace"
        answer = await self.link.request_publish(key, replace=replace)
        self.before_turn()
        if isinstance(answer, Refused):
            if connection.close_reason is None:
                self._refuse(connection, stream_id, key, answer)
            return
        publisher = self._publishers.get(key)
        if publisher is not None:
            # Asked for at the same time, and granted before the link's decision for this one.
            self._replace(publisher, key, "another publisher took over")
        if connection.close_reason is not None or not self._start(connection, stream_id, key, answer):
            self.link.unpublish(key, answer.epoch)

    def _refuse(self, connection: Connection, stream_id: int, key: str, refused: Refused) -> None:
        if refused.reason == DRAINING:
            code, why = Code.PUBLISH_DENIED, "this node is shutting down; connect again"
        else:
            code, why = Code.PUBLISH_BAD_NAME, f"{key} is already being published"
        connection.session.reject_publish(stream_id, code, why)
        connection.end(CloseReason.PUBLISH_REFUSED, why)

    def _start(self, connection: Connection, stream_id: int, key: str, granted: Granted) -> bool:
        if not connection.session.accept_publish(stream_id):
            return False  # it closed the stream while the registry was asked
        stream = self._stream(key)
        self._unwatch(key)
        epoch = granted.epoch
        self._tell_return(stream)
        stream.begin(epoch, is_local=True)
        stream.set_wanted(self.link.wanted(key))
        self._publishers[key] = Publisher(connection, stream_id, epoch)
        connection.publications[stream_id] = stream
        self.counters.publishers += 1
        logger.info(
            "publish %s", key,
            extra={"event": "publish", "stream": key, "epoch": epoch, "peer": connection.peer},
        )  # fmt: skip
        if self.decisions is not None:
            stream.tap = functools.partial(self.decisions.message, key)
            self.decisions.publishing(connection, key, True)
        connection.update_pace()
        connection.receive(b"")  # what it has sent already, while the registry was asked
        self.after_turn()
        return True

    def end_publish(self, connection: Connection, stream_id: int) -> None:
        """The publisher leaves; its players wait for it to return, here or elsewhere."""
        stream = connection.publications.pop(stream_id, None)
        if stream is None:
            self._take_back(connection, stream_id)
            return
        publisher = self._publishers.pop(stream.key)
        self.counters.publishers -= 1
        self.link.unpublish(stream.key, publisher.epoch)
        stream.end()
        connection.update_pace()
        if stream.players:
            self._splices[stream.key] = Splice()
            self.link.watch(stream.key)
        logger.info("unpublish %s", stream.key, extra={"event": "unpublish", "stream": stream.key})
        if self.decisions is not None:
            stream.tap = None
            self.decisions.publishing(connection, stream.key, False)

    def _replace(self, publisher: Publisher, key: str, why: str) -> None:
        publisher.connection.session.end_publish(publisher.stream_id, Code.PUBLISH_BAD_NAME, why)
        publisher.connection.end(CloseReason.PUBLISHER_REPLACED, f"{key}: {why}")

    def audience_changed(self, stream: Stream) -> None:
        """Somebody has begun, or the last one has ceased, to listen to ``stream``."""
        publisher = self._publishers.get(stream.key)
        if publisher is not None:
            publisher.connection.update_pace()

    def publish_to_bus(self, stream: Stream, first_seq: int, entries: list[LogEntry]) -> None:
        """A flush of a stream that other workers play: one envelope, whatever the number of players."""
        assert stream.epoch is not None
        self.link.publish(stream.key, stream.epoch, first_seq, entries)

    # ---- called by the link ------------------------------------------------------------------

    def contest(self, key: str, replace: bool) -> bool:
        """Another publisher wants ``key``. Ours yields if told to, or if it has gone silent."""
        publisher = self._publishers.get(key)
        if publisher is None:
            return True
        self.before_turn()
        silent_s = self.now - self.streams[key].last_media_at
        if not replace and silent_s < self._config.publisher_timeout_s:
            return False
        self._replace(publisher, key, "another publisher took over")
        return True

    def revoked(self, key: str, epoch: int) -> None:
        """Another worker publishes ``key`` with a higher epoch: ours was the loser of a partition."""
        publisher = self._publishers.get(key)
        if publisher is not None and publisher.epoch == epoch:
            self.before_turn()
            self._replace(publisher, key, "another publisher has the stream")

    def demand_changed(self, key: str, wanted: bool) -> None:
        """Another worker has begun, or the last one has ceased, to play ``key``."""
        stream = self.streams.get(key)
        if stream is not None:
            stream.set_wanted(wanted)

    def snapshot_requested(self, key: str) -> Snapshot | None:
        """What another worker needs to join a stream that is published here."""
        stream = self.streams.get(key)
        if stream is None or not stream.is_local or stream.epoch is None:
            return None
        # What waits for the end of the turn must not be in the snapshot and in an envelope after it.
        stream.flush()
        log = stream.log
        start = log.start_of_join()
        entries = log.read(start, log.next_seq)
        return Snapshot(
            key, stream.epoch, log.next_seq,
            [entry.message() for entry in log.headers_for(start)], [entry.message() for entry in entries],
        )  # fmt: skip

    def stream_up(self, key: str, epoch: int, origin: str) -> None:
        """The registry says who publishes a stream that is played here."""
        splice = self._splices.get(key)
        if splice is not None:
            self._apply(key, splice, splice.stream_up(epoch, origin))
            if splice.state is SpliceState.LIVE:
                stream = self.streams[key]
                self._tell_return(stream)
                stream.reappear()

    def stream_down(self, key: str, epoch: int) -> None:
        """The publisher elsewhere is gone."""
        splice = self._splices.get(key)
        if splice is not None and epoch >= splice.epoch:
            self.before_turn()
            self.streams[key].end()

    def envelope_received(self, envelope: Envelope) -> None:
        """Live messages of a stream that is played here and published elsewhere."""
        splice = self._splices.get(envelope.key)
        if splice is not None:
            self._apply(envelope.key, splice, splice.envelope(envelope))

    def snapshot_received(self, snapshot: Snapshot) -> None:
        """The answer to our request: the stream's headers and its log since the latest keyframe."""
        splice = self._splices.get(snapshot.key)
        if splice is not None:
            self._apply(snapshot.key, splice, splice.snapshot(snapshot))

    def _apply(self, key: str, splice: Splice, output: SpliceOutput) -> None:
        self.before_turn()
        stream = self.streams[key]
        if output.lost_messages:
            self.counters.bus_gaps += 1
        if output.snapshot_needed:
            self.link.request_snapshot(key)
        if output.restarted:
            self._tell_return(stream)
            stream.begin(splice.epoch, is_local=False)
            for header in output.headers:
                stream.append(header)
        for message in output.messages:
            stream.append(message)
        if self.dirty_streams:
            self._flush_soon()
