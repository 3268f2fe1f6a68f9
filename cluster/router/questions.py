"""Questions that pass through a router: who asked which worker what, until the answer has come."""

from __future__ import annotations

from typing import NamedTuple

from cluster.core.bus.bounds import MAX_QUESTIONS, MAX_QUESTIONS_OF_ONE, QUESTION_TIMEOUT_S
from cluster.core.bus.control import Answer, Question


class _Asked(NamedTuple):
    asker: str
    request_id: int


class Questions:
    """The open ones. An answer goes to whoever has asked for it, once, and nowhere else."""

    def __init__(self) -> None:
        #: The worker that was asked, and until when it may answer; the oldest first.
        self._open: dict[_Asked, tuple[str, float]] = {}
        self._of: dict[str, int] = {}

    def note(self, asker: str, question: Question, now: float) -> bool:
        """``asker`` asks ``question``; False if too many are open."""
        self._forget(now)
        asked = _Asked(asker, question.request_id)
        is_known = asked in self._open
        full = len(self._open) >= MAX_QUESTIONS or self._of.get(asker, 0) >= MAX_QUESTIONS_OF_ONE
        if is_known or full:
            return False
        self._open[asked] = question.worker, now + QUESTION_TIMEOUT_S
        self._of[asker] = self._of.get(asker, 0) + 1
        return True

    def close(self, worker_id: str, answer: Answer, now: float) -> bool:
        """``worker_id`` gives ``answer``: whether it was asked for it, and in time."""
        asked = _Asked(answer.asker, answer.request_id)
        worker, until = self._open.get(asked, ("", 0.0))
        if worker != worker_id:
            return False
        self._drop(asked)
        return now < until

    def _forget(self, now: float) -> None:
        while self._open:
            oldest = next(iter(self._open))
            if now < self._open[oldest][1]:
                return
            self._drop(oldest)

    def _drop(self, asked: _Asked) -> None:
        del self._open[asked]
        self._of[asked.asker] -= 1
        if not self._of[asked.asker]:
            del self._of[asked.asker]
