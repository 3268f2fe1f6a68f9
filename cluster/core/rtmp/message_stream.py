"""Message streams: their state, the media that passes on them, and messages held for a decision."""

from __future__ import annotations

from cluster.core.media.classify import strip_set_data_frame
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import aggregate
from cluster.core.rtmp.chunk_writer import ChunkStreamId
from cluster.core.rtmp.events import Received
from cluster.core.rtmp.states import StreamState

#: Messages kept per connection while the shell decides about a connect or a publish: a second of
#: 4 Mbit/s, while a decision takes milliseconds. Media beyond it is dropped, newest first, so that
#: metadata and sequence headers stay.
MAX_HELD_BYTES = 512 * 1024
#: Plays that may wait on one message stream for the present one to end; Flash players queue a handful.
MAX_PLAYLIST = 16
#: What a held message costs besides its payload, so that empty ones are bounded too.
HELD_MESSAGE_BYTES = 128

_AUDIO_VIDEO = (MessageType.AUDIO, MessageType.VIDEO)
_CHUNK_STREAMS: dict[int, ChunkStreamId] = {
    MessageType.AUDIO: ChunkStreamId.AUDIO,
    MessageType.VIDEO: ChunkStreamId.VIDEO,
}


class MessageStream:
    """One message stream of a connection: what createStream makes and deleteStream ends."""

    __slots__ = ("buffer_ms", "name", "playlist", "reset", "state", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.state = StreamState.IDLE
        #: The name published or played; server role: the stream key, unchecked.
        self.name = ""
        #: Server role: the present play asked for NetStream.Play.Reset.
        self.reset = False
        #: Server role: plays that wait for the present one to end, as the messages they came in.
        self.playlist: tuple[Message, ...] = ()
        #: The buffer its player announced; None: it did not.
        self.buffer_ms: int | None = None


class HeldMessages:
    """Messages that wait for a decision, in order of arrival, bounded by MAX_HELD_BYTES.

    ``released``: a decision has been made, the next ``receive`` begins with them. ``cost_bytes``: what they
    cost, all together.
    """

    __slots__ = ("_messages", "cost_bytes", "released")

    def __init__(self) -> None:
        self.released = False
        self._messages: list[Message] = []
        self.cost_bytes = 0

    def add(self, message: Message) -> bool:
        """Keep the message; False if the bound does not allow it."""
        cost_bytes = len(message.payload) + HELD_MESSAGE_BYTES
        if self.cost_bytes + cost_bytes > MAX_HELD_BYTES:
            return False
        self._messages.append(message)
        self.cost_bytes += cost_bytes
        return True

    def release_first(self, message: Message) -> None:
        """Put ``message`` before all others, and release them. For what has a bound of its own."""
        self._messages.insert(0, message)
        self.released = True

    def take(self) -> list[Message]:
        """All of them; afterwards none are held."""
        messages, self._messages, self.cost_bytes = self._messages, [], 0
        return messages

    def discard(self, stream_id: int) -> int:
        """Forget those of one message stream; returns how many."""
        before = self.take()
        for message in before:
            if message.stream_id != stream_id:
                self.add(message)
        return len(before) - len(self._messages)


def media_chunk_stream(type_id: int) -> ChunkStreamId:
    """The chunk stream a media message goes on; everything but audio and video is data."""
    return _CHUNK_STREAMS.get(type_id, ChunkStreamId.DATA)


def deliver(message: Message, received: Received) -> bool:
    """Hand on a media message: an aggregate as its parts, data as AMF0; False if it was truncated."""
    if message.type_id == MessageType.AGGREGATE:
        parts, truncated = aggregate.split(message)
        for part in parts:
            deliver(part, received)
        return not truncated
    received.append(message if message.type_id in _AUDIO_VIDEO else _normalised_data(message))
    return True


def _normalised_data(message: Message) -> Message:
    """Data as type 18 without @setDataFrame.

    Type 15 begins with a format byte 0, which some peers omit, and goes on in AMF0. Anything else
    behind type 15 is not AMF0 and stays as it is.
    """
    type_id, timestamp, payload, stream_id = message
    if type_id == MessageType.DATA_AMF3:
        if payload[:1] == b"\x00":
            payload = payload[1:]
        elif payload[:1] != b"\x02":
            return message
    return Message(MessageType.DATA_AMF0, timestamp, strip_set_data_frame(payload), stream_id)
