"""Metrics as the text that Prometheus reads: its own format (0.0.4), or OpenMetrics (1.0.0) if asked for

The writer of prometheus_client looks at each name and label of each number anew, which takes a scrape of a
node 1 ms. Here what is said of a family, and of labels, is put into words once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.utils import floatToGoString

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

#: Sets of labels whose text is remembered: those of 50 streams, and of each worker, reason and bound.
MAX_LABELS = 2_048


def content_type(accept: str) -> str:
    """The format for whoever sends this ``Accept``: PLAIN, or OPEN_METRICS of a version that is final."""
    for each in accept.split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        versions = [part[len("version=") :] for part in parameters if part.startswith("version=")]
        if kind == "application/openmetrics-text" and not any(each.startswith("0.") for each in versions):
            return OPEN_METRICS
    return PLAIN


def text(families: Iterable[Metric], kind: str) -> str:
    """A page of the format ``kind`` (``content_type``)."""
    is_open = kind == OPEN_METRICS
    lines: list[str] = []
    for family in families:
        lines.append(_head(family.name, family.type, family.documentation, is_open))
        for name, labels, value, *_ in family.samples:
            shown = _labels(tuple(labels.items())) if labels else ""
            number = str(value) if type(value) is int else floatToGoString(value)  # type: ignore[no-untyped-call]
            lines.append(f"{name}{shown} {number}\n")
    if is_open:
        lines.append("# EOF\n")
    return "".join(lines)


@functools.cache
def _head(name: str, kind: str, help: str, is_open: bool) -> str:
    if kind == "counter" and not is_open:
        name += "_total"
    said = help.replace("\\", r"\\").replace("\n", r"\n")
    if is_open:
        said = said.replace('"', r"\"")
    return f"# HELP {name} {said}\n# TYPE {name} {kind}\n"


@functools.lru_cache(MAX_LABELS)
def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
