"""What the status of a cluster is made of: what workers report of streams, and what a router knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

#: What a row takes on the wire beside its texts: two numbers, three lengths.
_ROW_BYTES = 32


#: A router adds this to the load of a worker whose media goes through it: how long that takes to it.
UPLINK_S = "uplink_s"
#: In what a node's own router answers to heartbeats: the node tells the routers of the cluster what its
#: workers report there, so they need not. Without it each worker does so by itself.
NODE_REPORTS = "node_reports"
#: In the load of a worker that a router has lost: it was not heard for too long, and has not come back.
LOST = "lost"


class StreamFacts(NamedTuple):
    """One stream at one worker. ``codecs`` are FourCCs with a blank between, empty where the stream is
    only played; ``bits_per_second`` is 0 while it is not known."""

    key: str
    players: int
    codecs: str
    bits_per_second: int


class WorkerStatus(NamedTuple):
    """One worker as a router sees it; ``silent_ms`` since it was last heard."""

    worker_id: str
    draining: bool
    silent_ms: int
    load: Mapping[str, float]


class StreamStatus(NamedTuple):
    """One published stream; ``origin`` is a worker id, ``players`` are counted by node id."""

    key: str
    epoch: int
    origin: str
    age_ms: int
    codecs: str
    bits_per_second: int
    players: Mapping[str, int]


def fitting(facts: Sequence[StreamFacts], max_bytes: int) -> list[StreamFacts]:
    """The first of ``facts``, as many as fit into so many bytes."""
    room = max_bytes
    for index, row in enumerate(facts):
        room -= len(row.key.encode("utf-8", "surrogateescape")) + len(row.codecs.encode()) + _ROW_BYTES
        if room < 0:
            return list(facts[:index])
    return list(facts)


def summed(reports: Iterable[Iterable[StreamFacts]]) -> list[StreamFacts]:
    """The reports of a node's workers as one: players add up, the rest is what the origin says."""
    rows: dict[str, StreamFacts] = {}
    for report in reports:
        for row in report:
            other = rows.get(row.key)
            if other is not None:
                origin = row if row.codecs or row.bits_per_second else other
                players = row.players + other.players
                row = StreamFacts(row.key, players, origin.codecs, origin.bits_per_second)
            rows[row.key] = row
    return list(rows.values())


def node_of(worker_id: str) -> str:
    """The id of a worker's node: NODE/INSTANCE of NODE/INSTANCE/SLOT/INCARNATION.

    Nodes may share a name, and it may hold slashes.
    """
    return worker_id.rsplit("/", 2)[0]


# ---- what must be true of them on the wire -----------------------------------------------------


def _is_int(value: Any) -> bool:
    return type(value) is int and value >= 0


def _numbers(value: Any) -> bool:
    return type(value) is dict and (
        not value
        or all(type(name) is str and type(amount) in (int, float) for name, amount in value.items())
    )


def are_facts(value: Any) -> bool:
    if type(value) is not list:
        return False
    for row in value:  # a router is told tens of thousands in a second
        if type(row) is not list or len(row) != 4:
            return False
        key, players, codecs, bits_per_second = row
        is_text = type(key) is type(codecs) is str
        if not is_text or type(players) is not int or type(bits_per_second) is not int:
            return False
        if players < 0 or bits_per_second < 0:
            return False
    return True


def are_workers(value: Any) -> bool:
    return type(value) is list and all(
        type(row) is list and len(row) == 4 and type(row[0]) is str and type(row[1]) is bool
        and _is_int(row[2]) and _numbers(row[3])
        for row in value
    )  # fmt: skip


def are_streams(value: Any) -> bool:
    if type(value) is not list:
        return False
    for row in value:  # a dashboard asks for thousands in a second
        if type(row) is not list or len(row) != 7:
            return False
        key, epoch, origin, age_ms, codecs, bits_per_second, players = row
        is_text = type(key) is type(origin) is type(codecs) is str
        if not is_text or not type(epoch) is type(age_ms) is type(bits_per_second) is int:
            return False
        if epoch < 0 or age_ms < 0 or bits_per_second < 0 or not _numbers(players):
            return False
    return True


def facts_from(rows: Sequence[Sequence[Any]]) -> list[StreamFacts]:
    return list(map(StreamFacts._make, rows))


def workers_from(rows: Sequence[Sequence[Any]]) -> list[WorkerStatus]:
    return [WorkerStatus(*row) for row in rows]


def streams_from(rows: Sequence[Sequence[Any]]) -> list[StreamStatus]:
    return list(map(StreamStatus._make, rows))
