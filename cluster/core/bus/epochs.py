"""Epochs: the numbers by which a later origin of a stream key beats an earlier one."""

from __future__ import annotations

from cluster.core.bus.bounds import MAX_ENDED_EPOCHS


class EpochBook:
    """The highest epoch seen of each stream key, for the keys seen last (``max_keys`` of them).

    A key that was forgotten gets the wall clock alone, which is higher too unless it was set back.
    """

    def __init__(self, max_keys: int = MAX_ENDED_EPOCHS) -> None:
        self._max_keys = max_keys
        self._highest: dict[str, int] = {}

    def note(self, key: str, epoch: int) -> None:
        """``epoch`` was seen for ``key``."""
        highest = max(epoch, self._highest.pop(key, 0))
        self._highest[key] = highest
        if len(self._highest) > self._max_keys:
            del self._highest[next(iter(self._highest))]

    def next(self, key: str, wall_ms: int) -> int:
        """An epoch for a new origin of ``key``: the wall clock, or more if that is not higher."""
        epoch = max(self._highest.get(key, 0) + 1, wall_ms)
        self.note(key, epoch)
        return epoch
