"""Histograms of workers as Prometheus has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import HistogramMetricFamily, Metric

from cluster.core.histogram import added
from cluster.net.metrics_page import buckets


def total(past: Any, current: Any, label: str) -> Any:
    """The numbers of all incarnations of a worker together, or those for each value of the label."""
    if not label:
        return added(past or [], current or [])
    past, current = past or {}, current or {}
    return {value: added(past.get(value, []), current.get(value, [])) for value in {**past, **current}}


def family(name: str, help: str, label: str, of_workers: Iterable[tuple[str, Any]]) -> Metric:
    """``of_workers``: each by its name, with what ``total`` gives."""
    labels = ["worker", label] if label else ["worker"]
    made = HistogramMetricFamily(name, help, labels=labels)
    for worker, numbers in of_workers:
        if not label:
            made.add_metric([worker], buckets(numbers), numbers[0])
            continue
        for value, each in sorted(numbers.items()):
            made.add_metric([worker, value], buckets(each), each[0])
    return made
