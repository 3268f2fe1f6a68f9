"""Questions of one kind take turns: so many are asked at once, so many more wait.

The addresses that ask take turns too, each with its oldest question. A stranger who asks without end waits
for his own questions, and others for one of them at most.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
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


#: Those of one address that wait, the oldest first.
_Line = OrderedDict[asyncio.Future[None], None]


class Turns:
    """Whose turn it is to ask."""

    def __init__(self, counts: HookCounts) -> None:
        self._counts = counts
        self._free = MAX_QUESTIONS_AT_ONCE
        #: By address; the one whose turn is next comes first.
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it. TooManyWait if too many do: at once, or later, when others come
        whose addresses have fewer questions that wait."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(address)
        self._counts.asking += 1
        try:
            yield
        finally:
            self._counts.asking -= 1
            self._pass_on()

    async def _wait(self, address: str) -> None:
        if self._waiting >= MAX_WAITING_QUESTIONS:
            self._make_room(address)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(address, OrderedDict())[mine] = None
        self._count(1)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._leave(address, mine)
            elif mine.exception() is None:
                self._pass_on()  # it was given its turn in the moment in which it left
            raise

    def _make_room(self, address: str) -> None:
        """The newest of the address with the most goes; TooManyWait if that is ``address`` itself."""
        most, line = max(self._lines.items(), key=lambda each: len(each[1]))
        if len(line) <= len(self._lines.get(address, ())) + 1:
            raise TooManyWait
        newest = next(reversed(line))
        self._leave(most, newest)
        if not newest.done():
            newest.set_exception(TooManyWait())

    def _pass_on(self) -> None:
        """A turn is over: the next address has one."""
        while self._lines:
            address, line = next(iter(self._lines.items()))
            oldest = next(iter(line))
            self._lines.move_to_end(address)
            self._leave(address, oldest)
            if not oldest.done():  # else it is about to leave
                oldest.set_result(None)
                return
        self._free += 1

    def _leave(self, address: str, one: asyncio.Future[None]) -> None:
        """``one`` does not wait any more. Without effect if it does not already."""
        line = self._lines.get(address)
        if line is None or one not in line:
            return
        del line[one]
        if not line:
            del self._lines[address]
        self._count(-1)

    def _count(self, more: int) -> None:
        self._waiting += more
        self._counts.waiting += more
