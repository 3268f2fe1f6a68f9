"""Looks at very many things about once a second, a few in each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from cluster.edge.streams.turn import Turn

#: Then others have their turn. 10,000 connections take about 15 ms to be looked at, and media is not to
#: wait for that.
ROUND_TURN_S = 0.0005

_Item = TypeVar("_Item")


def _nothing() -> None:
    """Nobody waits for the end of the round."""


class Rounds(Generic[_Item]):
    """Calls ``look`` for one item after the other, and ``over`` after the last of a round. What fails for
    one is said to the loop, and ends nothing.

    A round that is still under way when the next is to begin goes on, and the next is left out. ``number``
    counts those that were begun.
    """

    def __init__(
        self, turn: Turn, look: Callable[[_Item], object], over: Callable[[], object] = _nothing
    ) -> None:
        self._turn = turn
        self._look = look
        self._over = over
        self._left: Iterator[_Item] | None = None
        self.number = 0

    def begin(self, items: Iterable[_Item]) -> None:
        """Begin a round of ``items`` in this turn. Those that come or go meanwhile change nothing in it."""
        if self._left is None:
            self.number += 1
            self._left = iter(list(items))
            self._look_at_some()

    def _look_at_some(self) -> None:
        loop, look = self._turn.loop, self._look
        clock = loop.time
        until = clock() + ROUND_TURN_S
        assert self._left is not None
        for item in self._left:
            try:
                look(item)
            except Exception as error:
                loop.call_exception_handler({"message": "a round has failed at one", "exception": error})
            if clock() >= until:
                loop.call_soon(self._go_on)
                return
        self._left = None
        self._over()

    def _go_on(self) -> None:
        self._turn.begin()
        self._look_at_some()
        self._turn.end()
