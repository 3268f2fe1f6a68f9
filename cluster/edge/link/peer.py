"""One router as a worker sees it: the control channel, the subscriptions there, and whether it lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import REFUSALS, uplink_socket
from cluster.bus.zmq_reader import ZmqReader
from cluster.core.bus import bounds, control, control_coding
from cluster.core.bus.bounds import HEARTBEAT_INTERVAL_S, LOCAL_HEARTBEAT_INTERVAL_S
from cluster.core.bus.control import ControlMessage
from cluster.core.bus.control_coding import ControlError
from cluster.core.bus.endpoints import Endpoints
from cluster.core.bus.high_water import HighWater
from cluster.edge.link.interfaces import LinkCounters
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)

#: On close, the goodbye gets this long to leave.
_LINGER_MS = 100

_MECHANISM_MISMATCH = 0x1100_0002  # ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


@dataclass(frozen=True, slots=True)
class RouterOwner:
    """What a router asks of the link that it belongs to, and what it tells it."""

    #: The Hello to begin anew with, and its further parts.
    make_hello: Callable[[RouterPeer], list[control.Hello | control.HelloPart]]
    #: A control message, but for heartbeats and those that ask for a Hello.
    on_control: Callable[[RouterPeer, ControlMessage], None]
    #: An envelope, not yet decoded.
    on_envelope: Callable[[bytes], None]
    #: A router that was live is lost, and why.
    on_lost: Callable[[RouterPeer, str], None]
    #: A connection is refused for good, and why.
    on_refused: Callable[[RouterPeer, str], None]


class RouterPeer:
    """A router, by its address ``name``. It is live from its Welcome until a heartbeat stays unanswered.

    Each router has a SUB socket of its own: one that is connected to two subscribes at both, and every
    envelope comes twice.
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
    ) -> None:
        self.name = router.base
        self.is_live = False
        self._owner = owner
        self._counters = counters
        self._malformed = Complaints(logger, "control_malformed")
        self._hello_answered = False
        self._waiting_since: float | None = None
        self._sent = 0
        self._received = 0
        self._has_key = key is not None
        is_local = router.is_local
        self._timeout_s = bounds.LOCAL_ROUTER_TIMEOUT_S if is_local else bounds.ROUTER_TIMEOUT_S
        self._interval_s = LOCAL_HEARTBEAT_INTERVAL_S if is_local else HEARTBEAT_INTERVAL_S
        self._beat_at = 0.0
        self._high_water = HighWater()
        self._dealer = uplink_socket(
            context, zmq.DEALER, bounds.CONTROL_HIGH_WATER_MARK, router.control, key
        )
        self._dealer.linger = _LINGER_MS
        self._dealer.routing_id = worker_id.encode("utf-8", "surrogateescape")
        self._sub = uplink_socket(context, zmq.SUB, self._high_water.mark, router.subscribe, key)
        monitor = self._dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED | REFUSALS)
        for socket, endpoint in ((self._dealer, router.control), (self._sub, router.subscribe)):
            socket.connect(endpoint)
        self._control_reader = ZmqReader(
            loop, self._dealer, self._dealer.recv_multipart, self._control_received
        )
        self._media_reader = ZmqReader(loop, self._sub, self._sub.recv, self._envelope_received)
        self._monitor_reader = ZmqReader(loop, monitor, monitor.recv_multipart, self._connection_event)

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

    def beat(self, now: float, heartbeat: Callable[[int], control.Heartbeat]) -> None:
        """To be called every HEARTBEAT_INTERVAL_S, or less often if all routers are local; ``on_lost`` is
        called if the router is found dead."""
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
            self._lose("does not answer")
        if self._hello_answered:
            self.send(heartbeat(self._sent))
        else:
            self._say_hello()

    def close(self) -> None:
        """Say goodbye and close the sockets."""
        self.is_live = False
        self.send(control.Goodbye())
        self._dealer.disable_monitor()
        self._monitor_reader.close()
        self._control_reader.close()
        self._media_reader.close()

    def _lose(self, why: str) -> None:
        """No more answers are to be expected; a Hello begins anew."""
        self._hello_answered = False
        if self.is_live:
            self.is_live = False
            self._owner.on_lost(self, why)

    def _connection_event(self, frames: list[bytes]) -> None:
        """The control connection has ended: the router's process did, or libzmq's heartbeats were missed;
        or it never came about."""
        event = parse_monitor_message(frames)
        if event["event"] == zmq.EVENT_DISCONNECTED:
            self._lose("has closed the connection")
        else:
            self._owner.on_refused(self, _why(self._has_key, event["event"], event["value"]))

    def _envelope_received(self, frame: bytes) -> None:
        if self._high_water.note(len(frame)):
            self._sub.rcvhwm = self._high_water.mark
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
            if message.messages != self._received:
                self._hello_wanted()
        elif isinstance(message, control.HelloWanted):
            self._hello_wanted()
        elif isinstance(message, control.Welcome):
            self._received = 0
            self._hello_answered = True
            self.is_live = True
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


def _why(has_key: bool, event: int, value: int) -> str:
    """What a failed handshake means; the end that did not give it up learns no more than that."""
    if not has_key:
        return "it has a cluster key and this node has none (--cluster-key), or it is no router"
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "its cluster key is another"
    if value == _MECHANISM_MISMATCH:
        return "it has no cluster key, and this node has one"
    return "its cluster key is another, or it has none"
