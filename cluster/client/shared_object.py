"""A shared object of the server's: properties that all its users see, and messages between them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from cluster.client.errors import CLOSED_HERE, ConnectionClosed, RtmpError, SharedObjectRefused
from cluster.client.inbox import EventQueue
from cluster.client.wire import Wire
from cluster.core.amf.values import AmfValue
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage

if TYPE_CHECKING:
    from types import TracebackType

#: Properties kept of one object; a server that sends more does not mean well.
MAX_PROPERTIES = 10_000

#: A status of this level refuses the use; later ones, of a change that is not allowed, are events.
_ERROR = "error"


class SharedObject:
    """Made by ``Connection.shared_object``; leaving its ``async with`` releases it.

    ``data`` is how the properties stand, as far as is known here. Iterating gives what happens to the
    object (``SharedEvent``: a change, a removal, a message of another user) after ``data`` has it.
    """

    def __init__(
        self, wire: Wire, name: str, persistent: bool, *, on_left: Callable[[SharedObject], None]
    ) -> None:
        self.name = name
        self.persistent = persistent
        self.version = 0
        self._wire = wire
        self._on_left = on_left
        self._data: dict[str, AmfValue] = {}
        self._asked: defaultdict[str, deque[AmfValue]] = defaultdict(deque)
        self._events: EventQueue[SharedEvent] = EventQueue()
        self._ready = asyncio.Event()
        self._error: RtmpError | None = None
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SharedEvent:
        return await self._events.get()

    @property
    def data(self) -> Mapping[str, AmfValue]:
        """The properties, live and read-only."""
        return MappingProxyType(self._data)

    async def set(self, name: str, value: AmfValue) -> None:
        """Ask for a property to be changed; ``data`` has it once the server agrees."""
        await self._ask(SharedEvent(SharedEventType.REQUEST_CHANGE, name, (value,)))
        self._asked[name].append(value)

    async def remove(self, name: str) -> None:
        """Ask for a property to be removed."""
        await self._ask(SharedEvent(SharedEventType.REQUEST_REMOVE, name))

    async def send(self, method: str, *args: AmfValue) -> None:
        """Send a message to all users of the object."""
        await self._ask(SharedEvent(SharedEventType.SEND_MESSAGE, method, args))

    def leave(self) -> None:
        """Stop using it. Never raises."""
        if not self._left:
            if self._wire.closed is None:
                self._send(SharedEvent(SharedEventType.RELEASE))
            self._left = True
            self._on_left(self)
            self.fail(None)

    # Called by the connection.

    async def wait_ready(self) -> None:
        """Ask to use it, and wait for the server to say yes."""
        self._send(SharedEvent(SharedEventType.USE))
        await self._ready.wait()
        self._check()

    def on_message(self, message: SharedObjectMessage, cost_bytes: int) -> None:
        """The server said something about it."""
        self.version = message.version
        for event in message.events:
            self._apply(event)
            self._events.put(event, cost_bytes)
            cost_bytes = 0

    def fail(self, error: RtmpError | None) -> None:
        """Nothing more will come; the first reason counts."""
        if self._error is None:
            self._error = error
        self._ready.set()
        self._events.finish(error)

    # Inside.

    def _apply(self, event: SharedEvent) -> None:
        kind, name = event.type_id, event.name
        if kind == SharedEventType.USE_SUCCESS:
            self._ready.set()
        elif kind == SharedEventType.CHANGE:
            self._store(name, event.values[0])
        elif kind == SharedEventType.SUCCESS:  # our own change: only its name comes back
            if asked := self._asked.pop(name, None):
                self._store(name, asked.popleft())
                if asked:
                    self._asked[name] = asked
        elif kind == SharedEventType.REMOVE:
            self._data.pop(name, None)
        elif kind == SharedEventType.CLEAR:
            self._data.clear()
        elif kind == SharedEventType.STATUS and event.values[:1] == (_ERROR,) and not self._ready.is_set():
            self.fail(SharedObjectRefused(name, f"shared object {self.name!r}"))

    def _store(self, name: str, value: AmfValue) -> None:
        if name not in self._data and len(self._data) >= MAX_PROPERTIES:
            self.fail(SharedObjectRefused("", f"{self.name!r} has more than {MAX_PROPERTIES} properties"))
        else:
            self._data[name] = value

    async def _ask(self, event: SharedEvent) -> None:
        self._check()
        self._send(event)
        await self._wire.drain()

    def _send(self, event: SharedEvent) -> None:
        message = SharedObjectMessage(self.name, self.version, self.persistent, (event,))
        self._wire.session.send_shared_object(message)
        self._wire.flush()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._left:
            raise ConnectionClosed(CLOSED_HERE, f"the shared object {self.name!r} was released")
        self._wire.check_open()
