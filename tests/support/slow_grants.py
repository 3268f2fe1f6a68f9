"""Grants that answer when a test wants it, as a store behind a network does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cluster.core.bus.leases import Lease
from cluster.router.grants import Answered, OnChange
from cluster.router.memory_grants import MemoryGrants


class SlowGrants(MemoryGrants):
    """Claims of the keys in ``slow`` lie there until ``answer``, which any thread may call."""

    def __init__(self, *slow: str) -> None:
        super().__init__()
        self.slow: dict[str, deque[Callable[[], None]]] = {key: deque() for key in slow}
        self.renewed: list[str] = []
        self._answers: deque[Callable[[], None]] = deque()

    def watch(self, on_change: OnChange, wake: Callable[[], None]) -> None:
        super().watch(on_change, wake)
        self._wake = wake

    def claim(
        self, key: str, worker_id: str, wall_ms: int, answered: Answered, *, replace: Lease | None = None
    ) -> None:
        claim = super().claim
        if key in self.slow:
            self.slow[key].append(lambda: claim(key, worker_id, wall_ms, answered, replace=replace))
        else:
            claim(key, worker_id, wall_ms, answered, replace=replace)

    def renew(self, worker_id: str) -> None:
        self.renewed.append(worker_id)

    def answer(self, key: str) -> None:
        self._answers.append(self.slow[key].popleft())
        self._wake()

    def settle(self) -> None:
        while self._answers:
            self._answers.popleft()()
