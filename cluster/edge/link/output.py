"""What a worker gives to the bus: envelopes of its own streams, for as long as somebody wants them.

An XPUB socket for each router hears which topics are subscribed to there. A stream nobody subscribes
to is not even packed. One socket for all routers would do the same with less, but with NODROP one
router that hangs would then stop the media through all the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import uplink_socket
from cluster.bus.zmq_reader import ZmqReader
from cluster.core.bus.endpoints import Endpoints
from cluster.core.bus.envelope import encode_frame, key_of
from cluster.core.bus.high_water import HighWater
from cluster.core.bus.packing import MessageLike
from cluster.edge.link.interfaces import LinkCounters

_SUBSCRIBED = 1
#: A plain int: an enum member costs a call each time it is used.
_DONTWAIT = int(zmq.DONTWAIT)


class _Outlet:
    """The way to one router. A queue that is full, or a router that hangs, is this outlet's alone."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        router: Endpoints,
        key: ClusterKey | None,
        on_demand: Callable[[_Outlet, bytes], None],
    ) -> None:
        self._high_water = HighWater()
        self._socket = uplink_socket(context, zmq.XPUB, self._high_water.mark, router.publish, key)
        # A full queue is then seen here, and counted, instead of losing envelopes unseen.
        self._socket.xpub_nodrop = True
        self._socket.connect(router.publish)
        self.reader = ZmqReader(loop, self._socket, self._socket.recv, lambda event: on_demand(self, event))

    def send(self, envelope: bytes) -> bool:
        """Send one envelope; False if the queue is full."""
        try:
            self._socket.send(envelope, _DONTWAIT)
        except zmq.Again:
            return False
        if self._high_water.note(len(envelope)):
            self._socket.sndhwm = self._high_water.mark
        self.reader.service_soon()
        return True


@dataclass(slots=True)
class _Demand:
    """A wanted key: its topic, and the routers at which anybody wants it."""

    topic: bytes
    outlets: list[_Outlet]


class LinkOutput:
    """Publishes envelopes and knows which keys are wanted elsewhere."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        sender_id: str,
        on_demand: Callable[[str, bool], None],
        counters: LinkCounters,
        key: ClusterKey | None,
    ) -> None:
        self._context = context
        self._key = key
        self._loop = loop
        self._sender_id = sender_id.encode("utf-8", "surrogateescape")
        self._on_demand = on_demand
        self._counters = counters
        self._demands: dict[str, _Demand] = {}
        self._outlets: dict[str, _Outlet] = {}

    def add_router(self, router: Endpoints) -> None:
        self._outlets[router.base] = _Outlet(
            self._context, self._loop, router, self._key, self._demand_received
        )

    def remove_router(self, name: str) -> None:
        outlet = self._outlets.pop(name)
        outlet.reader.close()
        for key in [key for key, demand in self._demands.items() if outlet in demand.outlets]:
            self._demand_ended(key, outlet)

    def wanted(self, key: str) -> bool:
        """Whether another worker subscribes to ``key``."""
        return key in self._demands

    def publish(self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike]) -> None:
        """Send one envelope to each router at which it is wanted, packed once; what a full queue does
        not take is dropped there, and counted."""
        demand = self._demands.get(key)
        if demand is None:
            return
        envelope = encode_frame(demand.topic, epoch, first_seq, self._sender_id, messages)
        counters = self._counters
        for outlet in demand.outlets:
            if outlet.send(envelope):
                counters.bus_envelopes_sent += 1
                counters.bus_messages_sent += len(messages)
                counters.bus_bytes_sent += len(envelope)
            else:
                counters.bus_envelopes_dropped += 1

    def service(self) -> None:
        for outlet in self._outlets.values():
            outlet.reader.service()

    def close(self) -> None:
        for outlet in self._outlets.values():
            outlet.reader.close()

    def _demand_received(self, outlet: _Outlet, event: bytes) -> None:
        key = key_of(event[1:])
        if key is None:
            return  # a subscription to something else than one stream: not a worker's
        demand = self._demands.get(key)
        if event[0] != _SUBSCRIBED:
            self._demand_ended(key, outlet)
        elif demand is None:
            self._demands[key] = _Demand(event[1:], [outlet])
            self._on_demand(key, True)
        elif outlet not in demand.outlets:
            demand.outlets.append(outlet)

    def _demand_ended(self, key: str, outlet: _Outlet) -> None:
        demand = self._demands.get(key)
        if demand is None or outlet not in demand.outlets:
            return
        demand.outlets.remove(outlet)
        if not demand.outlets:
            del self._demands[key]
            self._on_demand(key, False)
