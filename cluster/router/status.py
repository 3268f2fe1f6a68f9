"""What a router answers when it is asked what it knows."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.leases import Lease
from cluster.router.facts import FactsBook
from cluster.router.records import Worker


def cluster_status(
    workers: Mapping[str, Worker], leases: Mapping[str, Lease], facts: FactsBook, now: float, wall_ms: int
) -> ClusterStatus:
    """The workers by id and the streams by key, with what was reported of them."""
    players = facts.players()
    worker_rows = [
        WorkerStatus(worker_id, worker.draining, _ms(now - worker.heard_at), worker.load)
        for worker_id, worker in workers.items()
    ]
    streams = []
    for key, lease in leases.items():
        reported = facts.of(key, lease.owner)
        # Epochs are the wall clock of the grant: see EpochBook.
        age_ms = max(0, wall_ms - lease.epoch)
        row = (key, lease.epoch, lease.owner, age_ms, reported.codecs, reported.bits_per_second)
        streams.append(StreamStatus(*row, players.get(key, {})))
    return ClusterStatus(worker_rows, streams)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
