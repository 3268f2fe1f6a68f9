"""What the workers have reported of their streams; soft state, like all that a router knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cluster.core.bus.cluster_status import StreamFacts, node_of
from cluster.core.top_streams import StreamNumbers


class FactsBook:
    """The last report of each worker."""

    def __init__(self) -> None:
        self._reports: dict[str, dict[str, StreamFacts]] = {}

    def report(self, worker_id: str, facts: Sequence[StreamFacts]) -> None:
        """Keep ``facts`` as the report of ``worker_id``, in place of the one before."""
        self._reports[worker_id] = {row.key: row for row in facts}

    def forget(self, worker_id: str) -> None:
        self._reports.pop(worker_id, None)

    def of(self, key: str, worker_id: str) -> StreamFacts:
        """What ``worker_id`` has said of ``key``."""
        return self._reports.get(worker_id, {}).get(key) or StreamFacts(key, 0, "", 0)

    def players(self) -> dict[str, dict[str, int]]:
        """Players by stream key and node id."""
        players: dict[str, dict[str, int]] = {}
        for worker_id, report in self._reports.items():
            node = node_of(worker_id)
            for row in report.values():
                if row.players:
                    by_node = players.setdefault(row.key, {})
                    by_node[node] = by_node.get(node, 0) + row.players
        return players

    def numbers(self) -> Iterator[StreamNumbers]:
        """Each stream once, with its players in all of the cluster. For any thread."""
        players: Counter[str] = Counter()
        bits_per_s: Counter[str] = Counter()
        for report in list(self._reports.values()):
            for row in report.values():
                players[row.key] += row.players
                bits_per_s[row.key] += row.bits_per_second
        return (StreamNumbers(key, count, bits_per_s[key] / 8) for key, count in players.items())
