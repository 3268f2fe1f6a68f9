"""Nodes that have one name: nothing depends on it but people, who should know."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core.bus.bounds import WORKER_TIMEOUT_S
from cluster.core.bus.control import NameShared
from cluster.core.bus.identity import WorkerIdentity
from cluster.process.complaints import OnceInAWhile


class SharedNames:
    """Names that several nodes have, each told of once in a while for as long as that lasts."""

    def __init__(self) -> None:
        self._told = OnceInAWhile()

    def look(
        self, workers: Iterable[tuple[WorkerIdentity, float]], now: float
    ) -> list[tuple[str, NameShared]]:
        """What is due: a message for one worker of each node concerned.

        ``workers`` are those that live and are not about to end, with the time they were first heard. A
        node counts once it has been known for WORKER_TIMEOUT_S: whoever had its name before it started
        and died is forgotten by then, so a node that is restarted shares its name with nobody.
        """
        nodes: dict[str, dict[str, str]] = {}
        for identity, since in sorted(workers, key=lambda worker: worker[0].slot):
            if now - since > WORKER_TIMEOUT_S:
                nodes.setdefault(identity.node, {}).setdefault(identity.instance, identity.worker_id)
        due: list[tuple[str, NameShared]] = []
        for name, spokesmen in nodes.items():
            if len(spokesmen) > 1 and self._told.left_out(name, now) is not None:
                shared = NameShared(name, tuple(sorted(spokesmen)))
                due += [(worker_id, shared) for worker_id in spokesmen.values()]
        return due
