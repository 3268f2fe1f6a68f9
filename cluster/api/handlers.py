"""What each operation does: it asks the view, or gives an order, and returns what is to be answered."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from cluster.api import nodes as parts
from cluster.api.orders import Ambiguous, NoAnswer, NotThere, Orders
from cluster.api.paging import BadCursor, cursor_of, place_of
from cluster.api.resources import (
    Cluster,
    Done,
    EventList,
    JsonText,
    Node,
    NodeList,
    Route,
    RouteList,
    RouterList,
    Session,
    SessionList,
    Stream,
    StreamList,
    Trace,
    list_of_texts,
)
from cluster.api.round import Known, WorkerName, workers_by_node
from cluster.api.sessions import session_of, session_page, workers_of
from cluster.api.streams import matching, streams_of
from cluster.api.texts import stream_texts
from cluster.api.trace import Way, trace_routers, trace_rows, uplinks
from cluster.api.view import ClusterView
from cluster.core.bus.questions import AskSessions

logger = logging.getLogger(__name__)

Arguments = dict[str, Any]


class Refused(Exception):
    """The request is answered with a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Handlers:
    """The operations on one view."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view
        self._orders = Orders(view)

    # ---- the cluster -------------------------------------------------------------------------

    async def cluster(self, _: Arguments) -> Cluster:
        return parts.cluster_in_numbers(await self._view.roll_call())

    async def routers(self, _: Arguments) -> RouterList:
        roll = await self._view.roll_call()
        return RouterList(items=parts.routers(roll), **parts.coverage(roll))

    async def nodes(self, arguments: Arguments) -> NodeList:
        return parts.node_list(await self._view.roll_call(), arguments["node"])

    async def node(self, arguments: Arguments) -> Node:
        roll = await self._view.roll_call()
        found = parts.node_list(roll, arguments["node"]).items
        here = [each for each in found if each.state != "lost"] or found
        if not here:
            raise Refused(404, f"there is no node {arguments['node']}{_as_far_as(roll.known)}")
        if len(here) > 1:
            ids = ", ".join(each.id for each in here)
            raise Refused(409, f"{len(here)} nodes have that name: say which by its id ({ids})")
        return here[0]

    async def events(self, arguments: Arguments) -> EventList:
        await self._view.roll_call()
        return self._view.events.after(arguments["after"])

    # ---- streams -----------------------------------------------------------------------------

    async def streams(self, arguments: Arguments) -> JsonText[StreamList]:
        (after,) = _place(arguments["cursor"], str) or ("",)
        known = await self._view.known()
        keys = [key for key in matching(known, arguments["key"], arguments["node"]) if key > after]
        page, is_last = keys[: arguments["limit"]], len(keys) <= arguments["limit"]
        roll, (items, unanswered) = await asyncio.gather(
            self._view.roll_call(),
            self._view.shared(
                ("streams", *page), lambda: stream_texts(known, page, self._view.details, self._view.texts)
            ),
        )
        following = None if is_last else cursor_of(page[-1])
        return list_of_texts(StreamList(next=following, **parts.coverage(roll, unanswered)), items)

    async def stream(self, arguments: Arguments) -> Stream:
        known = await self._view.known()
        key = arguments["key"]
        if key not in known.streams:
            raise Refused(404, _nobody(known, key))
        [stream], _ = await self._view.shared(
            ("stream", key), lambda: streams_of(known, [key], self._view.details)
        )
        return stream

    async def trace(self, arguments: Arguments) -> Trace:
        key = arguments["key"]
        known = await self._view.known()
        if key not in known.streams:
            raise Refused(404, _nobody(known, key))
        roll, rows = await asyncio.gather(
            self._view.roll_call(), self._view.shared(("trace", key), lambda: trace_rows(known, key))
        )
        stream = known.streams[key]
        several = {node: len(each) > 1 for node, each in workers_by_node(known.workers).items()}
        way = Way(stream.origin, rows, uplinks(known, stream.origin), several)
        return Trace(
            key=key, epoch=stream.epoch, hops=way.hops, routers=trace_routers(rows),
            **parts.coverage(roll),
        )  # fmt: skip

    async def end_stream(self, arguments: Arguments) -> Done:
        key, closed_s = arguments["key"], arguments["closed_s"]
        try:
            was_live = await self._orders.end_stream(
                key, closed_s, arguments["why"], arguments["Idempotency-Key"]
            )
        except NoAnswer as error:
            raise Refused(504, str(error)) from None
        text = "its publisher was ended" if was_live else "nobody published it"
        return Done(was_live, f"{text}; closed for {closed_s} s" if closed_s else f"{text}; open")

    async def routes(self, arguments: Arguments) -> RouteList:
        after = _place(arguments["cursor"], str, str) or ("", "")
        roll = await self._view.roll_call()
        rows: list[Route] = []
        node, limit = arguments["node"], arguments["limit"]
        for key in matching(roll.known, arguments["key"], ""):
            if key < after[0]:
                continue
            for row in parts.routes_of(roll.known.streams[key], roll):
                is_wanted = not node or node in (row.from_node, row.from_id, row.to_node, row.to_id)
                if is_wanted and (key, f"{row.to_node}/{row.to_id}") > after:
                    rows.append(row)
            if len(rows) > limit:
                break
        last = rows[limit - 1] if len(rows) > limit else None
        following = None if last is None else cursor_of(last.key, f"{last.to_node}/{last.to_id}")
        return RouteList(items=rows[:limit], next=following, **parts.coverage(roll))

    # ---- sessions ----------------------------------------------------------------------------

    async def sessions(self, arguments: Arguments) -> SessionList:
        after = _place(arguments["cursor"], str, int) or ("", 0)
        known = await self._view.known()
        asked = AskSessions(
            limit=arguments["limit"], key=arguments["key"], role=arguments["role"], kind=arguments["kind"]
        )
        worker_ids = workers_of(known, arguments["node"])
        roll, page = await asyncio.gather(
            self._view.roll_call(),
            self._view.shared(
                ("sessions", asked, arguments["node"], after),
                lambda: session_page(known, worker_ids, asked, after),
            ),
        )
        following = None if page.place is None else cursor_of(*page.place)
        unanswered = parts.coverage(roll, page.unanswered)
        return SessionList(items=page.sessions, next=following, **unanswered)

    async def session(self, arguments: Arguments) -> Session:
        session = arguments["session"]
        known = await self._view.known()
        try:
            found = await session_of(known, session)
        except TimeoutError:
            raise Refused(504, f"the worker of session {session} does not answer") from None
        if found is None:
            raise Refused(404, f"there is no session {session}{_as_far_as(known)}")
        return found

    async def kick(self, arguments: Arguments) -> Done:
        session = arguments["session"]
        try:
            await self._orders.kick(session, arguments["why"], arguments["Idempotency-Key"])
        except NotThere as error:
            raise Refused(404, str(error)) from None
        except NoAnswer as error:
            raise Refused(504, str(error)) from None
        return Done(True, f"session {session} was ended")

    # ---- nodes -------------------------------------------------------------------------------

    async def drain(self, arguments: Arguments) -> Done:
        deadline_s = arguments["body"].deadline_s
        node = await self._told(self._orders.drain, arguments, deadline_s)
        return Done(True, f"node {node} is out of service; sessions may go on for {deadline_s:g} s")

    async def undrain(self, arguments: Arguments) -> Done:
        return Done(True, f"node {await self._told(self._orders.undrain, arguments)} is in service")

    async def reload(self, arguments: Arguments) -> Done:
        node = await self._told(self._orders.reload, arguments)
        return Done(True, f"node {node} reads its rules again: its log says whether they are good")

    async def _told(self, order: Any, arguments: Arguments, *more: Any) -> str:
        try:
            return str(await order(arguments["node"], *more, arguments["Idempotency-Key"]))
        except NotThere as error:
            raise Refused(404, str(error)) from None
        except Ambiguous as error:
            raise Refused(409, str(error)) from None
        except NoAnswer as error:
            raise Refused(504, str(error)) from None


def _as_far_as(known: Known) -> str:
    """What is to be said behind that something is not there."""
    return "" if known.is_answered else ", as far as is known: no router of the cluster answers"


def _nobody(known: Known, key: str) -> str:
    """That nobody publishes ``key``, as far as is known."""
    if not known.is_answered:
        return f"nobody publishes {key}{_as_far_as(known)}"
    lost = sorted({WorkerName.of(each).node for each in known.workers if each not in known.via})
    if lost:
        return f"nobody is known to publish {key}, and some nodes are lost: {', '.join(lost)}"
    return f"nobody publishes {key}"


def _place(cursor: str, *kinds: type) -> tuple[Any, ...] | None:
    """Where a page begins; None for the first."""
    if not cursor:
        return None
    try:
        return place_of(cursor, *kinds)
    except BadCursor as error:
        raise Refused(404, f"there is no such page: {error}") from None
