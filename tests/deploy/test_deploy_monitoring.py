"""deploy/grafana and deploy/prometheus: what Grafana and Prometheus read, against what is exported.

That every metric in them exists is tested with the documents (tests/documents/test_references.py).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from cluster.core.top_streams import StreamNumbers, TopStreams
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.status_pipe import TOP_STREAMS
from cluster.edge.streams.counters import Counters
from cluster.router.metrics import RouterNumbers
from cluster.router.router import Router

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "rtmp-cluster.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
COLUMNS = 24

#: Only what grows, or a part of a histogram, may be asked for its growth.
_GROWTH = re.compile(r"\b(?:rate|increase)\((rtmp_cluster_\w+)")

dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())


def panels() -> Iterator[dict[str, Any]]:
    yield from dashboard["panels"]


def expressions() -> Iterator[str]:
    for panel in panels():
        for target in panel.get("targets", ()):
            yield target["expr"]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def exported(collector: Any) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def node() -> str:
    counters = Counters()
    counters.closes["peer_closed"] = 2
    counters.join_seconds.note(0.2)
    counters.hop_delay_seconds["bus"].note(0.02)
    counters.router_round_trip_seconds["tcp://r1:1936"] = 0.001
    numbers = NodeNumbers(1)
    top = TopStreams([StreamNumbers('live/"a"\n\udcff', 2, 100.0, 0.25)], 1, 2, 3.0)
    numbers.beat(0, counters.as_dict() | {TOP_STREAMS: top})
    return exported(numbers)


# ---- the dashboard ---------------------------------------------------------------------------


def test_every_panel_has_its_own_number_and_place() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        columns = range(at["x"], at["x"] + at["w"])
        assert 0 <= columns.start < columns.stop <= COLUMNS
        cells = {(x, y) for x in columns for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_asks_the_data_source_that_is_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "instance"]
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"] == chosen
            assert panel["targets"]
            assert all(target["datasource"] == chosen for target in panel["targets"])
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_it_can_be_imported_into_any_grafana() -> None:
    assert dashboard["id"] is None
    assert dashboard["uid"] == "rtmp-cluster"
    assert dashboard["schemaVersion"] >= 36  # of Grafana 9
    assert {each["type"] for each in dashboard["panels"]} <= {"row", "stat", "timeseries"}


def test_growth_is_asked_of_what_grows() -> None:
    asked = {name for expression in expressions() for name in _GROWTH.findall(expression)}
    assert asked
    assert {name for name in asked if not name.endswith(("_total", "_bucket"))} == set()


# ---- what Prometheus reads -------------------------------------------------------------------


def promtool(*arguments: str, said: str = "") -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is missing: sh tools/peers.sh promtool")
    done = subprocess.run([tool, *arguments], input=said, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("page", ["edge", "router"])
def test_metrics_are_named_as_prometheus_wants_them(page: str) -> None:
    promtool("check", "metrics", said=node() if page == "edge" else exported(RouterNumbers(Router("ipc:///n"))))


def test_the_rules_are_rules() -> None:
    promtool("check", "rules", str(ALERTS))


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    """As recording rules, which promtool reads; Grafana's own variables have values there."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(tmp_path / "rules.yml"))
