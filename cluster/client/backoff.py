"""How long to wait before trying again: longer each time, and not all at the same moment."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cluster.core.errors import MisuseError


@dataclass(frozen=True, slots=True)
class Backoff:
    """The pauses between attempts, in seconds: ``first_s``, then ``factor`` times as long, up to ``max_s``.

    Each is shortened by a random part of up to ``jitter`` (0 to 1), so that the players of a server that
    restarts do not come back in one instant. After ``attempts`` failures in a row it gives up; None:
    never. A connection that held for ``max_s`` counts as a success.
    """

    first_s: float = 0.5
    max_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.5
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.max_s and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise MisuseError(f"no sensible pauses come of {self}")


class Attempts:
    """One run of failures under a ``Backoff``."""

    def __init__(self, backoff: Backoff, *, random: random.Random | None = None) -> None:
        self._backoff = backoff
        self._random = random or _RANDOM
        self._failures = 0

    def pause_s(self, held_s: float) -> float | None:
        """An attempt failed, after holding for ``held_s`` (0: it never held): how long to wait before the
        next; None: give up."""
        backoff = self._backoff
        if held_s >= backoff.max_s:
            self._failures = 0
        self._failures += 1
        if backoff.attempts is not None and self._failures >= backoff.attempts:
            return None
        pause_s: float = backoff.first_s
        for _ in range(self._failures - 1):
            pause_s = min(pause_s * backoff.factor, backoff.max_s)
            if pause_s == backoff.max_s:
                break
        return pause_s * (1 - backoff.jitter * self._random.random())


_RANDOM = random.Random()
