"""When the thread of a registry rests: a thousand workers would wake it for each of their heartbeats."""

from __future__ import annotations

from cluster.net.wake_ups import HASTY_WAKE_UPS, REST_S

#: A turn with so many messages needs no rest to have more of them in the next.
ENOUGH = 64


class Rests:
    """As workers do (``wake_ups``): one that is woken too often rests a millisecond before it waits again,
    so that what comes meanwhile is handled together. What comes alone is handled at once."""

    def __init__(self) -> None:
        self._turned_at = float("-inf")
        self._hasty = 0
        self._is_resting = False

    def after_turn(self, now: float, handled: int) -> float:
        """How long to rest after a turn at ``now`` in which so many messages were handled."""
        if self._is_resting:
            self._is_resting = handled > 1
        else:
            self._hasty = self._hasty + 1 if now - self._turned_at < REST_S else 0
            self._is_resting = self._hasty >= HASTY_WAKE_UPS
        self._turned_at = now
        return REST_S if self._is_resting and handled < ENOUGH else 0.0
