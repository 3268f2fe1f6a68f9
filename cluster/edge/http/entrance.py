"""Who may play over HTTP: the question that a request asks, the wait for its answer, and how a no looks.

Playlists, parts and segments of a player that was let in are served for its ticket (``tickets.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from cluster.edge.http.answer import Answer, Waiting, line
from cluster.edge.http.interfaces import Exchange
from cluster.edge.http.request import Request
from cluster.edge.http.routes import Kind, Route
from cluster.edge.http.tickets import FIELD, Tickets, ticket_in
from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.streams.turn import Turn

#: Requests that wait for somebody to decide. One more is answered with 503: each is a task, some kilobytes.
MAX_UNDECIDED: Final = 10_000

#: What goes on with a request that is let in: with its route, and its ticket if it has one.
Serve = Callable[[Exchange, Request, Route, str], Waiting | None]

_STATUS: Final = {
    Refused.NO_CREDENTIALS: 401, Refused.BAD_CREDENTIALS: 401, Refused.FORBIDDEN: 403,
    Refused.HOOK_REFUSED: 403, Refused.HOOK_FAILED: 503,
}  # fmt: skip
_TOO_MANY: Final = Deny("too many requests wait for an answer; try again", why=Refused.HOOK_FAILED)


class Entrance:
    """Lets requests for media in. ``serve`` is called with those that may go on."""

    def __init__(self, control: AccessControl, tickets: Tickets, turn: Turn, serve: Serve) -> None:
        self._control = control
        self._tickets = tickets
        self._turn = turn
        self._serve = serve
        self._undecided = 0

    def enter(self, connection: Exchange, request: Request, route: Route) -> Waiting | None:
        """Serve ``request`` or refuse it, now or later. Returns what waits if it is later."""
        if self._control.judge is None:
            return self._serve(connection, request, route, "")
        ticket = ticket_in(request.query) if route.kind is Kind.HLS else ""
        if ticket and self._tickets.is_good(route.key, ticket):
            return self._serve(connection, request, route, ticket)
        verdict = self._control.decide(_access(connection, request, route), connection.who())
        if isinstance(verdict, Allow | Deny):
            return self._decided(connection, request, route, verdict)
        if self._undecided >= MAX_UNDECIDED:
            return self._decided(connection, request, route, _TOO_MANY)
        self._undecided += 1
        task = self._turn.loop.create_task(self._decide_late(connection, request, route, verdict))
        task.add_done_callback(self._count_decided)
        return task

    async def _decide_late(
        self, connection: Exchange, request: Request, route: Route, answer: Awaitable[Verdict]
    ) -> None:
        verdict = await answer
        self._turn.begin()
        if connection.close_reason is not None:
            return
        connection.waits_no_more()
        waiting = self._decided(connection, request, route, verdict)
        if waiting is not None:
            connection.waits_for(waiting)
        else:
            connection.answered()

    def _count_decided(self, done: asyncio.Task[None]) -> None:
        self._undecided -= 1
        if not done.cancelled():
            done.result()

    def _decided(
        self, connection: Exchange, request: Request, route: Route, verdict: Verdict
    ) -> Waiting | None:
        if isinstance(verdict, Deny):
            connection.answer(request, denial(verdict))
            return None
        key = verdict.key or route.key
        connection.user = verdict.user
        if route.kind is not Kind.HLS:
            if verdict.ends_at is not None:
                connection.lasts_until(self._turn.now + verdict.ends_at - self._control.time())
            return self._serve(connection, request, route._replace(key=key), "")
        ticket = "" if verdict.is_for_all else self._tickets.issue(key, verdict.ends_at)
        if key != route.key:
            connection.answer(request, _elsewhere(key, route, ticket))
            return None
        return self._serve(connection, request, route, ticket)


def denial(denied: Deny) -> Answer:
    """What ``denied`` is answered with."""
    if denied.redirect is not None:
        return line(302, denied.text)._replace(location=denied.redirect)
    status = _STATUS[denied.why]
    if status == 401 and not denied.schemes:  # which must name one (RFC 9110, section 15.5.2)
        status = 403
    answer = line(status, denied.text)
    return answer._replace(schemes=denied.schemes) if status == 401 else answer


def _elsewhere(key: str, route: Route, ticket: str) -> Answer:
    """Where the files of HLS are of a stream that is served in place of another."""
    place = f"/{quote(key)}/{route.name}" if route.name else f"/{quote(key)}.m3u8"
    location = f"{place}?{FIELD}={ticket}" if ticket else place
    return line(302, "this stream is served under another name")._replace(location=location)


def _access(connection: Exchange, request: Request, route: Route) -> Access:
    who = connection.who()
    return Access(
        "play", route.key, connection.arrival.peer, "https" if connection.is_secure else "http",
        str(who["id"]), query=request.query, authorization=request.authorization(),
        agent=connection.agent,
    )  # fmt: skip
