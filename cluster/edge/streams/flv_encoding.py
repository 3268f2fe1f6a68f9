"""Stream logs as an FLV stream (FLV 10.1, annex E)."""

from __future__ import annotations

from cluster.core.media.flv import MAX_BODY_BYTES, TAG_TYPES, encode_header, encode_tag
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer

_TIMESTAMP_MASK = 0xFFFFFFFF


def _tag(entry: LogEntry) -> list[Buffer]:
    if entry.type_id not in TAG_TYPES or len(entry.payload) > MAX_BODY_BYTES:
        return []  # FLV cannot say it
    return encode_tag(entry.type_id, entry.timestamp & _TIMESTAMP_MASK, entry.payload)


class FlvEncoding:
    """Tags, the same for every reader: encoded by the first that asks."""

    is_shared = True
    kind = "flv"

    def entry(self, entry: LogEntry) -> list[Buffer]:
        tag = entry.tag
        if tag is None:
            tag = entry.tag = _tag(entry)
        return tag

    def greeting(self) -> list[Buffer]:
        """The file's header. It names both media, because nobody knows what a live stream will have."""
        return [encode_header(audio=True, video=True)]

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        return [buffer for header in headers for buffer in _tag(header)]


FLV = FlvEncoding()
