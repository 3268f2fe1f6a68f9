"""What a worker gives to the bus: envelopes of its own streams, for as long as somebody wants them.

An XPUB socket for each router hears which topics are subscribed to there, by anybody in the cluster. A
stream nobody subscribes to is not even packed. One socket for all routers would do the same with less,
but with NODROP one router that hangs would then stop the media through all the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import uplink_socket
from cluster.bus.zmq_reader import ZmqReader
from cluster.core.bus import bounds
from cluster.core.bus.bounds import MAX_TOPICS, PROBE_INTERVAL_S
from cluster.core.bus.control import Snapshot
from cluster.core.bus.endpoints import Endpoints
from cluster.core.bus.envelope import TOPIC_BYTES, encode_frame, key_bytes, topic
from cluster.core.bus.packing import MessageLike
from cluster.core.bus.probe import PROBE_TOPIC, Probe, encode_probe
from cluster.core.bus.stamps import Stamp, stamped
from cluster.edge.link.early import EarlyMessages
from cluster.edge.link.interfaces import LinkCounters

_SUBSCRIBED = 1
#: Envelopes of one turn that wait for each other. Each that is sent alone wakes libzmq's thread, the router
#: and who receives it: 30 us of CPU more, in all, than for one of eight (measured).
ENVELOPES_TOGETHER = 16
#: A plain int: an enum member costs a call each time it is used.
_DONTWAIT = int(zmq.DONTWAIT)


class _Outlet:
    """The way to one router. A queue that is full, or a router that hangs, is this outlet's alone."""

    #: Subscriptions there that are not remembered.
    untold = 0
    #: Envelopes that its queue did not take.
    dropped = 0
    #: Media has gone out since the last probe, and when the next may follow it.
    has_sent = False
    probe_at = 0.0

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        router: Endpoints,
        key: ClusterKey | None,
        on_demand: Callable[[_Outlet, bytes], None],
    ) -> None:
        self.name = router.base
        self._socket = uplink_socket(context, zmq.XPUB, bounds.DATA_HIGH_WATER_MARK, router.publish, key)
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
        self.reader.service_soon()
        return True


@dataclass(slots=True)
class _Published:
    """A key that is published here, with its topic, and what it began with if others wait for it."""

    topic: bytes
    key: bytes
    early: EarlyMessages | None


class LinkOutput:
    """Publishes envelopes, and knows which keys are wanted elsewhere.

    ``on_demand`` is told of each key that is published here when another worker begins, or the last one
    ceases, to subscribe to it. ``clock_offset_us``: how far the clock of a router is ahead, by its name.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        sender_id: str,
        on_demand: Callable[[str, bool], None],
        counters: LinkCounters,
        key: ClusterKey | None,
        clock_offset_us: Callable[[str], int | None] = lambda router: None,
    ) -> None:
        self._context = context
        self._key = key
        self._clock_offset_us = clock_offset_us
        self._loop = loop
        self._sender_id = sender_id.encode("utf-8", "surrogateescape")
        self._on_demand = on_demand
        self._counters = counters
        self._published: dict[str, _Published] = {}
        #: Keys by their topic; two of one topic are one by mistake, and both are sent.
        self._keys: dict[bytes, list[str]] = {}
        #: The topics subscribed to by anybody in the cluster, and at which routers.
        self._subscribed: dict[bytes, list[_Outlet]] = {}
        #: Subscriptions beyond MAX_TOPICS: while there are any, every key may be wanted at every router.
        self._untold = 0
        #: Until when the beginning of a key is kept; the first to end first.
        self._early_until: dict[str, float] = {}
        self._outlets: dict[str, _Outlet] = {}
        #: Envelopes of this turn, each with where it goes and how many messages it has.
        self._waiting: list[tuple[list[_Outlet], bytes, int]] = []
        self._send_planned = False

    def add_router(self, router: Endpoints) -> None:
        self._outlets[router.base] = _Outlet(
            self._context, self._loop, router, self._key, self._demand_received
        )

    def remove_router(self, name: str) -> None:
        self._send_waiting()
        outlet = self._outlets.pop(name)
        outlet.reader.close()
        self._untold -= outlet.untold
        for topic_ in [topic_ for topic_, outlets in self._subscribed.items() if outlet in outlets]:
            self._demand_ended(topic_, outlet)

    # ---- what is published here ------------------------------------------------------------------

    def add_key(self, key: str, epoch: int, early_until: float | None) -> None:
        """``key`` is published here from now on, in ``epoch``. If others wait for it, and are about to
        subscribe, what it begins with is kept until ``early_until``."""
        self.remove_key(key)
        published = self._published[key] = _Published(topic(key), key_bytes(key), None)
        if early_until is not None:
            published.early = EarlyMessages(epoch)
            self._early_until[key] = early_until
        self._keys.setdefault(published.topic, []).append(key)

    def remove_key(self, key: str) -> None:
        published = self._published.pop(key, None)
        self._early_until.pop(key, None)
        if published is not None:
            self._keys[published.topic].remove(key)
            if not self._keys[published.topic]:
                del self._keys[published.topic]

    def wanted(self, key: str) -> bool:
        """Whether another worker subscribes to ``key``, or is about to."""
        published = self._published.get(key)
        if published is not None and published.early is not None:
            return True
        return self.is_subscribed(key)

    def is_subscribed(self, key: str) -> bool:
        """Whether another worker may subscribe to ``key``."""
        published = self._published.get(key)
        topic_ = topic(key) if published is None else published.topic
        return topic_ in self._subscribed or self._untold > 0

    def with_early(self, snapshot: Snapshot) -> Snapshot:
        """``snapshot``, from the first message of its stream on if that was only a moment ago."""
        published = self._published.get(snapshot.key)
        if published is None or published.early is None:
            return snapshot
        return published.early.before(snapshot)

    def publish(
        self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike], *, more: bool = False,
        waited_s: float | None = None,
    ) -> None:  # fmt: skip
        """Send one envelope to each router at which it is wanted, packed once; what a full queue does
        not take is dropped there, and counted. ``more``: it may wait for others of this turn.
        ``waited_s``: it is to be stamped, and its newest message has been here so long."""
        published = self._published.get(key)
        if published is None:
            return
        if published.early is not None:
            published.early.add(epoch, first_seq, messages)
        outlets = self._subscribed.get(published.topic)
        if self._untold:
            outlets = list(self._outlets.values())
        if outlets is None:
            return
        envelope = encode_frame(
            published.topic, published.key, epoch, first_seq, self._sender_id, messages
        )
        waiting = self._waiting
        if waited_s is None:
            waiting.append((outlets, envelope, len(messages)))
        else:
            waiting += [
                ([outlet], self._stamp(envelope, outlet, waited_s), len(messages)) for outlet in outlets
            ]
        if not more or len(waiting) >= ENVELOPES_TOGETHER:
            self._send_waiting()
        elif not self._send_planned:
            self._send_planned = True
            self._loop.call_soon(self._send_waiting)  # should nobody want the others

    def _stamp(self, envelope: bytes, outlet: _Outlet, waited_s: float) -> bytes:
        """Not if the router's clock is not known: nobody could read it."""
        ahead_us = self._clock_offset_us(outlet.name)
        if ahead_us is None:
            return envelope
        now_us = int(time.monotonic() * 1_000_000)  # the loop's own time may be an iteration old
        return stamped(envelope, Stamp(max(0, now_us + ahead_us), int(waited_s * 1_000_000)))

    def _send_waiting(self) -> None:
        """One after the other: what takes them is awake then, libzmq's thread and the router as well."""
        self._send_planned = False
        envelopes = messages = size_bytes = dropped = 0
        for outlets, envelope, count in self._waiting:
            for outlet in outlets:
                if outlet.send(envelope):
                    envelopes += 1
                    messages += count
                    size_bytes += len(envelope)
                    outlet.has_sent = True
                else:
                    dropped += 1
                    outlet.dropped += 1
        self._waiting.clear()
        counters = self._counters
        counters.bus_envelopes_sent += envelopes
        counters.bus_messages_sent += messages
        counters.bus_bytes_sent += size_bytes
        counters.bus_envelopes_dropped += dropped

    # ---- time ------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        for outlet in self._outlets.values():
            outlet.reader.service()
        for outlet in self._subscribed.get(PROBE_TOPIC, ()):
            if outlet.has_sent and now >= outlet.probe_at:
                self._probe(outlet, now)
        while self._early_until and now >= next(iter(self._early_until.values())):
            key = next(iter(self._early_until))
            del self._early_until[key]
            self._published[key].early = None
            if not self.is_subscribed(key):
                self._on_demand(key, False)

    def _probe(self, outlet: _Outlet, now: float) -> None:
        """Let the router see how long media takes to it."""
        ahead_us = self._clock_offset_us(outlet.name)
        if ahead_us is not None:
            outlet.has_sent, outlet.probe_at = False, now + PROBE_INTERVAL_S
            sent_us = max(0, int(time.monotonic() * 1_000_000) + ahead_us)
            outlet.send(encode_probe(Probe(self._sender_id.decode("utf-8", "surrogateescape"), sent_us)))

    def dropped(self, router: str) -> int:
        """Envelopes that the queue to the router with this address did not take."""
        return self._outlets[router].dropped if router in self._outlets else 0

    def close(self) -> None:
        self._send_waiting()
        for outlet in self._outlets.values():
            outlet.reader.close()

    # ---- what is subscribed to -------------------------------------------------------------------

    def _demand_received(self, outlet: _Outlet, event: bytes) -> None:
        topic_ = event[1:]
        if len(topic_) != TOPIC_BYTES:
            return  # a subscription to something else than one stream: not a worker's
        outlets = self._subscribed.get(topic_)
        if event[0] != _SUBSCRIBED:
            self._demand_ended(topic_, outlet)
        elif outlets is not None:
            if outlet not in outlets:
                outlets.append(outlet)
        elif len(self._subscribed) >= MAX_TOPICS and topic_ not in self._keys:
            outlet.untold += 1
            self._untold += 1
            self._counters.bus_topics_untold += 1
        else:
            self._subscribed[topic_] = [outlet]
            for key in self._keys.get(topic_, ()):
                self._on_demand(key, True)

    def _demand_ended(self, topic_: bytes, outlet: _Outlet) -> None:
        outlets = self._subscribed.get(topic_)
        if outlets is None:
            if outlet.untold:
                outlet.untold -= 1
                self._untold -= 1
        elif outlet in outlets:
            outlets.remove(outlet)
            if not outlets:
                del self._subscribed[topic_]
                for key in self._keys.get(topic_, ()):
                    if not self.wanted(key):
                        self._on_demand(key, False)
