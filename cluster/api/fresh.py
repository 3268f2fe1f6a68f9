"""What is fetched once for all who ask at about the same time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

#: An answer is good for so long: many who poll cost as much as one.
FRESH_S = 0.5
#: Different questions whose answers are kept.
MAX_KEPT = 64


class Fresh(Generic[T]):
    """Answers by question, each fetched by whoever asks first and shared by who asks while it is fresh."""

    def __init__(self, fresh_s: float = FRESH_S, max_kept: int = MAX_KEPT) -> None:
        self._fresh_s = fresh_s
        self._max_kept = max_kept
        self._kept: OrderedDict[Hashable, tuple[asyncio.Task[T], float]] = OrderedDict()
        #: What is being fetched, whether it is still to be kept or not.
        self._running: set[asyncio.Task[T]] = set()

    async def get(self, question: Hashable, fetch: Callable[[], Awaitable[T]]) -> T:
        """The answer to ``question``, maybe an earlier one. It fails as the fetching does, for all."""
        now = asyncio.get_running_loop().time()
        task, began_at = self._kept.get(question, (None, 0.0))
        is_good = task is not None and (not task.done() or now - began_at < self._fresh_s)
        if task is None or not is_good or (task.done() and _has_failed(task)):
            task = asyncio.ensure_future(_run(fetch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            self._kept[question] = task, now
            self._kept.move_to_end(question)
            while len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return await asyncio.shield(task)

    def forget(self) -> None:
        """What was fetched is out of date: something was changed."""
        self._kept.clear()

    async def close(self) -> None:
        """Fetch no more."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _run(fetch: Callable[[], Awaitable[T]]) -> T:
    return await fetch()


def _has_failed(task: asyncio.Task[T]) -> bool:
    return task.cancelled() or task.exception() is not None
