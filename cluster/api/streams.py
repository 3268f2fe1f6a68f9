"""The streams of a cluster: what the routers know, and what origins and players' workers say of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cluster.api.resources import Players, Stream, Track
from cluster.api.round import WORKER_TIMEOUT_S, Known, WorkerName, node_name, workers_by_node
from cluster.core.bus import questions
from cluster.core.bus.bounds import MAX_QUESTION_BYTES
from cluster.core.bus.cluster_status import StreamStatus, node_of
from cluster.core.bus.questions import StreamRow

#: A key takes up to six bytes of JSON for each of its own, and so a question may have only some.
_KEYS_BYTES = MAX_QUESTION_BYTES - 512


def matching(known: Known, key: str, node: str) -> list[str]:
    """The keys in order: ``key`` with a ``*`` at its end is how they begin, and ``node`` their origin's."""
    keys = sorted(known.streams)
    if key.endswith("*"):
        keys = [each for each in keys if each.startswith(key[:-1])]
    elif key:
        keys = [key] if key in known.streams else []
    if node:
        keys = [each for each in keys if node in _names(known.streams[each].origin)]
    return keys


def _names(worker_id: str) -> tuple[str, ...]:
    node_id = node_of(worker_id)
    return *node_name(node_id), node_id


async def streams_of(known: Known, keys: Sequence[str]) -> tuple[list[Stream], list[str]]:
    """All that there is to say of these, and the workers that have not said what they know."""
    wanted: dict[str, list[str]] = {}
    by_node = workers_by_node(known.workers)
    for key in keys:
        stream = known.streams[key]
        asked = {stream.origin}
        for node_id in stream.players:
            asked.update(by_node.get(node_id, ()))
        for worker_id in asked:
            wanted.setdefault(worker_id, []).append(key)
    asking = [
        _rows_of(known, worker_id, part) for worker_id, all_keys in wanted.items()
        for part in _parts(all_keys)
    ]  # fmt: skip
    rows: dict[str, dict[str, StreamRow]] = {}
    unanswered: dict[str, None] = {}
    for worker_id, found, is_whole in await asyncio.gather(*asking):
        if not is_whole:
            unanswered[worker_id] = None
        for row in found:
            rows.setdefault(row.key, {})[worker_id] = row
    return [_stream(known.streams[key], rows.get(key, {})) for key in keys], sorted(unanswered)


def _parts(keys: Sequence[str]) -> list[list[str]]:
    """As many at once as fit into a question."""
    parts: list[list[str]] = []
    left = 0
    for key in keys:
        size = 6 * len(key) + 4
        if not parts or size > left:
            parts.append([])
            left = _KEYS_BYTES
        left -= size
        parts[-1].append(key)
    return parts


async def _rows_of(known: Known, worker_id: str, keys: list[str]) -> tuple[str, list[StreamRow], bool]:
    """What a worker says of ``keys``, and whether that is all. It answers as far as it has the time; then
    the rest is asked."""
    rows: list[StreamRow] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + WORKER_TIMEOUT_S
    while keys and (left_s := until - loop.time()) > 0:
        answer = await known.ask(worker_id, questions.AskStreams(tuple(keys)), left_s)
        if not isinstance(answer, questions.StreamRows):
            break
        rows += answer.rows
        keys = keys[max(1, answer.looked_at) :]
    return worker_id, rows, not keys


def _stream(status: StreamStatus, rows: dict[str, StreamRow]) -> Stream:
    name = WorkerName.of(status.origin)
    origin = rows.get(status.origin)
    players: dict[tuple[str, str], int] = {}
    for worker_id, row in rows.items():
        for kind, count in row.players.items():
            place = node_of(worker_id), kind
            players[place] = players.get(place, 0) + count
    said = {node_id for node_id, _ in players}
    players |= {(node_id, ""): count for node_id, count in status.players.items() if node_id not in said}
    by = [Players(*node_name(node), kind, count) for (node, kind), count in sorted(players.items())]
    stream = Stream(
        status.key, status.epoch, name.node, name.instance, name.slot, codecs=status.codecs,
        bits_per_second=status.bits_per_second, age_ms=status.age_ms, players=sum(players.values()),
        players_by=by,
    )  # fmt: skip
    if origin is None or not origin.is_origin:
        return stream
    return Stream(
        stream.key, stream.epoch, stream.node, stream.id, stream.worker,
        name.session(origin.session) if origin.session else "", origin.peer, origin.agent,
        stream.codecs, [_track(each) for each in origin.tracks], stream.bits_per_second,
        origin.keyframe_interval_ms, stream.age_ms, origin.received_bytes, stream.players,
        stream.players_by,
    )  # fmt: skip


def _track(row: questions.TrackRow) -> Track:
    return Track(
        row.number, "video" if row.kind == "video" else "audio", row.codec, row.profile, row.width,
        row.height, row.fps, row.sample_rate, row.channels,
    )  # fmt: skip
