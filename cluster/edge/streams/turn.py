"""A turn: one wake-up of the worker's loop, and what goes out at its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream


def _nothing() -> None:
    """Nobody looks back at a turn."""


class Turn:
    """``now`` is the loop's time in seconds, read once a turn; ``dirty_streams`` have something to send.

    ``ends_soon``: what the bus has brought so far goes out with what else it brings in this iteration.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.loop = loop
        #: What the loop's time is taken from: that of uvloop stands still in an iteration.
        self.clock = clock
        self.now = loop.time()
        self.dirty_streams: list[Stream] = []
        #: Called when all of a turn has gone out.
        self.look_back: Callable[[], None] = _nothing
        self.ends_soon = False

    def begin(self) -> None:
        """A wake-up begins: one look at the clock serves everything in it."""
        self.now = self.loop.time()

    def end(self) -> None:
        """Everything that arrived in this turn goes out, one write per reader."""
        while self.dirty_streams:
            self.dirty_streams.pop().flush()
        self.look_back()

    def end_soon(self) -> None:
        """What the bus brought in this iteration of the loop goes out together, at its end."""
        if self.dirty_streams and not self.ends_soon:
            self.ends_soon = True
            self.loop.call_soon(self._end_now)

    def _end_now(self) -> None:
        self.ends_soon = False
        self.end()
