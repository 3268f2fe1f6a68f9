"""Who holds the places of a worker: newcomers, players, publishers.

A connection is *half-open* until it asks to publish, to play, or to use a shared object; before, inside
and after its handshakes. Half-open ones cost a stranger least, so they never shut anybody out: when there
are too many, the oldest makes room for the newest. Players may take all places but a reserve, which is for
those who publish. All of it costs the same however many there are, and nothing per message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING

from cluster.core.errors import CloseReason
from cluster.edge.peers.addresses import Addresses, Network
from cluster.edge.peers.roster import Roster

if TYPE_CHECKING:
    from cluster.edge.peers.shared_counts import SharedCounts

#: Half-open connections of one network, of all that are allowed: a flood from one address evicts its own.
HALF_OPEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PlaceBounds:
    """``players``: connections that do not publish. ``from_one_network`` and ``new_per_s`` (also of one
    network): 0 is any number. ``proxies``: whose connections begin with a header of the PROXY protocol."""

    connections: int
    players: int
    half_open: int
    from_one_network: int = 0
    new_per_s: int = 0
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()


class Place:
    """What one connection takes. ``evict`` closes it while it is half-open."""

    __slots__ = ("evict", "is_counted", "network", "plays")

    def __init__(self, network: Network, *, is_counted: bool) -> None:
        self.network = network
        #: The network has one connection more for it.
        self.is_counted = is_counted
        #: The connection counts as a player.
        self.plays = False
        self.evict: Callable[[], None] = _nothing

    @property
    def is_half_open(self) -> bool:
        return self in self.network.half_open


def _nothing() -> None:
    pass


class Places:
    """The places of one worker. ``counts``: where it counts addresses together with the node's others."""

    def __init__(self, bounds: PlaceBounds, counts: SharedCounts | None = None) -> None:
        is_bounded = bounds.from_one_network or bounds.new_per_s
        self.addresses = Addresses(bounds.new_per_s, counts if is_bounded else None)
        self.roster = Roster()
        self._bounds = bounds
        #: Of all that have come through a proxy and not said from where.
        self._nowhere = Network("")
        self._half_open: OrderedDict[Place, None] = OrderedDict()
        self._half_open_of_network = max(1, int(bounds.half_open * HALF_OPEN_SHARE))
        self._taken = 0
        self._players = 0
        self._numbered = 0

    def __len__(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def half_open(self) -> int:
        return len(self._half_open)

    def is_proxy(self, host: str) -> bool:
        """Whether ``host``, a numeric address, has to say whose connection it passes on."""
        proxies = self._bounds.proxies
        if not proxies:
            return False
        address = ip_address(host)
        return any(address in network for network in proxies)

    def next_number(self) -> int:
        """The number of a connection that comes: each is the only one of its worker."""
        self._numbered += 1
        return self._numbered

    def take(self, host: str, now: float) -> Place | CloseReason:
        """A place for a new connection from ``host``, or the reason why it gets none. Another may be
        evicted for it, whose owner calls ``leave`` at once."""
        network = self._admitted(host, now)
        if isinstance(network, CloseReason):
            return network
        if not self._evict_own(network):
            self._make_room()
        if self._taken >= self._bounds.connections:
            self.addresses.left(network, now)
            return CloseReason.TOO_MANY_CONNECTIONS
        return self._new(network, is_counted=True)

    def take_nameless(self) -> Place | CloseReason:
        """A place for what comes from a proxy, which is to say whose connection it is. Until then, and for
        the proxy's own, no address is counted; the oldest half-open one of the worker makes room."""
        self._make_room()
        if self._taken >= self._bounds.connections:
            return CloseReason.TOO_MANY_CONNECTIONS
        return self._new(self._nowhere, is_counted=False)

    def name(self, place: Place, host: str, now: float) -> CloseReason | None:
        """The holder of a nameless place comes from ``host``; the reason if that may not have one more, in
        which case its owner calls ``leave``."""
        network = self._admitted(host, now)
        if isinstance(network, CloseReason):
            return network
        self._evict_own(network)
        del place.network.half_open[place]
        place.network, place.is_counted = network, True
        network.half_open[place] = None
        return None

    def _admitted(self, host: str, now: float) -> Network | CloseReason:
        """The network of ``host``, which has one connection more, if it may."""
        most, addresses = self._bounds.from_one_network, self.addresses
        network = addresses.network(host)
        if (most and addresses.connections_of(network) >= most) or addresses.is_too_fast(network, now):
            addresses.tidy(network, now)
            return CloseReason.TOO_MANY_FROM_ADDRESS
        addresses.joined(network, now)
        return network

    def _evict_own(self, network: Network) -> bool:
        """If ``network`` has as many half-open ones as it may, its oldest goes."""
        if len(network.half_open) < self._half_open_of_network:
            return False
        next(iter(network.half_open)).evict()
        return True

    def _make_room(self) -> None:
        """If there are as many as there may be, the oldest half-open one goes."""
        bounds = self._bounds
        is_full = len(self._half_open) >= bounds.half_open or self._taken >= bounds.connections
        if self._half_open and is_full:
            next(iter(self._half_open)).evict()

    def _new(self, network: Network, *, is_counted: bool) -> Place:
        place = Place(network, is_counted=is_counted)
        network.half_open[place] = self._half_open[place] = None
        self._taken += 1
        return place

    def may_play(self, place: Place) -> bool:
        """The holder asks to play: False if the places that are left are for publishers."""
        if place.is_half_open:
            if self._players >= self._bounds.players:
                return False
            self._settle(place)
            place.plays = True
            self._players += 1
        return True

    def publishes(self, place: Place) -> None:
        """The holder asks to publish."""
        self._settle(place)
        self._stop_playing(place)

    def leave(self, place: Place, now: float) -> None:
        """The connection that held it is over."""
        self._settle(place)
        self._stop_playing(place)
        place.evict = _nothing  # no circle, if the connection has its place
        self._taken -= 1
        self.ends(place, now)

    def ends(self, place: Place, now: float) -> None:
        """The connection is told its end. It does not count for its address any more, though the peer may
        take a while to leave: who is sent away to come back with credentials comes back at once."""
        if place.is_counted:
            place.is_counted = False
            self.addresses.left(place.network, now)

    def _settle(self, place: Place) -> None:
        self._half_open.pop(place, None)
        place.network.half_open.pop(place, None)

    def _stop_playing(self, place: Place) -> None:
        if place.plays:
            place.plays = False
            self._players -= 1
