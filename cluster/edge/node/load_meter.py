"""What a worker tells the routers of its load, for whoever looks at the cluster."""

from __future__ import annotations

from cluster.edge.streams.counters import Counters


class LoadMeter:
    """Reads the load of one worker off its ``counters``; rates are those since the last time."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._before = (0, 0, 0.0)

    def measure(self, streams: int, now: float) -> dict[str, float]:
        """The load at ``now``, by name: bytes since the worker started, and bits a second."""
        counters = self._counters
        received, sent, then = self._before
        self._before = (counters.bytes_received, counters.bytes_sent, now)
        elapsed_s = max(now - then, 0.001)
        return {
            "connections": counters.connections,
            "streams": streams,
            "bytes_received": counters.bytes_received,
            "bytes_sent": counters.bytes_sent,
            "bits_received_per_s": round(8 * (counters.bytes_received - received) / elapsed_s),
            "bits_sent_per_s": round(8 * (counters.bytes_sent - sent) / elapsed_s),
            "routers": counters.routers,
            "routers_live": counters.routers_live,
        }
