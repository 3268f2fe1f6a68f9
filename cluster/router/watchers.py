"""Who wants to know of which stream key."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.router.records import Worker


class Watchers:
    """The watchers of each key, in the order in which they came; each is allowed so many keys."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        """How many keys are watched."""
        return len(self._by_key)

    def add(self, key: str, worker_id: str, worker: Worker) -> bool:
        """Also if it watches ``key`` already. False: it may not watch one more."""
        if key not in worker.watches:
            if not worker.watch_budget.take(key):
                return False
            worker.watches.add(key)
            self._by_key.setdefault(key, {})[worker_id] = None
        return True

    def discard(self, key: str, worker_id: str, worker: Worker) -> None:
        """Also if it does not watch ``key``."""
        if key in worker.watches:
            worker.watches.remove(key)
            worker.watch_budget.give_back(key)
            watchers = self._by_key[key]
            del watchers[worker_id]
            if not watchers:
                del self._by_key[key]

    def of(self, key: str) -> Iterable[str]:
        return self._by_key.get(key, ())

    def others(self, key: str, worker_id: str) -> bool:
        """Whether any worker but this one watches ``key``."""
        return any(watcher != worker_id for watcher in self.of(key))
