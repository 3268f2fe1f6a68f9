"""Playing one stream over as many connections as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Self

from cluster.client.errors import RtmpError
from cluster.client.playback import Playback
from cluster.client.redial import Redial
from cluster.client.rejoin import Rejoin
from cluster.core.message import Message
from cluster.core.rtmp.events import ReconnectRequested

if TYPE_CHECKING:
    from types import TracebackType


class ReconnectingPlayback:
    """Iterates over the messages of a stream: ``async with reconnecting(url).play() as playback:``.

    Entering raises what the first attempt meets. After that every failure leads to another attempt, and
    the iteration goes on with the first message that is new, on one clock that never steps back. It ends
    when the server says that the stream has ended, and raises the last failure when attempts run out. A
    server that asks us to go elsewhere is left once the other one plays.
    """

    def __init__(self, redial: Redial, name: str | None, start: float) -> None:
        self._redial = redial
        self._name = name
        self._start = start
        self._rejoin = Rejoin()
        self._playback: Playback | None = None
        self._move: asyncio.Task[Playback] | None = None
        self._messages: AsyncGenerator[Message, None] | None = None

    async def __aenter__(self) -> Self:
        self._playback = await self._play()
        self._messages = self._run()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._messages is not None:
            await self._messages.aclose()
        await self._abandon_move()
        if self._playback is not None:
            await self._playback.connection.close()

    @property
    def reconnects(self) -> int:
        """How often the connection was replaced."""
        return max(0, self._redial.connections - 1)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        assert self._messages is not None, "entered first"
        return await anext(self._messages)

    async def _run(self) -> AsyncGenerator[Message, None]:
        loop = asyncio.get_running_loop()
        while self._playback is not None:
            playback, lost = self._playback, None
            try:
                async for item in playback.items():
                    if isinstance(item, ReconnectRequested):
                        self._begin_to_move(playback)
                    if not isinstance(item, Message):
                        continue
                    placed = self._rejoin.place(item)
                    if placed is not None:
                        yield placed
                    if self._has_moved() and not playback.waiting:
                        break
            except RtmpError as error:
                lost = error
            left_at = loop.time()
            if lost is None and self._move is None:
                return
            await playback.connection.close()
            self._playback = await self._next(lost)
            self._rejoin.reconnected(max(1, int((loop.time() - left_at) * 1000)))

    def _begin_to_move(self, playback: Playback) -> None:
        """The server sends us elsewhere: see whether the stream plays there."""
        url = playback.connection.reconnect_url
        if url is not None and self._move is None:
            self._redial.go_to(url)
            self._move = asyncio.create_task(self._play())

    def _has_moved(self) -> bool:
        """Whether the stream plays there. If it does not, nothing has happened."""
        if self._move is None or not self._move.done():
            return False
        if self._move.exception() is not None:
            self._move = None
            return False
        return True

    async def _next(self, lost: RtmpError | None) -> Playback:
        """The playback to go on with, after as many attempts as it takes."""
        move, self._move = self._move, None
        if move is not None:
            with contextlib.suppress(RtmpError):
                return await move
        while True:
            if lost is not None:
                await self._redial.pause(lost)
            try:
                return await self._play()
            except RtmpError as error:
                lost = error

    async def _play(self) -> Playback:
        connection = await self._redial.connect()
        try:
            return await connection.play(self._name, start=self._start)
        except BaseException:
            await connection.close()
            raise

    async def _abandon_move(self) -> None:
        move, self._move = self._move, None
        if move is None:
            return
        move.cancel()
        await asyncio.wait({move})
        if not move.cancelled() and move.exception() is None:
            await move.result().connection.close()
