"""Stream keys that an operator has closed for a time: nobody is granted them."""

from __future__ import annotations

from collections import OrderedDict

from cluster.core.bus.bounds import MAX_CLOSED_KEYS
from cluster.core.bus.control import CloseKey


class ClosedKeys:
    """Until when each is closed, on the registry's clock."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def close(self, key: str, until: float, now: float) -> None:
        """Close ``key`` until then; in the past, it is open. Of too many, the oldest is opened."""
        self._until.pop(key, None)
        if until > now:
            self._until[key] = until
            while len(self._until) > MAX_CLOSED_KEYS:
                self._until.popitem(last=False)

    def asked(self, _: str, told: CloseKey, now: float) -> None:
        """Somebody who operates the cluster says so."""
        self.close(told.key, now + told.seconds, now)

    def holds(self, key: str, now: float) -> bool:
        """Whether ``key`` is closed now."""
        until = self._until.get(key)
        if until is not None and until <= now:
            del self._until[key]
            until = None
        return until is not None

    def left(self, now: float) -> dict[str, float]:
        """The seconds that each is closed yet."""
        return {key: until - now for key, until in self._until.items() if until > now}
