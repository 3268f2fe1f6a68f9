"""What the registry keeps of a worker, and of a publisher that waits for its key."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cluster.core.bus import control
from cluster.core.bus.bounds import MAX_ORIGINS
from cluster.core.bus.cluster_status import NODE_REPORTS
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.leases import Lease
from cluster.core.bus.watch_budget import WatchBudget
from cluster.router.snapshots_asked import SnapshotsAsked


@dataclass(slots=True)
class HelloHeard:
    """What a Hello and its parts have said so far; ``parts``: how many are still to come.

    Of what a worker may not have, nothing is kept.
    """

    parts: int = 0
    origins: set[str] = field(default_factory=set)
    watches: set[str] = field(default_factory=set)
    watch_budget: WatchBudget = field(default_factory=WatchBudget)

    def take(self, part: control.Hello | control.HelloPart) -> bool:
        """One more has come; False if none was to come."""
        if self.parts == 0:
            return False
        self.parts -= 1
        self.origins.update(key for key, _ in part.origins[: MAX_ORIGINS - len(self.origins)])
        for key in part.watches:
            if key not in self.watches and self.watch_budget.take(key):
                self.watches.add(key)
        return True


@dataclass(slots=True)
class Worker:
    """``received`` and ``sent`` count messages since its Hello and our Welcome: see Heartbeat."""

    identity: WorkerIdentity
    known_since: float
    heard_at: float
    draining: bool
    load: dict[str, float]
    origins: set[str] = field(default_factory=set)
    watches: set[str] = field(default_factory=set)
    watch_budget: WatchBudget = field(default_factory=WatchBudget)
    hello: HelloHeard = field(default_factory=HelloHeard)
    asked: SnapshotsAsked = field(default_factory=SnapshotsAsked)
    received: int = 0
    sent: int = 0

    def answer(
        self, heartbeat: control.Heartbeat, tells_others: bool, now: float, wall_ms: int
    ) -> control.Heartbeat:
        """What is said to ``heartbeat``; with the time, if it is asked for. ``tells_others``: see
        NODE_REPORTS."""
        load = {NODE_REPORTS: 1} if tells_others else {}
        if isinstance(heartbeat, control.TimedHeartbeat):
            clock_us = round(now * 1_000_000)
            return control.TimedHeartbeat(load, False, self.sent, heartbeat.sent_us, clock_us, wall_ms)
        return control.Heartbeat(load, False, self.sent)


@dataclass(eq=False, slots=True)
class Claim:
    """``requester`` wants a key, and more publishers may wait for what comes of it.

    Its question is with the grants until there is a ``holder``: then with the holder's owner, who is asked
    whether it yields. ``deadline`` is that of the question.
    """

    requester: str
    publish: control.Publish
    deadline: float
    holder: Lease | None = None
    contest_id: int = 0
    waiting: deque[tuple[str, control.Publish]] = field(default_factory=deque)
