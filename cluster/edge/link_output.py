"""What a worker gives to the bus: envelopes of its own streams, for as long as somebody wants them.

One XPUB socket is connected to every router and hears which topics are subscribed to anywhere. A
stream nobody subscribes to is not even packed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq

from cluster.core.bus import bounds
from cluster.core.bus.endpoints import Endpoints
from cluster.core.bus.envelope import encode_frames, key_of
from cluster.core.bus.packing import MessageLike
from cluster.edge.link_interfaces import LinkCounters
from cluster.edge.zmq_reader import ZmqReader

_SUBSCRIBED = 1
#: Plain ints: an enum member costs a call each time it is used.
_MORE = int(zmq.DONTWAIT | zmq.SNDMORE)
_LAST = int(zmq.DONTWAIT)


def open_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, high_water_mark: int, *, is_local: bool
) -> zmq.Socket[bytes]:
    """A socket of ``kind`` with every queue bounded, and a dead peer noticed; still to be connected."""
    socket = context.socket(kind)
    socket.set_hwm(high_water_mark)
    socket.linger = 0
    socket.maxmsgsize = bounds.MAX_FRAME_BYTES
    # Queue nothing for a router that is not there. Without this a connecting XPUB also keeps the
    # subscriptions of a router that died, and goes on packing for nobody.
    socket.immediate = True
    if not is_local:  # over ipc the kernel notices
        socket.heartbeat_ivl = bounds.ZMQ_HEARTBEAT_INTERVAL_MS
        socket.heartbeat_timeout = bounds.ZMQ_HEARTBEAT_TIMEOUT_MS
    socket.reconnect_ivl = bounds.ZMQ_RECONNECT_MS
    socket.connect_timeout = bounds.ZMQ_CONNECT_TIMEOUT_MS
    return socket


class LinkOutput:
    """Publishes envelopes and knows which keys are wanted elsewhere."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        routers: Sequence[Endpoints],
        sender_id: str,
        on_demand: Callable[[str, bool], None],
        counters: LinkCounters,
    ) -> None:
        self._sender_id = sender_id
        self._on_demand = on_demand
        self._counters = counters
        self._topics: dict[str, bytes] = {}
        all_local = all(router.is_local for router in routers)
        self._socket = open_socket(context, zmq.XPUB, bounds.DATA_HIGH_WATER_MARK, is_local=all_local)
        # A full queue is then seen here, and counted, instead of losing envelopes unseen.
        self._socket.xpub_nodrop = True
        for router in routers:
            self._socket.ipv6 = router.is_ipv6
            self._socket.connect(router.publish)
        self._reader = ZmqReader(loop, self._socket, self._demand_received)

    def wanted(self, key: str) -> bool:
        """Whether another worker subscribes to ``key``."""
        return key in self._topics

    def publish(self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike]) -> None:
        """Send one envelope, if it is wanted; it is dropped and counted if a router's queue is full."""
        topic_frame = self._topics.get(key)
        if topic_frame is None:
            return
        topic, header, body = encode_frames(topic_frame, epoch, first_seq, self._sender_id, messages)
        counters = self._counters
        send = self._socket.send
        try:
            send(topic, _MORE)
        except zmq.Again:
            counters.bus_envelopes_dropped += 1
        else:
            send(header, _MORE)
            send(body, _LAST)
            counters.bus_envelopes_sent += 1
            counters.bus_messages_sent += len(messages)
            counters.bus_bytes_sent += len(body)
        self._reader.service_soon()

    def service(self) -> None:
        self._reader.service()

    def close(self) -> None:
        self._reader.close()

    def _demand_received(self, frames: list[bytes]) -> None:
        event = frames[0]
        key = key_of(event[1:])
        if key is None:
            return  # a subscription to something else than one stream: not a worker's
        if event[0] == _SUBSCRIBED:
            self._topics[key] = event[1:]
            self._on_demand(key, True)
        elif self._topics.pop(key, None) is not None:
            self._on_demand(key, False)
