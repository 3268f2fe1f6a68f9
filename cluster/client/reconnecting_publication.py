"""Publishing one stream over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Self

from cluster.client.connection import Connection
from cluster.client.errors import RtmpError
from cluster.client.media_sender import MediaSender
from cluster.client.publication import Publication
from cluster.client.redial import Redial
from cluster.client.waiting import within
from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.headers import Headers
from cluster.core.message import Message, MessageType

if TYPE_CHECKING:
    from types import TracebackType


class ReconnectingPublication(MediaSender):
    """Sends media, as a ``Publication``: ``async with reconnecting(url).publish() as publication:``.

    Entering raises what the first attempt meets. After that ``send`` never waits for a connection, for a
    live source does not either: while there is none, messages are dropped and counted in ``dropped``. A
    new publish begins with the headers sent so far, at a keyframe if there is video. Once attempts have
    run out, ``send`` raises the last failure. A server that asks us to go elsewhere is left at a
    keyframe, with the new connection already open.
    """

    def __init__(self, redial: Redial, name: str | None, publish_type: str) -> None:
        super().__init__()
        self.dropped = 0
        self._redial = redial
        self._name = name
        self._publish_type = publish_type
        self._headers: Headers[Message] = Headers()
        self._has_video = False
        self._publication: Publication | None = None
        #: The present publish has had its headers and a keyframe.
        self._begun = True
        self._failed: RtmpError | None = None
        self._retry: asyncio.Task[None] | None = None
        self._move: asyncio.Task[Connection] | None = None

    async def __aenter__(self) -> Self:
        self._publication = await self._publish_on(await self._redial.connect())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        tasks = [task for task in (self._retry, self._move) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        move, self._move = self._move, None
        if move is not None and not move.cancelled() and move.exception() is None:
            await move.result().close()
        if self._publication is not None:
            await self._publication.connection.close()

    @property
    def connected(self) -> bool:
        """Whether there is a publish at the moment, as far as is known."""
        return self._publication is not None

    @property
    def reconnects(self) -> int:
        """How often the connection was replaced."""
        return max(0, self._redial.connections - 1)

    async def send(self, message: Message) -> None:
        """Send the message, or drop it if there is no connection."""
        if self._failed is not None:
            raise self._failed.with_traceback(None)
        self.sent_up_to(message.timestamp)
        self._headers.remember(message)
        self._has_video = self._has_video or message.type_id == MessageType.VIDEO
        can_begin = is_coded(message) and (not self._has_video or _is_keyframe(message))
        if self._publication is not None and can_begin:
            await self._consider_moving(self._publication.connection)
        publication = self._publication
        if publication is None or not (self._begun or can_begin):
            self.dropped += 1
            return
        try:
            await within(self._redial.timeout_s, "send", self._send_on(publication, message))
        except RtmpError as error:
            self.dropped += 1
            await self._lost(publication, error)

    async def _send_on(self, publication: Publication, message: Message) -> None:
        if not self._begun:
            for header in self._headers.in_order():
                await publication.send(header._replace(timestamp=message.timestamp))
            self._begun = True
        await publication.send(message)

    # Connections.

    async def _publish_on(self, connection: Connection) -> Publication:
        try:
            return await connection.publish(self._name, self._publish_type)
        except BaseException:
            await connection.close()
            raise

    async def _lost(self, publication: Publication, error: RtmpError) -> None:
        """Go on without a connection, and look for another meanwhile."""
        self._publication, self._begun = None, False
        self._retry = asyncio.create_task(self._publish_again(error))
        await publication.connection.close()

    async def _publish_again(self, lost: RtmpError) -> None:
        connecting: Awaitable[Connection] | None = self._move
        self._move = None
        while True:
            try:
                if connecting is None:
                    await self._redial.pause(lost)
                    connecting = self._redial.connect()
            except RtmpError as error:
                self._failed = error
                return
            try:
                self._publication = await self._publish_on(await connecting)
                return
            except RtmpError as error:
                lost, connecting = error, None

    async def _consider_moving(self, connection: Connection) -> None:
        """At a message a publish can begin with: go where the server has sent us, once connected there."""
        if connection.reconnect_url is not None and self._move is None:
            self._redial.go_to(connection.reconnect_url)
            connection.reconnect_url = None  # asked once, tried once
            self._move = asyncio.create_task(self._redial.connect())
        if self._move is None or not self._move.done():
            return
        move, self._move = self._move, None
        if move.exception() is not None:
            return
        self._publication, self._begun = None, False
        await connection.close()  # first: a stream has one publisher
        try:
            self._publication = await self._publish_on(move.result())
        except RtmpError as error:
            self._retry = asyncio.create_task(self._publish_again(error))


def _is_keyframe(message: Message) -> bool:
    return bool(flags_of(message.type_id, message.payload) & MediaFlags.KEYFRAME)
