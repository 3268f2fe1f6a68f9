"""Stream logs as RTMP chunks that need no state at the receiver."""

from __future__ import annotations

from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp.chunk_writer import ChunkStreamId, encode_shared
from cluster.core.rtmp.server_session import SAMPLE_ACCESS

#: Encode-once needs one message stream id for all; 1 is what createStream answers first.
SHARED_STREAM_ID = 1

#: Every player is told this chunk size at connect, before any shared byte.
SHARED_CHUNK_SIZE = 65536

_AUDIO_CHUNKS = int(ChunkStreamId.AUDIO)
_VIDEO_CHUNKS = int(ChunkStreamId.VIDEO)
_DATA_CHUNKS = int(ChunkStreamId.DATA)
_CHUNK_STREAM_OF_TYPE = {int(MessageType.AUDIO): _AUDIO_CHUNKS, int(MessageType.VIDEO): _VIDEO_CHUNKS}
_TIMESTAMP_MASK = 0xFFFFFFFF
# What Message(...) does, without the keyword handling of its generated constructor.
_new_message = tuple.__new__


def _chunks(entry: LogEntry, stream_id: int) -> list[Buffer]:
    type_id = entry.type_id
    message = _new_message(Message, (type_id, entry.timestamp & _TIMESTAMP_MASK, entry.payload, stream_id))
    return encode_shared(message, _CHUNK_STREAM_OF_TYPE.get(type_id, _DATA_CHUNKS), SHARED_CHUNK_SIZE)


class RtmpEncoding:
    """The chunks of message stream ``stream_id``."""

    is_shared = False
    kind = "rtmp"

    def __init__(self, stream_id: int) -> None:
        self._stream_id = stream_id

    def entry(self, entry: LogEntry) -> list[Buffer]:
        return [] if entry.type_id == MessageType.MARK else _chunks(entry, self._stream_id)

    def greeting(self) -> list[Buffer]:
        """Flash players draw nothing before they are told that they may."""
        access = Message(MessageType.DATA_AMF0, 0, SAMPLE_ACCESS, self._stream_id)
        return encode_shared(access, _DATA_CHUNKS, SHARED_CHUNK_SIZE)

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        return [chunk for header in headers for chunk in _chunks(header, self._stream_id)]


class SharedRtmpEncoding(RtmpEncoding):
    """The chunks of message stream 1, that nearly all play on: encoded by the first that asks."""

    is_shared = True

    def __init__(self) -> None:
        super().__init__(SHARED_STREAM_ID)

    def entry(self, entry: LogEntry) -> list[Buffer]:
        chunks = entry.chunks
        if chunks is None:
            chunks = entry.chunks = _chunks(entry, SHARED_STREAM_ID)
        return chunks


SHARED = SharedRtmpEncoding()


def encoding_for(stream_id: int) -> RtmpEncoding:
    """The encoding of a play on message stream ``stream_id``."""
    return SHARED if stream_id == SHARED_STREAM_ID else RtmpEncoding(stream_id)
