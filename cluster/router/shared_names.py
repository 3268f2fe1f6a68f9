"""Nodes that have one name: nothing depends on it but people, who should know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.core.bus.control import NameShared
from cluster.process.complaints import OnceInAWhile
from cluster.router.records import Worker

#: A node that is heard this long after another of its name has come lives beside it: what was on its way
#: from one that has died has arrived by then.
LIVES_ON_S = 1.0
#: Between two looks at all workers.
LOOK_INTERVAL_S = 0.5


@dataclass(slots=True)
class _Node:
    """``since`` when it is known, and when it was heard last."""

    spokesman: str
    since: float
    heard_at: float


class SharedNames:
    """Names that several nodes have, each told of once in a while for as long as that lasts."""

    def __init__(self) -> None:
        self._told = OnceInAWhile()
        self._look_at = 0.0

    def look(self, workers: Iterable[Worker], now: float) -> list[tuple[str, NameShared]]:
        """What is due: a message for one worker of each node concerned.

        ``workers`` are those that are known; one that is about to end shares no name any more. Whoever had
        a node's name before it started, and died, is not heard any more: so a node that is restarted shares
        its name with nobody.
        """
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_INTERVAL_S
        staying = (worker for worker in workers if not worker.draining)
        nodes: dict[str, dict[str, _Node]] = {}
        for worker in sorted(staying, key=lambda worker: worker.identity.slot):
            identity, since, heard_at = worker.identity, worker.known_since, worker.heard_at
            node = nodes.setdefault(identity.node, {}).setdefault(
                identity.instance, _Node(identity.worker_id, since, heard_at)
            )
            node.since, node.heard_at = min(node.since, since), max(node.heard_at, heard_at)
        due: list[tuple[str, NameShared]] = []
        for name, namesakes in nodes.items():
            newest = max(node.since for node in namesakes.values())
            living = {
                instance: node.spokesman
                for instance, node in namesakes.items() if node.heard_at - newest >= LIVES_ON_S
            }  # fmt: skip
            if len(living) > 1 and self._told.left_out(name, now) is not None:
                shared = NameShared(name, tuple(sorted(living)))
                due += [(worker_id, shared) for worker_id in living.values()]
        return due
