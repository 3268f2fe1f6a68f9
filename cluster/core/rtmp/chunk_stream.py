"""What a chunk reader knows of one chunk stream (RTMP 1.0, section 5.3.1)."""

from __future__ import annotations

from cluster.core.message import Buffer

U32 = 0xFFFFFFFF
#: In the place of a timestamp: the timestamp stands behind the message header (section 5.3.1.3).
EXTENDED = 0xFFFFFF


class ChunkStream:
    """What the headers of one chunk stream have said so far, and its unfinished message."""

    __slots__ = (
        "continuation",
        "delta",
        "extended",
        "length",
        "partial",
        "stream_id",
        "timestamp",
        "type_id",
    )

    def __init__(self, chunk_stream_id: int) -> None:
        self.length = 0
        self.type_id = 0
        self.stream_id = 0
        self.timestamp = 0
        self.delta = 0
        #: The raw extended timestamp of the latest format 0, 1 or 2 header; None if it had none.
        self.extended: bytes | None = None
        #: Payload so far of a message that is not complete; None between messages.
        self.partial: bytearray | None = None
        #: The one-byte header of a continuation chunk; empty where the id takes more bytes.
        self.continuation = bytes((0xC0 | chunk_stream_id,)) if chunk_stream_id < 64 else b""

    def extend(self, data: Buffer, pos: int) -> int:
        """Read the extended timestamp at ``pos``; returns its end: past that of ``data``, it is cut."""
        stop = pos + 4
        if stop <= len(data):
            self.extended = bytes(data[pos:stop])
            self.delta = int.from_bytes(self.extended, "big")
        return stop

    def after_repeated(self, data: Buffer, pos: int) -> int:
        """Where a format 3 chunk goes on that has ``pos`` behind its basic header.

        Section 5.3.1.3 repeats the extended timestamp there; old senders leave it out. So it is taken if it
        is there; bytes that differ, even the first of them, are payload. Past the end of ``data``: more
        bytes must tell.
        """
        if self.extended is not None and self.extended.startswith(bytes(data[pos : pos + 4])):
            return pos + 4
        return pos
