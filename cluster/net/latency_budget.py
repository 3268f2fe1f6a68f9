"""The latency budget: how long media may wait, so that more of it is served at once.

A worker that is busy does the same work for less if it looks at its sockets more rarely: reads and writes
become fewer and larger. While it has time, nothing need wait. So by itself the budget is nothing for as
long as the worker has time, and grows with its load up to a bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

#: The bound of a budget that sets itself, unless another is given: little more than a frame at 25 a second.
MOST_MS = 50.0

#: The load it aims at: how much a worker runs of the time in which it could. What it waits for a CPU, on
#: a host that is busy otherwise, is no such time; what it does only when media have been served is no such
#: load. Beyond this its queues grow, and what a message waits in them is more than the budget costs.
AIM = 0.75
#: Nothing changes as close to that, so that the noise of a load moves nothing.
NEAR = 0.05
#: How much a budget follows the load: it grows by a quarter in a look of a worker that has no time left. It
#: must not exceed what a change of the budget changes of the load, or the two would swing.
PULL = 1.0
#: The newest look weighs as much as all before it: a burst of a quarter of a second is no load.
_WEIGHT = 0.5
#: A budget is this much smaller than what follows the load, and 0 below: so it can begin, and end.
_BEGINS_AT_MS = 2.0
_LEAST_MS = 0.5

_SCHEDSTAT = "/proc/thread-self/schedstat"


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """``auto`` sets itself, up to ``most_ms`` milliseconds; otherwise the budget is always that."""

    most_ms: float
    auto: bool = False

    def __str__(self) -> str:
        return f"auto:{self.most_ms:g}" if self.auto else f"{self.most_ms:g}"


def parse_budget(text: str) -> BudgetRule:
    """Reads ``auto``, ``auto:MS`` or ``MS``, from 0 to 1000."""
    word, colon, number = text.partition(":") if text.startswith("auto") else ("", "", text)
    if word == "auto" and not colon:
        return BudgetRule(MOST_MS, auto=True)
    try:
        most_ms = float(number)
    except ValueError:
        raise ValueError(f"{text!r} is not auto, auto:MS or a number of milliseconds") from None
    if word not in ("", "auto") or not 0 <= most_ms <= 1000:
        raise ValueError(f"{text} is not from 0 to 1000 milliseconds, auto, or auto:MS")
    return BudgetRule(most_ms, auto=bool(word))


def running_s() -> tuple[float, float]:
    """For how long this thread has run, and has waited for a CPU, in seconds.

    The file is opened each time: it is always the one of this thread, and nothing is left to be closed.
    """
    try:
        with open(_SCHEDSTAT, "rb", buffering=0) as file:
            ran_ns, waited_ns, _ = map(int, file.read().split())
    except (OSError, ValueError):
        ran_ns = waited_ns = 0
    if not ran_ns:  # a kernel without it, or one that counts nothing there: the waiting is not seen
        return time.thread_time(), 0.0
    return ran_ns / 1e9, waited_ns / 1e9


class LatencyBudget:
    """The budget of one worker. ``seconds``: what it is now."""

    def __init__(self, rule: BudgetRule, running: Callable[[], tuple[float, float]] | None = None) -> None:
        self._rule = rule
        self._running = (running or running_s) if rule.auto else None
        self._ran_s = self._could_run_s = math.nan
        self._aside_s = 0.0
        self._load = 0.0
        self._follows_ms = _BEGINS_AT_MS
        self.seconds = 0.0 if rule.auto else rule.most_ms / 1000

    def served_aside(self, seconds: float) -> None:
        """So long the worker has served what comes after media, and what no budget would make less."""
        self._aside_s += seconds

    def look(self, now: float) -> None:
        """A few times a second: follow the load, if the budget sets itself."""
        if self._running is None:
            return
        ran_s, waited_s = self._running()
        ran, could_run = ran_s - self._ran_s - self._aside_s, now - waited_s - self._could_run_s
        self._aside_s = 0.0
        self._ran_s, self._could_run_s = ran_s, now - waited_s
        if not could_run > 0:
            return  # the first look, or two at once
        load = min(max(0.0, ran / could_run), 1.0)
        self._load += _WEIGHT * (load - self._load)
        excess = self._load - AIM
        if abs(excess) > NEAR:
            most_ms = self._rule.most_ms + _BEGINS_AT_MS
            self._follows_ms *= math.exp(PULL * excess)
            self._follows_ms = min(max(self._follows_ms, _BEGINS_AT_MS), most_ms)
        budget_ms = self._follows_ms - _BEGINS_AT_MS
        self.seconds = budget_ms / 1000 if budget_ms >= _LEAST_MS else 0.0
