"""What the parts of a connection send and wait with: a session and the socket that it is fed from."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from cluster.client.errors import ConnectionClosed
from cluster.client.socket_protocol import SocketProtocol
from cluster.client.waiting import within
from cluster.core.message import Message
from cluster.core.rtmp.client_session import ClientSession

T = TypeVar("T")


class Wire:
    """Held by a connection, its publications, playbacks and shared objects; it knows none of them."""

    def __init__(self, session: ClientSession, protocol: SocketProtocol, timeout_s: float) -> None:
        self.session = session
        self.protocol = protocol
        self.timeout_s = timeout_s

    @property
    def closed(self) -> ConnectionClosed | None:
        """Why the connection is closed; None while it is open."""
        return self.protocol.closed

    def check_open(self) -> None:
        """ConnectionClosed if the connection is."""
        self.protocol.check_open()

    def flush(self) -> None:
        """Send what the session has ready."""
        self.protocol.flush()

    async def drain(self) -> None:
        """Send what the session has ready, and wait until the socket takes more."""
        self.protocol.flush()
        await self.protocol.writable()

    async def writable(self) -> None:
        """Wait until the socket takes more; ConnectionClosed if it never will."""
        await self.protocol.writable()

    def send(self, message: Message) -> None:
        """Send a media message; ``writable`` says when there is room."""
        self.session.send(message)
        self.protocol.flush()

    async def within(self, timeout_s: float | None, what: str, waiting: Awaitable[T]) -> T:
        """Wait for an answer of the server, which may stand behind much media, and not for ever."""
        with self.protocol.gate.awaiting():
            return await within(self.timeout_s if timeout_s is None else timeout_s, what, waiting)
