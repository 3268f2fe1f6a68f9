"""Who connects from where: connections by network, in this worker and in the others of its node.

A network is an IPv4 address, or a /64 of IPv6, which is what one customer has. An entry lives while it has
a connection, or a rate to remember, so that a million addresses that came once leave nothing behind.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.edge.peers.places import Place
    from cluster.edge.peers.shared_counts import SharedCounts

#: So many seconds' worth of new connections may come from a network at once: its encoders come back
#: together after an outage, and all its viewers when an event begins.
BURST_S = 10.0
#: Networks without a connection whose rate is remembered. One that is forgotten too soon may connect a
#: burst more, which is nothing to whoever has so many networks.
MAX_REMEMBERED = 10_000

_NETWORK_BYTES = 8
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


def network_of(host: str) -> str:
    """The name of the network that ``host``, a numeric address, belongs to."""
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    if packed.startswith(_IPV4_IN_IPV6):
        return socket.inet_ntop(socket.AF_INET, packed[len(_IPV4_IN_IPV6) :])
    return socket.inet_ntop(socket.AF_INET6, packed[:_NETWORK_BYTES] + bytes(_NETWORK_BYTES))


@dataclass(slots=True, eq=False)
class Network:
    """``connections``: those open now; ``half_open`` of them have neither published nor played, the oldest
    comes first. ``paid_until``: until when its new connections use up its rate. ``id``: in the counts that
    workers share."""

    name: str
    connections: int = 0
    half_open: OrderedDict[Place, None] = field(default_factory=OrderedDict)
    paid_until: float = -inf
    id: int = 0


class Addresses:
    """The networks that one worker has to do with. ``per_s``: new connections of one; 0 is any number.

    ``counts``: where the workers of a node count together; None if there are no others, or nothing is
    limited.
    """

    def __init__(self, per_s: int, counts: SharedCounts | None = None) -> None:
        self._per_s = per_s
        self._counts = counts
        self._networks: dict[str, Network] = {}
        #: Of these, the ones without a connection, in the order in which they lost their last.
        self._remembered: OrderedDict[str, Network] = OrderedDict()

    def __len__(self) -> int:
        return len(self._networks)

    def network(self, host: str) -> Network:
        """The network of ``host``; to be followed by ``joined`` or ``tidy``."""
        name = network_of(host)
        network = self._networks.get(name)
        if network is None:
            network = self._networks[name] = Network(name)
            if self._counts is not None:
                network.id = self._counts.id_of("network", name)
        return network

    def connections_of(self, network: Network) -> int:
        """The connections of ``network`` that are open, in all workers."""
        if self._counts is None:
            return network.connections
        return network.connections + self._counts.count_elsewhere(network.id)

    def is_too_fast(self, network: Network, now: float) -> bool:
        """Whether one more connection would exceed the rate of ``network``."""
        return self._per_s > 0 and self._paid_with_one_more(network, now) > now

    def _paid_with_one_more(self, network: Network, now: float) -> float:
        # What another worker has let in meanwhile is in the time that it has written: the latest holds.
        elsewhere = 0.0 if self._counts is None else self._counts.until_elsewhere(network.id)
        return max(network.paid_until, elsewhere, now - BURST_S) + 1 / self._per_s

    def joined(self, network: Network, now: float) -> None:
        """``network`` has one connection more."""
        network.connections += 1
        self._remembered.pop(network.name, None)
        if self._per_s:
            network.paid_until = self._paid_with_one_more(network, now)
            if self._counts is not None:
                self._counts.set_until(network.id, network.paid_until)
        self._share(network)
        self._forget(now)

    def left(self, network: Network, now: float) -> None:
        """``network`` has one connection less."""
        network.connections -= 1
        self._share(network)
        self.tidy(network, now)

    def tidy(self, network: Network, now: float) -> None:
        """Forget a network without a connection: at once, or when its rate does not matter any more."""
        if not network.connections:
            self._remembered.setdefault(network.name, network)
        self._forget(now)

    def _share(self, network: Network) -> None:
        if self._counts is not None:
            self._counts.set_count(network.id, network.connections)

    def _forget(self, now: float) -> None:
        """Drop those that have their whole burst again. All take as long for that: they come in order."""
        while self._remembered:
            name, oldest = next(iter(self._remembered.items()))
            if oldest.paid_until > now - BURST_S and len(self._remembered) <= MAX_REMEMBERED:
                break
            del self._remembered[name], self._networks[name]
            if self._counts is not None:
                self._counts.forget(oldest.id)
