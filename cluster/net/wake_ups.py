"""When what is ready is served: wake-ups of the event loop by one file descriptor, moderated.

A worker that is woken thousands of times a second, each time for one message, spends more on waking than
on serving. It then rests a millisecond between wake-ups, as network cards moderate their interrupts: what
has come meanwhile is served together. A message that comes alone is served at once, or, if there is a
latency budget, as late as that allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from cluster.net.latency_budget import LatencyBudget

#: How long it rests: what a message may wait at most, on a worker that busy.
REST_S = 0.001
#: This many wake-ups within the time of as many rests are too many. It is small, so that one burst is
#: enough: the messages of a latency budget come in bursts from another worker.
HASTY_WAKE_UPS = 8


def next_moment(now: float, interval_s: float) -> float:
    """When something that is done every ``interval_s`` is due again after ``now``, on the loop's clock.

    Multiples of the interval, so that whatever goes by this, every half and every quarter of a second, say,
    shares wake-ups. Half an interval to one and a half away: a timer that is early is not due twice.
    """
    return (now // interval_s + (2 if now % interval_s >= interval_s / 2 else 1)) * interval_s


class WakeUps:
    """Calls ``serve`` whenever ``fd`` is readable, or, if that is too often, every REST_S.

    ``serve`` says how much it has served; it goes back to every wake-up once that is no more than one in
    each rest. What it raises is the loop's to report, and ends nothing. While ``budget`` is more than
    nothing, ``serve`` is called so long after ``fd`` has become readable.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        serve: Callable[[], int],
        budget: LatencyBudget | None = None,
    ) -> None:
        self._budget = budget
        self._loop = loop
        self._fd = fd
        self._serve = serve
        self._closed = False
        self._rest: asyncio.TimerHandle | None = None
        self._count = 0  # wake-ups since the last look at the clock, or rests
        self._looked_at = 0.0
        self._served = 0  # in the rests since then
        loop.add_reader(fd, self._woken)

    def close(self) -> None:
        """Stop watching ``fd``; call this before the descriptor is closed."""
        self._closed = True
        if self._rest is None:
            self._loop.remove_reader(self._fd)
        else:
            self._rest.cancel()

    def _woken(self) -> None:
        if self._budget is not None and self._budget.seconds:
            self._loop.remove_reader(self._fd)
            self._rest = self._loop.call_later(self._budget.seconds, self._waited)
            return
        self._serve()
        self._count += 1
        if self._count < HASTY_WAKE_UPS or self._closed:
            return
        now = monotonic()
        if now - self._looked_at < HASTY_WAKE_UPS * REST_S:
            self._loop.remove_reader(self._fd)
            self._rest = self._loop.call_later(REST_S, self._rested)
        self._count, self._looked_at = 0, now

    def _waited(self) -> None:
        """The budget of what came first is over, and everything that is ready is served with it."""
        self._rest = None
        self._loop.add_reader(self._fd, self._woken)  # first: what is raised must not end the wake-ups
        self._serve()

    def _rested(self) -> None:
        try:
            self._served += self._serve()
        finally:
            if not self._closed:
                self._rest_again()

    def _rest_again(self) -> None:
        self._count += 1
        has_budget = self._budget is not None and self._budget.seconds > 0  # which takes the place of rests
        if self._count == HASTY_WAKE_UPS or has_budget:
            is_busy = self._served > HASTY_WAKE_UPS and not has_budget
            self._count = self._served = 0
            if not is_busy:
                self._rest = None
                self._looked_at = monotonic()
                self._loop.add_reader(self._fd, self._woken)
                return
        self._rest = self._loop.call_later(REST_S, self._rested)
