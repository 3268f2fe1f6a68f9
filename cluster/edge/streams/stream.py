"""One live stream in one worker: its log, and its readers by how they stand to it.

    in step     has everything up to the last flush; the next flush is one ``send`` of shared bytes
    private     the same, but needs bytes of its own (an encoding of its own, audio or video off, or its
                video is held back for a keyframe)
    behind      its socket is full, or it has just joined; reads the log from its own cursor
    awaiting    waits for a publisher
    paused      in none of these; resuming is joining at the latest keyframe, or where it stopped if later

No reader has a queue: a slow one costs a cursor and the one message its socket cut in two.

Only video waits for a keyframe: headers and audio go out at once. While the video of a stream is gone, its
audio is the same for everyone, so a reader that needs a keyframe is in step all the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cluster.core.media.log_entry import LogEntry
from cluster.core.media.stream_log import LogLimits, StreamLog
from cluster.core.message import Buffer, Message
from cluster.edge.streams.fan_out import Send, cut_at, send_to_all
from cluster.edge.streams.interfaces import Encoding, EndOfRead
from cluster.edge.streams.owner import SlowRule, StreamOwner
from cluster.edge.streams.reader import Reader

#: Media handed at once to a sink: a slow reader pins little of the log, a join takes few system calls.
CATCH_UP_BYTES = 512 * 1024

#: Nobody reads the log: nothing is kept for a cursor.
_KEEP_NOTHING = sys.maxsize


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
        self.readers: dict[Reader, None] = {}
        self.flushed_seq = 0
        self._owner = owner
        self._slow_rule = slow
        self._keyframe_wait_s = log_limits.keyframe_wait_ms / 1000
        self._has_audience = False
        self._dirty = False
        self._seq_at_sweep = 0
        #: By encoding, because those of one get the same bytes.
        self._in_step: dict[Encoding, dict[Reader, Send]] = {}
        self._private: set[Reader] = set()
        self._behind: set[Reader] = set()
        self._awaiting: set[Reader] = set()
        #: Of those in step, the ones that need a keyframe.
        self._pictureless: set[Reader] = set()

    @property
    def is_heard(self) -> bool:
        """A reader waits for its messages, here or elsewhere, or a program."""
        return self._has_audience or self.tap is not None

    # ---- feeding -----------------------------------------------------------------------------

    def begin(self, epoch: int, *, is_local: bool) -> None:
        """A publisher begins: the log is fed by ``epoch`` from here on, and readers stay.

        Whoever waits for a publisher reads from its first message.
        """
        if self._dirty:
            self.flush()
        same_clock = epoch == self.epoch  # a gap that could not be filled, not another publisher
        self.epoch = epoch
        self.is_local = is_local
        self.offline_since = None
        self.log.restart(None if same_clock else int((self._owner.now - self.last_media_at) * 1000))
        self.last_media_at = self._owner.now
        self.flushed_seq = self.log.next_seq
        self._pictureless.clear()
        for reader in self.readers:
            reader.leave_out_gap()
            if reader not in self._behind:
                reader.needs_keyframe_since = None  # the log itself begins its video with one
        for reader in list(self._awaiting):
            reader.needs_headers = False  # they are the first messages of the new publisher
            self._place(reader, self.flushed_seq)

    def reappear(self) -> None:
        """The publisher was thought gone and never was: who waits for one joins."""
        self.offline_since = None
        waiting, self._awaiting = self._awaiting, set()
        for reader in waiting:
            self._join(reader)

    def append(self, message: Message) -> None:
        """One message of the publisher; it goes out at the end of this turn."""
        if self.tap is not None:
            self.tap(message)
        if self.log.append(message) is None:
            self._owner.counters.publisher_messages_dropped += 1
        elif self._has_audience and not self._dirty:
            self._dirty = True
            self._owner.dirty_streams.append(self)

    def end(self) -> None:
        """The publisher left; readers stay, for as long as the owner's grace lasts."""
        if self._dirty:
            self.flush()  # its last messages, while it still counts as ours: the bus wants them too
        if self.offline_since is None:
            self.offline_since = self._owner.now
        self.is_local = False

    def set_wanted(self, wanted: bool) -> None:
        self.wanted = wanted
        self._note_audience()

    # ---- fan-out -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything appended since the last flush goes out: one write per reader in step."""
        self._dirty = False
        log = self.log
        first_seq = max(self.flushed_seq, log.first_seq)
        entries = log.read(first_seq, log.next_seq)
        self.flushed_seq = log.next_seq
        if not entries:
            return
        if self.wanted and self.is_local:
            self._owner.publish_to_bus(self, first_seq, entries)
        if self._pictureless and any(entry.is_video_frame for entry in entries):
            self._hold_video_back(first_seq)
        for encoding, sends in list(self._in_step.items()):
            self._send_to_all(encoding, sends, first_seq, entries)
        for reader in list(self._private):
            self.catch_up(reader)
        self._note_kept()

    def _send_to_all(
        self, encoding: Encoding, sends: dict[Reader, Send], first_seq: int, entries: list[LogEntry]
    ) -> None:
        buffers: list[Buffer] = []
        for entry in entries:
            buffers += encoding.entry(entry)
        batch = b"".join(buffers)
        size = len(batch)
        sent, failed = send_to_all(sends, batch)
        counters = self._owner.counters
        counters.writes += len(sent)
        counters.bytes_sent += sum(sent)
        if sent.count(size) < len(sent):
            for reader, count in list(zip(sends, sent, strict=True)):
                if count < size:
                    self._cut(reader, count, first_seq, entries)
        for reader, error in failed:
            reader.sink.failed(error)

    def _cut(self, reader: Reader, sent: int, first_seq: int, entries: list[LogEntry]) -> None:
        """``reader``'s socket took only ``sent`` bytes of the flush: it goes on from the log.

        Only the rest of the message that was cut is kept for it, not the rest of the flush.
        """
        self._take_out(reader)
        self._behind.add(reader)
        reader.behind_since = self._owner.now
        taken, rest = cut_at(reader.encoding, entries, sent)
        self._owner.counters.bytes_sent += sum(map(len, rest))
        reader.seq = first_seq + taken
        reader.sink.keep(rest)

    # ---- readers -----------------------------------------------------------------------------

    def add(self, reader: Reader) -> None:
        """A reader joins: at the latest keyframe, or at the next message, or when there is any."""
        self.readers[reader] = None
        self._note_audience()
        self._join(reader)

    def remove(self, reader: Reader) -> None:
        if reader in self.readers:
            del self.readers[reader]
            self._take_out(reader)
            self._note_audience()
            self._owner.reader_left(reader)

    def pause(self, reader: Reader) -> None:
        """``reader`` is sent nothing until it is resumed; what it misses is not counted as a loss."""
        reader.paused = True
        if self._is_in_step(reader):
            reader.seq = self.flushed_seq
        self._take_out(reader)
        reader.behind_since = None

    def resume(self, reader: Reader) -> None:
        """A pause is over: ``reader`` goes on at the latest keyframe, but nothing is sent twice."""
        if not reader.paused:
            return
        reader.paused = False
        self._take_out(reader)
        reader.leave_out_gap()
        reader.needs_headers = True
        self._join(reader, not_before=reader.seq)

    def change_media(self, reader: Reader, *, audio: bool, video: bool) -> None:
        """``reader`` wants these media from here on. Video that it did not want begins with a keyframe."""
        if video and not reader.video and self.log.has_video:
            reader.needs_keyframe_since = self._owner.now
        reader.audio, reader.video = audio, video
        reader.needs_headers = True
        if reader.paused or reader in self._awaiting:
            return
        if self._is_in_step(reader):
            reader.seq = self.flushed_seq
        self._take_out(reader)
        self._place(reader, reader.seq)

    def park(self, reader: Reader) -> None:
        """The stream has ended for ``reader``: of the old log it gets no more, unlike in the grace period.

        One that is paused stays in no set, and is paused when the stream returns.
        """
        reader.behind_since = None
        if reader in self._behind:
            self._owner.counters.player_messages_dropped += max(0, self.flushed_seq - reader.seq)
        if self._is_in_step(reader) or reader in self._private or reader in self._behind:
            self._take_out(reader)
            reader.leave_out_gap()
            reader.needs_headers = True
            self._join(reader)
        self.log.forget()  # readers may wait for hours

    def fell_behind(self, reader: Reader) -> None:
        """Bytes wait for its socket: it reads from the log until it has caught up."""
        if self._is_in_step(reader):
            reader.seq = self.flushed_seq
        elif reader not in self._private:
            return
        self._take_out(reader)
        self._behind.add(reader)
        reader.behind_since = self._owner.now

    def catch_up(self, reader: Reader) -> bool:
        """Send ``reader`` what it lacks; False if its socket is full before it has caught up."""
        if reader in self._private:
            self._private.discard(reader)
            self._behind.add(reader)
        elif reader not in self._behind:
            return True
        sink = reader.sink
        log = self.log
        while not sink.is_full:
            if reader.seq < log.first_seq:
                self._skip(reader)
            starts_at = reader.seq
            entries = log.read(starts_at, self.flushed_seq, CATCH_UP_BYTES)
            reader.seq += len(entries)
            buffers = reader.encode(entries)
            if reader.held_back:
                self._owner.counters.player_video_held_back += reader.held_back
                reader.held_back = 0
            if reader.is_over:
                self._owner.read_over(reader)
            if reader.needs_greeting:
                headers = log.headers_for(starts_at) if reader.needs_headers else []
                reader.needs_headers = False
                buffers = reader.encode_greeting(headers) + buffers
            self._owner.counters.bytes_sent += sum(map(len, buffers))
            if buffers and not sink.write(buffers):
                break
            if reader.seq >= self.flushed_seq:
                self._caught_up(reader)
                return True
        if reader in self._behind and reader.behind_since is None:
            reader.behind_since = self._owner.now
        return False

    def sweep(self, now: float) -> None:
        """A few times a second: the slow reader rule, and whether the publisher sends."""
        if self.log.next_seq != self._seq_at_sweep:
            self._seq_at_sweep = self.log.next_seq
            self.last_media_at = now
        self.log.note_gone()
        for reader in [reader for reader in self._behind if reader.behind_since is not None]:
            if now - reader.behind_since > self._slow_rule.close_s:  # type: ignore[operator]
                why = f"{self._slow_rule.close_s:g} s behind without catching up"
                reader.sink.over(EndOfRead.SLOW, why)
                reader.leave()
            elif self.log.lag_ms(reader.seq) > self._slow_rule.skip_ms:
                self._skip(reader)
        for reader in self._private:
            since = reader.needs_keyframe_since
            if since is not None and now - since >= self._keyframe_wait_s and not self.log.video_is_gone:
                reader.needs_keyframe_since = None  # no keyframe comes: its video begins where it is
        self._note_kept()

    def _join(self, reader: Reader, not_before: int = 0) -> None:
        if self.offline_since is not None:
            reader.seq = self.flushed_seq
            self._awaiting.add(reader)
        else:
            self._place(reader, self._start_of(reader, not_before))

    def _start_of(self, reader: Reader, not_before: int = 0) -> int:
        """Where ``reader`` goes that joins now; if not at a keyframe, it needs the next one.

        A keyframe that has not been flushed yet comes with the next flush. One that has had all up to
        ``not_before`` goes on there if that is later.
        """
        log = self.log
        start = min(log.start_of_join(), self.flushed_seq)
        if start < not_before:
            return not_before
        at_keyframe = start == log.join_seq
        reader.needs_keyframe_since = self._owner.now if log.has_video and not at_keyframe else None
        return start

    def _place(self, reader: Reader, seq: int) -> None:
        reader.seq = seq
        self._awaiting.discard(reader)
        self._behind.add(reader)
        self.catch_up(reader)

    def _caught_up(self, reader: Reader) -> None:
        self._behind.discard(reader)
        reader.behind_since = None
        needs_keyframe = reader.needs_keyframe_since is not None
        if reader.takes_shared_bytes and (not needs_keyframe or self.log.video_is_gone):
            self._in_step.setdefault(reader.encoding, {})[reader] = reader.sink.send
            if needs_keyframe:
                self._pictureless.add(reader)
        else:
            self._private.add(reader)
        reader.sink.caught_up()

    def _hold_video_back(self, first_seq: int) -> None:
        """Video that was gone returns in the flush from ``first_seq``: not for who needs a keyframe."""
        for reader in list(self._pictureless):
            self._take_out(reader)
            reader.seq = first_seq
            reader.needs_keyframe_since = self._owner.now
            self._private.add(reader)

    def _skip(self, reader: Reader) -> None:
        """Move a reader that is too far behind to the newest keyframe, or else to the live end."""
        was_at, needed_since = reader.seq, reader.needs_keyframe_since
        reader.seq = self._start_of(reader)
        if reader.seq <= was_at:
            reader.seq = self.flushed_seq
            reader.needs_keyframe_since = self._owner.now if self.log.has_video else None
        if reader.needs_keyframe_since is not None and needed_since is not None:
            reader.needs_keyframe_since = needed_since
        counters = self._owner.counters
        counters.player_skips += 1
        counters.player_messages_dropped += reader.seq - was_at
        reader.skipped += reader.seq - was_at
        reader.needs_headers = True

    def _is_in_step(self, reader: Reader) -> bool:
        return reader in self._in_step.get(reader.encoding, ())

    def _take_out(self, reader: Reader) -> None:
        if self._is_in_step(reader):
            of_its_encoding = self._in_step[reader.encoding]
            del of_its_encoding[reader]
            if not of_its_encoding:
                del self._in_step[reader.encoding]
        self._private.discard(reader)
        self._behind.discard(reader)
        self._awaiting.discard(reader)
        self._pictureless.discard(reader)

    # ---- what the log must keep --------------------------------------------------------------

    def _note_audience(self) -> None:
        had, self._has_audience = self._has_audience, bool(self.readers) or self.wanted
        if self._has_audience and not had:
            self.flushed_seq = self.log.next_seq
        if self._has_audience != had:
            self._owner.audience_changed(self)
        self._note_kept()

    def _note_kept(self) -> None:
        self.log.unsent_from = self.flushed_seq if self._has_audience else _KEEP_NOTHING
        if not self._has_audience:
            self.log.keep_from = _KEEP_NOTHING
        elif self._behind:
            self.log.keep_from = min(self.flushed_seq, min(reader.seq for reader in self._behind))
        else:
            self.log.keep_from = self.flushed_seq
