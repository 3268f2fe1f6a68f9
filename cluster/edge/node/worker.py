"""One worker: an event loop that wires listeners, sessions, streams and the link to the routers."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.bus import cluster_key
from cluster.core.bus.bounds import REPORT_INTERVAL_S
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.top_streams import TopStreams, top_streams
from cluster.edge.link.link import Link
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.judging import Judging
from cluster.edge.node.load_meter import LoadMeter
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.orders import Service
from cluster.edge.node.policy_in_force import PolicyInForce
from cluster.edge.node.serving import Serving
from cluster.edge.node.status_pipe import TOP_STREAMS, StatusPipe
from cluster.edge.peers.shared_counts import SharedCounts
from cluster.edge.rtmp.sessions import SWEEP_INTERVAL_S, SWEEPS_PER_TICK
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.facts import FactsReporter
from cluster.edge.streams.remote import Remote
from cluster.edge.streams.streams import Streams
from cluster.net.tls_certificate import Certificate
from cluster.process import usage
from cluster.process.logs import lines_lost

if TYPE_CHECKING:
    from cluster.edge.events.teller import EventTeller
    from cluster.edge.node.inquiries import Inquiries

logger = logging.getLogger(__name__)

#: Objects that outlive their making before the collector looks at the youngest: some seconds' worth of
#: log entries of a busy worker. It stops the worker for 1 to 3 us an object.
GC_YOUNG_OBJECTS = 30_000
#: So many of these looks before one at older objects, which takes half a second with 10,000 connections.
#: What ends here is freed by reference counts (there is a test): it is for circles that nobody knows of.
GC_LOOKS_PER_FULL = 300

#: The supervisor hears a beat, with what is counted, every this many sweeps; each wakes it.
SWEEPS_PER_BEAT = 2
#: The routers are told about the streams here every this many sweeps.
SWEEPS_PER_REPORT = round(REPORT_INTERVAL_S / SWEEP_INTERVAL_S)


def _tune_garbage_collection() -> None:
    """Keep the collector out of the media path.

    What a message makes is freed by reference counts alone; the collector is for the rare cycle. At
    its default it would walk thousands of log entries several times a second. What the imports made
    stays for good and is not walked again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG_OBJECTS, GC_LOOKS_PER_FULL, 1)


class Worker:
    """Runs until it has drained. The supervisor hears from it over ``status``, from its own loop.

    ``bound``: a socket for each of ``config.addresses``.
    """

    def __init__(
        self,
        config: EdgeConfig,
        identity: WorkerIdentity,
        status: StatusPipe,
        own_router: str | None,
        bound: Sequence[socket.socket],
        shared: NodeShared,
    ) -> None:
        self._config = config
        self._identity = identity
        self._status = status
        self._own_router = own_router
        self._bound = bound
        self._shared = shared
        #: Who may, how much, and who is told. The supervisor puts another in force (``worker_process``).
        self.in_force = PolicyInForce(shared.policy)
        self.counters = Counters()
        self._drain_asked = asyncio.Event()
        self._facts = FactsReporter()
        #: What the next beat says of single streams.
        self._top_streams: dict[str, TopStreams] = {}
        self._load = LoadMeter(self.counters)

    async def run(self) -> None:
        """Serve until a drain is asked for (SIGTERM, SIGINT) and over.

        Raises OSError if an address cannot be listened on, EnvironmentFault if the certificate cannot be
        used.
        """
        _tune_garbage_collection()
        loop = asyncio.get_running_loop()
        config = self._config
        key = None if config.cluster_key is None else cluster_key.load(config.cluster_key)

        def open_link(remote: Remote) -> Link:
            self._link = Link(
                config.routers, self._identity, remote, self.counters,
                key=key, own_router=self._own_router, on_routers_changed=self._beat,
                on_question=self._answer,
            )  # fmt: skip
            return self._link

        secret = bytes.fromhex(self._shared.secret)
        counts: SharedCounts | None = None
        if self._shared.counts_fd >= 0:
            slot = self._identity.slot
            counts = SharedCounts(self._shared.counts_fd, config.workers, slot, secret)
        serving = self._serving = Serving(
            config, self.counters, open_link, self._identity, secret=secret, counts=counts
        )
        self._inquiries = self._make_inquiries(serving)
        self._judging = Judging(self.in_force, serving, self.counters, secret)
        teller = self._make_teller(serving.streams)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain_asked.set)
        sweeper: asyncio.Task[None] | None = None
        try:
            await self._link.start()
            self._listen(serving)
            sweeper = loop.create_task(serving.sweep_forever(self._after_sweep))
            self._status.ready(serving.addresses)
            drained = loop.create_task(self._drain())
            await asyncio.wait({drained, sweeper}, return_when=asyncio.FIRST_COMPLETED)
            if sweeper.done():
                sweeper.result()  # it never ends by itself: raises what ended it
            await drained
        finally:
            if sweeper is not None:
                sweeper.cancel()
            await serving.close()
            await self._judging.close()
            if teller is not None:
                await teller.close()
            await self._link.close()

    def _make_teller(self, streams: Streams) -> EventTeller | None:
        """Who tells what happens, if anybody is to be told."""
        if not self._shared.events:
            return None
        from cluster.edge.events.teller import EventTeller

        teller = EventTeller(self._shared.events, streams, self._identity, self.counters)
        streams.listeners.add(teller)
        return teller

    def _listen(self, serving: Serving) -> None:
        config, bound = self._config, iter(self._bound)
        certificate = None if config.tls_files is None else Certificate(*config.tls_files)
        for listen, addresses, tls in (
            (serving.listen, config.binds, None), (serving.listen, config.tls_binds, certificate),
            (serving.listen_http, config.http_binds, None),
            (serving.listen_http, config.http_tls_binds, certificate),
        ):  # fmt: skip
            for _ in addresses:
                listen(next(bound), tls)

    def _make_inquiries(self, serving: Serving) -> Inquiries | None:
        if not self._shared.is_asked:
            return None
        from cluster.edge.node.inquiries import Inquiries
        from cluster.edge.node.tracing import Tracing

        tracing = Tracing(serving.streams, self._link)
        return Inquiries(serving, self._identity, self._link, self._status.ask, trace=tracing.row)

    def _answer(self, text: bytes) -> bytes:
        """What an operator asks of this worker."""
        return b"" if self._inquiries is None else self._inquiries.answer(text)

    def serve(self, service: Service) -> None:
        """The node is out of service, or in it again, unless this worker is about to end."""
        if service is Service.IN:
            if not self._drain_asked.is_set():
                self._link.set_draining(False)
                self._serving.come_into_service()
            return
        if not self._serving.is_draining:
            self._link.set_draining()
            self._serving.go_out_of_service()
        if service is Service.OVER:
            self._last_words = asyncio.get_running_loop().create_task(self._serving.say_last_words())

    async def _drain(self) -> None:
        """Once asked: accept nothing, let sessions end up to the drain timeout, then close them."""
        await self._drain_asked.wait()
        serving = self._serving
        fields = {"slot": self._identity.slot, "connections": serving.connections}
        logger.info(
            "worker %(slot)d is draining: %(connections)d connections", fields, extra={"event": "draining"}
        )
        serving.stop_listening()
        self._link.set_draining()
        await serving.drain(self._config.drain_timeout_s)
        await serving.say_last_words()

    def _after_sweep(self, sweeps: int) -> None:
        streams = self._serving.streams
        if sweeps % SWEEPS_PER_TICK == 0:
            self.counters.routers = len(self._link.router_troubles())
            self._link.routers.count(self.counters)
            self._link.set_load(self._load.measure(len(streams.by_key), streams.now))
        if sweeps % SWEEPS_PER_REPORT == 0:
            facts = self._facts.report(streams.by_key.values(), streams.now)
            self._link.report(facts)
            self._top_streams = {TOP_STREAMS: top_streams(streams.numbers(facts))}
        if sweeps % SWEEPS_PER_BEAT == 0:
            self.counters.log_lines_lost = lines_lost()
            self._judging.count()
            self.counters.process_cpu_seconds = usage.cpu_seconds()
            self.counters.process_memory_bytes = usage.memory_bytes()
            self._beat()

    def _beat(self) -> None:
        numbers = self.counters.as_dict() | self._top_streams
        self._top_streams = {}  # once is enough
        self._status.beat(numbers, self._link.router_troubles())
