"""Queues from the socket to one consumer: of media, which must wait, and of events, which must not."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

from cluster.client.errors import RtmpError
from cluster.client.read_gate import ReadGate
from cluster.core.errors import MisuseError

T = TypeVar("T")

#: Events that nobody has read yet, by the bytes they came in.
MAX_EVENT_BYTES = 256 * 1024


class Inbox(Generic[T]):
    """Items in order of arrival, each with the bytes it stands for; then the end, or an error.

    It has no bound of its own: the ``ReadGate`` stops the socket.
    """

    def __init__(self, gate: ReadGate) -> None:
        self._gate = gate
        self._items: deque[tuple[T, int]] = deque()
        self._arrived = asyncio.Event()
        self._finished = False
        self._error: RtmpError | None = None
        self._taken = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, cost_bytes: int) -> None:
        """Add an item; what comes after the end is dropped."""
        if self._finished:
            return
        self._items.append((item, cost_bytes))
        self._gate.add(cost_bytes)
        self._arrived.set()

    def finish(self, error: RtmpError | None = None) -> None:
        """Nothing more will come. The first call counts."""
        if not self._finished:
            self._finished, self._error = True, error
            self._arrived.set()

    def discard(self) -> None:
        """Nobody wants what waits, nor anything that comes."""
        self.finish()
        cost_bytes = sum(cost for _, cost in self._items)
        self._items.clear()
        self._gate.remove(cost_bytes)

    async def get(self) -> T:
        """The next item. At the end StopAsyncIteration, or the error, each time.

        MisuseError if another task waits already: half the items for each is never what was meant.
        """
        while not self._items:
            if self._finished:
                if self._error is not None:
                    raise self._error.with_traceback(None)
                raise StopAsyncIteration
            if self._taken:
                raise MisuseError("another task is iterating over this already")
            self._taken = True
            try:
                self._arrived.clear()
                await self._arrived.wait()
            finally:
                self._taken = False
        item, cost_bytes = self._items.popleft()
        self._gate.remove(cost_bytes)
        return item


class EventQueue(Inbox[T]):
    """The newest items, to iterate over. Nobody need read them: the oldest are dropped, and counted."""

    def __init__(self, bound_bytes: int = MAX_EVENT_BYTES) -> None:
        super().__init__(ReadGate(bound_bytes, 0, pause=_nothing, resume=_nothing))
        self.dropped = 0
        self._bound_bytes = bound_bytes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self.get()

    def put(self, item: T, cost_bytes: int) -> None:
        super().put(item, cost_bytes)
        while len(self._items) > 1 and self._gate.queued_bytes > self._bound_bytes:
            _, oldest_bytes = self._items.popleft()
            self._gate.remove(oldest_bytes)
            self.dropped += 1


def _nothing() -> None:
    """No socket is paused for these."""
