"""A server on a real socket that does what a test says, over the project's own server role."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from cluster.client import Connection
from cluster.core.errors import PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.handshake import ENTROPY_BYTES
from cluster.core.rtmp.server_session import SAMPLE_ACCESS, ServerSession

E = TypeVar("E", bound=Event)

_READ_BYTES = 1 << 16

SEQUENCE_HEADER = bytes.fromhex(
    "17000000000142c01fffe1" "0017" "6742c01fda014016ec0440000003004000000f23c60ca8" "01" "0004" "68ce3c80"
)
AUDIO_HEADER = bytes.fromhex("af001210")


def key_frame(number: int = 0, filler: int = 20) -> bytes:
    """An AVC keyframe that is unlike those with other numbers."""
    return b"\x17\x01\x00\x00\x00" + _nal(0x65, number, filler)


def inter_frame(number: int = 0, filler: int = 20) -> bytes:
    return b"\x27\x01\x00\x00\x00" + _nal(0x41, number, filler)


def audio_frame(number: int = 0) -> bytes:
    return b"\xaf\x01" + number.to_bytes(8, "big")


def _nal(header: int, number: int, filler: int) -> bytes:
    body = bytes((header,)) + number.to_bytes(8, "big") + bytes(filler)
    return len(body).to_bytes(4, "big") + body


class Peer:
    """One connection to the scripted server. ``reading`` cleared: it leaves what we send in the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time()
        self.session = ServerSession(limits=Limits(), entropy=os.urandom(ENTROPY_BYTES), now=now)
        self.events: list[Event] = []
        self.messages: list[Message] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = asyncio.Event()
        self.writer = writer
        self._reader = reader

    def seen(self, kind: type[E]) -> list[E]:
        """The events of that kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def flush(self) -> None:
        """Send what the session has ready."""
        self.writer.write(self.session.outgoing())

    def send(self, type_id: int, timestamp: int, payload: bytes, stream_id: int = 1) -> None:
        """Send media to a player."""
        self.session.send(Message(type_id, timestamp, payload, stream_id))
        self.flush()

    def video(self, timestamp: int, payload: bytes) -> None:
        self.send(MessageType.VIDEO, timestamp, payload)

    def close(self) -> None:
        """Send what is ready, and leave."""
        self.flush()
        self.writer.close()

    async def run(self, script: Script) -> None:
        try:
            with contextlib.suppress(OSError, PeerViolation):
                while data := await self._reader.read(_READ_BYTES):
                    for item in self.session.receive(data, asyncio.get_running_loop().time()):
                        if isinstance(item, Message):
                            self.messages.append(item)
                        else:
                            self.events.append(item)
                            script(self, item)
                    if not self.writer.is_closing():
                        self.flush()
                    await self.reading.wait()
        finally:
            self.gone.set()
            self.writer.close()
            with contextlib.suppress(OSError):
                await self.writer.wait_closed()


#: What to do about an event; the session's answers are sent afterwards.
Script = Callable[[Peer, Event], None]


def accept(peer: Peer, event: Event) -> None:
    """Let everybody in, publish and play."""
    if isinstance(event, events.ConnectRequested):
        peer.session.accept_connect()
    elif isinstance(event, events.PublishRequested):
        peer.session.accept_publish(event.stream_id)
    elif isinstance(event, events.PlayRequested):
        peer.session.accept_play(event.stream_id)
        peer.session.send(Message(MessageType.DATA_AMF0, 0, SAMPLE_ACCESS, event.stream_id))


class ScriptedServer:
    """``peers`` are its connections so far, oldest first."""

    def __init__(self, script: Script) -> None:
        self.peers: list[Peer] = []
        self.port = 0
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, path: str = "live/cam", *, scheme: str = "rtmp", user: str = "") -> str:
        return f"{scheme}://{user}127.0.0.1:{self.port}/{path}"

    @property
    def peer(self) -> Peer:
        """The latest connection."""
        return self.peers[-1]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        await peer.run(self._script)

    async def end(self) -> None:
        for peer in self.peers:
            peer.reading.set()
            peer.writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def serving(
    script: Script = accept, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """A scripted server on a free port of loopback, gone with the body."""
    scripted = ScriptedServer(script)
    server = await asyncio.start_server(scripted.accept, "127.0.0.1", 0, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        await scripted.end()


class _Raw(asyncio.Protocol):
    def __init__(self, data: bytes, close: bool, transports: list[asyncio.BaseTransport]) -> None:
        self._data, self._close, self._transports = data, close, transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.append(transport)
        transport.write(self._data)  # type: ignore[attr-defined]
        if self._close:
            transport.close()


@contextlib.asynccontextmanager
async def answering_with(data: bytes, *, close: bool = False) -> AsyncIterator[int]:
    """A server that sends these bytes whatever it is told, and then nothing; its port."""
    transports: list[asyncio.BaseTransport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Raw(data, close, transports), "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)


async def read_by_the_server(connection: Connection) -> None:
    """Wait until the server has read all that was sent: what it leaves unread makes its close a reset."""
    await connection.ping()
    await until(lambda: connection.rtt_ms is not None, "a pong")


async def until(probe: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Let the loop run until ``probe`` is true; AssertionError that says what was waited for."""
    try:
        async with asyncio.timeout(timeout_s):
            while not probe():  # noqa: ASYNC110 - what is waited for need not know of it
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s:g} s in vain: {what}") from None
