"""One message as a stream log keeps it."""

from __future__ import annotations

from cluster.core.media.classify import NOT_FRAME, MediaFlags
from cluster.core.message import Buffer, Message

_VIDEO = int(MediaFlags.VIDEO)
_NOT_FRAME = int(NOT_FRAME)


class LogEntry:
    """One message in a log.

    ``timestamp`` is what players are told, ``wire_ms`` what the message was stamped when it came,
    ``progress_ms`` how far the stream's media had come with it.
    ``chunks`` and ``tag`` cache its encodings, as RTMP chunks and as an FLV tag, once a reader
    wants one; ``encoded`` caches those of encodings that are of one stream and worker, by encoding.
    """

    __slots__ = (
        "chunks", "encoded", "flags", "payload", "progress_ms", "tag", "timestamp", "type_id", "wire_ms",
    )  # fmt: skip

    def __init__(
        self,
        type_id: int,
        timestamp: int,
        payload: bytes | memoryview,
        flags: int,
        progress_ms: int,
        wire_ms: int,
    ) -> None:
        self.type_id = type_id
        self.timestamp = timestamp
        self.payload = payload
        self.flags = flags
        self.progress_ms = progress_ms
        self.wire_ms = wire_ms
        self.chunks: list[Buffer] | None = None
        self.tag: list[Buffer] | None = None
        self.encoded: dict[object, list[Buffer]] | None = None

    @property
    def is_video_frame(self) -> bool:
        """Video that a decoder can use with a keyframe before it only, whatever the track."""
        return self.flags & _VIDEO != 0 and not self.flags & _NOT_FRAME

    def message(self, stream_id: int = 0) -> Message:
        """This entry as a message on ``stream_id``, its timestamp not yet cut to 32 bits."""
        return Message(self.type_id, self.timestamp, self.payload, stream_id)
