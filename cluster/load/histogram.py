"""A histogram of durations whose buckets grow with the value: small, exact to 1.6 %, added to others."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: Each doubling of the value has this many buckets, as a power of two: 64, so at most 1/64 off.
_PRECISION_BITS = 6
_EXACT_BELOW = 2 << _PRECISION_BITS


class Histogram:
    """Counts of whole numbers at or above 0 (here nanoseconds); below 128 each has its own bucket.

    Cheaper to record than a list is to sort, and one of a process is added to another's without loss.
    """

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.maximum = 0
        self._counts: dict[int, int] = {}

    def record(self, value: int) -> None:
        """Count one value; a negative one counts as 0."""
        if value < _EXACT_BELOW:
            value = bucket = max(0, value)
        else:
            shift = value.bit_length() - _PRECISION_BITS - 1
            bucket = (shift << _PRECISION_BITS) + (value >> shift)
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        if value > self.maximum:
            self.maximum = value

    def add(self, other: Histogram) -> None:
        """Take in what another has counted."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """The value that ``share`` of all values do not exceed (nearest rank); None of an empty one."""
        return next(iter(self.percentiles([share])), None)

    def percentiles(self, shares: Iterable[float]) -> list[float]:
        """Several at once, in ascending order; none of an empty histogram."""
        if not self.count:
            return []
        found: list[float] = []
        ordered = iter(sorted(self._counts.items()))
        bucket, seen = next(ordered)
        seen_to = seen
        for share in shares:
            rank = min(self.count, max(1, math.ceil(share * self.count)))
            while seen_to < rank:
                bucket, seen = next(ordered)
                seen_to += seen
            found.append(min(_middle_of(bucket), float(self.maximum)))
        return found


def _middle_of(bucket: int) -> float:
    if bucket < _EXACT_BELOW:
        return float(bucket)
    shift = (bucket >> _PRECISION_BITS) - 1
    lowest = (bucket - (shift << _PRECISION_BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2
