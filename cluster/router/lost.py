"""The workers that a router has lost: they fell silent, or could not be reached, and have not come back.

They are told of to whoever asks for the status, so that a node that hangs is missed by name.
"""

from __future__ import annotations

from collections import OrderedDict

from cluster.core.bus.bounds import LOST_SHOWN_S, MAX_LOST_WORKERS
from cluster.core.bus.cluster_status import LOST, WorkerStatus
from cluster.core.bus.identity import WorkerIdentity


class LostWorkers:
    """For some minutes; of too many, the first is forgotten."""

    def __init__(self) -> None:
        self._heard_at: OrderedDict[str, tuple[WorkerIdentity, float]] = OrderedDict()

    def went(self, identity: WorkerIdentity, heard_at: float) -> None:
        """A worker has gone without a word."""
        self._heard_at[identity.worker_id] = identity, heard_at
        while len(self._heard_at) > MAX_LOST_WORKERS:
            self._heard_at.popitem(last=False)

    def came(self, identity: WorkerIdentity) -> None:
        """This one is here: it, or the one that it stands in for, is not lost; nor is a node of its name
        that was started anew."""
        for worker_id, (lost, _) in list(self._heard_at.items()):
            is_renewed = lost.node == identity.node and lost.instance != identity.instance
            if is_renewed or lost.place == identity.place:
                del self._heard_at[worker_id]

    def rows(self, now: float) -> list[WorkerStatus]:
        """As a status tells of them."""
        while self._heard_at:
            worker_id, (_, heard_at) = next(iter(self._heard_at.items()))
            if now - heard_at < LOST_SHOWN_S:
                break
            del self._heard_at[worker_id]
        return [
            WorkerStatus(worker_id, False, max(0, round((now - heard_at) * 1000)), {LOST: 1})
            for worker_id, (_, heard_at) in self._heard_at.items()
        ]
