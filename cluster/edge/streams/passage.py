"""How long the messages of a stream take through this worker: seen at a few of them, a few times a second.

At the origin that is the next flush after every second sweep; elsewhere that of what an envelope with a
stamp has brought. So the path of the media pays for a look at a flag.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import NamedTuple

from cluster.edge.streams.counters import Counters

#: Looks that are remembered of a stream: four seconds of them.
REMEMBERED = 8
#: The hops of a message: in the worker of its publisher, from there to another, to the players' sockets.
ORIGIN, BUS, SOCKETS = "origin", "bus", "sockets"


class Hops(NamedTuple):
    """How long a message has been at its origin, from its arrival on; on the bus (not at all at the origin
    itself); and on its way from there into the sockets of all players here. In seconds."""

    origin_s: float
    bus_s: float
    sockets_s: float


class Passage:
    """The looks at one stream. ``is_due``: the next flush is looked at."""

    __slots__ = ("_began_at", "_bus_s", "_counters", "_is_swept", "_looks", "_origin_s", "is_due")

    def __init__(self, counters: Counters) -> None:
        self.is_due = self._is_swept = False
        self._counters = counters
        self._looks: deque[Hops] = deque(maxlen=REMEMBERED)
        self._origin_s = self._bus_s = self._began_at = 0.0

    def forget(self) -> None:
        """The stream has another publisher, or another way."""
        self._looks.clear()
        self.is_due = False

    def look(self) -> None:
        """At each sweep, at the origin."""
        self._is_swept = not self._is_swept
        self.is_due = self.is_due or self._is_swept

    def came(self, origin_s: float, bus_s: float) -> None:
        """The newest message that has just come was so long at its origin, and on the bus."""
        self._origin_s, self._bus_s = origin_s, max(0.0, bus_s)
        self.is_due = True
        self._note(BUS, self._bus_s)

    def begin(self, arrived_at: float, now: float, *, at_origin: bool) -> None:
        """A flush that is looked at begins, of what has arrived then."""
        self._began_at = now
        if at_origin:
            self._origin_s, self._bus_s = max(0.0, now - arrived_at), 0.0
            self._note(ORIGIN, self._origin_s)
        else:
            self._began_at = arrived_at

    @property
    def origin_s(self) -> float:
        """How long the newest message had been at its origin when it was sent."""
        return self._origin_s

    def end(self, now: float) -> None:
        """The message has been written to all players that take it."""
        self.is_due = False
        sockets_s = max(0.0, now - self._began_at)
        self._looks.append(Hops(self._origin_s, self._bus_s, sockets_s))
        self._note(SOCKETS, sockets_s)

    @property
    def looks(self) -> int:
        """How many are remembered."""
        return len(self._looks)

    def hops(self) -> Hops | None:
        """The median of each over the last looks; None if there has been none."""
        if not self._looks:
            return None
        return Hops(*map(median, zip(*self._looks, strict=True)))

    @property
    def delay_s(self) -> float | None:
        """From the arrival at the origin into the sockets of players; None if it has not been seen."""
        hops = self.hops()
        return None if hops is None else sum(hops)

    def _note(self, hop: str, seconds: float) -> None:
        self._counters.hop_delay_seconds[hop].note(seconds)
