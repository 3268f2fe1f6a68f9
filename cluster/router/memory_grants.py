"""The leases of all stream keys in the memory of one router.

That is soft state: the workers tell a router that restarts everything again. Every question is answered
before it returns.
"""

from __future__ import annotations

from collections.abc import Callable

from cluster.core.bus.epochs import EpochBook
from cluster.core.bus.leases import Holder, Lease
from cluster.router.grants import Answered, OnChange


class MemoryGrants:
    """The Grants of one router; ``watch`` comes first."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._epochs = EpochBook()
        self._on_change: OnChange

    def watch(self, on_change: OnChange, wake: Callable[[], None]) -> None:
        """Nobody need be woken: nothing is answered later."""
        self._on_change = on_change

    def claim(
        self, key: str, worker_id: str, wall_ms: int, answered: Answered, *, replace: Lease | None = None
    ) -> None:
        present = self._leases.get(key)
        if present is not None and present != replace:
            answered(Holder(present))
            return
        lease = Lease(key, worker_id, self._epochs.next(key, wall_ms))
        self._set(lease)
        answered(lease)

    def adopt(self, lease: Lease, answered: Answered) -> None:
        present = self._leases.get(lease.key)
        if present is not None and not lease.beats(present):
            answered(Holder(present))
            return
        self._epochs.note(lease.key, lease.epoch)
        self._set(lease)
        answered(lease)

    def release(self, lease: Lease) -> None:
        if self._leases.get(lease.key) == lease:
            del self._leases[lease.key]
            self._on_change(lease.key, None)

    def renew(self, worker_id: str) -> None:
        """Leases do not run out here: the registry releases those of a worker that it drops."""

    def settle(self) -> None:
        """Nothing is left to settle."""

    def _set(self, lease: Lease) -> None:
        self._leases[lease.key] = lease
        self._on_change(lease.key, lease)
