"""What the registry keeps of a worker, and of a publisher that waits for its key."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cluster.core.bus import control
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.leases import Lease
from cluster.router.snapshots_asked import SnapshotsAsked


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
    asked: SnapshotsAsked = field(default_factory=SnapshotsAsked)
    received: int = 0
    sent: int = 0


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
