"""One attempt to publish or play with our own client, or over HTTP: did it come in, and how soon?"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

import aiohttp

from cluster.client import (
    ConnectionClosed,
    ConnectRejected,
    PlayFailed,
    Publication,
    PublishRefused,
    connect,
)
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.peers.access import Action
from support.access_kinds import HttpWay, Kind, RtmpWay, Setup, Shown
from support.cluster_process import Edge
from support.hook_servers import HookServer, Responder, hook_server, response
from support.judging import basic
from support.rtmp_peer import FRAMES_PER_SECOND, SEQUENCE_HEADER, make_frame
from support.tls import CertificateFiles

Form = Literal["flv", "mp4", "m3u8"]
FORMS: tuple[Form, ...] = ("flv", "mp4", "m3u8")
TIMEOUT_S = 30.0
_FILLER = bytes(400)
#: Each file of HLS over a connection of its own: that so many are all dealt to one of two workers happens
#: once in a thousand times.
_HLS_ROUNDS = 4
_HLS_TRIES, _HLS_PAUSE_S = 20, 0.2


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. ``said``: a code of RTMP or a status of HTTP, and what came with it."""

    came_in: bool
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Target:
    """An edge, and what its peers trust."""

    edge: Edge
    files: CertificateFiles

    def http(self, key: str, form: Form, *, tls: bool, query: str = "") -> str:
        where = self.edge.ready["https_addresses" if tls else "http_addresses"][0]
        address = f"{'https' if tls else 'http'}://127.0.0.1:{str(where).rpartition(':')[2]}/{key}.{form}"
        return f"{address}?{query}" if query else address


def rtmp_url(
    target: Target, key: str, way: RtmpWay | None, shown: Shown, *, tls: bool
) -> RtmpUrl:
    """The address of ``key`` with ``shown`` in it by ``way``."""
    app, _, name = key.rpartition("/")
    port = target.edge.tls_port if tls else target.edge.port
    if way == "name" and shown.items:
        name = f"{name}?{shown.items}"
    if way == "app" and shown.items:
        app = f"{app}?{shown.items}"
    user, password = shown.login if way == "dialogue" and shown.login else (None, None)
    made = _WithTcQuery if way == "tcUrl" and shown.items else RtmpUrl
    url = made("rtmps" if tls else "rtmp", "127.0.0.1", port, app, name, user, password)
    if isinstance(url, _WithTcQuery):
        _TC_QUERIES[str(url)] = shown.items
    return url


class _WithTcQuery(RtmpUrl):
    """One whose tcUrl has a query that its app has not, as some encoders can be told to send it."""

    __slots__ = ()

    @property
    def tc_url(self) -> str:
        return f"{RtmpUrl.tc_url.fget(self)}?{_TC_QUERIES[str(self)]}"  # type: ignore[attr-defined]


#: By the address: one whose fields are fixed has no place for it.
_TC_QUERIES: dict[str, str] = {}


async def rtmp(
    target: Target, action: Action, key: str, way: RtmpWay | None, shown: Shown, *, tls: bool = False
) -> Outcome:
    """Publish, until that is granted, or play, until media comes."""
    url = rtmp_url(target, key, way, shown, tls=tls)
    context = target.files.client_context()
    begun = time.monotonic()
    try:
        publishes = action == "publish"
        async with connect(url, publisher=publishes, tls=context, timeout_s=TIMEOUT_S) as connection:
            if publishes:
                await connection.publish()
            else:
                await anext(await connection.play())
            return Outcome(True, time.monotonic() - begun)
    except (ConnectRejected, PublishRefused, PlayFailed) as refused:
        return Outcome(False, time.monotonic() - begun, f"{refused.code}: {refused.description}")
    except ConnectionClosed as closed:
        return Outcome(False, time.monotonic() - begun, closed.detail)


def http_request(way: HttpWay | None, shown: Shown) -> tuple[str, dict[str, str]]:
    """The query and the header fields that bring ``shown``."""
    if way == "Basic" and shown.login:
        return "", {"Authorization": basic(*shown.login)}
    if way == "Bearer" and shown.token:
        return "", {"Authorization": f"Bearer {shown.token}"}
    return (shown.items if way == "query" else ""), {}


async def http(
    target: Target, form: Form, key: str, way: HttpWay | None, shown: Shown, *, tls: bool = False,
    by_ticket: bool = True,
) -> Outcome:  # fmt: skip
    """Play until media comes: of HLS a segment, and that again and again over new connections.

    ``by_ticket``: who shows nothing is not let in. So in the end it asks for a segment without its ticket,
    which is one more refusal.
    """
    query, headers = http_request(way, shown)
    address = target.http(key, form, tls=tls, query=query)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(force_close=True, ssl=target.files.client_context())
    begun = time.monotonic()
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        async with session.get(address, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                said = f"{answer.status}: {(await answer.text()).strip()}"
                return Outcome(False, time.monotonic() - begun, said)
            if form != "m3u8":
                assert await answer.content.read(1)
                return Outcome(True, time.monotonic() - begun)
            listed = await answer.text()
        seconds = time.monotonic() - begun
        for _ in range(_HLS_ROUNDS):
            segment = await _play_hls(session, address, listed)
        if by_ticket:
            async with session.get(segment.partition("?")[0]) as answer:
                assert answer.status in (401, 403), f"{answer.status} of a segment without a ticket"
        return Outcome(True, seconds)


async def _play_hls(session: aiohttp.ClientSession, address: str, text: str) -> str:
    """From the list of lists to the newest segment, with nothing to show but the ticket in its addresses.
    Returns the address of the segment."""
    media = urljoin(address, _last_uri(text))
    assert "ticket=" in media, text
    async with session.get(media) as answer:
        assert answer.status == 200, f"{answer.status} of {media}"
        segment = urljoin(media, _last_uri(await answer.text()))
    for _ in range(_HLS_TRIES):
        async with session.get(segment) as answer:
            if answer.status == 200:
                assert await answer.read()
                return segment
            # It has come to the worker that has not got it yet, again and again: players ask once more.
            assert answer.status == 503, f"{answer.status} of {segment}: {await answer.text()}"
        await asyncio.sleep(_HLS_PAUSE_S)
    raise AssertionError(f"{_HLS_TRIES} times no {segment}")


def _last_uri(text: str) -> str:
    return [line for line in text.splitlines() if line and not line.startswith("#")][-1]


# ---- what is played --------------------------------------------------------------------------


async def feed(publication: Publication) -> None:
    """Media in real time, without end."""
    begun = time.monotonic()
    await publication.send(Message(MessageType.VIDEO, 0, SEQUENCE_HEADER, 0))
    number = 0
    while True:
        at_ms = number * 1000 // FRAMES_PER_SECOND
        await publication.send(Message(MessageType.VIDEO, at_ms, make_frame(number, _FILLER), 0))
        number += 1
        await asyncio.sleep(max(0.0, begun + number / FRAMES_PER_SECOND - time.monotonic()))


def live_key(kind: Kind) -> str:
    return f"{kind.app}/live"


@asynccontextmanager
async def live(target: Target, kinds: list[Kind]) -> AsyncIterator[None]:
    """A publisher of each kind, let in by what it shows, until the end."""
    loop = asyncio.get_running_loop()
    ready: list[asyncio.Future[None]] = [loop.create_future() for _ in kinds]

    async def publish(kind: Kind, begun: asyncio.Future[None]) -> None:
        key = live_key(kind)
        url = rtmp_url(target, key, kind.ways[0], kind.right("publish", key), tls=False)
        async with connect(url, publisher=True) as connection:
            publication = await connection.publish()
            begun.set_result(None)
            await feed(publication)

    tasks = [
        loop.create_task(publish(kind, begun)) for kind, begun in zip(kinds, ready, strict=True)
    ]
    try:
        await asyncio.wait_for(asyncio.gather(*ready), TIMEOUT_S)
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def asked_servers(setup: Setup) -> Iterator[tuple[HookServer | None, HookServer | None]]:
    """The hook and the keys that a set-up asks, on a thread that has nothing else to do."""
    if setup.hook is None:
        yield None, None
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="asked servers", daemon=True)
    thread.start()

    async def start(stack: AsyncExitStack, respond: Responder | bytes) -> HookServer:
        return await stack.enter_async_context(hook_server(respond))

    stack = AsyncExitStack()
    try:
        answers = (setup.hook, response(200, setup.jwks))
        hook, jwks = (
            asyncio.run_coroutine_threadsafe(start(stack, each), loop).result(TIMEOUT_S) for each in answers
        )
        yield hook, jwks
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT_S)
        loop.close()


def write_config(setup: Setup, directory: Path, hook: HookServer | None, jwks: HookServer | None) -> Path:
    path = directory / f"{setup.name}.toml"
    path.write_text(setup.text(hook.address if hook else "", jwks.address if jwks else ""))
    return path
