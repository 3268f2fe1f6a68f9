"""The headers of one stream: what a joiner is sent before its first message."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.core.media.classify import MediaFlags
from cluster.core.media.headers import MAX_HEADERS, HeaderKey, Headers, is_empty_header
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import without_media
from cluster.core.media.timeline import Timeline, medium_of

_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)


class LogHeaders:
    """The latest header of each kind and track, and those replaced since the message joins start at."""

    __slots__ = ("_at_join", "_current", "_latest", "_metadata_left", "_metadata_of")

    def __init__(self) -> None:
        self._latest: Headers[LogEntry] = Headers()
        #: Those in replay order, once somebody has asked and until they change.
        self._current: list[LogEntry] | None = None
        #: Those that were replaced since joins start where they do: the messages from there need them.
        self._at_join: dict[HeaderKey, LogEntry] = {}
        #: The metadata without the media that are gone; the entry it was made of, and for which media.
        self._metadata_left: bytes | None = None
        self._metadata_of: tuple[LogEntry, frozenset[int]] | None = None

    def current(self) -> list[LogEntry]:
        """All of them, in replay order: one list, not to be changed, until there are others."""
        if self._current is None:
            self._current = self._latest.in_order()
        return self._current

    @property
    def cost_bytes(self) -> int:
        """The payload bytes of all that are kept."""
        kept = (*self._latest, *self._at_join.values())
        return sum(len(header.payload) for header in kept) + len(self._metadata_left or b"")

    def media(self) -> set[int]:
        """The types of the media that have a header."""
        return {header.type_id for header in self._latest if not header.flags & _DATA}

    def remember(self, entry: LogEntry, *, is_joinable: bool) -> tuple[int, ...] | None:
        """Keep ``entry`` for joiners; returns the video tracks whose codec changes with it.

        A first header changes none, nor does one that replaces an empty one, or one of audio. None if it
        says less than the one that is known. ``is_joinable``: joins have a message to start at, which may
        need the header that is replaced.
        """
        remembered = self._latest.remember(entry)
        if remembered is None:
            return ()
        if not remembered.is_latest:
            return None
        self._current = None
        key, known = remembered.key, remembered.before
        if known is None or not remembered.is_new or known.flags & _DATA:
            return ()
        if is_empty_header(known.type_id, known.payload):
            return ()
        if is_joinable and len(self._at_join) < MAX_HEADERS:
            self._at_join.setdefault(key, known)
        return key.tracks if known.flags & _VIDEO and known.flags & _SEQUENCE_HEADER else ()

    def begin_at_keyframe(self) -> None:
        """Joins start here from now on: the messages that follow need the headers as they are."""
        self._at_join.clear()

    def clear(self) -> None:
        self._latest.clear()
        self._current = None
        self._at_join.clear()

    def forget_metadata(self) -> None:
        """``@clearDataFrame``: joiners are not told the old onMetaData any more."""
        self._latest.forget_data()
        self._current = None

    def for_join(self, *, at_keyframe: bool, gone: frozenset[int]) -> list[LogEntry]:
        """What a joiner needs, in replay order; nothing of media that are gone, by message type.

        FFmpeg waits for a medium that has a header or stands in the metadata.
        """
        wanted = self._latest.in_order(self._at_join) if at_keyframe else self.current()
        if not gone:
            return wanted
        left = [self._without(header, gone) if header.flags & _DATA else header for header in wanted]
        return [header for header in left if header is not None and header.type_id not in gone]

    def _without(self, metadata: LogEntry, gone: frozenset[int]) -> LogEntry | None:
        if self._metadata_of != (metadata, gone):
            self._metadata_of = metadata, gone
            self._metadata_left = without_media(metadata.payload, gone)
        if self._metadata_left is None:
            return None
        return LogEntry(metadata.type_id, 0, self._metadata_left, metadata.flags, 0, 0)


def stamped(header: LogEntry, firsts: Mapping[int, int], timeline: Timeline) -> LogEntry:
    """``header`` as it stands before the messages whose first timestamps, by type, are ``firsts``."""
    type_id, payload, flags = header.type_id, header.payload, header.flags
    timestamp = 0
    if not flags & _DATA:
        timestamp = firsts.get(type_id, -1)
        if timestamp < 0:
            now_ms = timeline.now(medium_of(type_id, flags, payload))
            timestamp = min(now_ms, *firsts.values()) if firsts else now_ms
    return LogEntry(type_id, timestamp, payload, flags, timeline.progress_ms, header.wire_ms)
