"""The nodes that a router has links to: a line when one comes and when it is gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cluster.core.bus.bounds import WORKER_TIMEOUT_S
from cluster.core.bus.cluster_status import node_of
from cluster.process.stranger_lines import StrangerLines

#: Why a worker is no longer one of the router's.
LEFT = "has left"
SILENT = f"is lost, silent for {WORKER_TIMEOUT_S:g} s: it was killed, hangs, or its network is cut"
UNREACHABLE = "is lost: its connection has ended, or takes no more"

logger = logging.getLogger(__name__)


class Members:
    """Nobody is told of anything: for the router of a node, which knows only its own workers."""

    def came(self, worker_id: str) -> None:
        """A worker has said hello."""

    def went(self, worker_id: str, why: str) -> None:
        """A worker is no longer known."""

    def tick(self) -> None:
        """Say what is to be said; a node's workers come and go one after another."""


class MemberLines(Members):
    """A line for each node that comes or goes, in the log of a router of the cluster.

    Without a cluster key anybody can say hello under any name, so there are only so many lines a second.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes: dict[str, set[str]] = {}
        self._told: set[str] = set()
        self._why: dict[str, str] = {}
        self._changed: set[str] = set()
        self._lines = StrangerLines(logger, "nodes linked or gone:", clock, event="nodes_summed")

    def came(self, worker_id: str) -> None:
        node = node_of(worker_id)
        self._nodes.setdefault(node, set()).add(worker_id)
        self._changed.add(node)

    def went(self, worker_id: str, why: str) -> None:
        node = node_of(worker_id)
        self._nodes[node].discard(worker_id)
        self._why[node] = why
        self._changed.add(node)

    def tick(self) -> None:
        for node in sorted(self._changed):
            workers, is_told = self._nodes[node], node in self._told
            if workers and not is_told:
                self._told.add(node)
                self._tell(logging.INFO, "node_linked", node, "is linked")
            elif not workers:
                self._told.discard(node)
                why = self._why[node]
                level = logging.INFO if why is LEFT else logging.WARNING
                if is_told:
                    self._tell(level, "node_left" if why is LEFT else "node_lost", node, why)
            if not workers:
                del self._nodes[node]
                self._why.pop(node, None)
        self._changed.clear()
        self._lines.tick()

    def _tell(self, level: int, event: str, node: str, what: str) -> None:
        if not self._lines.admit(level, what, node):
            return
        name, _, instance = node.rpartition("/")
        fields = {"node": name, "instance": instance, "what": what}
        text = "node %(node)s (instance %(instance)s) %(what)s"
        logger.log(level, text, fields, extra={"event": event})
