"""The stream log: what one worker keeps of one live stream, and where a player stands in it.

A stream is a log, a player is a cursor. The log holds the headers a joiner needs (metadata, sequence
headers) and the messages since the latest keyframe, more while a slow player still needs them, up to
a bound in bytes and in media time. Joining is placing a cursor; there is no second structure.

A stream may have several tracks of a medium. A header concerns its own track only. Joins start at the
keyframes of video track 0.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cluster.core.limits import MIB
from cluster.core.media.classify import NOT_FRAME, MediaFlags, data_handler_name, flags_of, track_ids
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.log_headers import LogHeaders, stamped
from cluster.core.media.marks import Marker
from cluster.core.media.timeline import Timeline, medium_of
from cluster.core.message import Buffer, Message, MessageType

#: Plain ints: one ``&`` in the hot path instead of an enum operation.
_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_MULTITRACK = int(MediaFlags.MULTITRACK)
_ANY_KEYFRAME = _KEYFRAME | int(MediaFlags.OTHER_KEYFRAME)
_HEADER = int(MediaFlags.SEQUENCE_HEADER | MediaFlags.METADATA | MediaFlags.CONFIG)
_NOT_FRAME = int(NOT_FRAME)
_VIDEO_TYPE = int(MessageType.VIDEO)
_MARK_TYPE = int(MessageType.MARK)
_DATA_TYPES = (int(MessageType.DATA_AMF0), int(MessageType.DATA_AMF3))

#: Where joins start.
_JOIN_TRACK = 0

#: A log without video has no keyframe to trim at, and is trimmed when it has grown by so many messages.
_TRIM_EVERY_MESSAGES = 64

#: What an entry costs besides its payload, with its RTMP encoding: an empty message takes as much memory
#: (170 bytes before a player has read it, 270 to 320 after, with CPython 3.11).
ENTRY_BYTES = 320

#: A medium that has sent no frame for so long, while the other went on, is gone: who joins must not wait
#: for it, nor begin so far behind live. Longer than the pauses of an encoder that still runs.
GONE_AFTER_MS = 5_000


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of a stream one worker keeps; beyond any bound the oldest messages go."""

    #: Six seconds of 40 Mbit/s, with ENTRY_BYTES for each message: more than any sane keyframe interval.
    max_bytes: int = 32 * MIB
    #: Thirty seconds of a thousand messages a second, where real streams send a hundred: a join walks them.
    max_entries: int = 32_768
    #: A joiner must not start further behind live than this.
    max_ms: int = 30_000
    #: Video is held back for a keyframe for this long at most. Encoders with intra refresh send none.
    keyframe_wait_ms: int = 10_000


class StreamLog:
    """The messages of one stream, numbered from 0 for as long as the worker knows the stream.

    ``next_seq`` is the number the next message gets, ``first_seq`` that of the oldest one kept.
    ``join_seq`` is the keyframe a joiner starts at; None while there is none to start at. ``has_video``:
    its publisher has sent video, or a header of it. ``keep_from`` is set by the owner: the oldest number
    a player still has to be sent. So is ``unsent_from``: the oldest number that has not been offered to
    anyone, which time alone does not make old: stamps may leap. ``headers_seq``: the headers are those of
    the last message with this number or a smaller one. ``marker``: says where segments begin, while this
    worker is the origin. ``last_mark``: where the latest did, before its keyframe; joins start at it.
    """

    __slots__ = (
        "_cost_before_join", "_cost_bytes", "_cost_trimmed", "_entries", "_gone", "_headers", "_limits",
        "_next_trim", "_started", "_waiting_since_ms", "dropped_before_keyframe", "first_seq", "has_video",
        "headers_seq", "join_seq", "keep_from", "last_mark", "marker", "next_seq", "timeline",
        "unsent_from",
    )  # fmt: skip

    def __init__(self, limits: LogLimits | None = None) -> None:
        self._limits = limits or LogLimits()
        self._entries: list[LogEntry] = []
        self._headers = LogHeaders()
        self._cost_bytes = 0
        self._cost_trimmed = 0
        self._cost_before_join = 0  # of all messages before the one at join_seq
        self._next_trim = _TRIM_EVERY_MESSAGES
        #: The video tracks that have had a keyframe since their publisher began or their header changed.
        self._started: set[int] = set()
        #: When the others had their first frame, by the stream's progress.
        self._waiting_since_ms: dict[int, int] = {}
        #: The types of media that are gone.
        self._gone: frozenset[int] = frozenset()
        self.timeline = Timeline()
        self.first_seq = 0
        self.next_seq = 0
        self.keep_from = 0
        self.unsent_from = sys.maxsize
        self.join_seq: int | None = None
        self.has_video = False
        self.dropped_before_keyframe = 0
        self.headers_seq = 0
        self.marker: Marker | None = None
        self.last_mark = b""

    @property
    def bytes_held(self) -> int:
        """Payload bytes kept, headers not counted."""
        return self._cost_bytes - ENTRY_BYTES * len(self._entries)

    @property
    def bytes_appended(self) -> int:
        """Payload bytes there have ever been."""
        return self._cost_appended - ENTRY_BYTES * self.next_seq

    @property
    def cost_bytes(self) -> int:
        """The memory of all that is kept: payloads, headers, and ENTRY_BYTES for each message."""
        return self._cost_bytes + self._headers.cost_bytes

    @property
    def headers_cost_bytes(self) -> int:
        """The part of the headers: what every joiner is sent."""
        return self._headers.cost_bytes

    @property
    def cost_since_join(self) -> int:
        """What a joiner is sent at once: the cost of the messages since the latest keyframe."""
        return 0 if self.join_seq is None else self._cost_appended - self._cost_before_join

    @property
    def _cost_appended(self) -> int:
        """What all messages there have ever been would cost."""
        return self._cost_trimmed + self._cost_bytes

    @property
    def duration_ms(self) -> int:
        """Media time from the oldest message kept to the newest."""
        return self.timeline.progress_ms - self._entries[0].progress_ms if self._entries else 0

    def append(self, message: Message) -> LogEntry | None:
        """Add one message; None if it was dropped because no decoder could use it yet."""
        type_id, wire_ms, payload, _ = message
        flags = flags_of(type_id, payload)
        timeline = self.timeline
        if flags & _NOT_FRAME:
            if type_id == _MARK_TYPE:
                return self._mark(bytes(payload))
            placed_ms = timeline.place_other(type_id, flags, payload, wire_ms)
            entry = LogEntry(type_id, placed_ms, payload, flags, timeline.progress_ms, wire_ms)
            if flags & _HEADER:
                changed = self._headers.remember(entry, is_joinable=self.join_seq is not None)
                if changed is None:
                    return None
                if self.marker is not None:
                    self.marker.header(type_id, payload)
                if changed or (flags & _VIDEO and not self.has_video):
                    self._await_keyframe(changed)
                self.has_video = self.has_video or flags & _VIDEO != 0
                self.headers_seq = self.next_seq
            elif flags & _DATA and data_handler_name(payload) == "@clearDataFrame":
                self._headers.forget_metadata()
        else:
            medium = medium_of(type_id, flags, payload) if flags & _MULTITRACK else type_id
            placed_ms = timeline.place(medium, wire_ms)
            if self._gone and type_id in self._gone:
                self._return(type_id, placed_ms)
            if flags & _VIDEO:
                if flags & _KEYFRAME:
                    self._begin_at_keyframe()
                if (flags & _MULTITRACK or _JOIN_TRACK not in self._started) and not self._may_pass(
                    type_id, flags, payload
                ):
                    self.dropped_before_keyframe += 1
                    return None
            entry = LogEntry(type_id, placed_ms, payload, flags, timeline.progress_ms, wire_ms)
        self._entries.append(entry)
        self._cost_bytes += len(payload) + ENTRY_BYTES
        if self.next_seq >= self._next_trim or self._cost_bytes > self._limits.max_bytes:
            self._trim(self._limits.max_bytes)
        self.next_seq += 1
        return entry

    def restart(self, gap_ms: int | None) -> None:
        """A new beginning: what comes does not follow on what came, which nobody may join any more.

        With a new publisher, players that read on see its messages ``gap_ms`` of media time after the
        old ones; None keeps the clock (the same publisher, after a loss). Its video goes on with its
        first keyframe.
        """
        if gap_ms is not None:
            self.timeline.restart(gap_ms)
        self._headers.clear()
        self._started.clear()
        self._waiting_since_ms.clear()
        self._gone = frozenset()
        self.join_seq = None
        self.has_video = False

    def forget(self) -> None:
        """Keep no message: the stream has ended, and nobody will read on. Headers stay."""
        self._cost_trimmed += self._cost_bytes
        self._entries.clear()
        self._cost_bytes = 0
        self.first_seq = self.next_seq
        self.join_seq = None

    def clear(self) -> None:
        """Keep nothing at all: nobody needs the stream any more."""
        self.forget()
        self._headers.clear()

    def shrink(self, max_bytes: int) -> None:
        """Drop the oldest messages until the rest costs no more, or one is left. Headers stay."""
        self._trim(max_bytes)

    def headers(self) -> list[LogEntry]:
        """The current headers, in replay order: one list, not to be changed, until there are others."""
        return self._headers.current()

    def headers_for(self, seq: int) -> list[LogEntry]:
        """What a joiner at ``seq`` is sent before the messages from there.

        Each header stands where the first message of its medium does: some players choke on a jump
        after them, and a medium never goes back. onMetaData stands at 0.
        """
        wanted = self._headers.for_join(at_keyframe=seq == self.join_seq, gone=self._gone)
        firsts = self._first_timestamps(seq, {header.type_id for header in wanted})
        return [stamped(header, firsts, self.timeline) for header in wanted]

    def start_of_join(self) -> int:
        """Where a new player's cursor goes: the latest keyframe, or the live end."""
        return self.next_seq if self.join_seq is None else self.join_seq

    @property
    def video_is_gone(self) -> bool:
        """Whether the publisher has stopped sending video, and goes on with audio."""
        return _VIDEO_TYPE in self._gone

    def note_gone(self) -> None:
        """Now and then: see which medium has stopped while the other goes on.

        Until it returns, nobody joins at its last keyframe, and joiners are not told of it: FFmpeg waits
        for a medium that has a header or stands in the metadata.
        """
        for type_id in self._headers.media():
            if self.timeline.silent_ms(type_id) > GONE_AFTER_MS:
                self._gone |= {type_id}
        if self.video_is_gone:
            self.join_seq = None

    def read(self, seq: int, end_seq: int, max_bytes: int | None = None) -> list[LogEntry]:
        """The messages from ``seq`` up to, not including, ``end_seq``.

        With ``max_bytes``, as many as fit and at least one. ``seq`` must not be older than ``first_seq``.
        """
        entries = self._entries[seq - self.first_seq : end_seq - self.first_seq]
        if max_bytes is None:
            return entries
        total = 0
        for count, entry in enumerate(entries):
            total += len(entry.payload) + ENTRY_BYTES
            if total > max_bytes and count:
                return entries[:count]
        return entries

    def lag_ms(self, seq: int) -> int:
        """How far behind live, in media time, a cursor at ``seq`` is; a number no longer kept counts
        as the whole log."""
        if seq >= self.next_seq or not self._entries:
            return 0
        return self.timeline.progress_ms - self._entries[max(0, seq - self.first_seq)].progress_ms

    def _return(self, type_id: int, placed_ms: int) -> None:
        """A medium that was gone sends again: its headers go out anew, for those who joined meanwhile."""
        self._gone -= {type_id}
        for known in self.headers():
            if known.type_id == type_id or known.flags & _DATA:
                timestamp = 0 if known.flags & _DATA else placed_ms
                progress_ms = self.timeline.progress_ms
                entry = LogEntry(
                    known.type_id, timestamp, known.payload, known.flags, progress_ms, known.wire_ms
                )
                self._entries.append(entry)
                self._cost_bytes += len(entry.payload) + ENTRY_BYTES
                self.next_seq += 1

    def _begin_at_keyframe(self) -> None:
        """The coming message is one that a joiner can start at."""
        self.has_video = True
        self._started.add(_JOIN_TRACK)
        self._waiting_since_ms.pop(_JOIN_TRACK, None)
        marker, now_ms = self.marker, self.timeline.note_keyframe()
        if marker is not None and (mark := marker.at_keyframe(now_ms, self._gone)):
            self._mark(mark)
        self.join_seq = self.next_seq
        self._cost_before_join = self._cost_appended
        if self._entries and self._entries[-1].type_id == _MARK_TYPE:
            self.join_seq -= 1
            self._cost_before_join -= len(self._entries[-1].payload) + ENTRY_BYTES
        self._headers.begin_at_keyframe()
        self._next_trim = self.next_seq

    def mark_overdue(self) -> bool:
        """Now and then: at the origin, begin a segment where no keyframe does. Whether one begins."""
        if self.marker is None:
            return False
        has_video, has_started = self.has_video and not self.video_is_gone, _JOIN_TRACK in self._started
        without_video_ms = 0 if has_video else self.timeline.silent_ms(_VIDEO_TYPE)
        mark = self.marker.overdue(self.timeline.progress_ms, without_video_ms, has_started, self._gone)
        if mark:
            self._mark(mark)
        return bool(mark)

    def _mark(self, payload: bytes) -> LogEntry:
        """The next message begins a segment. Players are sent nothing of it."""
        entry = LogEntry(_MARK_TYPE, 0, payload, _DATA, self.timeline.progress_ms, 0)
        entry.chunks = entry.tag = []
        self.last_mark = payload
        self._entries.append(entry)
        self._cost_bytes += len(payload) + ENTRY_BYTES
        self.next_seq += 1
        return entry

    def _await_keyframe(self, tracks: tuple[int, ...]) -> None:
        """The codec of video tracks changes: a decoder cannot use what refers to frames before that."""
        if self.marker is not None:
            self.marker.restart()
        self._started.difference_update(tracks)
        if _JOIN_TRACK in tracks:
            self.join_seq = None

    def _may_pass(self, type_id: int, flags: int, payload: Buffer) -> bool:
        """Whether a decoder can use this frame. Its tracks may still wait for their keyframe."""
        self.has_video = True
        tracks = track_ids(type_id, payload)
        if flags & _ANY_KEYFRAME:
            self._started.update(tracks)
        now_ms = self.timeline.progress_ms
        for track in tracks:
            since_ms = self._waiting_since_ms.setdefault(track, now_ms)
            if track not in self._started and now_ms - since_ms >= self._limits.keyframe_wait_ms:
                self._started.add(track)
        passes = any(track in self._started for track in tracks)
        if passes:
            for track in tracks:
                self._waiting_since_ms.pop(track, None)
        return passes

    def _first_timestamps(self, seq: int, wanted: set[int]) -> dict[int, int]:
        """By type, where the first message from ``seq`` on stands; without those that have none."""
        firsts: dict[int, int] = {}
        wanted.difference_update(_DATA_TYPES)
        for index in range(max(0, seq - self.first_seq), len(self._entries)):
            if len(firsts) == len(wanted):
                break
            entry = self._entries[index]
            if entry.type_id in wanted:
                firsts.setdefault(entry.type_id, entry.timestamp)
        return firsts

    def _trim(self, max_bytes: int) -> None:
        """Drop what nobody needs, and beyond the bounds also what somebody would have needed."""
        entries = self._entries
        start = self.join_seq if self.join_seq is not None else self.next_seq
        drop = max(0, min(start, self.keep_from) - self.first_seq)
        oldest_ms = self.timeline.progress_ms - self._limits.max_ms
        if self.first_seq + drop == self.join_seq:
            # What goes has long left the caches: the usual trim, at a keyframe, does not look at it.
            held = self._cost_appended - self._cost_before_join
        elif 2 * drop > len(entries):  # the usual trim: all but what the next flush sends
            held = _cost(entries[drop:])
        else:
            held = self._cost_bytes - _cost(entries[:drop])
        ages_until = self.unsent_from - self.first_seq
        left = len(entries) - drop
        while left > 1 and (
            held > max_bytes
            or left > self._limits.max_entries
            or (drop < ages_until and entries[drop].progress_ms < oldest_ms)
        ):
            held -= len(entries[drop].payload) + ENTRY_BYTES
            drop += 1
            left -= 1
        del entries[:drop]
        self._cost_trimmed += self._cost_bytes - held
        self._cost_bytes = held
        self.first_seq += drop
        if self.join_seq is not None and self.join_seq < self.first_seq:
            self.join_seq = None
        self._next_trim = self.next_seq + _TRIM_EVERY_MESSAGES


def _cost(entries: list[LogEntry]) -> int:
    """The memory of these, headers not counted."""
    return sum([len(entry.payload) for entry in entries]) + ENTRY_BYTES * len(entries)
