"""A router: libzmq's proxy moves the media, one thread keeps the registry.

    workers' XPUBs ─► XSUB ═ proxy ═ XPUB ──► workers' SUB        (no Python per message)
    workers' DEALER ◄──► ROUTER ── registry                       (control messages)

Two threads and a context of its own, so that an edge can run a router beside anything else. Ending the
context is what ends the proxy. If the registry's thread fails the workers miss its heartbeats and move
on to another router; ``is_alive`` tells whoever runs this one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from socket import socket, socketpair
from types import TracebackType

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import control, control_coding
from cluster.core.bus.control import RoutedMessage
from cluster.core.bus.control_coding import ControlError
from cluster.core.errors import MisuseError
from cluster.core.histogram import Histogram
from cluster.core.top_streams import TopStreams, top_streams
from cluster.process.complaints import Complaints
from cluster.router.counters import COUNTERS
from cluster.router.gate import Gate
from cluster.router.grants import Grants
from cluster.router.members import MemberLines, Members
from cluster.router.memory_grants import MemoryGrants
from cluster.router.probes import Probes
from cluster.router.proxy import Proxy
from cluster.router.refusals import Refusals
from cluster.router.registry import Delivery, Registry
from cluster.router.sockets import bind_sockets

logger = logging.getLogger(__name__)

#: How often the registry looks at the time; twice as long when nothing arrives.
TICK_S = 0.1
#: How often over ipc, where the kernel tells of a worker's death: only a worker that hangs is left to find.
LOCAL_TICK_S = 0.5

#: A registry that has not turned for this long was missed by every worker.
_STALLED_S = 1.0

#: One that has not turned for this long knows nothing of its workers any more.
_HANGS_AFTER_S = 2.0

#: Frames of a message after its first that are looked at: more than any message has.
_MAX_FRAMES = 4

_FIRST_OF_TWO = zmq.DONTWAIT | zmq.SNDMORE

#: Control messages handled before the registry looks at the time again.
_MESSAGES_PER_TURN = 1_000


class Router:
    """The router at one address; also a context manager that starts and closes it.

    ``endpoint`` is the address workers are to be given (its port is the real one if 0 was asked for).
    ``is_nodes_own``: it knows the workers of one node, of which the node itself says what there is to say.
    """

    def __init__(
        self, bind: str, *, key: ClusterKey | None = None, grants: Grants | None = None,
        is_nodes_own: bool = False,
    ) -> None:  # fmt: skip
        self._bind = bind
        self._key = key
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._registry_thread: threading.Thread | None = None
        self._tick_s = LOCAL_TICK_S if bind.startswith("ipc://") else TICK_S
        self._failed = False
        self._malformed = Complaints(logger, "control_malformed")
        self._gate: Gate
        self._proxy: Proxy
        self._probes: Probes
        #: The registry's thread polls the second end: a byte in the first wakes it, closing that ends it.
        self._wakes: socket
        self._woken: socket
        self.endpoint = bind
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._is_nodes_own = is_nodes_own
        self._turned_at = float("-inf")
        members = Members() if is_nodes_own else MemberLines()
        refusals = Refusals(self.counters)
        self._registry = Registry(grants or MemoryGrants(), self._wake_up, refusals, members)

    def start(self) -> None:
        """Bind and run; EndpointError or EnvironmentFault if that cannot be done."""
        if self._context is not None:
            raise MisuseError("a router is started once")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        try:
            sockets = bind_sockets(context, self._bind, self._key)
        except BaseException:
            context.term()
            raise
        self._wakes, self._woken = socketpair()
        self._wakes.setblocking(False)
        self._context = context
        self.endpoint = sockets.endpoints.base
        self._gate = sockets.gate
        self._probes = Probes(context, sockets.subscribe)
        self._proxy = Proxy(sockets.publish, sockets.subscribe)
        self._registry_thread = threading.Thread(
            target=self._run_registry, args=(sockets.control,), name="registry", daemon=True
        )
        self._registry_thread.start()

    def close(self) -> None:
        """End both threads and free the ports; may be called again."""
        if self._context is None or self._registry_thread is None:
            return
        self._wakes.close()
        self._registry_thread.join()
        self._context.term()
        self._proxy.join()
        self._registry_thread = None

    def __enter__(self) -> Router:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_alive(self) -> bool:
        """Whether both of its threads run."""
        registry = self._registry_thread
        return not self._failed and registry is not None and registry.is_alive() and self._proxy.is_alive

    def sizes(self) -> dict[str, int]:
        """How many workers, streams and watched keys the registry knows."""
        return self._registry.sizes()

    def top_streams(self) -> TopStreams:
        """Numbers of the streams with most players, as workers have reported them."""
        return top_streams(self._registry.facts.numbers())

    def node_reports(self) -> list[control.NodeReport] | None:
        """What the workers here report, summed by node, for whoever tells the cluster's routers of it: the
        workers themselves hear that somebody does. None while the registry does not turn."""
        now = time.monotonic()
        is_turning = self.is_alive and now - self._turned_at < _HANGS_AFTER_S
        return self._registry.facts.fetch(now) if is_turning else None

    @property
    def peers_refused(self) -> int:
        """Connections that its gate has not let in."""
        return self._gate.refused if self._context is not None else 0

    @property
    def publish_delays(self) -> Sequence[float]:
        """How long media of workers took to this router, as the numbers of a histogram."""
        return self._probes.delays.numbers if self._context is not None else Histogram().numbers

    @property
    def proxy_resumed(self) -> int:
        """How often libzmq's proxy has given up, at what a peer had no right to send."""
        return self._proxy.resumed if self._context is not None else 0

    def _wake_up(self) -> None:
        """The grants have something to say; called from any thread."""
        with contextlib.suppress(OSError):  # its buffer is full, so it wakes anyway; or it has ended
            self._wakes.send(b"\0")

    # ---- the registry's thread -------------------------------------------------------------------

    def _run_registry(self, socket: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        for each in (socket, self._probes.socket, *self._gate.sockets, self._woken):
            poller.register(each, zmq.POLLIN)
        try:
            self._turned_at = time.monotonic()
            next_tick = self._turned_at + self._tick_s
            while True:
                # Heartbeats arrive all the time: a tick that is due goes with the next of them, and has
                # a wake-up of its own only if none comes.
                due = next_tick + self._tick_s
                ready = [each for each, _ in poller.poll(max(0, int((due - time.monotonic()) * 1000)))]
                # Not since the last tick: under a flood there is none for long, though it turns.
                self._note_stall(time.monotonic() - max(due, self._turned_at))
                self._turned_at = time.monotonic()
                if self._woken.fileno() in ready:
                    if not self._woken.recv(4_096):
                        break
                    self._deliver(socket, self._registry.settle(time.monotonic(), _wall_ms()))
                if any(each is not socket for each in ready):
                    self._probes.read(time.monotonic())
                    self._gate.serve()
                # What has arrived first, then the time: a router that was stopped for a while must not
                # drop workers whose heartbeats lie in its queue.
                if self._receive_all(socket) and time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + self._tick_s
                    self._gate.tick()
                    deliveries = self._registry.tick(time.monotonic(), _wall_ms())
                    _tell_shared_names(deliveries)
                    self._deliver(socket, deliveries)
        except Exception:
            self._failed = True
            logger.exception("the registry failed", extra={"event": "router_failed"})
        finally:
            self._woken.close()
            self._probes.close()
            socket.disable_monitor()
            self._gate.close()
            socket.close()

    def _note_stall(self, late_s: float) -> None:
        """Say so if this process has not run: the workers have gone to other routers meanwhile."""
        if late_s > _STALLED_S and not self._is_nodes_own:
            logger.warning(
                "this router did not run for %(late_s).1f s: it was stopped, or its host had no CPU for it",
                {"late_s": round(late_s, 1)}, extra={"event": "router_stalled"},
            )  # fmt: skip

    def _receive_all(self, socket: zmq.Socket[bytes]) -> bool:
        """Handle what has arrived; False if there is more than one turn's worth."""
        for _ in range(_MESSAGES_PER_TURN):
            try:
                routing_id, head, rest = _receive(socket)
            except zmq.Again:
                return True
            self.counters["control_received"] += 1
            try:
                message = control_coding.decode_sealed(head, rest)
            except ControlError as error:
                self.counters["control_malformed"] += 1
                self._malformed.warn(f"control message ignored: {error}")
                continue
            worker_id = routing_id.decode("utf-8", "surrogateescape")
            now = time.monotonic()
            deliveries = self._registry.receive(worker_id, message, now, _wall_ms())
            if isinstance(message, control.StatusRequest):
                deliveries = [(to, self._with_probes(each, now)) for to, each in deliveries]
            self._deliver(socket, deliveries)
        return False

    def _with_probes(self, message: RoutedMessage, now: float) -> RoutedMessage:
        return self._probes.told(message, now) if isinstance(message, control.ClusterStatus) else message

    def _deliver(self, socket: zmq.Socket[bytes], deliveries: list[Delivery]) -> None:
        queue = deque(deliveries)
        while queue:
            worker_id, message = queue.popleft()
            routing_id = worker_id.encode("utf-8", "surrogateescape")
            try:
                _send(socket, routing_id, message)
                self.counters["control_sent"] += 1
            except zmq.ZMQError as error:
                if error.errno == zmq.EHOSTUNREACH:
                    self.counters["control_unreachable"] += 1
                elif error.errno == zmq.EAGAIN:
                    self.counters["control_overflowed"] += 1
                else:
                    raise
                # It is gone, or must be told everything anew: it will be asked for a hello if it lives.
                queue.extend(self._registry.drop_worker(worker_id, time.monotonic(), _wall_ms()))


def _receive(socket: zmq.Socket[bytes]) -> tuple[bytes, bytes, list[zmq.Frame]]:
    """Who sent the next message, its first frame, and the others, which are not copied; zmq.Again if there
    is none. A message is here as a whole, however many frames it has; those beyond a few are let go."""
    # A frame knows whether it is the last: to ask the socket costs as much as to receive one.
    frame = socket.recv(zmq.DONTWAIT, copy=False)
    routing_id, head = frame.bytes, b""
    rest: list[zmq.Frame] = []
    if frame.more:
        frame = socket.recv(copy=False)
        head = frame.bytes
        while frame.more:
            frame = socket.recv(copy=False)
            if len(rest) < _MAX_FRAMES:
                rest.append(frame)
    return routing_id, head, rest


def _send(socket: zmq.Socket[bytes], routing_id: bytes, message: RoutedMessage) -> None:
    """Two sends where there are two frames: ``send_multipart`` costs more than both."""
    if isinstance(message, control.SealedSnapshot):
        socket.send_multipart([routing_id, *message.frames], zmq.DONTWAIT, copy=False)
    else:
        (frame,) = control_coding.encode(message)
        socket.send(routing_id, _FIRST_OF_TWO)
        socket.send(frame, zmq.DONTWAIT)


def _tell_shared_names(deliveries: list[Delivery]) -> None:
    """One line for each name that nodes are told now that they share."""
    shared = {message.node: message for _, message in deliveries if isinstance(message, control.NameShared)}
    for node, message in shared.items():
        instances = ", ".join(message.instances)
        fields = {"node": node, "nodes": len(message.instances), "instances": instances}
        logger.warning(
            "%(nodes)d nodes share the name %(node)s (instances %(instances)s): give each its own with "
            "--node-name, to tell them apart", fields, extra={"event": "name_shared"},
        )  # fmt: skip


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
