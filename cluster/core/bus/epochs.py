"""Epochs: the numbers by which a later origin of a stream key beats an earlier one."""

from __future__ import annotations

from cluster.core.bus.bounds import MAX_ENDED_EPOCHS, MAX_EPOCH_AHEAD_S


def latest_epoch(wall_ms: int) -> int:
    """The highest epoch that is taken for real while the wall clock shows ``wall_ms``."""
    return wall_ms + MAX_EPOCH_AHEAD_S * 1_000


class EpochBook:
    """The highest epoch seen of each stream key, for the keys seen last (``max_keys`` of them).

    A key that was forgotten gets the wall clock alone, which is higher too unless it was set back. If it
    was set back by more than MAX_EPOCH_AHEAD_S, what was seen before is forgotten: nobody would take the
    next one.
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
        if epoch > latest_epoch(wall_ms):
            del self._highest[key]
            epoch = wall_ms
        self.note(key, epoch)
        return epoch
