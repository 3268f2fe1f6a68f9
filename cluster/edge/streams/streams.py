"""The streams of one worker by stream key: who reads them, and how long they are kept.

A stream exists here while it is published here or played here. Its log is fed either by a publisher of
this worker (``Publishing``) or, spliced from the bus, by the worker that is its origin (``Remote``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.media.log_entry import LogEntry
from cluster.core.top_streams import StreamNumbers
from cluster.edge.streams.async_reader import AsyncReader
from cluster.edge.streams.budget import MemoryBudget
from cluster.edge.streams.chores import Chores
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.events import Listeners
from cluster.edge.streams.following import Following
from cluster.edge.streams.interfaces import Encoding, EndOfRead, Follower, Sink, Uplink
from cluster.edge.streams.publishing import Publishing
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.remote import Remote
from cluster.edge.streams.room import EndlessRoom, Room
from cluster.edge.streams.rules import StreamRules
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.turn import Turn
from cluster.edge.streams.waiting import Waiting
from cluster.process.stranger_lines import ELSEWHERE, StrangerLines, host_of

logger = logging.getLogger(__name__)

#: Lines a second about who plays and publishes; the rest is summed. A peer that plays and stops without end
#: makes as many as it likes.
SERVED_LINES_PER_S = 20
#: The memory of the streams is added up every this many sweeps, whatever has come in: to be shown.
SWEEPS_PER_SETTLING = 4


class Streams:
    """All streams of one worker. ``open_uplink`` is given what the link is to ask and tell.

        streams = Streams(rules, counters, turn, lambda remote: Link(..., handler=remote, ...))
        reader = streams.play("live/a", sink, encoding)
        await streams.publishing.request("live/a", publisher)
    """

    def __init__(
        self, rules: StreamRules, counters: Counters, turn: Turn, open_uplink: Callable[[Remote], Uplink]
    ) -> None:
        self.rules = rules
        self.counters = counters
        self.turn = turn
        self.by_key: dict[str, Stream] = {}
        self.listeners = Listeners()
        #: Who knows whether one more may play or publish: to be asked before.
        self.room: Room = EndlessRoom()
        #: The streams that somebody publishes, here or elsewhere, or did so until a moment ago.
        self._fed: dict[Stream, None] = {}
        self._waiting = Waiting()
        #: Streams whose last reader has left since the last sweep.
        self._left: list[Stream] = []
        self._chores = Chores(turn)
        self.lines = StrangerLines(
            logger, "served", lambda: turn.now, event="served_summed", per_s=SERVED_LINES_PER_S
        )
        self._sweeps = 0
        self.budget = MemoryBudget(self, rules.worker_bytes)
        turn.look_back = self.budget.look
        self.publishing = Publishing(self)
        self.remote = Remote(self)
        self.uplink = open_uplink(self.remote)

    def play(
        self, key: str, sink: Sink, encoding: Encoding, limit_ms: int | None = None, *, live: bool = False
    ) -> Reader:
        """Read ``key`` into ``sink``: from the log, or once there is a publisher.

        ``limit_ms`` of media at most, counted from the first frame; None for all there is. ``live``: what
        has been published so far is left out, if there is a publisher.
        """
        stream = self.open(key)
        reader = Reader(stream, sink, encoding, self.turn.now, limit_ms)
        sink.begin(reader)
        self.counters.players += 1
        stream.add(reader, live=live)
        if not stream.is_local:
            self.remote.watch(key)
        if stream not in self._fed:
            self._wait(reader)
        if self.lines.admit(logging.INFO, "play", host_of(sink.name)):
            has_left = stream.epoch is not None and stream.offline_since is not None
            text = "play %(stream)s, whose publisher has left" if has_left else "play %(stream)s"
            fields = {"stream": key, "role": "player"}
            logger.info(text, fields, extra={"event": "play", **sink.facts})
        self.listeners.play_started(key, reader)
        return reader

    def read(self, key: str, encoding: Encoding, name: str = "") -> AsyncReader:
        """Read ``key`` in a coroutine: iterate over what is returned, and ``reader.leave()`` to stop."""
        sink = AsyncReader(self.turn, name)
        self.play(key, sink, encoding)
        return sink

    def follow(self, key: str, follower: Follower) -> Following:
        """Give ``follower`` the messages of ``key``, from the log or once there is a publisher."""
        stream = self.open(key)
        following = Following(stream, follower, self._left.append)
        stream.follow(following)
        if not stream.is_local:
            self.remote.watch(key)
        return following

    def open(self, key: str) -> Stream:
        """The stream ``key``, made if there is none; one that nobody needs goes with the next sweep."""
        stream = self.by_key.get(key)
        if stream is None:
            stream = self.by_key[key] = Stream(key, self, self.rules.log, self.rules.slow)
        return stream

    def numbers(self, facts: Iterable[StreamFacts]) -> Iterator[StreamNumbers]:
        """What ``facts`` say, and how long media takes to the players here."""
        for row in facts:
            stream = self.by_key.get(row.key)
            delay_s = None if stream is None else stream.passage.delay_s
            yield StreamNumbers(row.key, row.players, row.bits_per_second / 8, delay_s)

    # ---- time --------------------------------------------------------------------------------

    def live(self) -> Iterable[Stream]:
        """The streams that have something in their log."""
        return self._fed

    def sweep(self) -> None:
        """What happens by time alone: slow readers, grace periods, streams nobody needs any more."""
        self.turn.begin()
        for stream in list(self._fed):
            stream.sweep(self.turn.now)
            if stream.offline_since is not None:
                self._fade(stream, stream.offline_since)
        for key in self._waiting.due(self.turn.now):
            self._chores.later(key, partial(self._look_at_waiting, key))
        self._chores.begin()
        left, self._left = self._left, []
        for stream in left:
            self._chores.later(stream, partial(self._drop_unneeded, stream))
        self._chores.begin()
        self.counters.streams = len(self.by_key)
        self.counters.streams_waiting = len(self._waiting)
        self._sweeps += 1
        if self._sweeps % SWEEPS_PER_SETTLING == 0:
            self.lines.tick()
            self.budget.settle()

    def _look_at_waiting(self, key: str) -> None:
        stream = self.by_key.get(key)
        if stream is not None and stream.offline_since is not None:
            self._dismiss_waiting(stream, stream.offline_since)

    def _fade(self, stream: Stream, offline_since: float) -> None:
        """The publisher of ``stream`` has left. After the grace period nothing of its log is kept."""
        self._dismiss_waiting(stream, offline_since)
        self._drop_unneeded(stream)
        if stream in self._fed and self.turn.now >= offline_since + self.rules.publish_grace_s:
            del self._fed[stream]
            self._log_end(stream)
            stream.log.forget()
            for reader in stream.readers:
                self._remind(reader)

    def _log_end(self, stream: Stream) -> None:
        if not self.lines.admit(logging.INFO, "stream_ended", ELSEWHERE):
            return
        fields = {
            "stream": stream.key, "grace_s": self.rules.publish_grace_s,
            "waiting": sum(not reader.was_told_end for reader in stream.readers),
        }  # fmt: skip
        logger.info(
            "stream %(stream)s has ended: its publisher has not come back for %(grace_s)g s",
            fields, extra={"event": "stream_ended"},
        )  # fmt: skip

    def _wait(self, reader: Reader) -> None:
        """``reader`` waits for a stream that nobody has published."""
        self._remind(reader)
        longest = self._waiting.add(reader.stream)
        if longest is not None:
            self.counters.streams_dismissed += 1
            for each in list(longest.readers):
                why = f"too many streams are waited for: nobody has published {longest.key} so far"
                each.sink.over(EndOfRead.NOT_FOUND, why)
                each.leave()

    def _remind(self, reader: Reader) -> None:
        self._waiting.remind(reader.stream.key, reader.joined_at + self.rules.play_wait_s)

    def _drop_unneeded(self, stream: Stream) -> None:
        """Forget ``stream`` if nobody reads it, nor publishes it here."""
        if stream.is_read or stream.is_local or self.by_key.get(stream.key) is not stream:
            return
        del self.by_key[stream.key]
        stream.retire()
        self._fed.pop(stream, None)
        self._waiting.discard(stream)
        self.remote.unwatch(stream.key)

    def _dismiss_waiting(self, stream: Stream, offline_since: float) -> None:
        """The readers of a stream without publisher are told so once their time is up.

        A reader that was there when the publisher left has the grace period, a later one the play wait.
        """
        now, rules = self.turn.now, self.rules
        grace_is_over = now >= offline_since + rules.publish_grace_s
        for reader in list(stream.readers):
            if reader.joined_at < offline_since:
                if grace_is_over and not reader.was_told_end:
                    self._tell_end(stream, reader)
            elif now >= reader.joined_at + rules.play_wait_s:
                why = f"nobody has published {stream.key} within {rules.play_wait_s:g} s"
                if stream.epoch is not None:
                    left_s = round(now - offline_since)
                    why = f"the publisher of {stream.key} left {left_s} s ago and has not come back"
                reader.sink.over(EndOfRead.NOT_FOUND, why)
                reader.leave()

    def _tell_end(self, stream: Stream, reader: Reader) -> None:
        """The stream has ended. A reader that stays waits for it to return."""
        if not reader.sink.over(EndOfRead.ENDED, f"{stream.key} has ended"):
            reader.leave()
        elif reader in stream.readers:
            reader.was_told_end = True
            stream.park(reader)

    def tell_return(self, stream: Stream) -> None:
        """A publisher begins: who was told the end is told the beginning, before its first message."""
        self._fed[stream] = None
        self._waiting.discard(stream)
        for reader in [reader for reader in stream.readers if reader.was_told_end]:
            reader.was_told_end = False
            reader.sink.returned()

    # ---- called by streams -------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.turn.now

    def arrived_at(self, stream: Stream) -> float:
        feed = self.publishing.feed(stream.key)
        return self.turn.now - (feed.publisher.unread_s if feed is not None else 0.0)

    def clock(self) -> float:
        return self.turn.clock()

    @property
    def dirty_streams(self) -> list[Stream]:
        return self.turn.dirty_streams

    @property
    def segment_ms(self) -> int:
        return round(self.rules.segment_s * 1000)

    def audience_changed(self, stream: Stream) -> None:
        """Somebody has begun, or the last one has ceased, to listen to ``stream``."""
        self.publishing.audience_changed(stream.key)

    def publish_to_bus(self, stream: Stream, first_seq: int, entries: list[LogEntry]) -> None:
        """A flush of a stream that other workers play: one envelope, whatever the number of readers."""
        assert stream.epoch is not None
        more = bool(self.turn.dirty_streams)
        waited_s = stream.passage.origin_s if stream.passage.is_due else None
        self.uplink.publish(stream.key, stream.epoch, first_seq, entries, more=more, waited_s=waited_s)

    def read_over(self, reader: Reader) -> None:
        """``reader`` has been sent as much as it asked for: it is told so after this turn."""
        self.turn.loop.call_soon(self._complete, reader)

    def _complete(self, reader: Reader) -> None:
        self.turn.begin()
        if reader in reader.stream.readers:  # it has not stopped by itself meanwhile
            reader.sink.over(EndOfRead.COMPLETE, "")
            reader.leave()

    def catch_up_later(self, reader: Reader) -> None:
        """``reader`` has been sent much and lacks more: it goes on in a later turn."""
        self._chores.later(reader, reader.catch_up)

    def reader_left(self, reader: Reader) -> None:
        """``reader`` reads no more."""
        self.counters.players -= 1
        if not reader.stream.is_read:
            self._left.append(reader.stream)
        self.listeners.play_ended(reader.stream.key, reader)
