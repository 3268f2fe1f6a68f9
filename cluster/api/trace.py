"""The way of one stream through the cluster: what the workers on it say, put together hop by hop.

    publisher ─► origin ─► router ─► repeater ─► worker ─► players

A worker knows how long media took from its origin to it, and a router how long from the origin to itself:
the difference is the way from the router on.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

from cluster.api.resources import TraceHop, TraceRouter
from cluster.api.round import WORKER_TIMEOUT_S, Known, WorkerName, workers_by_node
from cluster.core.bus.cluster_status import UPLINK_S, node_of
from cluster.core.bus.questions import AskTrace
from cluster.core.bus.trace import TraceRow


async def trace_rows(known: Known, key: str) -> dict[str, TraceRow]:
    """What the origin says of ``key``, and each worker of a node that plays it."""
    stream = known.streams[key]
    by_node = workers_by_node(known.workers)
    asked = [stream.origin]
    for node_id in [node_of(stream.origin), *stream.players]:
        asked += [worker_id for worker_id in by_node.get(node_id, ()) if worker_id not in asked]
    answers = await asyncio.gather(
        *(known.ask(worker_id, AskTrace(key), WORKER_TIMEOUT_S) for worker_id in asked)
    )
    return {
        worker_id: answer for worker_id, answer in zip(asked, answers, strict=True)
        if isinstance(answer, TraceRow) and answer.is_known
    }  # fmt: skip


def uplinks(known: Known, worker_id: str) -> dict[str, float]:
    """How long media of ``worker_id`` takes to each router that has seen that, in milliseconds."""
    found = {}
    for answer in known.answers:
        for row in answer.status.workers if answer.status is not None else ():
            if row.worker_id == worker_id and UPLINK_S in row.load:
                found[answer.router] = row.load[UPLINK_S] * 1000
    return found


class Way:
    """The hops of a stream from the worker ``origin`` on. ``has_repeater``: of a node, by its id."""

    def __init__(
        self, origin: str, rows: Mapping[str, TraceRow], uplinks: Mapping[str, float],
        has_repeater: Mapping[str, bool],
    ) -> None:  # fmt: skip
        self.hops: list[TraceHop] = []
        self._uplinks = uplinks
        self._has_repeater = has_repeater
        self._routers: dict[str, int] = {}
        self._repeaters: dict[tuple[int, str], int] = {}
        row = rows.get(origin, TraceRow())
        publisher = self._add(-1, "publisher", row.peer, delay_ms=0.0)
        self._origin = self._add(
            publisher, "origin", *_place(origin), delay_ms=row.peer_round_trip_ms / 2,
            held_ms=row.origin_ms, bits_per_second=row.bits_per_second, lost=row.peer_dropped,
        )  # fmt: skip
        self._add_players(self._origin, row)
        for worker_id, each in rows.items():
            if worker_id != origin:
                self._add_worker(worker_id, each)

    def _add(self, before: int, kind: Any, name: str, *place: Any, **more: Any) -> int:
        hop = TraceHop(len(self.hops), before, kind, name, *place, **more)
        if before >= 0:
            last = self.hops[before]
            total_ms = (last.total_ms or 0.0) + last.held_ms + (hop.delay_ms or 0.0)
            hop = dataclasses.replace(hop, total_ms=round(total_ms, 3))
        self.hops.append(hop)
        return hop.number

    def _add_players(self, at: int, row: TraceRow) -> None:
        if row.players:
            self._add(
                at, "players", "", delay_ms=round(row.sockets_ms + row.players_round_trip_ms / 2, 3),
                lost=row.players_dropped, players=row.players, players_behind=row.players_behind,
                behind_ms=row.behind_ms,
            )  # fmt: skip

    def _add_worker(self, worker_id: str, row: TraceRow) -> None:
        own = {way.router for way in row.ways if way.is_own}
        is_own = row.router in own
        uplink_ms = None if is_own else self._uplink_ms(row)
        node_id = node_of(worker_id)
        router = self._routers.get(node_id if is_own else row.router)
        if router is None:
            name = f"own router of {_place(worker_id)[0]}" if is_own else row.router
            router = self._add(self._origin, "router", name, delay_ms=uplink_ms)
            self._routers[node_id if is_own else row.router] = router
        before = router
        if not is_own and self._has_repeater.get(node_id):
            before = self._repeaters.get((router, node_id), -1)
            if before < 0:
                before = self._add(router, "repeater", *_place(worker_id)[:2])
                self._repeaters[router, node_id] = before
        at = self._add(
            before, "worker", *_place(worker_id), delay_ms=round(row.bus_ms - (uplink_ms or 0.0), 3),
            bits_per_second=row.bits_per_second, lost=row.lost,
        )  # fmt: skip
        self._add_players(at, row)

    def _uplink_ms(self, row: TraceRow) -> float | None:
        """Nodes may have different addresses of one router: if it is the only one, it is meant."""
        only = next(iter(self._uplinks.values())) if len(self._uplinks) == 1 else None
        uplink_ms = self._uplinks.get(row.router, only)
        return None if uplink_ms is None else round(min(uplink_ms, row.bus_ms), 3)


def trace_routers(rows: Mapping[str, TraceRow]) -> list[TraceRouter]:
    """The routers of the cluster as the workers on the way have them."""
    return [
        TraceRouter(
            *_place(worker_id), way.router, way.is_live, way.round_trip_ms, way.clock_offset_ms, way.dropped
        )
        for worker_id, row in rows.items() for way in row.ways if not way.is_own
    ]  # fmt: skip


def _place(worker_id: str) -> tuple[str, str, int]:
    name = WorkerName.of(worker_id)
    return name.node, name.instance, name.slot
