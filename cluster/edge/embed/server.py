"""The server inside a program of one's own: one worker's pieces, without processes and routers.

    class Mine(ServerHandler):
        async def on_publish(self, peer, key, request):
            return None if request.query == "key=secret" else Reject("wrong key")

    async with Server(Mine(), bind="127.0.0.1:0") as server:
        print(server.addresses)
        await server.serve_forever()
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason
from cluster.edge.embed.decisions import CallError, Decisions
from cluster.edge.embed.handler import Peer, Reject, ServerHandler
from cluster.edge.link.local import LocalLink
from cluster.edge.node.config import EdgeConfig
from cluster.edge.rtmp.connection import Connection
from cluster.edge.rtmp.sessions import LAST_WORDS_S, SWEEP_INTERVAL_S, SWEEPS_PER_TICK, Sessions
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.hub import Hub
from cluster.net.addresses import BindAddress, parse_bind, reserved
from cluster.net.listener import Listener
from cluster.net.poller import Poller

__all__ = ["CallError", "Peer", "Reject", "Server", "ServerHandler"]


class Server:
    """An RTMP server on the running event loop; an async context manager.

    ``bind`` is ``:PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; port 0 picks a free one. ``config`` holds
    everything else an edge can be told (its addresses, workers and routers have no meaning here).
    Entering raises EnvironmentFault if the address cannot be had, ValueError if it does not parse.
    """

    def __init__(
        self, handler: ServerHandler | None = None, bind: str = ":1935", config: EdgeConfig | None = None
    ) -> None:
        self.counters = Counters()
        self._handler = handler or ServerHandler()
        self._bind = parse_bind(bind)
        self._config = config or EdgeConfig()
        self._listeners: list[Listener] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Server:
        loop = asyncio.get_running_loop()
        config = self._config
        self._hub = Hub(config, self.counters, loop)
        self._hub.link = LocalLink(self._hub)
        self._decisions = Decisions(self._handler, loop, self._hub.before_turn)
        self._hub.decisions = self._decisions
        budget_s = config.latency_budget_ms / 1000
        self._poller = Poller(loop, budget_s, self._hub.before_turn, self._hub.after_turn)
        self._sessions = Sessions(
            self._hub, self._poller, config.limits(), config.max_connections, self.counters, self._decisions
        )
        try:
            with reserved([self._bind]) as addresses:
                for host, port in addresses:
                    listener = Listener(host, port, self._poller, self._sessions.accept, loop.call_later)
                    self._listeners.append(listener)
        except BaseException:
            await self.close()
            raise
        self._sweeper = loop.create_task(self._sweep_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def addresses(self) -> list[str]:
        """Where connections are accepted, ``host:port`` with the real port."""
        return [str(BindAddress(*listener.address)) for listener in self._listeners]

    async def serve_forever(self) -> None:
        """Wait until cancelled, or until the server itself fails."""
        assert self._sweeper is not None
        await asyncio.shield(self._sweeper)

    async def call(
        self, peer: Peer, name: str, *args: AmfValue, timeout_s: float = 5.0
    ) -> tuple[AmfValue, ...]:
        """Call a peer and return what it answers; CallError if it refuses, leaves or stays silent."""
        assert isinstance(peer, Connection)
        return await self._decisions.call(peer, name, args, timeout_s)

    async def close(self) -> None:
        """Tell every peer, close every connection, free the port; may be called again."""
        if self._closed:
            return
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for listener in self._listeners:
            listener.close()
        self._sessions.end_all(CloseReason.DRAINED)
        await self._sessions.wait_until_empty(LAST_WORDS_S)
        self._sessions.close_all(CloseReason.DRAINED)
        await self._decisions.close()
        await self._hub.close()
        self._poller.close()

    async def _sweep_forever(self) -> None:
        sweeps = 0
        while True:
            self._hub.sweep()
            sweeps += 1
            if sweeps % SWEEPS_PER_TICK == 0:
                self._sessions.tick()
            await asyncio.sleep(SWEEP_INTERVAL_S)
