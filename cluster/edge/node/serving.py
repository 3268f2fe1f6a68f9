"""The parts of a worker that serve RTMP, wired once: for the cluster's worker and the embedded server."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.edge.node.config import EdgeConfig
from cluster.edge.peers.places import Places
from cluster.edge.rtmp.admission import Admission
from cluster.edge.rtmp.requests import Requests, SessionObserver
from cluster.edge.rtmp.sessions import LAST_WORDS_S, SWEEP_INTERVAL_S, SWEEPS_PER_TICK, Sessions
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.interfaces import Uplink
from cluster.edge.streams.remote import Remote
from cluster.edge.streams.streams import Streams
from cluster.edge.streams.turn import Turn
from cluster.net.latency_budget import LatencyBudget
from cluster.net.listener import Listener
from cluster.net.poller import Poller
from cluster.net.tls_certificate import Certificate
from cluster.net.wake_ups import next_moment


class Serving:
    """A turn, the streams, a poller, what peers may ask and their connections, on the running event loop.

    ``open_uplink`` gives the way to other workers; ``identity`` names the worker in the log; ``admission``
    decides who is let in, everybody without one; ``observer`` hears what peers do.
    """

    def __init__(
        self,
        config: EdgeConfig,
        counters: Counters,
        open_uplink: Callable[[Remote], Uplink],
        identity: WorkerIdentity,
        admission: Admission | None = None,
        observer: SessionObserver | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.turn = Turn(loop)
        self.streams = Streams(config.stream_rules(), counters, self.turn, open_uplink)
        self._budget = LatencyBudget(config.latency_budget)
        self._poller = Poller(loop, self._budget, self.turn.begin, self.turn.end)
        self._requests = Requests(self.streams, admission, observer)
        self.sessions = Sessions(
            self._requests, self._poller, config.limits(), Places(config.place_bounds()), counters,
            identity, config.publish_idle_s,
        )  # fmt: skip
        self._listeners: list[Listener] = []
        self._certificate: Certificate | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where connections are accepted, with the real ports."""
        return [listener.address for listener in self._listeners]

    def listen(self, bound: socket.socket) -> None:
        """Accept RTMP there; OSError if it cannot be listened on."""
        self._listen(bound, self.sessions.accept)

    def listen_tls(self, bound: socket.socket, certificate: Certificate) -> None:
        """Accept RTMPS there; OSError if it cannot be listened on."""
        self._certificate = certificate
        self._listen(bound, functools.partial(self.sessions.accept_tls, certificate))

    def _listen(self, bound: socket.socket, accept: Callable[..., None]) -> None:
        self._listeners.append(Listener(bound, self._poller, accept, self.turn.loop.call_later))

    def stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def sweep_forever(self, after_sweep: Callable[[int], None] | None = None) -> None:
        """What happens by time alone; ``after_sweep`` is given the number of each sweep."""
        sweeps = 0
        while True:
            self.streams.sweep()
            self._budget.look(self.turn.now)
            self.streams.counters.latency_budget_seconds = self._budget.seconds
            sweeps += 1
            if sweeps % SWEEPS_PER_TICK == 0:
                self.sessions.tick()
                if self._certificate is not None:
                    self._certificate.refresh()
            if after_sweep is not None:
                after_sweep(sweeps)
            now = self.turn.loop.time()
            await asyncio.sleep(next_moment(now, SWEEP_INTERVAL_S) - now)

    async def say_last_words(self) -> None:
        """Tell every peer that the server ends, and give it time to read that."""
        self.sessions.end_all(CloseReason.DRAINED)
        await self.sessions.wait_until_empty(LAST_WORDS_S)

    async def close(self) -> None:
        """End the parts, in the reverse of the order in which they were made."""
        self.stop_listening()
        self.sessions.close_all(CloseReason.DRAINED)
        await self._requests.close()
        self._poller.close()
