"""The stream log: what one worker keeps of one live stream, and where a player stands in it.

A stream is a log, a player is a cursor. The log holds the headers a joiner needs (metadata, sequence
headers) and the messages since the latest keyframe, more while a slow player still needs them, up to
a bound in bytes and in media time. Joining is placing a cursor; there is no second structure.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.core.limits import MIB
from cluster.core.media.classify import (
    HeaderKey,
    MediaFlags,
    data_handler_name,
    flags_of,
    header_key,
    header_order,
    is_empty_header,
)
from cluster.core.media.timeline import Timeline
from cluster.core.message import Buffer, Message

#: Plain ints: one ``&`` in the hot path instead of an enum operation.
_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_HEADER = int(MediaFlags.SEQUENCE_HEADER | MediaFlags.METADATA | MediaFlags.CONFIG)
_NOT_FRAME = _HEADER | int(MediaFlags.END_OF_SEQUENCE | MediaFlags.COMMAND)

#: A stream without video has no keyframe to trim at; its log is trimmed each time it has grown by
#: this many messages, so that trimming costs nothing per message.
_TRIM_EVERY_MESSAGES = 64

#: Cached headers per stream: 16 tracks with up to three kinds each. One more replaces the oldest.
MAX_HEADERS = 48

#: A larger header is passed on but not cached; real ones, even HDR metadata, take some hundred bytes.
MAX_HEADER_BYTES = 64 * 1024
#: onMetaData, of which there is one, may have the keyframe index of a recording in it: nine bytes or more
#: for each keyframe and number.
MAX_METADATA_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of a stream one worker keeps; beyond either bound the oldest messages go."""

    #: Six seconds of 40 Mbit/s: more than a keyframe interval of any sane encoder.
    max_bytes: int = 32 * MIB
    #: A joiner must not start further behind live than this.
    max_ms: int = 30_000


class LogEntry:
    """One message in a log. ``chunks`` caches its RTMP encoding once any player reads it."""

    __slots__ = ("chunks", "flags", "payload", "timestamp", "type_id")

    def __init__(self, type_id: int, timestamp: int, payload: bytes | memoryview, flags: int) -> None:
        self.type_id = type_id
        self.timestamp = timestamp
        self.payload = payload
        self.flags = flags
        self.chunks: list[Buffer] | None = None

    def message(self, stream_id: int = 0) -> Message:
        """This entry as a message on ``stream_id``, its timestamp not yet cut to 32 bits."""
        return Message(self.type_id, self.timestamp, self.payload, stream_id)


class StreamLog:
    """The messages of one stream, numbered from 0 for as long as the worker knows the stream.

    ``next_seq`` is the number the next message gets, ``first_seq`` that of the oldest one kept.
    ``join_seq`` is the keyframe a joiner starts at; None while there is none to start at.
    ``keep_from`` is set by the owner: the oldest number a player still has to be sent.
    """

    __slots__ = (
        "_awaiting_keyframe", "_bytes", "_bytes_before_join", "_entries", "_headers", "_limits",
        "_next_trim", "_trimmed_bytes", "dropped_before_keyframe", "first_seq", "has_video", "join_seq",
        "keep_from", "next_seq", "timeline",
    )  # fmt: skip

    def __init__(self, limits: LogLimits | None = None) -> None:
        self._limits = limits or LogLimits()
        self._entries: list[LogEntry] = []
        self._headers: dict[HeaderKey, LogEntry] = {}
        self._bytes = 0
        self._trimmed_bytes = 0
        self._bytes_before_join = 0  # ever appended before the message at join_seq
        self._next_trim = _TRIM_EVERY_MESSAGES
        self._awaiting_keyframe = True
        self.timeline = Timeline()
        self.first_seq = 0
        self.next_seq = 0
        self.keep_from = 0
        self.join_seq: int | None = None
        self.has_video = False
        self.dropped_before_keyframe = 0

    @property
    def bytes_held(self) -> int:
        """Payload bytes kept, headers not counted."""
        return self._bytes

    @property
    def bytes_appended(self) -> int:
        """Payload bytes there have ever been."""
        return self._trimmed_bytes + self._bytes

    @property
    def duration_ms(self) -> int:
        """Media time from the oldest message kept to the newest."""
        return self.timeline.latest - self._entries[0].timestamp if self._entries else 0

    def append(self, message: Message) -> LogEntry | None:
        """Add one message; None if it was dropped because no decoder could use it yet."""
        payload = message.payload
        flags = flags_of(message.type_id, payload)
        timeline = self.timeline
        if flags & _NOT_FRAME:
            entry = LogEntry(message.type_id, timeline.place_header(message.timestamp), payload, flags)
            if flags & _HEADER and not self._remember_header(entry):
                return None
        else:
            if flags & _VIDEO:
                self.has_video = True
                if flags & _KEYFRAME:
                    self._awaiting_keyframe = False
                    self.join_seq = self.next_seq
                    self._bytes_before_join = self.bytes_appended
                    self._next_trim = self.next_seq
                elif self._awaiting_keyframe:
                    self.dropped_before_keyframe += 1
                    return None
            elif flags & _DATA and data_handler_name(payload) == "@clearDataFrame":
                self._forget_metadata()
            entry = LogEntry(message.type_id, timeline.place(message.timestamp), payload, flags)
        self._entries.append(entry)
        self._bytes += len(payload)
        if self.next_seq >= self._next_trim or self._bytes > self._limits.max_bytes:
            self._trim()
        self.next_seq += 1
        return entry

    def restart(self, gap_ms: int | None) -> None:
        """What comes does not follow on what came: nothing of the old may be joined any more.

        With a new publisher, players that read on see its messages ``gap_ms`` of media time after the
        old ones; None keeps the clock (the same publisher, after a loss). Its video goes on with its
        first keyframe.
        """
        if gap_ms is not None:
            self.timeline.restart(gap_ms)
        self._headers.clear()
        self.join_seq = None
        self.has_video = False
        self._awaiting_keyframe = True

    def headers(self) -> list[LogEntry]:
        """What a joiner is sent before any media, in replay order."""
        return [self._headers[key] for key in sorted(self._headers, key=header_order)]

    def start_of_join(self) -> int | None:
        """Where a new player's cursor goes; None: wait for the next keyframe."""
        if self.join_seq is not None:
            return self.join_seq
        return None if self.has_video else self.next_seq

    def read(self, seq: int, end_seq: int, max_bytes: int | None = None) -> list[LogEntry]:
        """The messages from ``seq`` up to, not including, ``end_seq``.

        With ``max_bytes``, as many as fit and at least one. ``seq`` must not be older than ``first_seq``.
        """
        entries = self._entries[seq - self.first_seq : end_seq - self.first_seq]
        if max_bytes is None:
            return entries
        total = 0
        for count, entry in enumerate(entries):
            total += len(entry.payload)
            if total > max_bytes and count:
                return entries[:count]
        return entries

    def lag_ms(self, seq: int) -> int:
        """How far behind live, in media time, a cursor at ``seq`` is; a number no longer kept counts
        as the whole log."""
        if seq >= self.next_seq:
            return 0
        return self.timeline.latest - self._entries[max(0, seq - self.first_seq)].timestamp

    def _remember_header(self, entry: LogEntry) -> bool:
        key = header_key(entry.type_id, entry.payload)
        bound_bytes = MAX_METADATA_BYTES if entry.flags & _DATA else MAX_HEADER_BYTES
        if key is None or len(entry.payload) > bound_bytes:
            return True
        known = self._headers.get(key)
        if known is not None:
            # FFmpeg's first AV1 header is empty, the real one follows; never the other way round.
            if is_empty_header(entry.type_id, entry.payload):
                return False
            if entry.flags & int(MediaFlags.SEQUENCE_HEADER) and known.payload != entry.payload:
                # The codec changed: a decoder with the new header cannot start at an old keyframe.
                self.join_seq = None
                if entry.flags & _VIDEO:
                    self._awaiting_keyframe = True
        elif len(self._headers) >= MAX_HEADERS:
            del self._headers[next(iter(self._headers))]
        if entry.flags & _VIDEO:
            self.has_video = True
        # At the end: of two headers of equal rank the newer one must be replayed last.
        self._headers.pop(key, None)
        self._headers[key] = entry
        return True

    def _forget_metadata(self) -> None:
        """``@clearDataFrame``: joiners are not told the old onMetaData any more."""
        for key in [key for key in self._headers if key.media == "data"]:
            del self._headers[key]

    def _trim(self) -> None:
        """Drop what nobody needs, and beyond the bounds also what somebody would have needed."""
        entries = self._entries
        start = self.join_seq if self.join_seq is not None else self.next_seq
        drop = max(0, min(start, self.keep_from) - self.first_seq)
        oldest_ms = self.timeline.latest - self._limits.max_ms
        if self.first_seq + drop == self.join_seq:
            # What goes has long left the caches: the usual trim, at a keyframe, does not look at it.
            held = self.bytes_appended - self._bytes_before_join
        else:
            held = self._bytes - sum(len(entry.payload) for entry in entries[:drop])
        while drop < len(entries) - 1 and (
            held > self._limits.max_bytes or entries[drop].timestamp < oldest_ms
        ):
            held -= len(entries[drop].payload)
            drop += 1
        del entries[:drop]
        self._trimmed_bytes += self._bytes - held
        self._bytes = held
        self.first_seq += drop
        if self.join_seq is not None and self.join_seq < self.first_seq:
            self.join_seq = None
        self._next_trim = self.next_seq + _TRIM_EVERY_MESSAGES
