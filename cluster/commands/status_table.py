"""What ``rtmp-cluster status`` shows: a table of 80 columns, or everything for ``--json``."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size

from cluster.bus.reach import Reach
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus, node_of
from cluster.core.bus.control import ClusterStatus
from cluster.process.words import printable

_WIDTH = 80
#: Columns in cells of a terminal, with a blank between; a negative width is that of text on the left.
_ROUTER_WIDTHS = (-46, -14, 8, 8)
_NODE_WIDTHS = (-17, 7, 6, 9, 7, 8, 8, -11)
_STREAM_WIDTHS = (-28, -13, -11, 7, 7, 9)

#: What a worker says of its load, that of a node is the sum of.
_SUMMED = ("connections", "bytes_received", "bytes_sent", "bits_received_per_s", "bits_sent_per_s")


@dataclass(frozen=True, slots=True)
class Answer:
    """One router's; ``status`` is None if there was none, and ``reach`` is how far one came."""

    router: str
    status: ClusterStatus | None
    after_ms: float
    reach: Reach = Reach.SHAKEN


def as_dict(answers: Sequence[Answer]) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "routers": [
            {
                "router": answer.router, "answers": answer.status is not None, "state": _state(answer),
                "after_ms": round(answer.after_ms, 1),
                "workers": len(answer.status.workers) if answer.status else 0,
                "streams": len(answer.status.streams) if answer.status else 0,
            }
            for answer in answers
        ],
        "nodes": _nodes(answers),
        "workers": [worker._asdict() for worker in _workers(answers).values()],
        "streams": [stream._asdict() for stream in _streams(answers)],
        "advice": _advice(answers),
    }  # fmt: skip


def summary(answers: Sequence[Answer]) -> str:
    """How much there is, in one line."""
    nodes, streams = _nodes(answers), _streams(answers)
    players = sum(sum(stream.players.values()) for stream in streams)
    answering = sum(answer.status is not None for answer in answers)
    received, sent = (_bits(sum(node[name] for node in nodes)) for name in _SUMMED[3:])
    return (
        f"routers {answering} of {len(answers)}, nodes {len(nodes)}, streams {len(streams)}, "
        f"players {players}, in {received}/s, out {sent}/s"
    )


def table(answers: Sequence[Answer]) -> str:
    """The answers as a table for people; no line is longer than 80 columns."""
    lines = [_row("ROUTER", "STATE", "WORKERS", "STREAMS", widths=_ROUTER_WIDTHS)]
    for answer in answers:
        cells = ["-", "-"]
        if (known := answer.status) is not None:
            cells = [str(len(known.workers)), str(len(known.streams))]
        lines.append(_row(answer.router, _state(answer), *cells, widths=_ROUTER_WIDTHS))
    for advice in _advice(answers):
        width = _WIDTH if advice.isascii() else _WIDTH // 2  # a character may take two cells
        text = printable(advice)
        lines += textwrap.wrap(text, width, initial_indent="! ", subsequent_indent="  ")
    lines += ["", *_node_lines(answers), "", *_stream_lines(answers)]
    return "\n".join(line.rstrip() for line in lines)


def _node_lines(answers: Sequence[Answer]) -> list[str]:
    """The nodes; with several, the sums over them."""
    heads = ("NODE", "WORKERS", "CONNS", "PUBLISHED", "PLAYERS", "IN/S", "OUT/S", "STATE")
    lines = [_row(*heads, widths=_NODE_WIDTHS)]
    nodes = _nodes(answers)
    counted = ("workers", "connections", "published", "players")
    for node in nodes:
        name = _cut_within(node["node"], node["instance"], abs(_NODE_WIDTHS[0]))
        lines.append(_row(name, *_amounts(node, counted), _node_state(node), widths=_NODE_WIDTHS))
    if len(nodes) > 1:
        total = {name: sum(node[name] for node in nodes) for name in (*counted, *_SUMMED)}
        lines.append(_row("(total)", *_amounts(total, counted), "", widths=_NODE_WIDTHS))
    received, sent = (_bytes(sum(node[name] for node in nodes)) for name in _SUMMED[1:3])
    if nodes:
        lines.append(f"  in {received}, out {sent} since the workers started")
    return lines


def _stream_lines(answers: Sequence[Answer]) -> list[str]:
    titles = ("STREAM", "ORIGIN", "CODECS", "KBIT/S", "PLAYERS", "AGE")
    lines = [_row(*titles, widths=_STREAM_WIDTHS)]
    called = _Called(_workers(answers))
    for stream in _streams(answers):
        kbit_per_s, players = stream.bits_per_second // 1000, sum(stream.players.values())
        figures = (str(kbit_per_s), str(players), _age(stream.age_ms))
        names = (stream.key, _origin(stream.origin, called), stream.codecs)
        lines.append(_row(*names, *figures, widths=_STREAM_WIDTHS))
        lines += _by_node(stream.players)
    return lines


def _state(answer: Answer) -> str:
    return answer.reach.word if answer.status is None else f"{answer.after_ms:.0f} ms"


def _advice(answers: Sequence[Answer]) -> list[str]:
    """What is wrong, and what to do about it."""
    lines = [f"{answer.router}: {answer.reach.why}" for answer in answers if answer.status is None]
    nodes = _nodes(answers)
    lines += [
        f"node {node['node']}: {node['routers_live']} of its {node['routers']} routers answer it; its log "
        "says why (router_lost, router_unreached)"
        for node in nodes if _lacks_routers(node)
    ]  # fmt: skip
    names = Counter(_name_of(node_of(worker_id)) for worker_id in _one_worker_of_each(answers))
    lines += [
        f"{count} nodes share the name {name}: give each its own with --node-name"
        for name, count in names.items() if count > 1
    ]  # fmt: skip
    return lines


def _one_worker_of_each(answers: Sequence[Answer]) -> list[str]:
    """A worker's id for each node."""
    return list({node_of(worker_id): worker_id for worker_id in _workers(answers)}.values())


def _node_state(node: Mapping[str, Any]) -> str:
    if node["draining"]:
        return "drain"
    return f"routers {node['routers_live']}/{node['routers']}" if _lacks_routers(node) else "ok"


def _lacks_routers(node: Mapping[str, Any]) -> bool:
    return bool(node["routers_live"] < node["routers"])


def _amounts(node: Mapping[str, Any], counted: Iterable[str]) -> list[str]:
    return [*(str(node[name]) for name in counted), *(_bits(node[name]) for name in _SUMMED[3:])]


def _bits(per_s: float) -> str:
    """A rate of bits, as 2.5Mbit."""
    return f"{_short(per_s)}bit"


def _bytes(size: float) -> str:
    return f"{_short(size)}B"


def _short(amount: float) -> str:
    for unit in ("", "k", "M", "G", "T"):
        if amount < 1000:
            return f"{amount:.1f}{unit}" if unit and amount < 100 else f"{amount:.0f}{unit}"
        amount /= 1000
    return f"{amount:.0f}P"


def _by_node(players: Mapping[str, int]) -> list[str]:
    """How many players of a stream each node has; no line if there are none."""
    lines: list[str] = []
    for number, (node, count) in enumerate(sorted(players.items())):
        text = f"{printable(node)} {count}"
        if lines and cell_len(lines[-1]) + cell_len(text) + 2 <= _WIDTH:
            lines[-1] += f", {text}"
        else:
            lines.append(_cut(f"    {text}" if number else f"  players: {text}", _WIDTH))
    return lines


def _origin(worker_id: str, called: _Called) -> str:
    """A worker by node and slot, so cut that it is still told from others."""
    node_id, slot = node_of(worker_id), worker_id.rpartition("/")[0].rpartition("/")[2]
    instance = node_id.rpartition("/")[2]
    return _cut_within(f"{called[node_id]}/{slot}", f"{instance}/{slot}", abs(_STREAM_WIDTHS[1]))


def _row(*cells: str, widths: Iterable[int]) -> str:
    shown = []
    for cell, width in zip(cells, widths, strict=True):
        text = _cut(printable(cell), abs(width))
        padding = " " * (abs(width) - cell_len(text))
        shown.append(text + padding if width < 0 else padding + text)
    return " ".join(shown)


def _cut(text: str, width: int) -> str:
    """``text`` cut to ``width`` cells of a terminal, in which some characters take two."""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _cut_within(text: str, end: str, width: int) -> str:
    """``text`` cut to ``width`` cells, but an ``end`` that it has stays."""
    text, end = printable(text), printable(end)
    room = width - cell_len(end) - 1
    if cell_len(text) <= width or not text.endswith(f"/{end}"):
        return _cut(text, width)
    return _cut(end, width) if room < 0 else f"{set_cell_size(text, room)}…{end}"


def _age(age_ms: int) -> str:
    minutes, seconds = divmod(age_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours // 24}d{hours % 24:02d}h"
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _workers(answers: Sequence[Answer]) -> dict[str, WorkerStatus]:
    """The workers by id, each as the router knows it that heard it last."""
    workers: dict[str, WorkerStatus] = {}
    for answer in answers:
        for worker in answer.status.workers if answer.status else ():
            known = workers.get(worker.worker_id)
            if known is None or worker.silent_ms < known.silent_ms:
                workers[worker.worker_id] = worker
    return dict(sorted(workers.items()))


class _Called(dict[str, str]):
    """What people read for a node's id: its name, and its instance too if another node has the name."""

    def __init__(self, worker_ids: Iterable[str]) -> None:
        super().__init__()
        self._sharing = Counter(_name_of(node_id) for node_id in {node_of(each) for each in worker_ids})

    def __missing__(self, node_id: str) -> str:
        name = _name_of(node_id)
        return name if self._sharing[name] < 2 else node_id


def _name_of(node_id: str) -> str:
    return node_id.rpartition("/")[0] or node_id


def _streams(answers: Sequence[Answer]) -> list[StreamStatus]:
    """The streams in the highest epoch that any router knows, with players by node; most players first."""
    streams: dict[str, StreamStatus] = {}
    for answer in answers:
        for stream in answer.status.streams if answer.status else ():
            known = streams.get(stream.key)
            if known is None or stream.epoch > known.epoch:
                streams[stream.key] = stream
    called = _Called(_workers(answers))
    for key, stream in streams.items():
        players: Counter[str] = Counter()
        for node_id, count in stream.players.items():
            players[called[node_id]] += count
        streams[key] = stream._replace(players=dict(players))
    return sorted(streams.values(), key=lambda stream: (-sum(stream.players.values()), stream.key))


def _nodes(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Sums over the workers of each node. ``routers_live`` is that of the worker that lacks the most."""
    members: dict[str, list[WorkerStatus]] = {}
    for worker_id, worker in _workers(answers).items():
        members.setdefault(node_of(worker_id), []).append(worker)
    called = _Called(_workers(answers))
    nodes: dict[str, dict[str, Any]] = {}
    for node_id, workers in members.items():
        name, instance = called[node_id], node_id.rpartition("/")[2]
        routers = max(_whole(worker, "routers") for worker in workers)
        lacking = max(_whole(worker, "routers") - _whole(worker, "routers_live") for worker in workers)
        nodes[name] = {
            "node": name, "instance": instance, "workers": len(workers), "published": 0, "players": 0,
            "draining": any(worker.draining for worker in workers),
            "routers": routers, "routers_live": min(routers, routers - lacking),
            **{each: sum(_whole(worker, each) for worker in workers) for each in _SUMMED},
        }  # fmt: skip
    for stream in _streams(answers):
        if (origin := nodes.get(called[node_of(stream.origin)])) is not None:
            origin["published"] += 1
        for name, players in stream.players.items():
            if name in nodes:
                nodes[name]["players"] += players
    return list(nodes.values())


def _whole(worker: WorkerStatus, name: str) -> int:
    """What the worker says of its load; nothing if that is no amount."""
    amount = worker.load.get(name, 0)
    return int(amount) if math.isfinite(amount) and amount > 0 else 0
