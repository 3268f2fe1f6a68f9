"""How many keys one worker may watch: what its link keeps to, and a router expects of it."""

from __future__ import annotations

from cluster.core.bus.bounds import MAX_WATCHED_BYTES, MAX_WATCHES
from cluster.core.bus.envelope import key_bytes


class WatchBudget:
    """Counts the watched keys of one worker, each once."""

    __slots__ = ("_bytes", "_keys")

    def __init__(self) -> None:
        self._keys = 0
        self._bytes = 0

    def take(self, key: str) -> bool:
        """Room for one more; False if there is none."""
        size_bytes = len(key_bytes(key))
        if self._keys >= MAX_WATCHES or self._bytes + size_bytes > MAX_WATCHED_BYTES:
            return False
        self._keys += 1
        self._bytes += size_bytes
        return True

    def give_back(self, key: str) -> None:
        """``key``, for which there was room, is watched no more."""
        self._keys -= 1
        self._bytes -= len(key_bytes(key))
