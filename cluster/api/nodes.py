"""The nodes, routers and routes of a cluster, and all of it in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster import __version__
from cluster.api.resources import Cluster, Node, NodeList, Route, Router, Worker
from cluster.api.round import RollCall, WorkerName, missing_workers, node_name, workers_by_node
from cluster.core.bus import placement
from cluster.core.bus.cluster_status import LOST, StreamStatus, WorkerStatus, node_of
from cluster.core.bus.questions import Summary

#: A worker that is not heard for so long by the routers hangs, or its network is cut.
_SILENT_MS = 1_000


def coverage(roll: RollCall, unanswered: Sequence[str] = ()) -> dict[str, Any]:
    """Who has answered: the fields of a ``Coverage``. ``unanswered``: workers that have not said all."""
    silent = [each for each in unanswered if each in roll.summaries]
    missing = [*roll.missing, *missing_workers(roll.known, silent)]
    return {
        "complete": not missing and roll.known.is_answered,
        "missing": missing, "missing_routers": roll.missing_routers,
    }  # fmt: skip


def node_list(roll: RollCall, name: str = "") -> NodeList:
    """The nodes; ``name``: those that are called so."""
    nodes = [
        _node(node_id, worker_ids, roll)
        for node_id, worker_ids in workers_by_node(roll.known.workers).items()
        if not name or name in (*node_name(node_id), node_id)
    ]
    return NodeList(items=nodes, **coverage(roll))


def _node(node_id: str, worker_ids: list[str], roll: RollCall) -> Node:
    name, instance = node_name(node_id)
    workers = [_worker(each, roll.known.workers[each], roll.summaries.get(each)) for each in worker_ids]
    summaries = [roll.summaries[each] for each in worker_ids if each in roll.summaries]
    states = {worker.state for worker in workers}
    state = next((each for each in ("ok", "draining", "silent") if each in states), "lost")
    if "draining" in states:
        state = "draining"
    troubles: dict[str, str] = {}
    for summary in summaries:
        for router, why in summary.routers.items():
            troubles[router] = troubles.get(router) or ("not known yet" if why is None else why)
    return Node(
        name, instance, state, summaries[0].version if summaries else "", workers, _shown(troubles),  # type: ignore[arg-type]
        http_urls=list(summaries[0].http_urls) if summaries else [],
        connections=sum(each.connections for each in workers),
        publishers=sum(each.publishers for each in workers),
        players=sum(each.players for each in workers),
        received_bits_per_s=sum(each.received_bits_per_s for each in workers),
        sent_bits_per_s=sum(each.sent_bits_per_s for each in workers),
        age_ms=max((each.age_ms for each in workers), default=0),
    )  # fmt: skip


def _shown(troubles: dict[str, str]) -> dict[str, str]:
    """Without a node's own router, whose address is good for the node alone."""
    return {router: why for router, why in sorted(troubles.items()) if not router.startswith("ipc://")}


def _worker(worker_id: str, status: WorkerStatus, summary: Summary | None) -> Worker:
    name, load = WorkerName.of(worker_id), status.load
    if LOST in load:
        return Worker(name.slot, name.incarnation, "lost", status.silent_ms)
    is_silent = summary is None or status.silent_ms >= _SILENT_MS
    is_draining = status.draining or (summary is not None and summary.draining)
    known = summary or Summary("", 0, is_draining, connections=round(load.get("connections", 0)))
    return Worker(
        name.slot, name.incarnation, "silent" if is_silent else "draining" if is_draining else "ok",
        status.silent_ms, known.connections, known.publishers, known.players, known.streams,
        known.received_bytes, known.sent_bytes, round(load.get("bits_received_per_s", 0)),
        round(load.get("bits_sent_per_s", 0)), known.memory_bytes, round(known.cpu_s, 3), known.age_ms,
    )  # fmt: skip


def routers(roll: RollCall) -> list[Router]:
    """The routers that nodes name, and the routers that were asked."""
    answers = {each.router: each for each in roll.known.answers}
    linked: dict[str, set[str]] = {}
    wanted: dict[str, set[str]] = {}
    for worker_id, summary in roll.summaries.items():
        for router, why in summary.routers.items():
            wanted.setdefault(router, set()).add(node_of(worker_id))
            if why == "":
                linked.setdefault(router, set()).add(node_of(worker_id))
    rows = []
    for router in sorted(answers.keys() | wanted.keys()):
        answer = answers.get(router)
        if answer is None and router.startswith("ipc://"):
            continue
        status = None if answer is None else answer.status
        workers = 0 if status is None else sum(LOST not in each.load for each in status.workers)
        streams = 0 if status is None else len(status.streams)
        nodes_linked = len(linked.get(router, ()))
        answers_us = status is not None if answer is not None else nodes_linked > 0
        after_ms = 0.0 if answer is None else round(answer.after_ms, 1)
        why = "" if answer is None else answer.why
        nodes = len(wanted.get(router, ()))
        rows.append(Router(router, answers_us, why, after_ms, workers, streams, nodes_linked, nodes))
    return rows


def cluster_in_numbers(roll: RollCall) -> Cluster:
    """The sums."""
    nodes = node_list(roll).items
    there = routers(roll)
    return Cluster(
        version=__version__, nodes=len(nodes), workers=sum(len(node.workers) for node in nodes),
        routers=len(there), routers_answering=sum(router.answers for router in there),
        streams=len(roll.known.streams), publishers=sum(node.publishers for node in nodes),
        players=sum(sum(stream.players.values()) for stream in roll.known.streams.values()),
        connections=sum(node.connections for node in nodes),
        received_bits_per_s=sum(node.received_bits_per_s for node in nodes),
        sent_bits_per_s=sum(node.sent_bits_per_s for node in nodes), **coverage(roll),
    )  # fmt: skip


def routes_of(stream: StreamStatus, roll: RollCall) -> list[Route]:
    """Where ``stream`` goes. Which router it goes through follows from its key and from those that the
    node has; a moment after one was lost or came back, it may be another."""
    origin = node_of(stream.origin)
    from_node, from_id = node_name(origin)
    by_node = workers_by_node(roll.known.workers)
    rows = []
    for node_id, players in sorted(stream.players.items()):
        to_node, to_id = node_name(node_id)
        workers = by_node.get(node_id, [])
        summaries = [roll.summaries[each] for each in workers if each in roll.summaries]
        live = [name for name, why in summaries[0].routers.items() if why == ""] if summaries else []
        is_here = node_id == origin
        router = "" if is_here else placement.first(stream.key, live) or ""
        rows.append(
            Route(
                stream.key, from_node, from_id, to_node, to_id, router,
                repeater=not is_here and len(workers) > 1, players=players,
            )
        )  # fmt: skip
    return rows
