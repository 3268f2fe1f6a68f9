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
        #: Their ids by the name of their node: all may come back at once.
        self._named: dict[str, set[str]] = {}

    def went(self, identity: WorkerIdentity, heard_at: float) -> None:
        """A worker has gone without a word."""
        self._heard_at[identity.worker_id] = identity, heard_at
        self._named.setdefault(identity.node, set()).add(identity.worker_id)
        while len(self._heard_at) > MAX_LOST_WORKERS:
            self._forget(next(iter(self._heard_at)))

    def came(self, identity: WorkerIdentity) -> None:
        """This one is here: it, or the one that it stands in for, is not lost; nor is a node of its name
        that was started anew."""
        for worker_id in list(self._named.get(identity.node, ())):
            lost, _ = self._heard_at[worker_id]
            if lost.instance != identity.instance or lost.slot == identity.slot:
                self._forget(worker_id)

    def rows(self, now: float) -> list[WorkerStatus]:
        """As a status tells of them."""
        while self._heard_at:
            worker_id, (_, heard_at) = next(iter(self._heard_at.items()))
            if now - heard_at < LOST_SHOWN_S:
                break
            self._forget(worker_id)
        return [
            WorkerStatus(worker_id, False, max(0, round((now - heard_at) * 1000)), {LOST: 1})
            for worker_id, (_, heard_at) in self._heard_at.items()
        ]

    def _forget(self, worker_id: str) -> None:
        node = self._heard_at.pop(worker_id)[0].node
        self._named[node].discard(worker_id)
        if not self._named[node]:
            del self._named[node]
