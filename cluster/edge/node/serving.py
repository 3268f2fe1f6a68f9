"""The parts of a worker that serve peers, wired once: for the cluster's worker and the embedded server."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.edge.node.config import EdgeConfig
from cluster.edge.peers.access import Judge
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.peers.bandwidth import Bandwidth
from cluster.edge.peers.key_limits import KeyLimits
from cluster.edge.peers.load_limits import LoadLimits
from cluster.edge.peers.places import Places
from cluster.edge.peers.roster import Roster
from cluster.edge.peers.shared_counts import SharedCounts
from cluster.edge.rtmp.admission import Admission
from cluster.edge.rtmp.judged import JudgedAdmission
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

if TYPE_CHECKING:
    from cluster.edge.http.sessions import HttpSessions


class Serving:
    """A turn, the streams, a poller, what peers may ask and their connections, on the running event loop.

    ``open_uplink`` gives the way to other workers; ``identity`` names the worker in the log; ``admission``
    decides who is let in over RTMP, without one the judge that is in use; ``observer`` hears what peers
    do. ``secret``: what the workers of a node sign with. ``counts``: where they count together; None if
    there is one worker alone.
    """

    def __init__(
        self,
        config: EdgeConfig,
        counters: Counters,
        open_uplink: Callable[[Remote], Uplink],
        identity: WorkerIdentity,
        admission: Admission | None = None,
        observer: SessionObserver | None = None,
        secret: bytes = b"",
        counts: SharedCounts | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.turn = Turn(loop)
        self.streams = Streams(config.stream_rules(), counters, self.turn, open_uplink)
        self._budget = LatencyBudget(config.latency_budget)
        self._poller = Poller(loop, self._budget, self.turn.begin, self.turn.end)
        self._requests = Requests(self.streams, admission, observer)
        self._control = AccessControl(counters, lambda: self.turn.now)
        self._secret = secret
        self._places = Places(config.place_bounds(), counts)
        self.key_limits = KeyLimits(self.streams, (), counts)
        bandwidth = bandwidth_of(config, counters, counts)
        self._load_limits = self.streams.room = LoadLimits(self.streams, self.key_limits, bandwidth)
        self.sessions = Sessions(
            self._requests, self._poller, config.limits(), self._places, counters, identity,
            config.publish_idle_s,
        )  # fmt: skip
        #: None until HTTP is listened for: its modules are not imported before.
        self._http: HttpSessions | None = None
        self._config = config
        self._identity = identity
        self._listeners: list[Listener] = []
        #: It takes nobody in.
        self.is_draining = False
        self._certificate: Certificate | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where connections are accepted, with the real ports."""
        return [listener.address for listener in self._listeners]

    @property
    def http_urls(self) -> tuple[str, ...]:
        """Where HTTP is served, as it was configured."""
        return self._config.http_urls

    @property
    def roster(self) -> Roster:
        """The sessions by their numbers."""
        return self._places.roster

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._places)

    def use_judge(self, judge: Judge | None) -> None:
        """From now on ``judge`` decides about what is asked for; None lets everybody in."""
        self._control.judge = judge
        self._requests.admission = None if judge is None else JudgedAdmission(self._control)

    def listen(self, bound: socket.socket, certificate: Certificate | None = None) -> None:
        """Accept RTMP there, with a certificate RTMPS; OSError if it cannot be listened on."""
        self._listen(bound, self.sessions, certificate)

    def listen_http(self, bound: socket.socket, certificate: Certificate | None = None) -> None:
        """The same for HTTP and HTTPS."""
        from cluster.edge.http.sessions import HttpRules, HttpSessions

        if self._http is None:
            config = self._config
            rules = HttpRules(
                config.http_origin, config.handshake_timeout_s, config.idle_timeout_s, config.hls_bytes,
                self._secret,
            )  # fmt: skip
            self._http = HttpSessions(
                self.streams, self._poller, self._places, self._identity, rules, self._control
            )
        if certificate is not None:
            self._http.prepare_tls()
        self._listen(bound, self._http, certificate)

    def _listen(
        self, bound: socket.socket, sessions: Sessions | HttpSessions, certificate: Certificate | None
    ) -> None:
        accept = sessions.accept
        if certificate is not None:
            self._certificate = certificate
            accept = functools.partial(sessions.accept_tls, certificate)
        self._listeners.append(Listener(bound, self._poller, accept, self.turn.loop.call_later))

    def go_out_of_service(self) -> None:
        """Accept nobody, and ask all who are here to go; whoever does not is still served."""
        self.is_draining = True
        for listener in self._listeners:
            listener.rest()
        self._ask_to_go()

    def come_into_service(self) -> None:
        """Accept and serve again."""
        self.is_draining = False
        self.sessions.serve_again()
        if self._http is not None:
            self._http.serve_again()
        for listener in self._listeners:
            listener.resume()

    def stop_listening(self) -> None:
        self.is_draining = True
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def sweep_forever(self, after_sweep: Callable[[int], None] | None = None) -> None:
        """What happens by time alone; ``after_sweep`` is given the number of each sweep."""
        sweeps = 0
        while True:
            self.streams.sweep()
            if self._http is not None:
                self._http.sweep()
            self._budget.look(self.turn.now)
            self.streams.counters.latency_budget_seconds = self._budget.seconds
            sweeps += 1
            if sweeps % SWEEPS_PER_TICK == 0:
                self._load_limits.tick(self.turn.now)
                self.sessions.tick()
                self._control.tick()
                if self._http is not None:
                    self._http.tick()
                if self._certificate is not None:
                    self._certificate.refresh()
            if after_sweep is not None:
                after_sweep(sweeps)
            now = self.turn.loop.time()
            due_at = next_moment(now, SWEEP_INTERVAL_S)
            await asyncio.sleep(due_at - now)
            self.streams.counters.loop_lag_seconds.note(max(0.0, self.turn.clock() - due_at))

    async def drain(self, timeout_s: float) -> None:
        """Ask all to go; return once they have, or after the timeout."""
        self._ask_to_go()
        await self._wait_until_empty(timeout_s)

    def _ask_to_go(self) -> None:
        self.turn.begin()
        self.sessions.ask_to_reconnect()
        if self._http is not None:
            self._http.drain()

    async def _wait_until_empty(self, timeout_s: float) -> None:
        waits = [self.sessions.wait_until_empty(timeout_s)]
        if self._http is not None:
            waits.append(self._http.wait_until_empty(timeout_s))
        await asyncio.gather(*waits)

    async def say_last_words(self) -> None:
        """Tell every peer that the server ends, and give it time to read that."""
        self.sessions.end_all(CloseReason.DRAINED)
        if self._http is not None:
            self._http.end_all(CloseReason.DRAINED)
        await self._wait_until_empty(LAST_WORDS_S)

    async def close(self) -> None:
        """End the parts, in the reverse of the order in which they were made."""
        self.stop_listening()
        self.sessions.close_all(CloseReason.DRAINED)
        if self._http is not None:
            self._http.close_all(CloseReason.DRAINED)
        await self._requests.close()
        self._poller.close()


def bandwidth_of(config: EdgeConfig, counters: Counters, counts: SharedCounts | None) -> Bandwidth | None:
    """What watches over ``--max-bandwidth``, if that is any."""
    most = config.max_bandwidth
    if not most:
        return None
    return Bandwidth(
        most, most - most * config.publisher_reserve // 100,
        bytes_sent=lambda: counters.bytes_sent, players=lambda: counters.players, counts=counts,
    )  # fmt: skip
