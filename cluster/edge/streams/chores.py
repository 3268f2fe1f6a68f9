"""What there may be very much of at once, done a little at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from cluster.edge.streams.turn import Turn

#: Then others have their turn.
CHORES_TURN_S = 0.002


class Chores:
    """Work that may wait for a few turns of the loop: the oldest is done first."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._waiting: OrderedDict[Hashable, Callable[[], object]] = OrderedDict()
        self._is_planned = False

    def later(self, what: Hashable, do: Callable[[], object]) -> None:
        """Call ``do`` in a later turn; once, however often it is asked for ``what`` until then."""
        self._waiting[what] = do
        self._plan()

    def begin(self) -> None:
        """Do what waits now, or as much of it as there is time for. What fails ends no other."""
        loop = self._turn.loop
        time = loop.time
        until = time() + CHORES_TURN_S
        for _ in range(len(self._waiting)):
            _what, do = self._waiting.popitem(last=False)
            try:
                do()
            except Exception as error:
                loop.call_exception_handler({"message": "what was put off has failed", "exception": error})
            if time() >= until:
                break

    def _plan(self) -> None:
        if not self._is_planned:
            self._is_planned = True
            self._turn.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_planned = False
        self._turn.begin()
        self.begin()
        self._turn.end()
        if self._waiting:
            self._plan()
