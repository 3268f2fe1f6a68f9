"""The streams of a cluster: what the routers know, and what origins and players' workers say of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping, Sequence

from cluster.api.details import Details
from cluster.api.resources import Players, Stream, Track
from cluster.api.round import WORKER_TIMEOUT_S, Known, WorkerName, node_name, workers_by_node
from cluster.core.bus import questions
from cluster.core.bus.bounds import MAX_QUESTION_BYTES
from cluster.core.bus.cluster_status import StreamStatus, node_of
from cluster.core.bus.questions import QuestionError, StreamRow

#: A key takes up to six bytes of JSON for each of its own, and so a question may have only some.
_KEYS_BYTES = MAX_QUESTION_BYTES - 512
#: What workers have said of tracks is read once: so many texts are remembered.
MAX_TRACKS_KEPT = 1_024


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


async def streams_of(
    known: Known, keys: Sequence[str], details: Details
) -> tuple[list[Stream], list[str]]:
    """All that there is to say of these, and the workers that have not said what they know. ``details``:
    what they have said before, and have said now."""
    rows, unanswered = await rows_of(known, keys, details)
    return [stream_of(known.streams[key], rows[key]) for key in keys], unanswered


async def rows_of(
    known: Known, keys: Sequence[str], details: Details
) -> tuple[dict[str, Mapping[str, StreamRow]], list[str]]:
    """What the workers say of each, by worker id, and those that have not said all."""
    now = asyncio.get_running_loop().time()
    rows: dict[str, Mapping[str, StreamRow]] = {}
    for key in keys:
        kept = details.get(known.streams[key], now)
        if kept is not None:
            rows[key] = kept
    asked = _workers_of(known, [key for key in keys if key not in rows])
    found, unanswered = await _rows_of_all(known, asked)
    for key, worker_ids in asked.items():
        here = rows[key] = found.get(key, {})
        origin = here.get(known.streams[key].origin)
        if origin is not None and origin.is_origin and unanswered.isdisjoint(worker_ids):
            details.keep(known.streams[key], here, now)
    details.keep_only(known.streams)
    return rows, sorted(unanswered)


def _workers_of(known: Known, keys: Sequence[str]) -> dict[str, set[str]]:
    """The workers that have to do with each of these: the origin, and those of the nodes that play it."""
    by_node = workers_by_node(known.workers)
    found: dict[str, set[str]] = {}
    for key in keys:
        stream = known.streams[key]
        found[key] = {stream.origin}
        for node_id in stream.players:
            found[key].update(by_node.get(node_id, ()))
    return found


async def _rows_of_all(
    known: Known, asked: Mapping[str, Iterable[str]]
) -> tuple[dict[str, dict[str, StreamRow]], set[str]]:
    """What the workers say of each key, and those that have not said all."""
    wanted: dict[str, list[str]] = {}
    for key, worker_ids in asked.items():
        for worker_id in worker_ids:
            wanted.setdefault(worker_id, []).append(key)
    asking = [
        _rows_of(known, worker_id, part) for worker_id, all_keys in wanted.items()
        for part in _parts(all_keys)
    ]  # fmt: skip
    rows: dict[str, dict[str, StreamRow]] = {}
    unanswered: set[str] = set()
    for worker_id, found, is_whole in await asyncio.gather(*asking):
        if not is_whole:
            unanswered.add(worker_id)
        for row in found:
            rows.setdefault(row.key, {})[worker_id] = row
    return rows, unanswered


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
    it is asked for the rest."""
    rows: list[StreamRow] = []
    loop = asyncio.get_running_loop()
    until = loop.time() + WORKER_TIMEOUT_S
    while keys and (left_s := until - loop.time()) > 0:
        asked = questions.AskStreams(tuple(keys[: questions.MAX_PAGE_STREAMS]))
        answer = await known.ask(worker_id, asked, left_s)
        if not isinstance(answer, questions.StreamRows):
            break
        rows += answer.rows
        keys = keys[max(1, answer.looked_at) :]
    return worker_id, rows, not keys


def stream_of(status: StreamStatus, rows: Mapping[str, StreamRow]) -> Stream:
    """One stream, of what the routers know and what the workers in ``rows`` say."""
    name = WorkerName.of(status.origin)
    origin = origin_row(status, rows)
    by = _players(status, rows)
    return Stream(
        status.key, status.epoch, name.node, name.instance, name.slot,
        name.session(origin.session) if origin.session else "", origin.peer, origin.agent,
        status.codecs, _tracks(origin.tracks, origin.fps), sum(each.count for each in by), by,
        status.bits_per_second, status.age_ms, origin.keyframe_interval_ms, origin.received_bytes,
    )  # fmt: skip


def origin_row(status: StreamStatus, rows: Mapping[str, StreamRow]) -> StreamRow:
    """That of the worker where the stream is published; one that says nothing if it has not answered."""
    row = rows.get(status.origin)
    return row if row is not None and row.is_origin else StreamRow(status.key, status.epoch, True)


def _players(status: StreamStatus, rows: Mapping[str, StreamRow]) -> list[Players]:
    """As their workers count them; of nodes that have not said, as the routers do."""
    players: dict[tuple[str, str], int] = {}
    for worker_id, row in rows.items():
        for kind, count in row.players.items():
            place = node_of(worker_id), kind
            players[place] = players.get(place, 0) + count
    said = {node_id for node_id, _ in players}
    players |= {(node_id, ""): count for node_id, count in status.players.items() if node_id not in said}
    return [Players(*node_name(node), kind, count) for (node, kind), count in sorted(players.items())]


def _tracks(text: str, fps: float) -> list[Track]:
    """The tracks in ``text``; no tracks if that makes no sense."""
    return _read_tracks(text, fps) if text and len(text) <= questions.MAX_TRACKS_CHARACTERS else []


@functools.lru_cache(MAX_TRACKS_KEPT)
def _read_tracks(text: str, fps: float) -> list[Track]:
    """Not to be changed: streams have the same, and one stream each time."""
    try:
        rows = questions.decode_tracks(text)
    except QuestionError:
        return []
    return [
        Track(row.number, "video", row.codec, row.profile, row.width, row.height, fps)
        if row.kind == "video"
        else Track(
            row.number, "audio", row.codec, row.profile, sample_rate=row.sample_rate, channels=row.channels
        )
        for row in rows
    ]
