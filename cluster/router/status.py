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
    said = {owner: facts.of(owner) for owner in {lease.owner for lease in leases.values()}}
    nobody: dict[str, int] = {}
    for key, lease in leases.items():
        row = said[lease.owner].get(key)
        # Epochs are the wall clock of the grant: see EpochBook.
        age_ms = max(0, wall_ms - lease.epoch)
        codecs, bits_per_second = ("", 0) if row is None else (row.codecs, row.bits_per_second)
        at = players.get(key, nobody)
        streams.append(StreamStatus(key, lease.epoch, lease.owner, age_ms, codecs, bits_per_second, at))
    return ClusterStatus(worker_rows, streams)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
