"""The API of a large cluster that is not there: the dashboard's files, and answers of the API's types."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

from aiohttp import web

from cluster.api import dashboard
from cluster.api.answering import answer, problem
from cluster.api.openapi import document
from cluster.api.operations import OPERATIONS
from cluster.api.resources import (
    Cluster,
    Done,
    Event,
    EventList,
    Missing,
    MissingRouter,
    Node,
    NodeList,
    Players,
    Route,
    RouteList,
    Router,
    RouterList,
    Session,
    SessionList,
    Stream,
    StreamList,
    Track,
    Worker,
)

_NODES = 12
_ROUTERS = 3
_TRACE = "/v1/streams/{key}/trace"
_TRACKS = [
    Track(0, "video", "avc1", "avc1.640028", 1920, 1080, 30.0),
    Track(0, "audio", "mp4a", "mp4a.40.2", 0, 0, 0.0, 48_000, 2),
]  # fmt: skip


class FakeApi:
    """``streams``: how many. ``silent`` and ``lost_router``: one of the nodes, and of the routers, has not
    answered. ``trace``: it tells the way of a stream hop by hop."""

    def __init__(
        self, streams: int, *, silent: bool = False, lost_router: bool = False, trace: bool = False
    ) -> None:  # fmt: skip
        self._has_trace, self._traced = trace, False
        self.orders: list[str] = []
        self._streams = [_stream(number) for number in range(streams)]
        self._coverage: dict[str, Any] = {}
        if silent:
            self._coverage |= {
                "complete": False, "missing": [Missing("node-03", "id03", 0, "silent for 3.2 s")]
            }  # fmt: skip
        if lost_router:
            missing = [MissingRouter("tcp://10.0.0.3:1936", "no answer within 0.3 s")]
            self._coverage["missing_routers"] = missing
        self._silent = silent
        self._lost_router = lost_router
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    def rename(self, key: str) -> None:
        """Call the first stream so."""
        self._streams[0] = replace(self._streams[0], key=key)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        application = web.Application()
        dashboard.add_routes(application.router)
        for path, make in (
            ("cluster", self._cluster), ("nodes", self._nodes), ("routers", self._routers),
            ("streams", self._stream_page), ("sessions", self._sessions), ("routes", self._routes),
            ("events", self._events), ("openapi.json", self._openapi),
        ):  # fmt: skip
            application.router.add_get(f"/v1/{path}", self._answering(make))
        application.router.add_get("/v1/streams/{key:.+}/trace", self._answering(self._trace))
        application.router.add_get("/v1/streams/{key:.+}", self._answering(lambda _: self._streams[0]))
        application.router.add_delete("/v1/{order:.+}", self._order)
        application.router.add_post("/v1/{order:.+}", self._order)
        runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        self._started.set()
        await self._stopped.wait()
        await runner.cleanup()

    @staticmethod
    def _answering(make: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            return answer(make(request.query))

        return handle

    async def _order(self, request: web.Request) -> web.Response:
        self.orders.append(f"{request.method} {request.rel_url.raw_path}")
        if "refused" in request.query.get("why", ""):
            return problem(403, "this token is for looking only")
        return answer(Done(True, "that was done"))

    def _cluster(self, _: Any) -> Cluster:
        return Cluster(
            version="0.1", nodes=_NODES, workers=2 * _NODES, routers=_ROUTERS,
            routers_answering=_ROUTERS - self._lost_router, streams=len(self._streams),
            publishers=len(self._streams), players=sum(each.players for each in self._streams),
            connections=4321, received_bits_per_s=4_210_000_000, sent_bits_per_s=38_700_000_000,
            **self._coverage,
        )  # fmt: skip

    def _nodes(self, _: Any) -> NodeList:
        nodes = [_node(number) for number in range(_NODES)]
        nodes[5] = replace(nodes[5], state="draining")
        if self._silent:
            workers = [Worker(0, 1, "silent", 3200), *nodes[3].workers[1:]]
            nodes[3] = replace(nodes[3], state="silent", workers=workers, version="")
        return NodeList(items=nodes, **self._coverage)

    def _routers(self, _: Any) -> RouterList:
        items = [
            Router(f"tcp://10.0.0.{number}:1936", True, "", 1.2, 24, len(self._streams), _NODES, _NODES)
            for number in range(1, _ROUTERS + 1)
        ]
        if self._lost_router:
            items[-1] = replace(items[-1], answers=False, why="no answer within 0.3 s", nodes_linked=0)
        return RouterList(items=items, **self._coverage)

    def _stream_page(self, query: Any) -> StreamList:
        if "key" in query:
            items = [each for each in self._streams if each.key == query["key"]]
            return StreamList(items=items, **self._coverage)
        first, limit = int(query.get("cursor", "0")), int(query["limit"])
        items = self._streams[first : first + limit]
        following = str(first + limit) if first + limit < len(self._streams) else None
        return StreamList(items=items, next=following, **self._coverage)

    def _sessions(self, query: Any) -> SessionList:
        items = [_session(number, query["key"]) for number in range(min(int(query["limit"]), 120))]
        following = "more" if len(items) < 120 else None
        return SessionList(items=items, next=following, **self._coverage)

    def _routes(self, query: Any) -> RouteList:
        items = [
            Route(query["key"], "node-00", "id00", f"node-{number:02}", f"id{number:02}",
                  "tcp://10.0.0.1:1936" if number else "", number > 0, 7 * number)
            for number in range(4)
        ]  # fmt: skip
        return RouteList(items=items, **self._coverage)

    def _openapi(self, _: Any) -> Any:
        described = document(OPERATIONS, has_tokens=False)
        if self._has_trace:
            described["paths"].setdefault(_TRACE, {})
        else:
            described["paths"].pop(_TRACE, None)
        return described

    def _trace(self, _: Any) -> Any:
        """At first, nothing hangs."""
        hops = _HOPS if self._traced else _HOPS[:-2]
        self._traced = True
        return {"complete": True, "missing": [], "missing_routers": [], "hops": hops, "routers": []}

    def _events(self, query: Any) -> EventList:
        texts = [
            ("node_joined", "node node-04 has joined"),
            ("router_lost", "router tcp://10.0.0.3:1936 is lost"),
            ("node_drained", "node node-05 is draining"), ("node_lost", "node node-09 is lost"),
            ("stream_moved", "live/a-long-name-for-it is published at node-02 now, and was at node-09"),
        ]  # fmt: skip
        items = [
            Event(number, f"2026-03-01T12:0{number}:00.000Z", kind, text)  # type: ignore[arg-type]
            for number, (kind, text) in enumerate(texts, 1)
        ]
        return EventList([each for each in items if each.number > int(query["after"])], len(items))


def _hop(number: int, from_hop: int, kind: str, name: str, **more: Any) -> dict[str, Any]:
    hop = {
        "number": number, "from_hop": from_hop, "kind": kind, "name": name, "id": "", "worker": 0,
        "delay_ms": None, "held_ms": 0.0, "total_ms": None, "bits_per_second": None, "lost": 0,
        "players": 0, "players_behind": 0, "behind_ms": 0,
    }  # fmt: skip
    return hop | more


_HOPS = [
    _hop(0, -1, "publisher", "198.51.100.7:50000", delay_ms=0.0, total_ms=0.0),
    _hop(1, 0, "origin", "node-00", delay_ms=12.5, held_ms=4.0, total_ms=12.5, bits_per_second=2_500_000),
    _hop(2, 1, "players", "", delay_ms=8.1, total_ms=24.6, players=12),
    _hop(3, 1, "router", "tcp://10.0.0.1:1936", delay_ms=0.8, total_ms=17.3),
    _hop(4, 3, "repeater", "node-01"),
    _hop(5, 4, "worker", "node-01", delay_ms=1.4, total_ms=18.7, bits_per_second=2_500_000),
    _hop(6, 5, "players", "", delay_ms=9.0, total_ms=27.7, players=80),
    _hop(7, 3, "worker", "node-02", worker=1, delay_ms=260.0, total_ms=277.3, bits_per_second=2_500_000),
    _hop(8, 7, "players", "", delay_ms=20.0, total_ms=297.3, players=9, players_behind=2, behind_ms=3400,
         lost=31),
]  # fmt: skip


def _stream(number: int) -> Stream:
    node = number % _NODES
    players = number * 7919 % 500
    by = [Players(f"node-{node:02}", f"id{node:02}", "rtmp", players)]
    return Stream(
        f"live/channel-{number:04}", 1, f"node-{node:02}", f"id{node:02}", 0, f"id{node:02}-0.1-{number}",
        f"198.51.100.{number % 250}:50000", "FMLE/3.0 (compatible; FMSc/1.0)", "avc1 mp4a", _TRACKS,
        players, by, 2_000_000 + number * 3000, 60_000 * (number + 1), 2000, 10_000_000,
    )  # fmt: skip


def _node(number: int) -> Node:
    workers = [
        Worker(slot, 1, "ok", 10, 180, 40, 150, 84, 10**9, 10**10, 180_000_000, 1_600_000_000, 95_000_000)
        for slot in (0, 1)
    ]
    routers = {f"tcp://10.0.0.{each}:1936": "" for each in range(1, _ROUTERS + 1)}
    return Node(
        f"node-{number:02}", f"id{number:02}", "ok", "0.1", workers, routers, [], 360, 80, 300, 360_000_000,
        3_200_000_000, 86_400_000,
    )  # fmt: skip


def _session(number: int, key: str) -> Session:
    return Session(
        f"id00-0.1-{number}", "node-00", "id00", 0, "player" if number else "publisher", "rtmp", key,
        f"203.0.113.{number}:40000", "LNX 9,0,124,2", False, "playing" if number else "publishing",
        125_000, 40, 12_000, 3000, 5_000_000, {"slow": 3} if number == 2 else {},
    )  # fmt: skip


