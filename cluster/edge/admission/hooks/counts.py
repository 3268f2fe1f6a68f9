"""What is counted of the questions that a worker asks."""

from __future__ import annotations

from dataclasses import dataclass, field

ALLOWED = "allowed"
REFUSED = "refused"
#: No answer: not in time, or none that could be read.
FAILED = "failed"
#: Too many waited already, so nobody was asked.
FULL = "full"
OUTCOMES = (ALLOWED, REFUSED, FAILED, FULL)


@dataclass(slots=True)
class HookCounts:
    """``answers`` by outcome. ``waited_s``: how long those who asked have waited, over all but ``full``.

    ``cached``: the answer was known, so nobody was asked. ``asking`` and ``waiting`` are of now: questions
    that have been sent, and those that wait for their turn.
    """

    answers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    waited_s: float = 0.0
    cached: int = 0
    asking: int = 0
    waiting: int = 0

    @property
    def waited(self) -> int:
        """Questions whose time is in ``waited_s``."""
        return sum(count for outcome, count in self.answers.items() if outcome != FULL)
