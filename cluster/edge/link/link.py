"""The link: everything one worker has to do with the routers, behind one small interface.

    LinkRouters     which routers there are: those of the cluster, and the node's own beside them
    LinkInput       envelopes of other workers' streams that are played here
    LinkOutput      envelopes of this worker's streams, and who wants them     (an XPUB for each router)
    RouterPeer      one router: control, liveness, subscriptions at its repeater  (a DEALER and a SUB each)
    LinkOrigins     which streams are published here, and by whose grant
    LinkWatches     which streams published elsewhere are played here, and at which router
    Snapshot...     late joins, asked for and answered

It lives on the running event loop and uses plain non-blocking sockets. Nothing in it waits for a
router except ``request_publish``, and that not for long.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import Reach
from cluster.bus.router_names import RouterNames
from cluster.core.bus import bounds, control
from cluster.core.bus.bounds import HEARTBEAT_INTERVAL_S, LOCAL_HEARTBEAT_INTERVAL_S
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import ControlMessage, Granted, Refused
from cluster.core.bus.endpoints import Endpoints, at_repeater
from cluster.core.bus.endpoints import endpoints as parse_endpoints
from cluster.core.bus.hello_parts import parts_of
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.packing import MessageLike
from cluster.edge.link.epoch_guard import EpochGuard
from cluster.edge.link.input import LinkInput
from cluster.edge.link.interfaces import LinkCounters, LinkHandler
from cluster.edge.link.origins import LinkOrigins
from cluster.edge.link.output import LinkOutput
from cluster.edge.link.peer import RouterOwner, RouterPeer
from cluster.edge.link.routers import LinkRouters
from cluster.edge.link.snapshots import SnapshotAnswers, SnapshotRequests
from cluster.edge.link.watches import LinkWatches
from cluster.net.wake_ups import next_moment
from cluster.process.complaints import Complaints

__all__ = ["Link", "LinkCounters", "LinkHandler", "WorkerIdentity"]

logger = logging.getLogger(__name__)

#: With these a router names an epoch, or an origin does through it.
_NAMES_EPOCH = (control.Granted, control.StreamUp, control.Snapshot)


class Link:
    """One worker's link to the routers at ``endpoints``; EndpointError if one does not parse.

    Every worker of a cluster should be given the same routers: placement is by address. A host name
    stands for a router at each of its addresses. ``own_router``: the address of the node's own router;
    beside it are the repeaters through which the node gets media from the others. None if the node's own is
    the one of ``endpoints``, or if there is no node. ``on_routers_changed``: look at ``router_troubles``.
    ``on_question`` answers what whoever operates the cluster asks of this worker.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        identity: WorkerIdentity,
        handler: LinkHandler,
        counters: LinkCounters,
        *,
        key: ClusterKey | None = None,
        own_router: str | None = None,
        on_routers_changed: Callable[[], None] = lambda: None,
        on_question: Callable[[bytes], bytes] = lambda _: b"",
    ) -> None:
        routers = [parse_endpoints(endpoint) for endpoint in dict.fromkeys(endpoints)]
        self._fixed = [router for router in routers if not router.is_name]
        self._names = RouterNames([router for router in routers if router.is_name], self._names_resolved)
        self._has_names = len(self._fixed) < len(routers)
        self._resolver: asyncio.Task[None] | None = None
        self._key = key
        self._own_router = own_router
        self._identity = identity
        self._worker_id = identity.worker_id
        self._handler = handler
        self._counters = counters
        self._load: Mapping[str, float] = {}
        self._on_routers_changed = on_routers_changed
        self.routers = LinkRouters()
        self._origins = LinkOrigins(handler, self.routers, self._origin_changed)
        self.watches = LinkWatches(handler, self.routers, self._origins.epochs)
        self._requests = SnapshotRequests(self.watches.feed)
        all_local = all(router.is_local for router in routers)
        self._beat_interval_s = LOCAL_HEARTBEAT_INTERVAL_S if all_local else HEARTBEAT_INTERVAL_S
        self._timer: asyncio.TimerHandle | None = None
        self._epochs = EpochGuard(counters)
        self._input = LinkInput(handler, counters, self._worker_id, self.watches, self._epochs)
        self._watches_refused = Complaints(logger, "watch_refused")
        self._shared_name = Complaints(logger, "name_shared")
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._as_owner = RouterOwner(
            make_hello=self._make_hello, on_control=self._control_received,
            on_envelope=self._input.received, on_stamped=self._input.stamped,
            on_lost=self._router_lost, on_refused=self._router_refused,
        )  # fmt: skip
        self._reactions: dict[type, Callable[[RouterPeer, Any], object]] = {
            control.Welcome: self._welcomed,
            control.Granted: self._origins.granted,
            control.Refused: lambda _, message: self._origins.refused(message),
            control.Contested: lambda _, message: self._origins.contested(message),
            control.Contest: self._origins.contest,
            control.Revoked: lambda _, message: self._origins.revoked(message),
            control.StreamUp: self._stream_up,
            control.StreamDown: self._stream_down,
            control.SnapshotRequest: lambda peer, message: self._answers.requested(peer, message),
            control.Snapshot: lambda _, message: self._snapshot_received(message),
            control.NameShared: lambda _, message: self._name_shared(message),
            control.Question: lambda peer, asked: peer.send(
                control.Answer(asked.request_id, on_question(asked.text), asked.asker)
            ),
        }

    async def start(self) -> None:
        """Connect to every router, whether or not it is there; only a name is waited for, and not long."""
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        self.output = LinkOutput(
            self._context, self._loop, self._worker_id, self._demand_changed, self._counters, self._key,
            self.routers.clock_offset_us,
        )  # fmt: skip
        self._answers = SnapshotAnswers(
            self._loop, self._handler, self._worker_id, self.output, self._origins.epochs, self._counters
        )
        if self._own_router is not None:
            self.routers.own = self._open(parse_endpoints(self._own_router))
        for router in self._fixed:
            self._add_router(router)
        if self._has_names:
            await self._names.resolve()
            self._resolver = self._loop.create_task(self._names.run())
        self.watches.place_all(self._loop.time())
        self._tick()

    async def close(self) -> None:
        """Say goodbye to every router and close all sockets; without effect on a link not started."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        for retry in self._retries.values():
            retry.cancel()
        if self._resolver is not None:
            self._resolver.cancel()
            await asyncio.gather(self._resolver, return_exceptions=True)
        self._origins.close()
        self._answers.close()
        for peer in self.routers.all():
            peer.close()
        self.output.close()
        await self._loop.run_in_executor(None, self._context.term)

    # ---- publishing ------------------------------------------------------------------------------

    async def request_publish(self, key: str, *, replace: bool) -> Granted | Refused:
        """Ask to become the origin of ``key``.

        A router answers, asking the present origin first if there is one. If none does within
        GRANT_TIMEOUT_S the node's own is asked; if that does not either, the link grants by itself.
        Refused is for ``busy`` or ``draining``.
        """
        return await self._origins.request(key, replace)

    def unpublish(self, key: str, epoch: int) -> None:
        """The publisher of ``epoch`` is gone; without effect if that is known already."""
        self._origins.unpublish(key, epoch)

    def wanted(self, key: str) -> bool:
        """Whether any other worker plays ``key``; false before the link is started."""
        return self.output.wanted(key)

    def publish(
        self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike], *, more: bool = False,
        waited_s: float | None = None,
    ) -> None:  # fmt: skip
        """Send ``messages`` of a stream published here, as one envelope, if any other worker wants them.

        ``more``: others are to be sent in the same turn; it may wait for them, to leave together.
        ``waited_s``: have it say when it was sent, and that its newest message had been here so long.
        """
        self.output.publish(key, epoch, first_seq, messages, more=more, waited_s=waited_s)

    # ---- playing ---------------------------------------------------------------------------------

    def watch(self, key: str) -> None:
        """Be told of the origin of a stream, and then subscribe to it; while it is published here, neither.

        One more than MAX_WATCHES is not watched: who waits for it hears of no origin elsewhere.
        """
        if not self.watches.add(key, self._loop.time()):
            self._counters.watches_refused += 1
            self._watches_refused.warn("too many streams of other workers are waited for: not watched")

    def unwatch(self, key: str) -> None:
        """The end of a watch."""
        self.watches.discard(key)
        self._requests.forget(key)

    def request_snapshot(self, key: str) -> None:
        """Ask the origin of a watched stream; repeated until it is answered or the stream is down."""
        if key in self.watches:
            now = self._loop.time()
            self._requests.request(key, now)
            if self._timer is not None and self._timer.when() > now + HEARTBEAT_INTERVAL_S:
                self._timer.cancel()
                self._timer = self._loop.call_at(now + HEARTBEAT_INTERVAL_S, self._tick)

    # ---- the worker ------------------------------------------------------------------------------

    def set_load(self, load: Mapping[str, float]) -> None:
        """What heartbeats say of this worker's load from now on."""
        self._load = dict(load)

    def report(self, streams: list[StreamFacts]) -> None:
        """What there is to say of this worker's streams, for the cluster's status; now and then.

        Routers are told of as many as fit into one message: more than 10,000.
        """
        self.routers.report(streams)

    def set_draining(self, draining: bool = True) -> None:
        """Whether this worker is granted no publish from now on."""
        self._origins.draining = draining

    @property
    def live_routers(self) -> list[str]:
        """The addresses of the cluster's routers that answer."""
        return self.routers.live()

    def router_troubles(self) -> dict[str, str | None]:
        """What is wrong with each router of the cluster, as ``RouterPeer.trouble`` has it."""
        unknown = {name: f"{Reach.NO_NAME.why}: {why}" for name, why in self._names.failed.items()}
        return self.routers.troubles(self._loop.time()) | unknown

    # ---- time ------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self._loop.time()
        self._epochs.tick()
        # First, so that an error below cannot end the heartbeats unseen.
        interval_s = HEARTBEAT_INTERVAL_S if self._requests else self._beat_interval_s
        self._timer = self._loop.call_at(next_moment(now, interval_s), self._tick)
        self.output.tick(now)
        for peer in self.routers.all():
            peer.beat(now, self._make_heartbeat)
        self.watches.tick(now)
        self._requests.tick(now)

    def _make_heartbeat(self, messages: int, sent_us: int) -> control.Heartbeat:
        said = self._load, self._origins.draining, messages
        return control.TimedHeartbeat(*said, sent_us) if sent_us else control.Heartbeat(*said)

    def _make_hello(self, peer: RouterPeer) -> list[control.Hello | control.HelloPart]:
        identity = self._identity
        hello = control.Hello(
            identity.node, identity.instance, identity.slot, identity.incarnation,
            self._origins.draining, self._load, list(self._origins.epochs.items()),
            self.watches.keys_at(peer),
        )  # fmt: skip
        return parts_of(hello)

    # ---- routers come and go ---------------------------------------------------------------------

    def _add_router(self, router: Endpoints, before: RouterPeer | None = None) -> None:
        self.routers.cluster[router.base] = self._open(self._reached(router), before)

    def _reached(self, router: Endpoints) -> Endpoints:
        return router if self._own_router is None else at_repeater(router, self._own_router)

    def _open(self, router: Endpoints, before: RouterPeer | None = None) -> RouterPeer:
        self.output.add_router(router)
        return RouterPeer(
            self._context, self._loop, router, self._worker_id,
            owner=self._as_owner, counters=self._counters, key=self._key, before=before,
        )  # fmt: skip

    def _names_resolved(self, found: set[str]) -> None:
        """The routers there are by name; one that is gone from there is kept for as long as it answers."""
        now = self._loop.time()
        cluster = self.routers.cluster
        added = sorted(name for name in found - cluster.keys() if self._has_repeater(name))
        for name in added:
            self._add_router(parse_endpoints(name))
        if added:
            self.watches.place_all(now)
        fixed = {router.base for router in self._fixed}
        for name in cluster.keys() - found - fixed:
            if not cluster[name].is_live:
                self._remove_router(name, now)

    def _has_repeater(self, name: str) -> bool:
        """The node looks names up as well; until it has found a router, nothing would come from there."""
        if self._own_router is None:
            return True
        subscribe = self._reached(parse_endpoints(name)).subscribe
        return Path(subscribe.removeprefix("ipc://")).exists()

    def _remove_router(self, name: str, now: float) -> None:
        peer = self.routers.cluster.pop(name)
        self.watches.removed(peer, now)
        peer.close()
        self.output.remove_router(name)

    def _router_lost(self, peer: RouterPeer) -> None:
        self._counters.routers_live = len(self.live_routers)
        self.watches.lost(peer, self._loop.time())
        self._on_routers_changed()

    def _router_refused(self, peer: RouterPeer) -> None:
        """libzmq gives up some connections for good once they are refused, and a router may be given
        another key: it is tried again."""
        if peer.name not in self._retries:
            retry = self._loop.call_later(bounds.REFUSED_RETRY_S, self._try_again, peer)
            self._retries[peer.name] = retry
            self._on_routers_changed()

    def _try_again(self, peer: RouterPeer) -> None:
        del self._retries[peer.name]
        if self.routers.cluster.get(peer.name) is peer and not peer.is_live:
            self._remove_router(peer.name, self._loop.time())
            self._add_router(parse_endpoints(peer.name), before=peer)
            self.watches.place_all(self._loop.time())

    # ---- what arrives ----------------------------------------------------------------------------

    def _control_received(self, peer: RouterPeer, message: ControlMessage) -> None:
        react = self._reactions.get(type(message))
        if react is None:
            return
        if isinstance(message, _NAMES_EPOCH) and self._epochs.refuses(message.key, message.epoch):
            if isinstance(message, control.Granted):
                peer.send(control.Unpublish(message.key, message.epoch))
            return
        react(peer, message)

    def _demand_changed(self, key: str, wanted: bool) -> None:
        self._handler.demand_changed(key, wanted)
        if wanted:
            self._answers.demand_seen(key)

    def _welcomed(self, peer: RouterPeer, _: control.Welcome) -> None:
        now = self._loop.time()
        self._counters.routers_live = len(self.live_routers)
        self.watches.place_all(now)
        self.watches.welcomed(peer, now)
        self._origins.peers_changed()
        self._on_routers_changed()

    def _stream_up(self, peer: RouterPeer, message: control.StreamUp) -> None:
        self._origins.source_seen(message.key, message.epoch)
        if self.watches.stream_up(peer, message, self._loop.time()):
            self._requests.forget(message.key)  # it went to the origin before
            self._handler.stream_up(message.key, message.epoch, message.origin)

    def _stream_down(self, peer: RouterPeer, message: control.StreamDown) -> None:
        if self.watches.stream_down(peer, message, self._loop.time()):
            self._requests.forget(message.key)

    def _snapshot_received(self, snapshot: control.Snapshot) -> None:
        if snapshot.key in self.watches and snapshot.origin != self._worker_id:
            self._requests.answered(snapshot.key)
            self._counters.snapshots_received += 1
            self._handler.snapshot_received(snapshot)

    def _name_shared(self, shared: control.NameShared) -> None:
        """Each router says so, to one worker of this node."""
        identity = self._identity
        self._shared_name.warn(
            f"{len(shared.instances)} nodes share the name {identity.node} (this one is instance "
            f"{identity.instance}): give each its own with --node-name, to tell them apart"
        )

    def _origin_changed(self, key: str, watched: bool) -> None:
        self._requests.forget(key)
        if key in self._origins.epochs:
            early_until = self._loop.time() + bounds.EARLY_S if watched else None
            self.output.add_key(key, self._origins.epochs[key], early_until)
        else:
            self.output.remove_key(key)
        self.watches.origin_changed(key, self._loop.time())
