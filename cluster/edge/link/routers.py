"""The routers that a worker has."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.core.bus import placement
from cluster.core.bus.bounds import HELLO_PART_BYTES, ROUTER_GONE_S
from cluster.core.bus.cluster_status import StreamFacts, fitting
from cluster.core.bus.control import Report
from cluster.edge.link.interfaces import LinkCounters
from cluster.edge.link.peer import RouterPeer


class LinkRouters:
    """``cluster``: the routers of the cluster, by address. ``own``: beside them that of this node, which
    only knows its workers; None where it is the cluster's only one."""

    def __init__(self) -> None:
        self.cluster: dict[str, RouterPeer] = {}
        self.own: RouterPeer | None = None

    def all(self) -> list[RouterPeer]:
        return [*self.cluster.values()] if self.own is None else [*self.cluster.values(), self.own]

    def live(self) -> list[str]:
        """The addresses of the cluster's routers that answer."""
        return [name for name, peer in self.cluster.items() if peer.is_live]

    def troubles(self, now: float) -> dict[str, str | None]:
        """What is wrong with each of those, by its address."""
        return {name: peer.trouble(now) for name, peer in self.cluster.items()}

    def may_answer(self, now: float) -> bool:
        """Whether one of those answers, or has done so a moment ago and may be back in a moment."""
        return any(peer.is_live or now - peer.away_since < ROUTER_GONE_S for peer in self.cluster.values())

    def first(self, key: str) -> RouterPeer | None:
        """The one of those that ``key`` belongs to."""
        name = placement.first(key, self.live())
        return None if name is None else self.cluster[name]

    def report(self, streams: Sequence[StreamFacts]) -> None:
        """Tell the node's own of ``streams``, if it has others told; if not, each that answers."""
        own = self.live_own()
        to = [own] if own is not None and own.tells_others else self.all()
        due = [peer for peer in to if peer.is_live and (streams or peer.knows_streams)]
        if due:
            report = Report(fitting(streams, HELLO_PART_BYTES))
        for peer in due:
            if peer.send(report):
                peer.knows_streams = bool(streams)

    def count(self, counters: LinkCounters) -> None:
        """How far each of those is away, and by how much its host's time of day is ahead."""
        cluster = self.cluster
        counters.router_round_trip_seconds = {name: peer.round_trip_s for name, peer in cluster.items()}
        counters.router_clock_offset_seconds = {
            name: peer.wall_offset_s for name, peer in cluster.items() if peer.wall_offset_s is not None
        }

    def clock_offset_us(self, name: str) -> int | None:
        """How far the clock of the router with this address is ahead; None while that is not known."""
        own = self.own
        peer = own if own is not None and own.name == name else self.cluster.get(name)
        return None if peer is None else peer.clock_offset_us

    def live_own(self) -> RouterPeer | None:
        """The node's own, if it answers."""
        return self.own if self.own is not None and self.own.is_live else None
