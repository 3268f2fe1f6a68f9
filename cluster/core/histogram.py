"""How often a time was how long: counts by upper bound, as Prometheus has them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: Upper bounds in seconds; what is longer is counted after the last.
BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class Histogram:
    """``numbers``: the sum of all times, then how many there were up to each bound, beyond that before."""

    __slots__ = ("numbers",)

    def __init__(self) -> None:
        self.numbers: list[float] = [0.0] + [0] * (len(BOUNDS_S) + 1)

    def note(self, seconds: float) -> None:
        self.numbers[0] += seconds
        self.numbers[1 + bisect_left(BOUNDS_S, seconds)] += 1


def added(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """The numbers of two together; of none at all, those of a new one."""
    if not one or not other:
        return list(one or other or Histogram().numbers)
    return [a + b for a, b in zip(one, other, strict=True)]
