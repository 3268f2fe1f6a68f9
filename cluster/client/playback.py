"""A stream that we play."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

from cluster.client.errors import PlayFailed, RtmpError
from cluster.client.inbox import Inbox
from cluster.client.remote_stream import RemoteStream
from cluster.client.wire import Wire
from cluster.core.message import Message
from cluster.core.rtmp.events import Event, StatusReceived
from cluster.core.rtmp.status import Code

if TYPE_CHECKING:
    from cluster.client.connection import Connection

#: After these no media comes. Players end on UnpublishNotify too: the publisher is gone.
_ENDED_BY = frozenset((Code.PLAY_STOP, Code.PLAY_COMPLETE, Code.PLAY_UNPUBLISH_NOTIFY))
_PAUSED = frozenset((Code.PAUSE_NOTIFY,))
_RESUMED = frozenset((Code.UNPAUSE_NOTIFY,))
_SOUGHT = frozenset((Code.SEEK_NOTIFY, Code.SEEK_FAILED))


class Playback(RemoteStream):
    """Iterates over the messages of a stream. Made by ``Connection.play``; for one consumer at a time.

    The iteration ends when the server says that the stream has; PlayFailed or ConnectionClosed is raised
    instead when it fails, in both cases behind the last message that came. A consumer that is slower than
    the stream makes the connection stop reading, so nothing piles up here; the server then decides what
    such a player misses.
    """

    _REFUSED = PlayFailed
    _STARTED_BY = frozenset((Code.PLAY_START, Code.PLAY_PUBLISH_NOTIFY))

    def __init__(self, connection: Connection, wire: Wire, name: str, stream_id: int) -> None:
        super().__init__(connection, wire, name, stream_id)
        self._inbox: Inbox[Message | Event] = Inbox(wire.protocol.gate)

    @property
    def connection(self) -> Connection:
        """The connection it is played on."""
        return self._connection

    @property
    def waiting(self) -> int:
        """Messages and events that have arrived and are not iterated over yet."""
        return len(self._inbox)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while True:
            item = await self._inbox.get()
            if isinstance(item, Message):
                return item

    async def items(self) -> AsyncIterator[Message | Event]:
        """Messages and the events about this stream (``StatusReceived`` above all), in order of arrival.

        A ReconnectRequested of the server is among them.
        """
        while True:
            try:
                item = await self._inbox.get()
            except StopAsyncIteration:
                return
            yield item

    async def pause(self, at_ms: float = 0, *, timeout_s: float | None = None) -> StatusReceived:
        """Pause; returns the server's confirmation. What it had sent before is still to be iterated."""
        self._check()
        self._wire.session.pause(self.stream_id, True, at_ms)
        return await self._status_of(_PAUSED, "pause", timeout_s)

    async def resume(self, at_ms: float = 0, *, timeout_s: float | None = None) -> StatusReceived:
        """Go on; returns the server's confirmation."""
        self._check()
        self._wire.session.pause(self.stream_id, False, at_ms)
        return await self._status_of(_RESUMED, "resume", timeout_s)

    async def seek(self, at_ms: float, *, timeout_s: float | None = None) -> StatusReceived:
        """Go to a position of a recorded stream. PlayFailed if it cannot; the play goes on as it was."""
        self._check()
        self._wire.session.seek(self.stream_id, at_ms)
        status = await self._status_of(_SOUGHT, "seek", timeout_s)
        if status.code == Code.SEEK_FAILED:
            raise PlayFailed(status.code, status.description)
        return status

    async def receive_audio(self, on: bool) -> None:
        """Have audio sent, or not. No server confirms it."""
        self._check()
        self._wire.session.receive_audio(self.stream_id, on)
        await self._wire.drain()

    async def receive_video(self, on: bool) -> None:
        """Have video sent, or not. No server confirms it."""
        self._check()
        self._wire.session.receive_video(self.stream_id, on)
        await self._wire.drain()

    # Called by the connection.

    def on_message(self, message: Message, cost_bytes: int) -> None:
        self._start()  # some servers send media and no word before it
        self._inbox.put(message, cost_bytes)

    def on_event(self, event: Event, cost_bytes: int) -> None:
        self._inbox.put(event, cost_bytes)
        if isinstance(event, StatusReceived) and event.code in _ENDED_BY:
            self._start()
            self._inbox.finish()

    def leave(self) -> None:
        super().leave()
        self._inbox.discard()

    def _over(self, error: RtmpError | None) -> None:
        super()._over(error)
        self._inbox.finish(error)
