"""The ways to send media that end in ``send``, and the clock for messages that bring no timestamp."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.media.metadata import encode_metadata
from cluster.core.message import Message, MessageType


class MediaSender(ABC):
    """Audio, video and data by payload. A ``timestamp`` of None is the stream's clock: milliseconds since
    it was first asked, and never behind what was sent last."""

    def __init__(self) -> None:
        self._clock_ms = 0
        self._began: float | None = None

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Send one message."""

    async def send_audio(self, payload: bytes | memoryview, timestamp: int | None = None) -> None:
        """Send an audio message: the body of an FLV audio tag."""
        await self.send(Message(MessageType.AUDIO, self._stamp(timestamp), payload))

    async def send_video(self, payload: bytes | memoryview, timestamp: int | None = None) -> None:
        """Send a video message: the body of an FLV video tag."""
        await self.send(Message(MessageType.VIDEO, self._stamp(timestamp), payload))

    async def send_data(self, name: str, *values: AmfValue, timestamp: int | None = None) -> None:
        """Send a data message, such as a cue point: the name of a handler and its values."""
        payload = amf0.encode(name, *values)
        await self.send(Message(MessageType.DATA_AMF0, self._stamp(timestamp), payload))

    async def send_metadata(self, metadata: Mapping[str, AmfValue], timestamp: int | None = None) -> None:
        """Send onMetaData, which the server keeps for players that come later."""
        payload = encode_metadata(metadata)
        await self.send(Message(MessageType.DATA_AMF0, self._stamp(timestamp), payload))

    def sent_up_to(self, timestamp: int) -> None:
        """Something was sent with this timestamp."""
        self._clock_ms = max(self._clock_ms, timestamp)

    def _stamp(self, timestamp: int | None) -> int:
        if timestamp is not None:
            return timestamp
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now - self._clock_ms / 1000
        self._clock_ms = max(self._clock_ms, int((now - self._began) * 1000))
        return self._clock_ms
