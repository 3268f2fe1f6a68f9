"""What a publication and a playback share: a message stream at the server, and its way from ask to end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from cluster.client.errors import CLOSED_HERE, ConnectionClosed, RtmpError, StatusError
from cluster.client.waiting import raise_or_return
from cluster.client.wire import Wire
from cluster.core.message import Message
from cluster.core.rtmp.events import Event, StatusReceived
from cluster.core.rtmp.status import Code, Level

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cluster.client.connection import Connection

#: Refusals that some servers send with another level than "error"; encoders go by the code.
_FATAL_CODES = frozenset(
    (Code.PUBLISH_BAD_NAME, Code.PUBLISH_DENIED, Code.PUBLISH_REJECTED, Code.PLAY_FAILED,
     Code.PLAY_STREAM_NOT_FOUND, Code.FAILED)
)  # fmt: skip


class RemoteStream:
    """One message stream. ``status`` is the last onStatus of it, None before the first."""

    _REFUSED: ClassVar[type[StatusError]]
    _STARTED_BY: ClassVar[frozenset[str]]

    def __init__(self, connection: Connection, wire: Wire, name: str, stream_id: int) -> None:
        self.name = name
        self.stream_id = stream_id
        self.status: StatusReceived | None = None
        self._connection = connection
        self._wire = wire
        self._error: RtmpError | None = None
        self._left = False
        self._started = False
        self._decided = asyncio.Event()
        self._waiting: list[tuple[frozenset[str], asyncio.Future[StatusReceived | RtmpError]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Tell the server that it is over and give the message stream back. Never raises."""
        self.leave()

    def leave(self) -> None:
        """``close`` without waiting for anything."""
        if not self._left:
            self._left = True
            self._over(None)
            self._connection.forget(self)

    # Called by the connection.

    def on_message(self, message: Message, cost_bytes: int) -> None:
        """A message came on this stream: of no use, unless it is played."""

    def on_event(self, event: Event, cost_bytes: int) -> None:
        """An event about this stream."""

    def on_status(self, status: StatusReceived, cost_bytes: int) -> None:
        """An onStatus of this stream."""
        self.status = status
        self.on_event(status, cost_bytes)
        if status.code in self._STARTED_BY:
            self._start()
        self._tell_waiting(status)
        fatal = status.level == Level.ERROR and status.code != Code.SEEK_FAILED
        if fatal or status.code in _FATAL_CODES:
            self.fail(self._REFUSED(status.code, status.description))

    def fail(self, error: RtmpError) -> None:
        """The stream has ended by ``error``; the first error counts."""
        if self._error is None:
            self._error = error
            self._over(error)

    # For the subclasses.

    async def wait_started(self) -> None:
        """Wait for the server to begin; what it says instead is raised. What it says later is not."""
        await self._decided.wait()
        if not self._started:
            self._check()

    def _start(self) -> None:
        """The server has begun."""
        self._started = True
        self._decided.set()

    async def _status_of(self, codes: frozenset[str], what: str, timeout_s: float | None) -> StatusReceived:
        """Send what was asked, and wait for the next status with one of these codes."""
        answer: asyncio.Future[StatusReceived | RtmpError] = asyncio.get_running_loop().create_future()
        waiting = (codes, answer)
        self._waiting.append(waiting)
        try:
            self._wire.flush()
            return raise_or_return(await self._wire.within(timeout_s, what, answer))
        finally:
            self._waiting.remove(waiting)

    def _over(self, error: RtmpError | None) -> None:
        """Nothing more is to come: let go whoever waits."""
        self._decided.set()
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_result(error or self._left_error())

    def _check(self) -> None:
        """Raise what has ended it, if it has ended."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._left:
            raise self._left_error()
        self._wire.check_open()

    def _left_error(self) -> ConnectionClosed:
        what = type(self).__name__.lower()
        return ConnectionClosed(CLOSED_HERE, f"the {what} of {self.name!r} was closed")

    def _tell_waiting(self, status: StatusReceived) -> None:
        for codes, answer in self._waiting:
            if status.code in codes and not answer.done():
                answer.set_result(status)
