"""The numbers of one router for Prometheus, read from its own counters as they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.net.metrics_page import buckets, build_info
from cluster.net.stream_metrics import stream_families
from cluster.process import usage
from cluster.process.logs import lines_lost
from cluster.router.counters import COUNTERS, REFUSALS, refused

if TYPE_CHECKING:
    from cluster.router.router import Router

_PREFIX = "rtmp_cluster_router_"

#: What ``Router.sizes`` tells.
_SIZES = {
    "workers": "Workers that this router knows now.",
    "streams": "Streams that are published in the cluster now.",
    "watched_keys": "Stream keys that some worker plays, or waits for, now.",
}


class RouterNumbers(Collector):
    """Collected by the HTTP server's threads. Nothing is locked: each number is read at once."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def collect(self) -> Iterable[Metric]:
        yield from self._counted()
        sizes = self._router.sizes()
        for name, help in _SIZES.items():
            yield GaugeMetricFamily(_PREFIX + name, help, value=sizes[name])
        delays = HistogramMetricFamily(
            _PREFIX + "publish_delay_seconds",
            "How long media of workers takes to this router, by a probe of each that publishes, every 2 s.",
        )
        numbers = self._router.publish_delays
        delays.add_metric([], buckets(numbers), numbers[0])
        yield delays
        yield from stream_families(_PREFIX, self._router.top_streams(), with_delay=False)
        yield GaugeMetricFamily(
            _PREFIX + "process_memory_bytes", "Resident memory of the process.", value=usage.memory_bytes()
        )
        yield build_info()

    def _counted(self) -> Iterator[Metric]:
        counters = self._router.counters
        for name, help in COUNTERS.items():
            yield CounterMetricFamily(_PREFIX + name, help, value=counters[name])
        yield CounterMetricFamily(
            _PREFIX + "peers_refused",
            "Connections refused: of peers with another cluster key, with none, or that hung up at once.",
            value=self._router.peers_refused,
        )
        yield CounterMetricFamily(
            _PREFIX + "proxy_resumed",
            "Times the proxy was begun anew after something that a peer has no right to send.",
            value=self._router.proxy_resumed,
        )
        family = CounterMetricFamily(
            _PREFIX + "refused", "What was not taken from workers, by reason.", labels=["reason"]
        )
        for reason in REFUSALS:
            family.add_metric([reason], counters[refused(reason)])
        yield family
        lost = "Lines of the log that could not be written in time, and are missing."
        yield CounterMetricFamily(_PREFIX + "log_lines_lost", lost, value=lines_lost())
        cpu = "CPU time that the process has used, user and system, in seconds."
        yield CounterMetricFamily(_PREFIX + "process_cpu_seconds", cpu, value=usage.cpu_seconds())
