"""The headers of one stream: what a joiner is sent before its first message."""

from __future__ import annotations

from cluster.core.limits import MIB
from cluster.core.media.classify import MediaFlags
from cluster.core.media.headers import HeaderKey, header_key, header_order, is_empty_header
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import without_media

_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)

#: Headers kept per stream: 16 tracks with up to three kinds each. One more replaces the oldest.
MAX_HEADERS = 48

#: A larger header is passed on but not kept; real ones, even HDR metadata, take some hundred bytes.
MAX_HEADER_BYTES = 64 * 1024
#: onMetaData, of which there is one, may have the keyframe index of a recording in it: nine bytes or more
#: for each keyframe and number.
MAX_METADATA_BYTES = 2 * MIB


class LogHeaders:
    """The latest header of each kind and track, and those replaced since the message joins start at."""

    __slots__ = ("_at_join", "_known", "_metadata_left", "_metadata_of")

    def __init__(self) -> None:
        self._known: dict[HeaderKey, LogEntry] = {}
        #: Those that were replaced since joins start where they do: the messages from there need them.
        self._at_join: dict[HeaderKey, LogEntry] = {}
        #: The metadata without the media that are gone; the entry it was made of, and for which media.
        self._metadata_left: bytes | None = None
        self._metadata_of: tuple[LogEntry, frozenset[int]] | None = None

    def current(self) -> list[LogEntry]:
        """All of them, in replay order."""
        return [self._known[key] for key in sorted(self._known, key=header_order)]

    def media(self) -> set[int]:
        """The types of the media that have a header."""
        return {header.type_id for header in self._known.values() if not header.flags & _DATA}

    def remember(self, entry: LogEntry, *, is_joinable: bool) -> tuple[int, ...] | None:
        """Keep ``entry`` for joiners; returns the video tracks whose codec changes with it.

        A first header changes none, nor does one that replaces an empty one, or one of audio. None if it
        says less than the one that is known. ``is_joinable``: joins have a message to start at, which may
        need the header that is replaced.
        """
        key = header_key(entry.type_id, entry.payload)
        bound_bytes = MAX_METADATA_BYTES if entry.flags & _DATA else MAX_HEADER_BYTES
        if key is None or len(entry.payload) > bound_bytes:
            return ()
        changed: tuple[int, ...] = ()
        known = self._known.pop(key, None)
        if known is not None:
            # FFmpeg's first AV1 header is empty, the real one follows; never the other way round.
            if is_empty_header(entry.type_id, entry.payload):
                self._known[key] = known
                return None
            differs = known.payload != entry.payload and not is_empty_header(known.type_id, known.payload)
            if differs and not known.flags & _DATA:
                if is_joinable and len(self._at_join) < MAX_HEADERS:
                    self._at_join.setdefault(key, known)
                if known.flags & _VIDEO and known.flags & _SEQUENCE_HEADER:
                    changed = key.tracks
        elif len(self._known) >= MAX_HEADERS:
            del self._known[next(iter(self._known))]
        # At the end: of two headers of equal rank the newer one must be replayed last.
        self._known[key] = entry
        return changed

    def begin_at_keyframe(self) -> None:
        """Joins start here from now on: the messages that follow need the headers as they are."""
        self._at_join.clear()

    def clear(self) -> None:
        self._known.clear()
        self._at_join.clear()

    def forget_metadata(self) -> None:
        """``@clearDataFrame``: joiners are not told the old onMetaData any more."""
        for key in [key for key in self._known if key.media == "data"]:
            del self._known[key]

    def for_join(self, *, at_keyframe: bool, gone: frozenset[int]) -> list[LogEntry]:
        """What a joiner needs, in replay order; nothing of media that are gone, by message type.

        FFmpeg waits for a medium that has a header or stands in the metadata.
        """
        known = self._known
        if at_keyframe and self._at_join:
            known = known | self._at_join
        wanted = [known[key] for key in sorted(known, key=header_order)]
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
        return LogEntry(metadata.type_id, 0, self._metadata_left, metadata.flags, 0)
