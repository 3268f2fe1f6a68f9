"""One round of the cluster: what its routers know, and which workers answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster.api.asking import AskedRouter, RouterAnswer, ask_through
from cluster.api.resources import Missing, MissingRouter
from cluster.core.bus import questions
from cluster.core.bus.cluster_status import LOST, StreamStatus, WorkerStatus, node_of
from cluster.core.bus.questions import Answer, Fault, Question, QuestionError, Summary

#: Routers are waited for so long, and then workers: together, with a little room, within a second.
ROUTER_TIMEOUT_S = 0.3
WORKER_TIMEOUT_S = 0.5


#: Workers whose names are remembered, taken apart.
MAX_NAMES = 1_024


class WorkerName(NamedTuple):
    """A worker's id on the bus, taken apart."""

    node: str
    instance: str
    slot: int
    incarnation: int

    @classmethod
    @functools.lru_cache(MAX_NAMES)
    def of(cls, worker_id: str) -> WorkerName:
        node, _, slot_and_incarnation = worker_id.rpartition("/")[0].rpartition("/")
        name, _, instance = node.rpartition("/")
        incarnation = worker_id.rpartition("/")[2]
        return cls(name, instance, _number(slot_and_incarnation), _number(incarnation))

    def session(self, number: int) -> str:
        """The id of its session with this number, as its log has it."""
        return f"{self.instance}-{self.slot}.{self.incarnation}-{number}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def node_name(node_id: str) -> tuple[str, str]:
    """Name and instance of a node by NAME/INSTANCE."""
    name, _, instance = node_id.rpartition("/")
    return name, instance


@dataclass(slots=True)
class Known:
    """What the routers know, put together. ``via``: the routers that know a worker. ``is_answered``: a
    router has answered that knows of every node, or should."""

    answers: list[RouterAnswer]
    workers: dict[str, WorkerStatus] = field(default_factory=dict)
    via: dict[str, list[AskedRouter]] = field(default_factory=dict)
    streams: dict[str, StreamStatus] = field(default_factory=dict)
    is_answered: bool = False

    @property
    def living(self) -> list[str]:
        """The workers that are not lost."""
        return [worker_id for worker_id in sorted(self.workers) if worker_id in self.via]

    async def ask(self, worker_id: str, question: Question, timeout_s: float) -> Answer | None:
        """A worker's answer; None if there is none in time, or one that makes no sense."""
        text = questions.encode_question(question)
        routers = self.via.get(worker_id, [])
        said = await ask_through(routers, worker_id, text, timeout_s) if routers else None
        if said is None:
            return None
        try:
            return questions.decode_answer(said)
        except QuestionError as error:
            return Fault(str(error))


async def ask_routers(routers: Sequence[AskedRouter], *, own_knows_all: bool) -> Known:
    """Ask all of these at once. ``own_knows_all``: also the one that is told of to nobody. That of a node
    in a cluster knows its own workers alone."""
    answers = await asyncio.gather(*(router.status(ROUTER_TIMEOUT_S) for router in routers))
    known = Known([answer for router, answer in zip(routers, answers, strict=True) if not router.is_own])
    for router, answer in zip(routers, answers, strict=True):
        if answer.status is None:
            continue
        known.is_answered = known.is_answered or own_knows_all or not router.is_own
        for worker in answer.status.workers:
            _merge_worker(known, router, worker)
        for stream in answer.status.streams:
            _merge_stream(known, stream)
    # In clusters with routers, the node's own is only for when there is no other.
    for via in known.via.values():
        via.sort(key=lambda router: router.is_own)
    return known


def _merge_worker(known: Known, router: AskedRouter, worker: WorkerStatus) -> None:
    """The router that has heard it last is right."""
    before = known.workers.get(worker.worker_id)
    is_lost = LOST in worker.load
    if before is None or worker.silent_ms < before.silent_ms or (LOST in before.load and not is_lost):
        known.workers[worker.worker_id] = worker
    if not is_lost:
        known.via.setdefault(worker.worker_id, []).append(router)


def _merge_stream(known: Known, stream: StreamStatus) -> None:
    """The latest publisher counts, and of its players the most that a router knows."""
    before = known.streams.get(stream.key)
    if before is None or stream.epoch > before.epoch:
        known.streams[stream.key] = stream
    elif stream.epoch == before.epoch:
        players = dict(before.players)
        for node, count in stream.players.items():
            players[node] = max(count, players.get(node, 0))
        best = stream if stream.bits_per_second > before.bits_per_second else before
        known.streams[stream.key] = best._replace(players=players)


@dataclass(slots=True)
class RollCall:
    """Who has answered. ``summaries`` by worker id."""

    known: Known
    summaries: dict[str, Summary]
    missing: list[Missing]
    missing_routers: list[MissingRouter]

    @property
    def routers_named(self) -> set[str]:
        """The routers that nodes have links to, or should have."""
        return {name for summary in self.summaries.values() for name in summary.routers}


async def call_roll(known: Known) -> RollCall:
    """Ask each worker how it is."""
    living = known.living
    answers = await asyncio.gather(
        *(known.ask(worker_id, questions.AskSummary(), WORKER_TIMEOUT_S) for worker_id in living)
    )
    summaries = {
        worker_id: answer for worker_id, answer in zip(living, answers, strict=True)
        if isinstance(answer, Summary)
    }  # fmt: skip
    missing = missing_workers(known, [each for each in known.workers if each not in summaries])
    routers = [MissingRouter(each.router, each.why) for each in known.answers if each.status is None]
    return RollCall(known, summaries, missing, routers)


def missing_workers(known: Known, worker_ids: Sequence[str]) -> list[Missing]:
    """These, with what is known of why they do not answer."""
    rows = []
    for worker_id in sorted(worker_ids):
        worker, name = known.workers[worker_id], WorkerName.of(worker_id)
        silent_s = worker.silent_ms / 1000
        if LOST in worker.load:
            why = f"lost: silent for {silent_s:.0f} s"
        elif silent_s >= ROUTER_TIMEOUT_S:
            why = f"silent for {silent_s:.1f} s"
        else:
            why = f"no answer within {WORKER_TIMEOUT_S:g} s"
        rows.append(Missing(name.node, name.instance, name.slot, why))
    return rows


def workers_by_node(workers: Mapping[str, WorkerStatus]) -> dict[str, list[str]]:
    """The worker ids of each node id, in order."""
    found: dict[str, list[str]] = {}
    for worker_id in sorted(workers):
        found.setdefault(node_of(worker_id), []).append(worker_id)
    return found
