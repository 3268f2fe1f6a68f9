"""A peer in the client role over TCP, for tests on a running loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.status import Code
from support.house import ENTROPY, URL
from support.sockets import until


class TcpPeer:
    """A peer in the client role over TCP; a task reads for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self.session = ClientSession(
            limits=Limits(), entropy=ENTROPY, now=self._loop.time(), handshake="simple"
        )
        self.received: list[Any] = []
        self.closed = False
        self.session.start(URL)
        self.flush()
        self._task = self._loop.create_task(self._read())

    def flush(self) -> None:
        self._writer.write(self.session.outgoing())

    def send(self, *messages: Message) -> None:
        for message in messages:
            self.session.send(message)
        self.flush()

    async def publish(self, name: str) -> None:
        self.session.publish(name)
        self.flush()
        await self.until_code(Code.PUBLISH_START)

    async def play(self, name: str) -> None:
        self.session.play(name)
        self.flush()
        await self.until_code(Code.PLAY_START)

    async def until_code(self, code: str) -> None:
        await until(lambda: code in self.codes or self.closed, f"{code}")
        assert code in self.codes, self.codes

    async def until_closed(self) -> None:
        await until(lambda: self.closed, "the worker to close the connection")

    async def until_connected(self) -> None:
        await until(
            lambda: self.closed or any(isinstance(each, events.ConnectSucceeded) for each in self.received),
            "the peer to be connected",
        )

    @property
    def codes(self) -> list[str]:
        return [event.code for event in self.received if isinstance(event, events.StatusReceived)]

    @property
    def media(self) -> list[tuple[int, int, bytes]]:
        media = [event for event in self.received if isinstance(event, Message) and event.type_id in (8, 9)]
        return [(m.type_id, m.timestamp, bytes(m.payload)) for m in media]

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := await self._reader.read(1 << 16):
                self.received += self.session.receive(data, self._loop.time())
                self.flush()
        self.closed = True

    def stop_reading(self) -> None:
        self._task.cancel()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
