"""Log lines that peers cause: those of strangers, that came and went without having been served, above all.

Whoever reaches a port can cause one with each connection. The first few of each second are written as any
other line. The rest is counted, and one line now and then says how many there were, why and from where.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from collections.abc import Callable, Mapping

#: How many lines of each second are written. Nobody reads more than these, and they are some 3 kB a second:
#: a disk takes that for as long as a flood may last.
LINES_PER_SECOND = 10

#: How often the rest is summed up in a line.
SUM_EVERY_S = 10.0

#: How many networks are told apart between two such lines, and how many are shown in one: those with the
#: most peers. Peers from further networks are counted as from elsewhere, so that memory stays bounded.
MAX_NETWORKS = 1_000
SHOWN_NETWORKS = 5
ELSEWHERE = "elsewhere"


class StrangerLines:
    """The lines of one process about peers to whom ``what`` has happened: "closed", "refused".

    ``event`` is that of the sums, ``per_s`` how many lines of a second are written
    (None: LINES_PER_SECOND).
    """

    def __init__(
        self, logger: logging.Logger, what: str, clock: Callable[[], float], *,
        event: str = "strangers_summed", per_s: int | None = None,
    ) -> None:  # fmt: skip
        self._logger = logger
        self._what = what
        self._event = event
        self._per_s = LINES_PER_SECOND if per_s is None else per_s
        self._clock = clock
        self._second_began_at = clock()
        self._lines = 0
        self._summed_since = 0.0
        self._level = logging.NOTSET
        self._reasons: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()

    def admit(self, level: int, reason: str, host: str) -> bool:
        """Whether the caller is to log a line about ``host``; if not, it is counted for the sum."""
        if not self._logger.isEnabledFor(level):
            return False
        now = self._clock()
        if now - self._second_began_at >= 1.0:
            self._second_began_at, self._lines = now, 0
        if self._lines < self._per_s:
            self._lines += 1
            return True
        if not self._reasons:
            self._summed_since = now
        self._level = max(self._level, level)
        self._reasons[reason] += 1
        network = network_of(host)
        known = network in self._networks or len(self._networks) < MAX_NETWORKS
        self._networks[network if known else ELSEWHERE] += 1
        return False

    def tick(self) -> None:
        """Log the sum if it is time; call this every second or so."""
        if self._reasons and self._clock() - self._summed_since >= SUM_EVERY_S:
            self.log_sum()

    def log_sum(self) -> None:
        """Log what has been summed, if anything has."""
        if not self._reasons:
            return
        count = self._reasons.total()
        networks = dict(self._networks.most_common(SHOWN_NETWORKS))
        if others := count - sum(networks.values()):
            networks[ELSEWHERE] = networks.get(ELSEWHERE, 0) + others
        reasons = dict(self._reasons.most_common())
        seconds = round(self._clock() - self._summed_since, 1)
        message = (
            f"{self._what} %(count)d more in %(seconds)g s: {_spelled(reasons)}; from {_spelled(networks)}"
        )
        fields = {"count": count, "seconds": seconds, "reasons": reasons, "networks": networks}
        self._logger.log(self._level, message, fields, extra={"event": self._event})
        self._level = logging.NOTSET
        self._reasons.clear()
        self._networks.clear()


def host_of(peer: str) -> str:
    """The address in ``HOST:PORT`` or ``[IPV6]:PORT``. A name that is neither stands for itself."""
    return peer.rpartition(":")[0].strip("[]") or peer


def network_of(host: str) -> str:
    """The network ``host`` belongs to: /24 of IPv4, /64 of IPv6. What is no address stands for itself."""
    if "." in host:
        three, _, last = host.rpartition(":")[2].rpartition(".")  # also of IPv4 within IPv6
        return f"{three}.0/24" if three.count(".") == 2 and last.isdecimal() else host
    try:
        prefix = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])[:8]
    except OSError:
        return host
    return socket.inet_ntop(socket.AF_INET6, prefix + bytes(8)) + "/64"


def _spelled(counts: Mapping[str, int]) -> str:
    """``a 3, b 2``, for a message that is formatted."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()).replace("%", "%%")
