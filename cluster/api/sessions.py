"""The sessions of a cluster, page by page: worker after worker, and in each by their numbers."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from cluster.api.resources import Session
from cluster.api.round import WORKER_TIMEOUT_S, Known, WorkerName, node_name
from cluster.core.bus import questions
from cluster.core.bus.cluster_status import node_of
from cluster.core.bus.questions import MAX_PAGE_ROWS, AskSessions, SessionPage

#: A worker's id, and the number of one of its sessions.
Place: TypeAlias = tuple[str, int]

#: Workers that are asked at once for the next sessions.
_AT_ONCE = 32

_SESSION_ID = re.compile(r"([0-9A-Za-z]{1,16})-([0-9]{1,6})\.([0-9]{1,9})-([0-9]{1,12})")


def worker_and_number(known: Known, session_id: str) -> tuple[str, int] | None:
    """The worker that has, or had, the session, and its number there; None if there is no such worker."""
    match = _SESSION_ID.fullmatch(session_id)
    if match is None:
        return None
    end = f"/{match[1]}/{match[2]}/{match[3]}"
    worker_id = next((each for each in known.workers if each.endswith(end)), None)
    return None if worker_id is None else (worker_id, int(match[4]))


def workers_of(known: Known, node: str) -> list[str]:
    """The workers that can be asked, in order; ``node``: those of the nodes that are called so."""
    return [
        worker_id for worker_id in known.living
        if not node or node in (*node_name(node_of(worker_id)), node_of(worker_id))
    ]  # fmt: skip


class Page(NamedTuple):
    """Some sessions; ``place``: behind which the next begin, None if these are the last. ``unanswered``:
    the workers whose sessions are missing in between."""

    sessions: list[Session]
    place: Place | None
    unanswered: list[str]


async def session_page(known: Known, worker_ids: list[str], asked: AskSessions, after: Place) -> Page:
    """At most ``asked.limit`` sessions behind ``after``: as many as can be had within a worker's time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + WORKER_TIMEOUT_S
    found: list[Session] = []
    unanswered: list[str] = []
    waiting = [each for each in worker_ids if each >= after[0]]
    place = after
    while waiting:
        batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        starts = [place[1] if each == place[0] else 0 for each in batch]
        pages = await asyncio.gather(
            *(_page(known, each, asked, start, until) for each, start in zip(batch, starts, strict=True))
        )
        answered = list(zip(batch, pages, strict=True))
        unanswered += [worker_id for worker_id, page in answered if page is None]
        for worker_id, page in answered:
            while page is not None:
                for row in page.rows:
                    if len(found) == asked.limit:
                        return Page(found, place, unanswered)
                    found.append(_session(worker_id, row))
                    place = worker_id, row.number
                if page.after is None:
                    break
                place = worker_id, page.after
                if len(found) == asked.limit or loop.time() >= until:
                    return Page(found, place, unanswered)
                page = await _page(known, worker_id, asked, page.after, until)
                if page is None:  # it has answered before: there was no time
                    return Page(found, place, unanswered)
        if waiting and (len(found) == asked.limit or loop.time() >= until):
            return Page(found, (waiting[0], 0), unanswered)
    return Page(found, None, unanswered)


async def _page(
    known: Known, worker_id: str, asked: AskSessions, after: int, until: float
) -> SessionPage | None:
    left_s = until - asyncio.get_running_loop().time()
    question = replace(asked, after=after, limit=min(asked.limit, MAX_PAGE_ROWS))
    answer = await known.ask(worker_id, question, max(left_s, 0.01))
    return answer if isinstance(answer, SessionPage) else None


async def session_of(known: Known, session_id: str) -> Session | None:
    """One session; None if it is not there, TimeoutError if its worker does not answer."""
    place = worker_and_number(known, session_id)
    if place is None:
        return None
    answer = await known.ask(place[0], AskSessions(number=place[1]), WORKER_TIMEOUT_S)
    if not isinstance(answer, SessionPage):
        raise TimeoutError
    return _session(place[0], answer.rows[0]) if answer.rows else None


def _session(worker_id: str, row: questions.SessionRow) -> Session:
    name = WorkerName.of(worker_id)
    return Session(
        name.session(row.number), name.node, name.instance, name.slot, row.role, row.kind, row.key,
        row.peer, row.agent, row.is_secure, row.state, row.age_ms, row.delay_ms, row.queue_bytes,
        row.received_bytes, row.sent_bytes, row.dropped,
    )  # fmt: skip
