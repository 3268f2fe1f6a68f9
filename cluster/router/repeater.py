"""The repeaters of a node: what a router sends to this host comes once, however many workers play it here.

    router's XPUB ─► XSUB ═ proxy ═ XPUB ──► SUB of every worker here     (no Python per message)

The XPUB passes on the first subscription to a topic and the end of the last one; the XSUB says them all
again to a router that returns. Only media that comes down takes this way: what workers publish, and all
control, goes from them to the router itself. But what they report of their streams the node tells the
router beside the repeater, in one message for them all. Where a repeater lies follows from the router's
address (``at_repeater``), so a worker finds it without asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.router_names import RouterNames
from cluster.bus.sockets import REFUSALS, bus_socket, uplink_socket
from cluster.core.bus import bounds
from cluster.core.bus.control import NodeReport
from cluster.core.bus.endpoints import Endpoints, at_repeater, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.router.node_reporter import NodeReporter, cut_to_fit
from cluster.router.proxy import Proxy

logger = logging.getLogger(__name__)


class Repeater:
    """The repeater of ``router`` at the node whose own router is at ``own_router``; EnvironmentFault if it
    cannot be bound. For one thread, beside that of its proxy."""

    def __init__(self, router: Endpoints, own_router: str, key: ClusterKey | None) -> None:
        self.is_refused = False
        self._is_connected = False
        self._lost_at = time.monotonic()
        mark = bounds.DATA_HIGH_WATER_MARK
        here = at_repeater(router, own_router).subscribe
        self._path = Path(here.removeprefix("ipc://"))
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        upstream = uplink_socket(self._context, zmq.XSUB, mark, router.subscribe, key)
        workers = bus_socket(self._context, zmq.XPUB, mark, here)
        try:
            workers.bind(here)
        except zmq.ZMQError as error:
            self._context.destroy(0)
            raise EnvironmentFault(f"cannot bind {here}: {error.strerror}") from None
        self._monitor = upstream.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | REFUSALS
        )
        upstream.connect(router.subscribe)
        self._reporter = NodeReporter(self._context, router, key)
        self._proxy = Proxy(upstream, workers)

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._proxy.is_alive

    def idle_s(self, now: float) -> float:
        """How long it has had no connection to its router; 0 while it has one."""
        return 0.0 if self._is_connected else now - self._lost_at

    def look(self, now: float) -> None:
        """See what has happened to the connection."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._is_connected, self.is_refused = True, False
            elif event == zmq.EVENT_DISCONNECTED:
                if self._is_connected:
                    self._is_connected, self._lost_at = False, now
            else:
                self.is_refused = True
        self._reporter.look()

    def tell(self, reports: Sequence[NodeReport] | None) -> None:
        """Tell the router what the node's workers have reported; None: they report by themselves."""
        self._reporter.tell(reports)

    def close(self) -> None:
        self._monitor.close(0)
        self._reporter.close()
        self._context.term()
        self._proxy.join()
        self._path.unlink(missing_ok=True)  # libzmq leaves it, and workers would take it for a repeater


class Repeaters:
    """A repeater for each of ``routers``, and for each address that a name among them stands for.

    A context manager; entering it raises EnvironmentFault if a repeater cannot be had. A router that is
    gone from its name keeps its repeater while it is connected. ``fetch``: what the workers have reported
    to the node's own router, if that can be had.
    """

    def __init__(
        self, routers: Sequence[str], own_router: str, key: ClusterKey | None,
        fetch: Callable[[], list[NodeReport] | None] = lambda: None,
    ) -> None:  # fmt: skip
        parsed = [endpoints(router) for router in routers]
        self._fixed = {router.base for router in parsed if not router.is_name}
        self._named: set[str] = set()
        self._names = RouterNames([router for router in parsed if router.is_name], self._resolved)
        self._own_router = own_router
        self._key = key
        self._fetch = fetch
        self._report_at = 0.0
        self._repeaters: dict[str, Repeater] = {}
        self._failed: set[str] = set()
        self._resolved_once = threading.Event()
        self._thread = threading.Thread(target=self._run, name="repeaters", daemon=True)

    def __enter__(self) -> Repeaters:
        try:
            for base in self._fixed:
                self._open(base)
        except BaseException:
            self._close_all()
            raise
        self._thread.start()
        self._resolved_once.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has failed
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._close_all()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch_over())
        except Exception:
            logger.exception("repeaters are no longer looked after", extra={"event": "repeaters_failed"})
        finally:
            self._resolved_once.set()

    async def _watch_over(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await self._names.resolve()
        self._look()
        self._resolved_once.set()
        resolver = self._loop.create_task(self._names.run())
        while not self._stopped.is_set():
            try:
                async with asyncio.timeout(bounds.REFUSED_RETRY_S):
                    await self._stopped.wait()
            except TimeoutError:
                self._look()
                self._report()
        resolver.cancel()
        await asyncio.gather(resolver, return_exceptions=True)

    def _resolved(self, found: set[str]) -> None:
        self._named = found

    def _look(self) -> None:
        """libzmq gives up a connection that is refused for good, and a router may be given another key:
        its repeater is made anew."""
        now = time.monotonic()
        wanted = self._fixed | self._named
        for base, repeater in list(self._repeaters.items()):
            repeater.look(now)
            is_gone = base not in wanted and repeater.idle_s(now) > bounds.RESOLVE_INTERVAL_S
            if is_gone or repeater.is_refused or not repeater.is_alive:
                del self._repeaters[base]
                repeater.close()
        for base in wanted - self._repeaters.keys():
            try:
                self._open(base)
            except (EnvironmentFault, zmq.ZMQError) as error:
                if base not in self._failed:
                    fields = {"router": base, "why": str(error)}
                    logger.error(
                        "no repeater of %(router)s: %(why)s", fields, extra={"event": "repeater_failed"}
                    )
                self._failed.add(base)
            else:
                self._failed.discard(base)

    def _report(self) -> None:
        """Tell every router what the workers have reported, if it is time."""
        now = time.monotonic()
        if now < self._report_at:
            return
        # The half interval is for timers that are early.
        self._report_at = now + bounds.REPORT_INTERVAL_S - bounds.REFUSED_RETRY_S / 2
        fetched = self._fetch()
        reports = None if fetched is None else cut_to_fit(fetched)
        for repeater in self._repeaters.values():
            repeater.tell(reports)

    def _open(self, base: str) -> None:
        self._repeaters[base] = Repeater(endpoints(base), self._own_router, self._key)

    def _close_all(self) -> None:
        for repeater in self._repeaters.values():
            repeater.close()
        self._repeaters.clear()
