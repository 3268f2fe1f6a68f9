"""What there is to say of streams, as workers or their nodes have reported it; soft state, like all that a
router knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cluster.core.bus.bounds import REPORTS_FETCHED_S
from cluster.core.bus.cluster_status import StreamFacts, node_of, summed
from cluster.core.bus.control import NodeReport
from cluster.core.top_streams import StreamNumbers

_Rows: TypeAlias = Mapping[str, StreamFacts]

#: Where a node's own report stands among those of its workers, instead of them all.
_NODE = ""


@dataclass(slots=True)
class _Node:
    """One node: how many of its workers are known, and the last report of each, or that of the node.

    A report is replaced as a whole and never changed, for those who read in other threads.
    """

    workers: int = 0
    reports: dict[str, _Rows] = field(default_factory=dict)


class FactsBook:
    """The last reports, by node. Of a node without a known worker there are none."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._fetched_at = float("-inf")

    def came(self, worker_id: str) -> None:
        """A worker is known from now on."""
        self._nodes.setdefault(node_of(worker_id), _Node()).workers += 1

    def went(self, worker_id: str) -> None:
        """A worker that was known is gone, and with the last of its node what the node has reported."""
        node_id = node_of(worker_id)
        node = self._nodes[node_id]
        node.workers -= 1
        node.reports.pop(worker_id, None)
        if not node.workers:
            del self._nodes[node_id]

    def report(self, worker_id: str, facts: Sequence[StreamFacts]) -> None:
        """Keep ``facts`` as the report of ``worker_id``, which is known, in place of the one before.

        The node does not report for it then, so what it has said is void.
        """
        reports = self._nodes[node_of(worker_id)].reports
        reports.pop(_NODE, None)
        reports[worker_id] = _by_key(facts)

    def node_report(self, node_id: str, facts: Sequence[StreamFacts]) -> None:
        """Keep ``facts`` in place of all that was reported there; not if no worker of it is known."""
        node = self._nodes.get(node_id)
        if node is not None:
            node.reports = {_NODE: _by_key(facts)}

    def of(self, worker_id: str) -> Mapping[str, StreamFacts]:
        """What ``worker_id``, or its node for it, has said, by stream key."""
        node = self._nodes.get(node_of(worker_id))
        if node is None:
            return {}
        return node.reports.get(_NODE) or node.reports.get(worker_id) or {}

    def players(self) -> dict[str, dict[str, int]]:
        """Players by stream key and node id."""
        players: dict[str, dict[str, int]] = {}
        for node_id, node in self._nodes.items():
            for report in node.reports.values():
                for row in report.values():
                    if row.players:
                        by_node = players.setdefault(row.key, {})
                        by_node[node_id] = by_node.get(node_id, 0) + row.players
        return players

    # ---- for any thread --------------------------------------------------------------------------

    def numbers(self) -> Iterator[StreamNumbers]:
        """Each stream once, with its players in all of the cluster."""
        players: Counter[str] = Counter()
        bits_per_s: Counter[str] = Counter()
        for node in list(self._nodes.values()):
            for report in list(node.reports.values()):
                for row in report.values():
                    players[row.key] += row.players
                    bits_per_s[row.key] += row.bits_per_second
        return (StreamNumbers(key, count, bits_per_s[key] / 8) for key, count in players.items())

    def fetch(self, now: float) -> list[NodeReport]:
        """What each node's workers have reported, in one; whoever fetches it tells other routers."""
        self._fetched_at = now
        return [
            NodeReport(node_id, summed(report.values() for report in list(node.reports.values())))
            for node_id, node in list(self._nodes.items())
        ]

    def is_fetched(self, now: float) -> bool:
        """Whether somebody tells other routers what is reported here."""
        return now - self._fetched_at < REPORTS_FETCHED_S


def _by_key(facts: Sequence[StreamFacts]) -> _Rows:
    return {row.key: row for row in facts}
