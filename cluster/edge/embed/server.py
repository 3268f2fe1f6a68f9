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
import secrets
from types import TracebackType

from cluster.core.amf.values import AmfValue
from cluster.core.bus.identity import WorkerIdentity
from cluster.edge.embed.decisions import CallError, Decisions
from cluster.edge.embed.handler import Peer, Reject, ServerHandler
from cluster.edge.link.local import LocalLink
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.serving import Serving
from cluster.edge.rtmp.connection import Connection
from cluster.edge.streams.counters import Counters
from cluster.net.addresses import BindAddress, parse_bind, reserved
from cluster.net.listener import bound_socket

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
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Server:
        loop = asyncio.get_running_loop()
        self._decisions = Decisions(self._handler, loop)
        identity = WorkerIdentity(self._config.node_name, secrets.token_hex(4), 0, 1)
        self._serving = Serving(
            self._config, self.counters, LocalLink, identity, self._decisions, self._decisions
        )
        self._serving.streams.listeners.add(self._decisions)
        try:
            with reserved([self._bind]) as addresses:
                for address in addresses:
                    self._serving.listen(bound_socket(*address, self._config.unacknowledged_s))
        except BaseException:
            await self.close()
            raise
        self._sweeper = loop.create_task(self._serving.sweep_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def addresses(self) -> list[str]:
        """Where connections are accepted, ``host:port`` with the real port."""
        return [str(BindAddress(*address)) for address in self._serving.addresses]

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
        self._serving.stop_listening()
        await self._serving.say_last_words()
        await self._serving.close()
