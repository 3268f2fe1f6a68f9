"""A stream that we publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.client.errors import PublishRefused
from cluster.client.media_sender import MediaSender
from cluster.client.remote_stream import RemoteStream
from cluster.client.wire import Wire
from cluster.core.amf import amf0
from cluster.core.errors import MisuseError
from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.status import Code

if TYPE_CHECKING:
    from cluster.client.connection import Connection

_SET_DATA_FRAME = amf0.encode("@setDataFrame")
_PUBLISHED_TYPES = frozenset(
    (MessageType.AUDIO, MessageType.VIDEO, MessageType.DATA_AMF0, MessageType.DATA_AMF3,
     MessageType.AGGREGATE)
)  # fmt: skip


class Publication(RemoteStream, MediaSender):
    """Sends media. Made by ``Connection.publish``; leaving its ``async with`` ends the publish.

    Each send returns once the socket takes more, so a producer is never faster than the network. It raises
    PublishRefused if the server has ended the publish since, ConnectionClosed if the connection is gone.
    """

    _REFUSED = PublishRefused
    _STARTED_BY = frozenset((Code.PUBLISH_START,))

    def __init__(self, connection: Connection, wire: Wire, name: str, stream_id: int) -> None:
        RemoteStream.__init__(self, connection, wire, name, stream_id)
        MediaSender.__init__(self)

    @property
    def connection(self) -> Connection:
        """The connection it is published on."""
        return self._connection

    async def send(self, message: Message) -> None:
        """Send a message as a file or a player has it, stamped as it is (modulo 2**32).

        Its message stream id is replaced, and onMetaData is wrapped in ``@setDataFrame``.
        """
        if message.type_id not in _PUBLISHED_TYPES:
            raise MisuseError(f"message type {message.type_id} is neither audio, video nor data")
        self._check()
        await self._wire.writable()
        self._check()
        self.sent_up_to(message.timestamp)
        type_id, timestamp, payload, _ = message
        if type_id == MessageType.DATA_AMF0 and flags_of(type_id, payload) & MediaFlags.METADATA:
            payload = _SET_DATA_FRAME + bytes(payload)
        self._wire.send(Message(type_id, timestamp, payload, self.stream_id))
        await self._wire.writable()
