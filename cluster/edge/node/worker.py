"""One worker: an event loop that wires listeners, sessions, streams and the link to the routers."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import signal

from cluster.bus import cluster_key
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.edge.link.link import Link
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.status_pipe import StatusPipe
from cluster.edge.rtmp.sessions import LAST_WORDS_S, SWEEP_INTERVAL_S, SWEEPS_PER_TICK, Sessions
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.facts import FactsReporter
from cluster.edge.streams.hub import Hub
from cluster.net.listener import Listener
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.wake_ups import next_moment

logger = logging.getLogger(__name__)

#: Objects that outlive their making before the collector looks at the youngest: some seconds' worth of
#: log entries of a busy worker.
GC_THRESHOLD = 50_000

#: The supervisor hears a beat, with what is counted, every this many sweeps; each wakes it.
SWEEPS_PER_BEAT = 2
#: The routers are told about the streams here every this many sweeps.
SWEEPS_PER_REPORT = 8


def _tune_garbage_collection() -> None:
    """Keep the collector out of the media path.

    What a message makes is freed by reference counts alone; the collector is for the rare cycle. At
    its default it would walk thousands of log entries several times a second. What the imports made
    stays for good and is not walked again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


class Worker:
    """Runs until it has drained. The supervisor hears from it over ``status``, from its own loop."""

    def __init__(
        self, config: EdgeConfig, identity: WorkerIdentity, status: StatusPipe, own_router: str | None
    ) -> None:
        self._config = config
        self._identity = identity
        self._status = status
        self._own_router = own_router
        self.counters = Counters()
        self._listeners: list[Listener] = []
        self._certificate: Certificate | None = None
        self._drain_asked = asyncio.Event()
        self._sweeps = 0
        self._facts = FactsReporter()

    async def run(self) -> None:
        """Serve until a drain is asked for (SIGTERM, SIGINT) and over.

        Raises OSError if an address cannot be bound, EnvironmentFault if the certificate cannot be used.
        """
        _tune_garbage_collection()
        loop = asyncio.get_running_loop()
        config = self._config
        self._hub = Hub(config, self.counters, loop)
        key = None if config.cluster_key is None else cluster_key.load(config.cluster_key)
        self._link = Link(
            config.routers, self._identity, self._hub, self.counters, key=key, own_router=self._own_router
        )
        self._hub.link = self._link
        budget_s = config.latency_budget_ms / 1000
        poller = Poller(loop, budget_s, self._hub.before_turn, self._hub.after_turn)
        self._sessions = Sessions(self._hub, poller, config.limits(), config.max_connections, self.counters)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain_asked.set)
        sweeper: asyncio.Task[None] | None = None
        try:
            await self._link.start()
            for host, port in config.binds:
                self._listeners.append(Listener(host, port, poller, self._sessions.accept, loop.call_later))
            if config.tls_files is not None:
                self._certificate = Certificate(*config.tls_files)
                accept_tls = functools.partial(self._sessions.accept_tls, self._certificate)
                for host, port in config.tls_binds:
                    self._listeners.append(Listener(host, port, poller, accept_tls, loop.call_later))
            sweeper = loop.create_task(self._sweep_forever())
            self._status.ready([listener.address for listener in self._listeners])
            drained = loop.create_task(self._drain())
            await asyncio.wait({drained, sweeper}, return_when=asyncio.FIRST_COMPLETED)
            if sweeper.done():
                sweeper.result()  # it never ends by itself: raises what ended it
            await drained
        finally:
            if sweeper is not None:
                sweeper.cancel()
            self._stop_listening()
            self._sessions.close_all(CloseReason.DRAINED)
            poller.close()
            await self._hub.close()
            await self._link.close()

    async def _drain(self) -> None:
        """Once asked: accept nothing, let sessions end up to the drain timeout, then close them."""
        await self._drain_asked.wait()
        logger.info("draining: %d connections", len(self._sessions), extra={"event": "draining"})
        self._stop_listening()
        self._link.set_draining()
        self._sessions.ask_to_reconnect()
        await self._sessions.wait_until_empty(self._config.drain_timeout_s)
        self._sessions.end_all(CloseReason.DRAINED)
        await self._sessions.wait_until_empty(LAST_WORDS_S)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def _sweep_forever(self) -> None:
        while True:
            self._hub.sweep()
            self._sweeps += 1
            if self._sweeps % SWEEPS_PER_TICK == 0:
                self._sessions.tick()
                if self._certificate is not None:
                    self._certificate.refresh()
                self._link.set_load({"connections": len(self._sessions), "streams": len(self._hub.streams)})
            if self._sweeps % SWEEPS_PER_REPORT == 0:
                self._link.report(self._facts.report(self._hub.streams.values(), self._hub.now))
            if self._sweeps % SWEEPS_PER_BEAT == 0:
                self._status.beat(self.counters.as_dict())
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(next_moment(now, SWEEP_INTERVAL_S) - now)
