"""The text of the metrics: what prometheus_client's own parsers read in it is what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from cluster.net.metrics_text import OPEN_METRICS, PLAIN, content_type, text

_ODD = 'a "b"\\c\nd é \U0001f600 {,}'


def _families() -> list[Metric]:
    counter = CounterMetricFamily("bytes_sent", f"Help. {_ODD}", labels=["worker", "reason"])
    counter.add_metric(["0", _ODD], 2**60)
    counter.add_metric(["1", ""], 0)
    gauge = GaugeMetricFamily("delay_seconds", "Of each.", labels=["stream"])
    for index, value in enumerate((0.25, -1.0, 1e30, float("inf"), float("-inf"), 123456789.125, True)):
        gauge.add_metric([f"live/{index}"], value)
    histogram = HistogramMetricFamily("join_seconds", "How long.", labels=["worker"])
    histogram.add_metric(["0"], [("0.1", 1), ("+Inf", 3)], 4.5)
    return [counter, gauge, histogram, GaugeMetricFamily("draining", "Now.", value=0)]


def _samples(families: Iterable[Any]) -> dict[tuple[str, str, frozenset[tuple[str, str]]], float]:
    return {
        (family.type, sample.name, frozenset(sample.labels.items())): float(sample.value)
        for family in families for sample in family.samples
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "parse"), [(PLAIN, parse_plain), (OPEN_METRICS, parse_open_metrics)])
def test_what_is_written_is_read_back(kind: str, parse: Callable[[str], Iterable[Any]]) -> None:
    read = list(parse(text(_families(), kind)))
    assert _samples(read) == _samples(_families())
    assert [each.documentation for each in read] == [each.documentation for each in _families()]


def test_a_counter_is_called_as_its_format_wants_it() -> None:
    counter = CounterMetricFamily("bytes_sent", "Help.", value=1)
    plain = "# HELP bytes_sent_total Help.\n# TYPE bytes_sent_total counter\nbytes_sent_total 1\n"
    assert text([counter], PLAIN) == plain
    assert text([counter], OPEN_METRICS) == (
        "# HELP bytes_sent Help.\n# TYPE bytes_sent counter\nbytes_sent_total 1\n# EOF\n"
    )


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PLAIN), ("*/*", PLAIN), ("text/html", PLAIN),
        ("text/plain;version=0.0.4;q=0.2,*/*;q=0.1", PLAIN),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text; version=0.0.1", PLAIN),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPEN_METRICS,
        ),
    ],
)  # fmt: skip
def test_who_asks_for_openmetrics_is_given_it(accept: str, kind: str) -> None:
    assert content_type(accept) == kind
