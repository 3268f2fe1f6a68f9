"""Whether the peer is still there: pings and what follows when they are not answered."""

from __future__ import annotations

from cluster.core.limits import Limits
from cluster.core.rtmp.control import MAX_U32


class Liveness:
    """The ping clock of one connection; times in seconds, monotonic.

    Many players never answer a ping, nor send anything while they play: as long as their kernel takes
    bytes they are alive, and a bound on unsent output finds the others. So silence counts only
    against a peer that has answered a ping before, or that owes us media.
    """

    __slots__ = ("_answers", "_awaited", "_pinged_at", "_silent_since", "rtt_ms")

    def __init__(self, now: float) -> None:
        #: The last round-trip time; None until a ping was answered.
        self.rtt_ms: float | None = None
        self._answers = False
        self._pinged_at = now
        #: The clock in the ping that is not answered yet.
        self._awaited: int | None = None
        #: The first ping since anything was received.
        self._silent_since: float | None = None

    def ping_due(self, now: float, limits: Limits) -> bool:
        return now - self._pinged_at >= limits.ping_interval_s

    def pinged(self, now: float) -> int:
        """A ping goes out now; returns the clock to put into it."""
        self._pinged_at = now
        self._awaited = int(now * 1000) & MAX_U32
        if self._silent_since is None:
            self._silent_since = now
        return self._awaited

    def received(self, at: float) -> None:
        """Something was received, last at ``at``."""
        if self._silent_since is not None and at > self._silent_since:
            self._silent_since = None

    def ponged(self, clock_ms: int, now: float) -> float | None:
        """A pong came: the round-trip time. None if it echoes no ping, or one that a later replaced."""
        if clock_ms != self._awaited:
            return None
        self._awaited = None
        self._answers = True
        self._silent_since = None
        self.rtt_ms = (now - self._pinged_at) * 1000
        return self.rtt_ms

    def is_lost(self, now: float, limits: Limits, *, owes_media: bool = False) -> bool:
        """The peer has been silent for too long. ``owes_media``: it publishes, and plays nothing."""
        if self._silent_since is None or not (self._answers or owes_media):
            return False
        return now - self._silent_since >= limits.ping_timeout_s
