"""Small servers for hooks, on loopback: back ends as people have them, and servers that misbehave.

The back ends are written from what nginx-rtmp, SRS and MediaMTX say of their questions, not from our code.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True)
class Request:
    """What a server was sent. Names of header fields are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: The bytes to send back; None hangs up.
Responder = Callable[[Request], Awaitable[bytes | None]]


def response(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> bytes:
    if isinstance(body, dict):
        body = json.dumps(body)
    content = body.encode() if isinstance(body, str) else body
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{fields}\r\n".encode() + content


@dataclass
class HookServer:
    """``respond`` may be replaced at any time. ``hang_up_after``: requests of one connection."""

    respond: Responder
    hang_up_after: int = 1_000_000
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    #: Requests that are being answered, now and at most.
    open: int = 0
    most_open: int = 0
    port: int = 0
    #: Of a server that speaks TLS.
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"

    @property
    def address(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for _ in range(self.hang_up_after):
                request = await self._read(reader)
                self.requests.append(request)
                self.open += 1
                self.most_open = max(self.open, self.most_open)
                try:
                    answer = await self.respond(request)
                finally:
                    self.open -= 1
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body)


@asynccontextmanager
async def hook_server(respond: Responder | bytes, **options: Any) -> AsyncIterator[HookServer]:
    """A server that answers with ``respond``, or always the same."""

    async def same(request: Request) -> bytes | None:
        assert isinstance(respond, bytes)
        return respond

    served = HookServer(same if isinstance(respond, bytes) else respond, **options)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(served.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # it may end before it has begun

    server = await asyncio.start_server(accept, served.host, 0, limit=1 << 20, ssl=served.tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        while tasks:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


# ---- back ends of others ---------------------------------------------------------------------


async def nginx_rtmp_back_end(request: Request) -> bytes:
    """As written for ``on_publish`` and ``on_play``: a key table with names, redirects and refusals.

    It takes the first of fields that are there twice, and wants a token that came with the name.
    """
    assert (request.method, request.headers["content-type"]) == (
        "POST", "application/x-www-form-urlencoded",
    )  # fmt: skip
    fields: dict[str, str] = {}
    for name, value in request.form:
        fields.setdefault(name, value)
    if fields["call"] not in ("publish", "play") or fields.get("token") != "good":
        return response(404)
    match fields["name"]:
        case "renamed":
            return response(302, Location="other")
        case "elsewhere":
            return response(302, Location="rtmp://10.0.0.9/live/there")
        case "broken":
            return response(500)
        case "login":
            return response(302, Location="https://app.example/login")
    return response(200)


async def srs_back_end(request: Request) -> bytes:
    """As written for ``http_hooks``: ``param`` has the query with its "?", and the answer a code."""
    told = request.json
    if told["action"] not in ("on_publish", "on_play") or "?token=good" not in told["param"]:
        return response(200, {"code": 1, "msg": "no"})
    match told["stream"]:
        case "bare":
            return response(200, "0")
        case "bare-no":
            return response(200, "7")
        case "broken":
            return response(200, "")
        case "created":
            return response(201, {"code": 0, "data": None})
        case "gone":
            return response(204)
    return response(200, {"code": 0})


async def mediamtx_back_end(request: Request) -> bytes:
    """As written for ``authHTTPAddress``: 401 asks for credentials, a body means nothing."""
    told = request.json
    assert list(told) == [
        "ip", "user", "password", "token", "action", "path", "protocol", "id", "query", "userAgent",
    ]  # fmt: skip
    if told["path"].endswith("broken"):
        return response(500)
    if (told["user"], told["password"]) == ("u", "p") or told["token"] == "good":
        return response(200, "whatever")
    return response(401, "who are you?")
