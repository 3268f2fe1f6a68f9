"""One router as a worker sees it: the control channel, the subscriptions there, and whether it lives."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import EVENTS, Reach, Reached
from cluster.bus.sockets import uplink_socket
from cluster.bus.zmq_reader import ZmqReader
from cluster.core.bus import bounds, control, control_coding
from cluster.core.bus.bounds import CLOCK_INTERVAL_S, HEARTBEAT_INTERVAL_S, LOCAL_HEARTBEAT_INTERVAL_S
from cluster.core.bus.clock_offset import ClockOffset
from cluster.core.bus.cluster_status import NODE_REPORTS
from cluster.core.bus.control import ControlMessage
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.endpoints import Endpoints
from cluster.core.bus.stamps import STAMPED, STAMPED_AT
from cluster.edge.link.interfaces import LinkCounters
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)

#: On close, the goodbye gets this long to leave.
_LINGER_MS = 100

_STAMPED = bytes((STAMPED,))

#: A router that is tried is given this long before it is said not to be reached.
_FIRST_ANSWER_S = 0.7


@dataclass(frozen=True, slots=True)
class RouterOwner:
    """What a router asks of the link that it belongs to, and what it tells it."""

    #: The Hello to begin anew with, and its further parts.
    make_hello: Callable[[RouterPeer], list[control.Hello | control.HelloPart]]
    #: A control message, but for heartbeats and those that ask for a Hello.
    on_control: Callable[[RouterPeer, ControlMessage], None]
    #: An envelope, not yet decoded.
    on_envelope: Callable[[bytes], object]
    #: One with a stamp, and how far the router's clock is ahead; None if that is not known.
    on_stamped: Callable[[bytes, int | None], None]
    #: A router that was live is lost.
    on_lost: Callable[[RouterPeer], None]
    #: A connection is refused, maybe for good.
    on_refused: Callable[[RouterPeer], None]


class RouterPeer:
    """A router, by its address ``name``. It is live from its Welcome until a heartbeat stays unanswered.

    Each router has a SUB socket of its own: one that is connected to two subscribes at both, and every
    envelope comes twice. ``before``: the peer that was the same router until it was refused; what it knew
    holds until more is known.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        router: Endpoints,
        worker_id: str,
        *,
        owner: RouterOwner,
        counters: LinkCounters,
        key: ClusterKey | None,
        before: RouterPeer | None = None,
    ) -> None:
        self.name = router.base
        self.is_live = False
        #: Since when it has not been live, while it is not.
        self.away_since: float = loop.time() if before is None else before.away_since
        self._was_live: bool = before is not None and before._was_live
        self._loop = loop
        self._reached = Reached(key is not None, Reach.NOBODY if before is None else before.reach)
        self._owner = owner
        self._counters = counters
        self._malformed = Complaints(logger, "control_malformed")
        self._hello_answered = False
        self._waiting_since: float | None = None
        self._sent = 0
        self._received = 0
        is_local = router.is_local
        self._timeout_s = bounds.LOCAL_ROUTER_TIMEOUT_S if is_local else bounds.ROUTER_TIMEOUT_S
        self._interval_s = LOCAL_HEARTBEAT_INTERVAL_S if is_local else HEARTBEAT_INTERVAL_S
        self._beat_at = 0.0
        self._is_local = is_local
        self._clock = ClockOffset()
        self._clock_at = 0.0
        #: How far its host's time of day is ahead, in seconds; None while that is not known.
        self.wall_offset_s: float | None = None
        #: A node's own router, whose node tells those of the cluster what is reported there.
        self.tells_others = False
        #: It may know of streams here: of none, it is told once.
        self.knows_streams = False
        self._dealer = uplink_socket(
            context, zmq.DEALER, bounds.CONTROL_HIGH_WATER_MARK, router.control, key
        )
        self._dealer.linger = _LINGER_MS
        self._dealer.routing_id = worker_id.encode("utf-8", "surrogateescape")
        self._sub = uplink_socket(context, zmq.SUB, bounds.DATA_HIGH_WATER_MARK, router.subscribe, key)
        monitor = self._dealer.get_monitor_socket(EVENTS)
        for socket, endpoint in ((self._dealer, router.control), (self._sub, router.subscribe)):
            socket.connect(endpoint)
        self._control_reader = ZmqReader(
            loop, self._dealer, self._dealer.recv_multipart, self._control_received
        )
        self._media_reader = ZmqReader(loop, self._sub, self._sub.recv, self._envelope_received)
        self._monitor_reader = ZmqReader(loop, monitor, monitor.recv_multipart, self._connection_event)

    @property
    def reach(self) -> Reach:
        """How far the connection has come."""
        return self._reached.reach

    def trouble(self, now: float) -> str | None:
        """What is wrong, and what to do about it: nothing (an empty text) while the router is live, and
        None while it is too early to say."""
        if self.is_live:
            return ""
        if now - self.away_since < _FIRST_ANSWER_S and not self._was_live and not self.reach.is_refusal:
            return None
        return self.reach.why

    @property
    def clock_offset_us(self) -> int | None:
        """How far its monotonic clock is ahead of ours; None while that is not known."""
        return 0 if self._is_local else self._clock.offset_us

    @property
    def round_trip_s(self) -> float:
        """To the router and back: the shortest of the last few; 0 while none is known."""
        return self._clock.round_trip_us / 1_000_000

    def send(self, message: ControlMessage) -> bool:
        """Send ``message``; if that cannot be done now, the next Hello says what it would have said."""
        try:
            self._dealer.send_multipart(control_coding.encode(message), zmq.DONTWAIT)
        except zmq.Again:
            self._hello_answered = False
            return False
        self._sent += 1
        self._control_reader.service_soon()
        return True

    def subscribe(self, topic: bytes) -> None:
        self._sub.subscribe(topic)
        self._media_reader.service_soon()

    def unsubscribe(self, topic: bytes) -> None:
        self._sub.unsubscribe(topic)
        self._media_reader.service_soon()

    def beat(self, now: float, heartbeat: Callable[[int, int], control.Heartbeat]) -> None:
        """To be called every HEARTBEAT_INTERVAL_S, or less often if all routers are local; ``on_lost`` is
        called if the router is found dead. ``heartbeat`` makes one of what was sent, and of the time at
        which it asks for the router's clock."""
        if self._hello_answered and now < self._beat_at:
            return
        # The half interval is for timers that are early.
        self._beat_at = now + self._interval_s - HEARTBEAT_INTERVAL_S / 2
        # What has arrived counts first: a worker whose loop was held up must not blame the router.
        self._control_reader.service()
        self._media_reader.service()
        if self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since > self._timeout_s:
            self._lose()
        if self._hello_answered:
            self.send(heartbeat(self._sent, self._asks_clock(now)))
        else:
            self._say_hello()

    def _asks_clock(self, now: float) -> int:
        """When a heartbeat that asks for the router's clock leaves; 0 if this one is not to ask."""
        if self._clock.is_settled and now < self._clock_at:
            return 0
        self._clock_at = now + CLOCK_INTERVAL_S
        return _now_us()

    def _clock_told(self, answer: control.TimedHeartbeat) -> None:
        received_us = _now_us()
        self._clock.note(answer.sent_us, answer.clock_us, received_us)
        half_s = (received_us - answer.sent_us) / 2_000_000
        self.wall_offset_s = answer.wall_ms / 1000 + half_s - time.time()

    def close(self) -> None:
        """Say goodbye and close the sockets."""
        self.is_live = False
        self.send(control.Goodbye())
        self._dealer.disable_monitor()
        self._monitor_reader.close()
        self._control_reader.close()
        self._media_reader.close()

    def _lose(self) -> None:
        """No more answers are to be expected; a Hello begins anew."""
        self._hello_answered = False
        if self.is_live:
            self.is_live = False
            self.away_since = self._loop.time()
            self._owner.on_lost(self)

    def _connection_event(self, frames: list[bytes]) -> None:
        """What has become of the control connection: it ends when the router's process does, or when
        libzmq's heartbeats were missed."""
        event = parse_monitor_message(frames)
        reach = self._reached.event(event["event"], event["value"], self._loop.time())
        if event["event"] == zmq.EVENT_DISCONNECTED:
            self._lose()
        if reach.is_refusal and event["event"] != zmq.EVENT_CONNECTED:
            self._owner.on_refused(self)

    def _envelope_received(self, frame: bytes) -> None:
        if frame[STAMPED_AT : STAMPED_AT + 1] >= _STAMPED:
            self._owner.on_stamped(frame, self.clock_offset_us)
        else:
            self._owner.on_envelope(frame)

    def _say_hello(self) -> None:
        if not self._dealer.poll(0, zmq.POLLOUT):
            return
        hello, *parts = self._owner.make_hello(self)
        if self.send(hello):
            self._sent = 0
            for part in parts:
                self.send(part)

    def _control_received(self, frames: list[bytes]) -> None:
        try:
            message = control_coding.decode(frames)
        except ControlError as error:
            self._counters.bus_malformed += 1
            self._malformed.warn(f"{self.name}: {error}")
            return
        self._waiting_since = None
        if isinstance(message, control.Heartbeat):
            self.tells_others = NODE_REPORTS in message.load
            if isinstance(message, control.TimedHeartbeat):
                self._clock_told(message)
            if message.messages != self._received:
                self._hello_wanted()
        elif isinstance(message, control.HelloWanted):
            self._hello_wanted()
        elif isinstance(message, control.Welcome):
            self._received = 0
            self._clock.forget()
            self._hello_answered = self.is_live = self._was_live = self.knows_streams = True
            self._owner.on_control(self, message)
            return
        else:
            self._owner.on_control(self, message)
        self._received += 1

    def _hello_wanted(self) -> None:
        """The router has missed something, or we have; more of these arrive until it has our Hello."""
        if self._hello_answered:
            self._hello_answered = False
            self._say_hello()


def _now_us() -> int:
    """The loop's own time may be an iteration old."""
    return int(time.monotonic() * 1_000_000)
