"""The readers of one stream, by how they stand to it (``reader_states``), and what moves them.

No reader has a queue: a slow one costs a cursor and the one message its socket cut in two.

Only video waits for a keyframe: headers and audio go out at once. While the video of a stream is gone, its
audio is the same for everyone, so a reader that needs a keyframe is in step all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from cluster.core.limits import MIB
from cluster.core.media.classify import NOT_FRAME
from cluster.core.media.log_entry import LogEntry
from cluster.edge.streams.fan_out import Send, cut_at
from cluster.edge.streams.interfaces import Encoding, EndOfRead
from cluster.edge.streams.owner import SlowRule, StreamOwner
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.reader_states import READER, ReaderInput, ReaderState

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream

#: Media handed at once to a sink: a slow reader pins little of the log, a join takes few system calls.
CATCH_UP_BYTES = 512 * 1024

#: A peer that pauses and resumes, or stops and plays, is sent the messages since the latest keyframe again
#: once in so long, or more rarely if they are many: a command has 40 bytes, and they may have 20 MB.
REJOIN_S = 1.0
REJOIN_BYTES_PER_S = 4 * MIB
#: So many such parts in one go, 2 MiB; then others have their turn.
CATCH_UPS_AT_ONCE = 4

_NOT_FRAME = int(NOT_FRAME)

# An enum's member is found more slowly than a name.
_IN_STEP, _PRIVATE, _BEHIND = ReaderState.IN_STEP, ReaderState.PRIVATE, ReaderState.BEHIND
_CAUGHT_UP, _CAUGHT_UP_ALONE = ReaderInput.CAUGHT_UP, ReaderInput.CAUGHT_UP_ALONE


class Readers:
    """The readers of ``stream``, in the order in which they joined.

    ``in_step``: by encoding, because those of one get the same bytes. ``pictureless``: of those in step,
    the ones that need a keyframe. ``without_video``: those that do not want it. ``not_begun``: those that
    have been sent no frame so far.
    """

    def __init__(self, stream: Stream, owner: StreamOwner, slow: SlowRule, keyframe_wait_s: float) -> None:
        self.in_step: dict[Encoding, dict[Reader, Send]] = {}
        self.pictureless: set[Reader] = set()
        self.private: set[Reader] = set()
        self.behind: set[Reader] = set()
        self.without_video: set[Reader] = set()
        self.not_begun: set[Reader] = set()
        #: Messages that slow ones were not sent.
        self.dropped = 0
        self._awaiting: set[Reader] = set()
        self._all: dict[Reader, None] = {}
        self._sets = {_PRIVATE: self.private, _BEHIND: self.behind, ReaderState.AWAITING: self._awaiting}
        self._stream = stream
        self._log = stream.log
        self._owner = owner
        self._slow_rule = slow
        self._keyframe_wait_s = keyframe_wait_s

    def __iter__(self) -> Iterator[Reader]:
        return iter(self._all)

    def __contains__(self, reader: Reader) -> bool:
        return reader in self._all

    def __len__(self) -> int:
        return len(self._all)

    def by_kind(self) -> dict[str, int]:
        """How many there are of each kind, without a look at each of those in step. Those who have paused
        are of no kind."""
        if not self._all:
            return {}
        counts: Counter[str] = Counter()
        for encoding, sends in self.in_step.items():
            counts[encoding.kind] += len(sends)
        for reader in chain(self.private, self.behind, self._awaiting):
            counts[reader.encoding.kind] += 1
        counts["paused"] = len(self._all) - counts.total()
        return {kind: count for kind, count in counts.items() if count}

    def _move(self, reader: Reader, what: ReaderInput) -> bool:
        """Do what the table says of ``what``; False if it is ignored."""
        before = reader.state
        after = READER.get((before, what))
        if after is before:
            return True
        if after is None:
            return False
        if before is _IN_STEP:
            self._fall_out_of_step(reader)
        elif before in self._sets:
            self._sets[before].discard(reader)
            reader.behind_since = None
        reader.state = after
        if after is _IN_STEP:
            self.in_step.setdefault(reader.encoding, {})[reader] = reader.sink.send
        elif after in self._sets:
            self._sets[after].add(reader)
        return True

    def _fall_out_of_step(self, reader: Reader) -> None:
        """From here on its cursor is its own."""
        reader.seq = self._stream.flushed_seq
        of_its_encoding = self.in_step[reader.encoding]
        del of_its_encoding[reader]
        if not of_its_encoding:
            del self.in_step[reader.encoding]
        self.pictureless.discard(reader)

    # ---- what its peer asks for --------------------------------------------------------------

    def add(self, reader: Reader) -> None:
        """``reader`` is one of them; ``join`` lets it read."""
        if self._move(reader, ReaderInput.JOIN):
            self._all[reader] = None
            self.not_begun.add(reader)

    def remove(self, reader: Reader) -> bool:
        """False if ``reader`` has left already."""
        if not self._move(reader, ReaderInput.LEAVE):
            return False
        del self._all[reader]
        self.without_video.discard(reader)
        self.not_begun.discard(reader)
        return True

    def pause(self, reader: Reader) -> None:
        """``reader`` is sent nothing until it is resumed; what it misses is not counted as a loss."""
        self._move(reader, ReaderInput.PAUSE)

    def resume(self, reader: Reader) -> None:
        """A pause is over: ``reader`` goes on at the latest keyframe, but nothing is sent twice.

        One that has been sent the past a moment ago (``REJOIN_S``) goes on live.
        """
        if self._move(reader, ReaderInput.RESUME):
            reader.leave_out_gap()
            live = self._owner.now < reader.rejoins_at
            reader.needs_headers = not live or reader.lacks_headers
            self.join(reader, not_before=reader.seq, live=live)

    def begin_late(self, reader: Reader, since_seq: int) -> bool:
        """See ``Reader``. Headers that stand before its first frame are those that it is told anyway."""
        if reader.state is not _BEHIND:
            return False
        log, flushed_seq = self._log, self._stream.flushed_seq
        reader.seq = max(reader.seq, since_seq, log.first_seq)
        for entry in log.read(reader.seq, flushed_seq):
            if not entry.flags & _NOT_FRAME:
                break
            reader.seq += 1
        reader.needs_headers = True
        self.catch_up(reader)
        return True

    def change_media(self, reader: Reader, *, audio: bool, video: bool) -> None:
        """``reader`` wants these media from here on. Video that it did not want begins with a keyframe."""
        if video and not reader.video and self._log.has_video:
            reader.needs_keyframe_since = self._owner.now
        reader.set_media(audio=audio, video=video)
        (self.without_video.discard if video else self.without_video.add)(reader)
        reader.needs_headers = reader.lacks_headers
        if self._move(reader, ReaderInput.WANT):
            self.catch_up(reader)

    # ---- what its sink tells -----------------------------------------------------------------

    def fell_behind(self, reader: Reader) -> None:
        """Bytes wait for its socket: it reads from the log until it has caught up."""
        if self._move(reader, ReaderInput.FULL) and reader.behind_since is None:
            reader.behind_since = self._owner.now

    def cut(self, reader: Reader, sent: int, first_seq: int, entries: list[LogEntry]) -> None:
        """Its socket took only ``sent`` bytes of the flush of ``entries``: it goes on from the log.

        Only the rest of the message that was cut is kept for it, not the rest of the flush.
        """
        if self._move(reader, ReaderInput.CUT):
            reader.behind_since = self._owner.now
            taken, rest = cut_at(reader.encoding, entries, sent)
            self._owner.counters.bytes_sent += sum(map(len, rest))
            reader.seq = first_seq + taken
            reader.sink.keep(rest)

    def catch_up(self, reader: Reader) -> bool:
        """Send ``reader`` what it lacks; False if its socket is full before it has caught up."""
        if reader.state is not _PRIVATE and reader.state is not _BEHIND:
            return True
        sink = reader.sink
        log = self._log
        stream = self._stream
        for _ in range(CATCH_UPS_AT_ONCE):
            if sink.is_full:
                break
            if reader.seq < log.first_seq:
                self._skip(reader)
            starts_at = reader.seq
            entries = log.read(starts_at, stream.flushed_seq, CATCH_UP_BYTES)
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
                reader.headers_seq = log.next_seq
                buffers = reader.encode_greeting(headers) + buffers
            self._owner.counters.bytes_sent += sum(map(len, buffers))
            if buffers and reader in self.not_begun:
                self._look_for_first_frame(reader, entries)
            if buffers and not sink.write(buffers):
                break
            if reader.seq >= stream.flushed_seq:
                self._caught_up(reader)
                return True
        else:
            self._owner.catch_up_later(reader)
        self.fell_behind(reader)
        return not sink.is_full

    def note_begun(self, entries: list[LogEntry]) -> None:
        """``entries`` have gone out to those in step: for some of them they may be the first."""
        for reader in [each for each in self.not_begun if each.state is _IN_STEP]:
            self._look_for_first_frame(reader, entries)

    def _look_for_first_frame(self, reader: Reader, entries: list[LogEntry]) -> None:
        """A picture, if there are any: audio alone is no beginning while a keyframe is waited for."""
        if reader.needs_keyframe_since is None and any(not each.flags & _NOT_FRAME for each in entries):
            self.not_begun.discard(reader)
            self._owner.counters.join_seconds.note(max(0.0, self._owner.clock() - reader.joined_at))

    def _caught_up(self, reader: Reader) -> None:
        """``reader`` has everything there is, unless it left while it was written to."""
        needs_keyframe = reader.needs_keyframe_since is not None
        shares = reader.takes_shared_bytes and (not needs_keyframe or self._log.video_is_gone)
        if self._move(reader, _CAUGHT_UP if shares else _CAUGHT_UP_ALONE):
            if shares and needs_keyframe:
                self.pictureless.add(reader)
            reader.sink.caught_up()

    # ---- what becomes of the stream ----------------------------------------------------------

    def begin(self) -> None:
        """The log has been begun anew: who waits for a publisher reads from its first message."""
        self.pictureless.clear()
        for reader in self._all:
            reader.leave_out_gap()
            if reader.state is not _BEHIND:
                reader.needs_keyframe_since = None  # the log itself begins its video with one
        for reader in list(self._awaiting):
            reader.needs_headers = False  # they are the first messages of the new publisher
            self._place(reader, self._stream.flushed_seq)

    def reappear(self) -> None:
        """There is a publisher, and always was: who waits for one joins."""
        for reader in list(self._awaiting):
            self.join(reader)

    def park(self, reader: Reader) -> None:
        """The stream has ended for ``reader``.

        Of the old log it gets no more, unlike in the grace period.
        """
        if reader.state is _BEHIND:
            self._owner.counters.player_messages_dropped += max(0, self._stream.flushed_seq - reader.seq)
        if self._move(reader, ReaderInput.PARK):
            reader.leave_out_gap()
            reader.needs_headers = True
            self.join(reader)

    def hold_video_back(self, first_seq: int) -> None:
        """Video that was gone returns in the flush from ``first_seq``: not for who needs a keyframe."""
        for reader in list(self.pictureless):
            if self._move(reader, ReaderInput.VIDEO_RETURNED):
                reader.seq = first_seq
                reader.needs_keyframe_since = self._owner.now

    def sweep(self, now: float) -> None:
        """A few times a second: the slow reader rule, and the bound of the wait for a keyframe."""
        for reader in list(self.behind):
            since = reader.behind_since
            if since is None:
                continue  # it left with another one of its connection
            if now - since > self._slow_rule.close_s:
                why = f"{self._slow_rule.close_s:g} s behind without catching up"
                reader.sink.over(EndOfRead.SLOW, why)
                reader.leave()
            elif self._log.lag_ms(reader.seq) > self._slow_rule.skip_ms:
                self._skip(reader)
        for reader in self.private:
            since = reader.needs_keyframe_since
            if since is not None and now - since >= self._keyframe_wait_s and not self._log.video_is_gone:
                reader.needs_keyframe_since = None  # no keyframe comes: its video begins where it is

    def retire(self) -> None:
        """The stream is over and has no reader. Without the circle, both are freed at once."""
        del self._stream

    # ---- where a reader goes -----------------------------------------------------------------

    def join(self, reader: Reader, not_before: int = 0, *, live: bool = False) -> None:
        """``reader``, which awaits a publisher, reads if there is one.

        It begins at the latest keyframe, or with the next message, but not in front of ``not_before``.
        ``live``: with the next message in any case.
        """
        if self._stream.offline_since is not None:
            reader.seq = self._stream.flushed_seq
        elif live:
            self._place(reader, self._live_end(reader))
        else:
            wait_s = max(REJOIN_S, self._log.cost_since_join / REJOIN_BYTES_PER_S)
            reader.rejoins_at = self._owner.now + wait_s
            self._place(reader, self._start_of(reader, not_before))

    def _place(self, reader: Reader, seq: int) -> None:
        if self._move(reader, ReaderInput.PLACE):
            reader.seq = seq
            self.catch_up(reader)

    def _start_of(self, reader: Reader, not_before: int = 0) -> int:
        """Where ``reader`` goes that joins now; if not at a keyframe, it needs the next one.

        A keyframe that has not been flushed yet comes with the next flush. One that has had all up to
        ``not_before`` goes on there if that is later.
        """
        log = self._log
        start = min(log.start_of_join(), self._stream.flushed_seq)
        if start < not_before:
            return not_before
        at_keyframe = start == log.join_seq
        reader.needs_keyframe_since = self._owner.now if log.has_video and not at_keyframe else None
        return start

    def _live_end(self, reader: Reader) -> int:
        """Where ``reader`` goes that gets nothing but what comes; its video begins with a keyframe."""
        reader.needs_keyframe_since = self._owner.now if self._log.has_video else None
        return self._stream.flushed_seq

    def _skip(self, reader: Reader) -> None:
        """Move a reader that is too far behind to the newest keyframe, or else to the live end."""
        was_at, needed_since = reader.seq, reader.needs_keyframe_since
        reader.seq = self._start_of(reader)
        if reader.seq <= was_at:
            reader.seq = self._live_end(reader)
        if reader.needs_keyframe_since is not None and needed_since is not None:
            reader.needs_keyframe_since = needed_since
        counters = self._owner.counters
        counters.player_skips += 1
        counters.player_messages_dropped += reader.seq - was_at
        self.dropped += reader.seq - was_at
        reader.skipped += reader.seq - was_at
        reader.needs_headers = True
