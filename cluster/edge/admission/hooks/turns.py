"""Questions of one kind take turns: so many are asked at once, so many more wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.edge.admission.hooks.counts import HookCounts

#: Questions that a worker asks at once, of publishers and of players each. At 20 ms an answer that is 1,600
#: a second, more than back ends of a few dozen processes give.
MAX_QUESTIONS_AT_ONCE = 32
#: Questions that wait for that, of each kind. More could not be asked within the time limit if each
#: takes a tenth of a second.
MAX_WAITING_QUESTIONS = 1_000


class TooManyWait(Exception):
    """One more cannot wait."""


class Turns:
    """Whose turn it is to ask, in the order in which they came."""

    def __init__(self, counts: HookCounts) -> None:
        self._counts = counts
        self._asking = asyncio.Semaphore(MAX_QUESTIONS_AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it; TooManyWait at once if too many do."""
        if self._asking.locked() and self._waiting >= MAX_WAITING_QUESTIONS:
            raise TooManyWait
        self._wait(1)
        try:
            await self._asking.acquire()
        finally:
            self._wait(-1)
        self._counts.asking += 1
        try:
            yield
        finally:
            self._counts.asking -= 1
            self._asking.release()

    def _wait(self, more: int) -> None:
        self._waiting += more
        self._counts.waiting += more
