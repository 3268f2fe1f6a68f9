"""The server of the API: a thread with an event loop of its own, in the process of a supervisor or router.

No media pass through these processes, so nothing waits for it. This module, ``answering``,
``mediamtx`` and ``dashboard`` import aiohttp, and nobody imports them without ``--api``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from cluster.api import dashboard
from cluster.api.answering import MAX_BODY_BYTES, Answering, answer
from cluster.api.guard import Tokens
from cluster.api.handlers import Handlers
from cluster.api.health import Health, told
from cluster.api.mediamtx import MediaMtx
from cluster.api.openapi import document
from cluster.api.operations import OPERATIONS
from cluster.api.sources import Sources
from cluster.api.view import ClusterView
from cluster.core.errors import EnvironmentFault
from cluster.net.addresses import BindAddress, advice

logger = logging.getLogger(__name__)

#: Connections at once. For one more, that which has asked nothing for the longest time is closed.
MAX_CONNECTIONS = 256
#: A connection without a request is closed after so long.
KEEP_ALIVE_S = 30.0

_BACKLOG = 128
_SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where the API is served, whom it asks, who may ask it, and how this process is."""

    address: BindAddress
    sources: Sources
    health: Health
    tokens: Tokens = field(default_factory=Tokens)


@contextlib.contextmanager
def served(settings: ApiSettings) -> Iterator[BindAddress]:
    """Serve the API while the body runs; yields where. EnvironmentFault if it cannot."""
    try:
        bound = _bound(settings.address)
    except OSError as error:
        text = f"cannot serve the API on {settings.address}: {advice(error)} (--api)"
        raise EnvironmentFault(text) from error
    thread = _ServerThread(settings, bound)
    thread.start()
    try:
        thread.started.wait()
        where = BindAddress(*bound[0].getsockname()[:2])
        logger.info("the API answers on http://%(api)s", {"api": str(where)}, extra={"event": "api_ready"})
        yield where
    finally:
        thread.stop()
        thread.join()


class _ServerThread(threading.Thread):
    def __init__(self, settings: ApiSettings, bound: list[socket.socket]) -> None:
        super().__init__(name="api", daemon=True)
        self.started = threading.Event()
        self._settings = settings
        self._bound = bound
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            logger.exception("the API has failed", extra={"event": "api_failed"})
        finally:
            self.started.set()
            self._loop.close()

    def stop(self) -> None:
        """To be called in another thread."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        view = ClusterView(self._settings.sources)
        await view.start()
        handlers = Handlers(view)
        answering = Answering(handlers, self._settings.tokens)
        runner = web.AppRunner(
            _application(view, handlers, answering, self._settings), access_log=None, handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=_SHUTDOWN_S, logger=_nobody(),
        )  # fmt: skip
        await runner.setup()
        server = runner.server
        assert server is not None

        def connected() -> asyncio.Protocol:
            there = server.connections
            if len(there) >= MAX_CONNECTIONS and not _close_one(there, answering.at_work):
                return _Refused()
            return server()

        listening = [
            await self._loop.create_server(connected, sock=each, backlog=_BACKLOG) for each in self._bound
        ]
        self.started.set()
        await self._stopped.wait()
        for each in listening:
            each.close()
        await runner.cleanup()
        await view.close()


def _close_one(connections: Sequence[web.RequestHandler], at_work: Collection[object]) -> bool:
    """Close the oldest of these that waits for nothing: whoever says nothing, or does not read, must not
    keep out who asks whether this process lives. False if there is none."""
    for each in connections:
        transport = each.transport
        if transport is not None and each not in at_work:
            each.force_close()
            transport.abort()  # what it does not read is not waited for
            return True
    return False


class _Refused(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _application(
    view: ClusterView, handlers: Handlers, answering: Answering, settings: ApiSettings
) -> web.Application:
    application = web.Application(middlewares=[answering.around], client_max_size=MAX_BODY_BYTES)
    router = application.router
    described = document(OPERATIONS, has_tokens=bool(settings.tokens))

    async def openapi(_: web.Request) -> web.Response:
        return answer(described)

    router.add_get("/v1/openapi.json", openapi)
    answering.add_routes(router)
    MediaMtx(view, handlers).add_routes(router)
    dashboard.add_routes(router)
    for name, checks in (("livez", settings.health.alive), ("readyz", settings.health.ready)):
        router.add_get(f"/{name}", _probe(name, checks))
    return application


def _probe(name: str, checks: Callable[[], Mapping[str, str]]) -> Any:
    async def probe(request: web.Request) -> web.Response:
        status, text = told(checks(), name, verbose="verbose" in request.query)
        return web.Response(status=status, text=text, headers={"Cache-Control": "no-store"})

    return probe


def _nobody() -> logging.Logger:
    """For what aiohttp says of requests that are none: whoever sends them must not fill the log. What fails
    in ours is caught, and said, around each."""
    silent = logging.Logger("aiohttp")
    silent.disabled = True
    return silent


def _bound(address: BindAddress) -> list[socket.socket]:
    """Sockets that listen there: without a host, one for each family that this machine has."""
    if address.host:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return [socket.create_server(where[:2], family=family)]
    if socket.has_dualstack_ipv6():
        return [socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True)]
    return [socket.create_server(("", address.port))]
