"""How often the peers of one address may ask to play or publish.

A join costs a worker and the routers some tenths of a millisecond, its end as much: a peer that plays and
stops without end makes work for all. What is too much is not refused, it waits: an office of one address
that comes back after an outage is let in, a little later.
"""

from __future__ import annotations

from cluster.edge.peers.addresses import network_of
from cluster.process.stranger_lines import host_of

#: Requests a second of one address, once its burst is used up.
JOINS_PER_S = 200
#: At once: the viewers of a company, a wall of players, all encoders of a site after an outage.
JOINS_AT_ONCE = 2_000
#: Addresses that are kept track of. Beyond it those that have not used their burst for some time are
#: forgotten, which changes nothing for them.
MAX_ADDRESSES = 10_000

#: A shorter wait is not worth a task.
_LEAST_WAIT_S = 0.001
_BURST_S = JOINS_AT_ONCE / JOINS_PER_S


def sender_of(peer: str) -> str:
    """Whom the requests of ``peer`` (HOST:PORT) are counted for: its address, or its /64 of IPv6."""
    return network_of(host_of(peer))


class JoinRates:
    """A token bucket for each address that has asked lately."""

    def __init__(self) -> None:
        self._paid_until: dict[str, float] = {}

    def wait_s(self, peer: str, now: float) -> float:
        """Count a request of ``peer``; how long it has to wait, in seconds."""
        sender = sender_of(peer)
        paid_until = max(self._paid_until.get(sender, 0.0), now - _BURST_S) + 1 / JOINS_PER_S
        if len(self._paid_until) >= MAX_ADDRESSES and sender not in self._paid_until:
            self._forget(now)
        self._paid_until[sender] = paid_until
        wait_s = paid_until - now
        return wait_s if wait_s >= _LEAST_WAIT_S else 0.0

    def _forget(self, now: float) -> None:
        """Drop those who have their whole burst again, or else everybody."""
        since = now - _BURST_S
        self._paid_until = {sender: at for sender, at in self._paid_until.items() if at > since}
        if len(self._paid_until) >= MAX_ADDRESSES:
            self._paid_until.clear()
