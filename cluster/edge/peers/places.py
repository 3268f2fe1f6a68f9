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

from cluster.core.errors import CloseReason
from cluster.edge.peers.addresses import Addresses, Network
from cluster.edge.peers.roster import Roster

#: Half-open connections of one network, of all that are allowed: a flood from one address evicts its own.
HALF_OPEN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PlaceBounds:
    """``players``: connections that do not publish. ``from_one_network`` and ``new_per_s`` (also of one
    network): 0 is any number."""

    connections: int
    players: int
    half_open: int
    from_one_network: int = 0
    new_per_s: int = 0


class Place:
    """What one connection takes. ``evict`` closes it while it is half-open."""

    __slots__ = ("evict", "network", "plays")

    def __init__(self, network: Network) -> None:
        self.network = network
        #: The connection counts as a player.
        self.plays = False
        self.evict: Callable[[], None] = _nothing

    @property
    def is_half_open(self) -> bool:
        return self in self.network.half_open


def _nothing() -> None:
    pass


class Places:
    """The places of one worker."""

    def __init__(self, bounds: PlaceBounds) -> None:
        self.addresses = Addresses(bounds.new_per_s)
        self.roster = Roster()
        self._bounds = bounds
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

    def next_number(self) -> int:
        """The number of a connection that comes: each is the only one of its worker."""
        self._numbered += 1
        return self._numbered

    def take(self, host: str, now: float) -> Place | CloseReason:
        """A place for a new connection from ``host``, or the reason why it gets none. Another may be
        evicted for it, whose owner calls ``leave`` at once."""
        bounds, addresses = self._bounds, self.addresses
        network = addresses.network(host)
        too_many = bounds.from_one_network and network.connections >= bounds.from_one_network
        if too_many or addresses.is_too_fast(network, now):
            addresses.tidy(network, now)
            return CloseReason.TOO_MANY_FROM_ADDRESS
        addresses.joined(network, now)
        if len(network.half_open) >= self._half_open_of_network:
            next(iter(network.half_open)).evict()
        elif self._half_open and (
            len(self._half_open) >= bounds.half_open or self._taken >= bounds.connections
        ):
            next(iter(self._half_open)).evict()
        if self._taken >= bounds.connections:
            addresses.left(network, now)
            return CloseReason.TOO_MANY_CONNECTIONS
        place = Place(network)
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
        self.addresses.left(place.network, now)

    def _settle(self, place: Place) -> None:
        self._half_open.pop(place, None)
        place.network.half_open.pop(place, None)

    def _stop_playing(self, place: Place) -> None:
        if place.plays:
            place.plays = False
            self._players -= 1
