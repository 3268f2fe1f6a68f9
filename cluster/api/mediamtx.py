"""A thin view for whoever comes from MediaMTX: the calls of its API (v3) that most programs use.

What they ask for, and how they page, is MediaMTX's; of fields, those that this server knows.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from cluster import __version__
from cluster.api.answering import answer, said_order
from cluster.api.handlers import Handlers, Refused
from cluster.api.resources import Session, Stream, Track
from cluster.api.sessions import Place, session_page, workers_of
from cluster.api.streams import matching, streams_of
from cluster.api.view import ClusterView
from cluster.core.bus import json_text
from cluster.core.bus.questions import AskSessions

#: Items of a page, and connections that are counted, at most.
MAX_ITEMS_PER_PAGE = 1_000
MAX_LISTED = 20_000

_STATES = {"publisher": "publish", "player": "read"}
_CODECS = {"avc1": "H264", "hvc1": "H265", "av01": "AV1", "vp09": "VP9", "mp4a": "MPEG-4 Audio"}


class MediaMtx:
    """The calls."""

    def __init__(self, view: ClusterView, handlers: Handlers) -> None:
        self._view = view
        self._handlers = handlers
        self._started = _ago(0)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v3/info", self._answered(self._info))
        router.add_get("/v3/paths/list", self._answered(self._paths))
        router.add_get("/v3/paths/get/{name:.+}", self._answered(self._path))
        router.add_get("/v3/rtmpconns/list", self._answered(self._connections))
        router.add_get("/v3/rtmpconns/get/{id}", self._answered(self._connection))
        router.add_post("/v3/rtmpconns/kick/{id}", self._answered(self._kick))

    @staticmethod
    def _answered(call: Any) -> Any:
        async def handle(request: web.Request) -> web.Response:
            try:
                return answer(await call(request))
            except Refused as error:
                said = {"status": "error", "error": error.detail}
                return web.Response(
                    text=json_text.write(said), status=error.status, content_type="application/json"
                )

        return handle

    async def _info(self, _: web.Request) -> dict[str, Any]:
        return {"version": f"v{__version__}", "started": self._started}

    async def _paths(self, request: web.Request) -> dict[str, Any]:
        known = await self._view.known()
        keys = matching(known, "", "")
        first, count = _page(request)
        streams, _ = await streams_of(known, keys[first : first + count], self._view.details)
        return _paged(len(keys), count, [_path_item(each) for each in streams])

    async def _path(self, request: web.Request) -> dict[str, Any]:
        return _path_item(await self._handlers.stream({"key": request.match_info["name"]}))

    async def _connections(self, request: web.Request) -> dict[str, Any]:
        known = await self._view.known()
        first, count = _page(request)
        asked = AskSessions(limit=MAX_ITEMS_PER_PAGE, kind="rtmp")
        found: list[Session] = []
        place: Place | None = ("", 0)
        worker_ids = workers_of(known, "")
        while place is not None and len(found) < MAX_LISTED:
            page = await session_page(known, worker_ids, asked, place)
            found += page.sessions
            place = page.place
            worker_ids = [each for each in worker_ids if each not in page.unanswered]  # waited for once
        found.sort(key=lambda each: -each.age_ms)
        return _paged(len(found), count, [_connection_item(each) for each in found[first : first + count]])

    async def _connection(self, request: web.Request) -> dict[str, Any]:
        return _connection_item(await self._handlers.session({"session": request.match_info["id"]}))

    async def _kick(self, request: web.Request) -> dict[str, Any]:
        arguments = {"session": request.match_info["id"], "why": "", "Idempotency-Key": ""}
        with said_order("kickSession", request):
            await self._handlers.kick(arguments)
        return {"status": "ok"}


def _page(request: web.Request) -> tuple[int, int]:
    """The first item, and how many."""
    try:
        count = int(request.query.get("itemsPerPage", 100))
        page = int(request.query.get("page", 0))
    except ValueError:
        raise Refused(400, "invalid page or itemsPerPage") from None
    if not 1 <= count <= MAX_ITEMS_PER_PAGE or not 0 <= page <= 10**6:
        raise Refused(400, "invalid page or itemsPerPage")
    return page * count, count


def _paged(total: int, count: int, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"itemCount": total, "pageCount": math.ceil(total / count), "items": items}


def _ago(age_ms: int) -> str:
    at = datetime.now(UTC) - timedelta(milliseconds=age_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _path_item(stream: Stream) -> dict[str, Any]:
    since = _ago(stream.age_ms)
    source = {"type": "rtmpConn", "id": stream.session} if stream.session else None
    codecs = [track.codec for track in stream.tracks] or stream.codecs.split()
    return {
        "name": stream.key, "confName": "all_others", "source": source, "ready": True, "readyTime": since,
        "available": True, "availableTime": since, "online": True, "onlineTime": since,
        "tracks": [_CODECS.get(codec, codec) for codec in codecs],
        "tracks2": [_track_item(track) for track in stream.tracks],
        "bytesReceived": stream.received_bytes, "inboundBytes": stream.received_bytes,
        "readers": [
            {"type": "rtmpConn" if by.kind == "rtmp" else "hlsSession", "id": ""}
            for by in stream.players_by for _ in range(by.count)
        ],
    }  # fmt: skip


def _track_item(track: Track) -> dict[str, Any]:
    codec = _CODECS.get(track.codec, track.codec)
    if track.kind == "audio":
        props = {"channelCount": track.channels, "sampleRate": track.sample_rate}
    else:
        props = {"width": track.width, "height": track.height}
    return {"codec": codec, "codecProps": props}


def _connection_item(session: Session) -> dict[str, Any]:
    received, sent = session.received_bytes, session.sent_bytes or 0
    return {
        "id": session.session, "created": _ago(session.age_ms), "remoteAddr": session.peer,
        "state": _STATES.get(session.role, "idle"), "path": session.key, "query": "",
        "userAgent": session.agent, "inboundBytes": received, "outboundBytes": sent,
        "bytesReceived": received, "bytesSent": sent,
        "outboundFramesDiscarded": sum(session.dropped.values()),
    }  # fmt: skip
