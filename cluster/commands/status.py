"""``rtmp-cluster status``: what the routers know, as a table of 80 columns or as JSON."""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import zmq
from rich.cells import cell_len, set_cell_size

from cluster.bus import cluster_key
from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import control, control_coding
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus, node_of
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.endpoints import Endpoints, at_address, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.process.words import printable

#: Routers are asked all at once, and waited for this long.
ANSWER_TIMEOUT_S = 2.0
_WIDTH = 80
#: Columns in cells of a terminal, with a blank between; a negative width is that of text on the left.
_ROUTER_WIDTHS = (-46, -14, 8, 8)
_NODE_WIDTHS = (-32, 8, 12, 10, 8, -5)
_STREAM_WIDTHS = (-20, -11, -13, -9, 6, 7, 8)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One router's; ``status`` is None if there was none."""

    router: str
    status: control.ClusterStatus | None
    after_ms: float


def status(routers: Sequence[str], key_file: Path | None, as_json: bool) -> int:
    """Print what ``routers`` know; exit code 1 if none of them answers."""
    key = None if key_file is None else cluster_key.load(key_file)
    answers = ask(resolved(routers), key)
    click.echo(json.dumps(as_dict(answers)) if as_json else table(answers))
    return 0 if any(answer.status is not None for answer in answers) else 1


def resolved(routers: Sequence[str]) -> list[Endpoints]:
    """Each router by its address: a name may stand for several. EnvironmentFault if nobody knows it."""
    found: dict[str, Endpoints] = {}
    for each in map(endpoints, routers):
        bases = [each.base]
        if each.is_name:
            try:
                infos = socket.getaddrinfo(each.host, None, type=socket.SOCK_STREAM)
            except OSError as error:
                raise EnvironmentFault(f"{each.base}: {error.strerror or error}") from None
            families = [info for info in infos if info[0] == socket.AF_INET] or infos
            bases = [at_address(each, str(info[4][0])) for info in families]
        found |= {base: endpoints(base) for base in bases}
    return list(found.values())


def ask(routers: Sequence[Endpoints], key: ClusterKey | None) -> list[Answer]:
    """One answer for each router, in their order."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
    poller = zmq.Poller()
    waiting: dict[zmq.Socket[bytes], str] = {}
    answers: dict[str, Answer] = {}
    try:
        for router in routers:
            dealer = context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.ipv6 = router.is_ipv6
            if key is not None and not router.is_local:
                key.secure_worker(dealer)
            dealer.connect(router.control)
            dealer.send_multipart(control_coding.encode(control.StatusRequest()))
            poller.register(dealer, zmq.POLLIN)
            waiting[dealer] = router.base
        began_at = time.monotonic()
        while waiting and (left_s := began_at + ANSWER_TIMEOUT_S - time.monotonic()) > 0:
            for dealer, _ in poller.poll(int(left_s * 1000) + 1):
                known = _decoded(dealer.recv_multipart())
                if known is not None:
                    poller.unregister(dealer)
                    base = waiting.pop(dealer)
                    answers[base] = Answer(base, known, (time.monotonic() - began_at) * 1000)
    finally:
        context.destroy(linger=0)
    return [answers.get(router.base) or Answer(router.base, None, 0.0) for router in routers]


def _decoded(frames: list[bytes]) -> control.ClusterStatus | None:
    try:
        message = control_coding.decode(frames)
    except ControlError:
        return None
    return message if isinstance(message, control.ClusterStatus) else None


# ---- what is shown -----------------------------------------------------------------------------


def as_dict(answers: Sequence[Answer]) -> dict[str, Any]:
    """Everything, for ``--json``."""
    return {
        "routers": [
            {
                "router": answer.router, "answers": answer.status is not None,
                "after_ms": round(answer.after_ms, 1),
                "workers": len(answer.status.workers) if answer.status else 0,
                "streams": len(answer.status.streams) if answer.status else 0,
            }
            for answer in answers
        ],
        "nodes": _nodes(answers),
        "workers": [worker._asdict() for worker in _workers(answers).values()],
        "streams": [stream._asdict() for stream in _streams(answers)],
    }  # fmt: skip


def table(answers: Sequence[Answer]) -> str:
    """The answers as a table for people; no line is longer than 80 columns."""
    lines = [_row("ROUTER", "STATE", "WORKERS", "STREAMS", widths=_ROUTER_WIDTHS)]
    for answer in answers:
        cells = ["no answer", "-", "-"]
        if (known := answer.status) is not None:
            cells = [f"{answer.after_ms:.0f} ms", str(len(known.workers)), str(len(known.streams))]
        lines.append(_row(answer.router, *cells, widths=_ROUTER_WIDTHS))
    heads = ("NODE", "WORKERS", "CONNECTIONS", "PUBLISHED", "PLAYERS", "STATE")
    lines += ["", _row(*heads, widths=_NODE_WIDTHS)]
    for node in _nodes(answers):
        state = "drain" if node["draining"] else "ok"
        amounts = (str(node[name]) for name in ("workers", "connections", "published", "players"))
        name = _cut_within(node["node"], node["instance"], abs(_NODE_WIDTHS[0]))
        lines.append(_row(name, *amounts, state, widths=_NODE_WIDTHS))
    titles = ("STREAM", "ORIGIN", "EPOCH", "CODECS", "KBIT/S", "PLAYERS", "AGE")
    lines += ["", _row(*titles, widths=_STREAM_WIDTHS)]
    called = _Called(_workers(answers))
    for stream in _streams(answers):
        kbit_per_s, players = stream.bits_per_second // 1000, sum(stream.players.values())
        figures = (str(kbit_per_s), str(players), _age(stream.age_ms))
        names = (stream.key, _origin(stream.origin, called), str(stream.epoch), stream.codecs)
        lines.append(_row(*names, *figures, widths=_STREAM_WIDTHS))
        lines += _by_node(stream.players)
    return "\n".join(line.rstrip() for line in lines)


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
    """The streams by key, in the highest epoch that any router knows, with players by node."""
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
    return [streams[key] for key in sorted(streams)]


def _nodes(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Sums over the workers of each node."""
    workers = _workers(answers)
    called = _Called(workers)
    nodes: dict[str, dict[str, Any]] = {}
    for worker in workers.values():
        node_id = node_of(worker.worker_id)
        name, instance = called[node_id], node_id.rpartition("/")[2]
        empty = {"node": name, "instance": instance, "workers": 0, "connections": 0, "published": 0}
        node = nodes.setdefault(name, {**empty, "players": 0, "draining": False})
        node["workers"] += 1
        node["connections"] += int(worker.load.get("connections", 0))
        node["draining"] = node["draining"] or worker.draining
    for stream in _streams(answers):
        if (origin := nodes.get(called[node_of(stream.origin)])) is not None:
            origin["published"] += 1
        for name, players in stream.players.items():
            if name in nodes:
                nodes[name]["players"] += players
    return list(nodes.values())
