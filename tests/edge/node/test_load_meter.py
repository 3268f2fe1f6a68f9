"""What a worker tells the routers of its load."""

from __future__ import annotations

from cluster.edge.node.load_meter import LoadMeter
from cluster.edge.streams.counters import Counters


def test_rates_are_those_since_the_last_time() -> None:
    counters = Counters()
    meter = LoadMeter(counters)
    meter.measure(streams=0, now=100.0)
    counters.connections, counters.bytes_received, counters.bytes_sent = 3, 1_000, 50_000
    counters.routers, counters.routers_live = 2, 1
    assert meter.measure(streams=4, now=102.0) == {
        "connections": 3, "streams": 4, "bytes_received": 1_000, "bytes_sent": 50_000,
        "bits_received_per_s": 4_000, "bits_sent_per_s": 200_000, "routers": 2, "routers_live": 1,
    }  # fmt: skip
    assert meter.measure(streams=4, now=102.0)["bits_sent_per_s"] == 0, "nothing since"
