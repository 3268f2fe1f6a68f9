"""Who wants to know of which stream key."""

from __future__ import annotations

from collections.abc import Iterable


class Watchers:
    """The watchers of each key, in the order in which they came."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        """How many keys are watched."""
        return len(self._by_key)

    def add(self, key: str, worker_id: str) -> None:
        self._by_key.setdefault(key, {})[worker_id] = None

    def discard(self, key: str, worker_id: str) -> None:
        watchers = self._by_key.get(key)
        if watchers is not None:
            watchers.pop(worker_id, None)
            if not watchers:
                del self._by_key[key]

    def of(self, key: str) -> Iterable[str]:
        return self._by_key.get(key, ())

    def others(self, key: str, worker_id: str) -> bool:
        """Whether any worker but this one watches ``key``."""
        return any(watcher != worker_id for watcher in self.of(key))
