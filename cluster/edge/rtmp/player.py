"""A player: a cursor in a stream log, and the connection its messages go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.core.media.classify import NOT_FRAME, MediaFlags
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp.chunk_writer import ChunkStreamId, encode_shared
from cluster.core.rtmp.server_session import SAMPLE_ACCESS

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection
    from cluster.edge.streams.stream import Stream

#: Encode-once needs one message stream id for all; 1 is what createStream answers first.
SHARED_STREAM_ID = 1

#: Every player is told this chunk size at connect, before any shared byte.
SHARED_CHUNK_SIZE = 65536

_AUDIO_CHUNKS = int(ChunkStreamId.AUDIO)
_VIDEO_CHUNKS = int(ChunkStreamId.VIDEO)
_DATA_CHUNKS = int(ChunkStreamId.DATA)
_CHUNK_STREAM_OF_TYPE = {int(MessageType.AUDIO): _AUDIO_CHUNKS, int(MessageType.VIDEO): _VIDEO_CHUNKS}
_TIMESTAMP_MASK = 0xFFFFFFFF
_VIDEO = int(MediaFlags.VIDEO)
_AUDIO = int(MediaFlags.AUDIO)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_NOT_FRAME = int(NOT_FRAME)


def encode_entry(entry: LogEntry, stream_id: int = SHARED_STREAM_ID) -> list[Buffer]:
    """One log entry as RTMP chunks that need no state at the receiver."""
    message = Message(entry.type_id, entry.timestamp & _TIMESTAMP_MASK, entry.payload, stream_id)
    return encode_shared(message, _CHUNK_STREAM_OF_TYPE.get(entry.type_id, _DATA_CHUNKS), SHARED_CHUNK_SIZE)


def shared_chunks(entry: LogEntry) -> list[Buffer]:
    """The entry's chunks for every player alike, encoded by the first that asks."""
    chunks = entry.chunks
    if chunks is None:
        chunks = entry.chunks = encode_entry(entry)
    return chunks


class Player:
    """Where one player stands.

    ``seq`` is the number of the next message to send; it is kept up to date only while the player is
    not in step with the stream (see ``Stream``). ``needs_headers``: the stream's headers must go out
    before its next message. ``needs_keyframe_since``: since when its video is held back for a keyframe,
    None while it is not; ``held_back`` counts the frames. ``behind_since``: since when it has not caught
    up, None while it has. ``joined_at``: when it asked to play. Times are of the worker's clock.
    ``duration_ms``: as much media time as it asked for, None for all there is; ``is_over``: it has had it.
    ``paused``: it asked for nothing until it asks again. ``was_told_end``: it has been told the end of its
    stream, and waits for it to return.
    """

    __slots__ = (
        "_greeted", "_played_ms", "_reached_ms", "audio", "behind_since", "connection", "duration_ms",
        "held_back", "is_over", "joined_at", "needs_headers", "needs_keyframe_since", "paused", "seq",
        "stream", "stream_id", "video", "was_told_end",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        stream: Stream,
        joined_at: float,
        duration_ms: int | None = None,
    ) -> None:
        self.duration_ms = duration_ms
        self.is_over = False
        self.was_told_end = False
        self.paused = False
        self._played_ms = -1  # before its first frame
        self._reached_ms: int | None = None
        self._greeted = False
        self.joined_at = joined_at
        self.connection = connection
        self.stream_id = stream_id
        self.stream = stream
        self.seq = 0
        self.needs_headers = True
        self.needs_keyframe_since: float | None = None
        self.held_back = 0
        self.behind_since: float | None = None
        self.audio = True
        self.video = True

    @property
    def takes_shared_bytes(self) -> bool:
        """True if the bytes that are the same for all players are right for this one.

        While it needs a keyframe they are so only as long as there is no video in them.
        """
        everything = self.audio and self.video and self.duration_ms is None
        return everything and self.stream_id == SHARED_STREAM_ID

    def encode(self, entries: list[LogEntry]) -> list[Buffer]:
        """The chunks of ``entries`` for this player, in order."""
        buffers: list[Buffer] = []
        if self.needs_keyframe_since is not None:
            entries = self._from_keyframe(entries)
        if self.takes_shared_bytes:
            for entry in entries:
                buffers += shared_chunks(entry)
            return buffers
        unwanted = (0 if self.audio else _AUDIO) | (0 if self.video else _VIDEO)
        for entry in entries:
            if self.duration_ms is not None and self._ends_before(entry, self.duration_ms):
                break
            if not entry.flags & unwanted:
                buffers += encode_entry(entry, self.stream_id)
        return buffers

    def _from_keyframe(self, entries: list[LogEntry]) -> list[LogEntry]:
        """``entries`` without the video in front of the first keyframe."""
        keyframe = next((n for n, entry in enumerate(entries) if entry.flags & _KEYFRAME), len(entries))
        if keyframe < len(entries):
            self.needs_keyframe_since = None
        kept = [entry for entry in entries[:keyframe] if not entry.is_video_frame]
        self.held_back += keyframe - len(kept)
        return kept + entries[keyframe:]

    def _ends_before(self, entry: LogEntry, duration_ms: int) -> bool:
        """Whether the media time asked for, counted from the first frame, is over at ``entry``."""
        if self._played_ms < 0:
            if not entry.flags & _NOT_FRAME:
                self._played_ms, self._reached_ms = 0, entry.progress_ms
            return False
        if self._reached_ms is not None:
            self._played_ms += entry.progress_ms - self._reached_ms
        self._reached_ms = entry.progress_ms
        self.is_over = self.is_over or self._played_ms >= duration_ms
        return self.is_over

    def leave_out_gap(self) -> None:
        """Media time passes that it is not sent (a pause, a publisher's absence): its duration stands."""
        self._reached_ms = None

    @property
    def needs_greeting(self) -> bool:
        """Something must go before its next message."""
        return self.needs_headers or not self._greeted

    def encode_greeting(self, headers: list[LogEntry]) -> list[Buffer]:
        """What goes before this player's next message: ``headers``, and before its first its access."""
        buffers: list[Buffer] = []
        if not self._greeted:
            self._greeted = True
            access = Message(MessageType.DATA_AMF0, 0, SAMPLE_ACCESS, self.stream_id)
            buffers += encode_shared(access, _DATA_CHUNKS, SHARED_CHUNK_SIZE)
        for header in headers:
            buffers += encode_entry(header, self.stream_id)
        return buffers
