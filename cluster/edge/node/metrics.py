"""The node's numbers for Prometheus, from the last beats of its workers.

A worker that restarts begins to count at 0; what its predecessors in the same slot counted is kept
and added, so that no counter ever goes back. Gauges are the living worker's alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster.edge.streams.counters import DECLARATIONS, Declaration
from cluster.net.metrics_page import build_info
from cluster.process import usage
from cluster.process.logs import lines_lost

_PREFIX = "rtmp_cluster_"

Numbers = Mapping[str, Any]

#: What the process has that delivers events.
_OF_EVENTS: Mapping[str, Declaration] = {
    "events_sent": Declaration("counter", "Events that the receiver has taken."),
    "events_retried": Declaration("counter", "Attempts with an event that had failed before."),
    "events_dead": Declaration(
        "counter", "Events given up: they failed for a day, or the receiver wants no more (410)."
    ),
    "events_waiting": Declaration("gauge", "Events in the queue now."),
}
#: What it has as workers have it.
_SHARED_WITH_EVENTS = ("events_lost", "log_lines_lost", "process_cpu_seconds", "process_memory_bytes")

#: What the supervisor has too, with the node's own router and its repeaters in it.
_OF_SUPERVISOR: Mapping[str, Callable[[], float]] = {
    "log_lines_lost": lambda: lines_lost(),
    "process_cpu_seconds": usage.cpu_seconds,
    "process_memory_bytes": usage.memory_bytes,
}


class SlotNumbers:
    """The numbers of one worker slot over all its incarnations."""

    def __init__(self, declared: Mapping[str, Declaration] = DECLARATIONS) -> None:
        self._declared = declared
        self.restarts = 0
        self.silences = 0
        self.alive = False
        self._past: dict[str, Any] = {}
        self._current: Numbers = {}

    def beat(self, numbers: Numbers) -> None:
        """The living incarnation's own counts so far; names that are not declared are ignored."""
        self.alive = True
        self._current = numbers

    def ended(self) -> None:
        """The incarnation is gone: keep its counters, forget its gauges."""
        self._past = {
            name: self.value(name) for name, declared in self._declared.items() if declared.kind != "gauge"
        }
        self._current = {}
        self.alive = False

    def value(self, name: str) -> Any:
        """A number, or numbers by the values of a label."""
        past, current = self._past.get(name), self._current.get(name)
        if not self._declared[name].label:
            return (past or 0) + (current or 0)
        total = dict(past or {})
        for reason, count in (current or {}).items():
            total[reason] = total.get(reason, 0) + count
        return total


class NodeNumbers(Collector):
    """All slots of a node. The supervisor's loop writes, the HTTP server's threads collect."""

    def __init__(self, workers: int) -> None:
        self.draining = False
        self.reload_refused = False
        self._lock = threading.Lock()
        self._slots = [SlotNumbers() for _ in range(workers)]
        #: Of the process that delivers events, once there is one.
        self._events: SlotNumbers | None = None

    def beat(self, slot: int, numbers: Numbers) -> None:
        with self._lock:
            self._slots[slot].beat(numbers)

    def ended(self, slot: int) -> None:
        with self._lock:
            self._slots[slot].ended()

    def events_beat(self, numbers: Numbers) -> None:
        """What the process that delivers events has counted."""
        with self._lock:
            if self._events is None:
                shared = {name: DECLARATIONS[name] for name in _SHARED_WITH_EVENTS}
                self._events = SlotNumbers({**_OF_EVENTS, **shared})
            self._events.beat(numbers)

    def events_ended(self) -> None:
        """That process is gone."""
        with self._lock:
            if self._events is not None:
                self._events.ended()

    def restarted(self, slot: int) -> None:
        with self._lock:
            self._slots[slot].restarts += 1

    def silent(self, slot: int) -> None:
        with self._lock:
            self._slots[slot].silences += 1

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            return list(self._families())

    def _families(self) -> Iterator[Metric]:
        for name, declaration in DECLARATIONS.items():
            yield self._family(name, declaration)
        labels = ["worker"]
        restarts = CounterMetricFamily(_PREFIX + "worker_restarts", "Workers started again.", labels=labels)
        silences = CounterMetricFamily(
            _PREFIX + "worker_silences",
            "Times a worker was given no new connections because it did not beat.",
            labels=labels,
        )
        up = GaugeMetricFamily(_PREFIX + "worker_up", "1 while the worker runs.", labels=labels)
        for slot, numbers in enumerate(self._slots):
            restarts.add_metric([str(slot)], numbers.restarts)
            silences.add_metric([str(slot)], numbers.silences)
            up.add_metric([str(slot)], int(numbers.alive))
        yield restarts
        yield silences
        yield up
        for name, declaration in _OF_EVENTS.items():
            family = _kind(declaration)(_PREFIX + name, declaration.help)
            if self._events is not None:
                family.add_metric([], self._events.value(name))
            yield family
        help = "1 from the moment at which the node was asked to end."
        yield GaugeMetricFamily(_PREFIX + "draining", help, value=int(self.draining))
        help = "1 while the last SIGHUP was refused, because something was wrong."
        yield GaugeMetricFamily(_PREFIX + "reload_refused", help, value=int(self.reload_refused))
        yield build_info()

    def _family(self, name: str, declaration: Declaration) -> Metric:
        kind = _kind(declaration)
        if declaration.label:
            labelled = kind(_PREFIX + name, declaration.help, labels=["worker", declaration.label])
            for slot, numbers in enumerate(self._slots):
                for value, count in sorted(numbers.value(name).items()):
                    labelled.add_metric([str(slot), value], count)
            return labelled
        family = kind(_PREFIX + name, declaration.help, labels=["worker"])
        for slot, numbers in enumerate(self._slots):
            family.add_metric([str(slot)], numbers.value(name))
        if name in _OF_SUPERVISOR:
            family.add_metric(["supervisor"], _OF_SUPERVISOR[name]())
        if self._events is not None and name in _SHARED_WITH_EVENTS:
            family.add_metric(["events"], self._events.value(name))
        return family


def _kind(declaration: Declaration) -> type[CounterMetricFamily | GaugeMetricFamily]:
    return CounterMetricFamily if declaration.kind == "counter" else GaugeMetricFamily
