"""One live stream in one worker: its log, who feeds it, and how it goes out to its readers."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import Mark, Marker, MarkError, decode_mark
from cluster.core.media.stream_log import LogLimits, StreamLog
from cluster.core.message import Buffer, Message
from cluster.edge.streams.description import Description
from cluster.edge.streams.fan_out import Send, send_to_all
from cluster.edge.streams.following import Following
from cluster.edge.streams.interfaces import Encoding
from cluster.edge.streams.owner import SlowRule, StreamOwner
from cluster.edge.streams.passage import Passage
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.readers import Readers

#: Nobody reads the log: nothing is kept for a cursor.
_KEEP_NOTHING = sys.maxsize


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Stream:
    """The stream log of one key and everyone who reads it.

    ``epoch``: of the publisher that feeds the log, None before the first. ``is_local``: that one is on this
    worker. ``offline_since``: when the publisher left, None while there is one. ``wanted``: another worker
    plays this stream, so flushes also go to the bus. ``tap`` is given each message of the publisher too.
    """

    def __init__(self, key: str, owner: StreamOwner, log_limits: LogLimits, slow: SlowRule) -> None:
        self.key = key
        self.log = StreamLog(log_limits)
        self.log.keep_from = _KEEP_NOTHING
        self.epoch: int | None = None
        self.is_local = False
        self.offline_since: float | None = owner.now
        self.last_media_at = owner.now
        self.wanted = False
        self.tap: Callable[[Message], None] | None = None
        #: Where the messages of its latest publisher begin in the log.
        self.began_seq = 0
        self.flushed_seq = 0
        self.passage = Passage(owner.counters)
        #: Missing in what came over the bus; snapshots may have brought some of it.
        self.lost_messages = 0
        #: Of the last report: what has been appended to its log.
        self.bits_per_second = 0
        self.readers = Readers(self, owner, slow, log_limits.keyframe_wait_ms / 1000)
        self._followings: tuple[Following, ...] = ()
        self._description: Description | None = None
        self._owner = owner
        self._has_audience = False
        self._dirty = False
        self._holds_audio = False
        self._seq_at_sweep = 0

    @property
    def is_read(self) -> bool:
        """Somebody on this worker wants it, whether it is published or not."""
        return bool(self.readers or self._followings)

    @property
    def is_heard(self) -> bool:
        """A reader waits for its messages, here or elsewhere, or a program."""
        return self._has_audience or self.tap is not None

    @property
    def audio_may_wait(self) -> bool:
        """All who listen want its video too: nobody misses audio that comes with the next frame."""
        return self._has_audience and not self.readers.without_video

    def description(self) -> Description:
        """What its headers say: the same object for as long as they say the same."""
        headers = self.log.headers()
        if self._description is None or not self._description.is_of(headers):
            self._description = Description(headers)
        return self._description

    # ---- feeding -----------------------------------------------------------------------------

    def begin(self, epoch: int, *, is_local: bool) -> None:
        """A publisher begins: the log is fed by ``epoch`` from here on, and readers stay.

        Whoever waits for a publisher reads from its first message.
        """
        if self._dirty or self._holds_audio:
            self.flush()
        self.passage.forget()
        self._description = None
        same_clock = epoch == self.epoch  # a gap that could not be filled, not another publisher
        self.epoch = epoch
        self.is_local = is_local
        self.offline_since = None
        if not same_clock:
            self.began_seq = self.log.next_seq
        self.log.restart(None if same_clock else int((self._owner.now - self.last_media_at) * 1000))
        self.log.marker = self._new_marker() if is_local else None
        self.last_media_at = self._owner.now
        self.flushed_seq = self.log.next_seq
        self.readers.begin()
        for following in self._followings:
            following.follower.began([], [], at_origin=is_local)

    def reappear(self) -> None:
        """The publisher was thought gone and never was: who waits for one joins."""
        self.offline_since = None
        self.readers.reappear()
        for following in self._followings:
            self._begin_to_follow(following)

    def append(self, message: Message) -> LogEntry | None:
        """One message of the publisher; it goes out at the end of this turn. None: it has been dropped."""
        if self.tap is not None:
            self.tap(message)
        entry = self.log.append(message)
        if entry is None:
            self._owner.counters.publisher_messages_dropped += 1
        elif self._has_audience and not self._dirty:
            self._dirty = True
            self._owner.dirty_streams.append(self)
        return entry

    def append_quietly(self, message: Message) -> None:
        """One message of the publisher; it goes out with the next that goes out, or at ``send_held``."""
        if self.tap is not None:
            self.tap(message)
        if self.log.append(message) is None:
            self._owner.counters.publisher_messages_dropped += 1
        else:
            self._holds_audio = self._has_audience

    def send_held(self) -> None:
        """What has been appended quietly goes out at the end of this turn."""
        if self._holds_audio and not self._dirty:
            self._dirty = True
            self.passage.is_due = False  # it has not just arrived
            self._owner.dirty_streams.append(self)

    def end(self) -> None:
        """The publisher left; readers stay, for as long as the owner's grace lasts."""
        if self._dirty or self._holds_audio:
            self.flush()  # its last messages, while it still counts as ours: the bus wants them too
        if self.offline_since is None:
            self.offline_since = self._owner.now
        self.is_local = False
        self.log.marker = None
        self._description = None
        for following in self._followings:
            following.follower.left()

    def set_wanted(self, wanted: bool) -> None:
        self.wanted = wanted
        self._note_audience()

    # ---- fan-out -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything appended since the last flush goes out: one write per reader in step."""
        self._dirty = self._holds_audio = False
        log = self.log
        first_seq = max(self.flushed_seq, log.first_seq)
        is_whole = first_seq == self.flushed_seq
        entries = log.read(first_seq, log.next_seq)
        self.flushed_seq = log.next_seq
        if not entries:
            return
        owner, is_looked_at = self._owner, self.passage.is_due
        if is_looked_at:
            self.passage.begin(owner.arrived_at(self), owner.clock(), at_origin=self.is_local)
        if self.wanted and self.is_local:
            owner.publish_to_bus(self, first_seq, entries)
        readers = self.readers
        if readers.pictureless and any(entry.is_video_frame for entry in entries):
            readers.hold_video_back(first_seq)
        for following in self._followings:
            if is_whole:
                following.follower.flushed(entries)
            else:  # there was more than the log may keep
                self._begin_to_follow(following)
        for encoding, sends in list(readers.in_step.items()):
            self._send_to_all(encoding, sends, first_seq, entries)
        for reader in list(readers.private):
            readers.catch_up(reader)
        if readers.not_begun:
            readers.note_begun(entries)
        if is_looked_at:
            self.passage.end(owner.clock())
        self._note_kept()

    def _send_to_all(
        self, encoding: Encoding, sends: dict[Reader, Send], first_seq: int, entries: list[LogEntry]
    ) -> None:
        buffers: list[Buffer] = []
        for entry in entries:
            buffers += encoding.entry(entry)
        batch = b"".join(buffers)
        if not batch:
            return  # a mark alone
        size = len(batch)
        sent, failed = send_to_all(sends, batch)
        counters = self._owner.counters
        counters.writes += len(sent)
        counters.bytes_sent += sum(sent)
        if sent.count(size) < len(sent):
            for reader, count in list(zip(sends, sent, strict=True)):
                if count < size:
                    self.readers.cut(reader, count, first_seq, entries)
        for reader, error in failed:
            reader.sink.failed(error)

    # ---- readers -----------------------------------------------------------------------------

    def add(self, reader: Reader, *, live: bool = False) -> None:
        """A reader joins: at the latest keyframe, or at the next message, or when there is any."""
        self.readers.add(reader)
        self._note_audience()
        self.readers.join(reader, live=live)

    def remove(self, reader: Reader) -> None:
        """Without effect if ``reader`` has left already."""
        if self.readers.remove(reader):
            self._note_audience()
            self._owner.reader_left(reader)

    def follow(self, following: Following) -> None:
        """A follower joins: at the latest keyframe, or with the next message, or when there is any."""
        self._followings = (*self._followings, following)
        self._note_audience()
        if self.offline_since is None:
            self._begin_to_follow(following)

    def unfollow(self, following: Following) -> bool:
        """False if it has left already."""
        if following not in self._followings:
            return False
        self._followings = tuple(each for each in self._followings if each is not following)
        self._note_audience()
        return True

    def _begin_to_follow(self, following: Following) -> None:
        log = self.log
        start = min(log.start_of_join(), self.flushed_seq)
        entries = log.read(start, self.flushed_seq)
        following.follower.began(log.headers_for(start), entries, at_origin=self.is_local)

    def park(self, reader: Reader) -> None:
        """The stream has ended for ``reader``, which stays."""
        self.readers.park(reader)
        self.log.forget()  # readers may wait for hours

    def retire(self) -> None:
        """Nobody needs the stream any more. What it has kept is freed now, not when the garbage collector
        comes: by then there may be much of it."""
        self.log.clear()
        self._description = None
        self.readers.retire()

    def sweep(self, now: float) -> None:
        """A few times a second: what happens to readers by time, and whether the publisher sends."""
        if self.log.next_seq != self._seq_at_sweep:
            self._seq_at_sweep = self.log.next_seq
            self.last_media_at = now
        if self.is_local and self._has_audience:
            self.passage.look()
        self.log.note_gone()
        if self.log.mark_overdue():
            self._seq_at_sweep = self.log.next_seq  # the publisher has not sent it
        self.readers.sweep(now)
        self._note_kept()

    def _new_marker(self) -> Marker:
        """Its segments go on from those that another origin has numbered, if there were any."""
        last: Mark | None = None
        if self.log.last_mark:
            with contextlib.suppress(MarkError):  # of a node of another version
                last = decode_mark(self.log.last_mark)
        return Marker(self._owner.segment_ms, _wall_ms, last, self.log.timeline.audio_since_ms)

    # ---- what the log must keep --------------------------------------------------------------

    def _note_audience(self) -> None:
        had, self._has_audience = self._has_audience, self.is_read or self.wanted
        if self._has_audience and not had:
            self.flushed_seq = self.log.next_seq
        if self._has_audience != had:
            self._owner.audience_changed(self)
        self._note_kept()

    def _note_kept(self) -> None:
        self.log.unsent_from = self.flushed_seq if self._has_audience else _KEEP_NOTHING
        if not self._has_audience:
            self.log.keep_from = _KEEP_NOTHING
        elif self.readers.behind:
            self.log.keep_from = min(self.flushed_seq, min(reader.seq for reader in self.readers.behind))
        else:
            self.log.keep_from = self.flushed_seq
