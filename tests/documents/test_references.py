"""What the documents name exists: files, headings, options, variables, metrics, targets of make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.commands.main import cli
from documents.reading import ROOT, documents

MAX_LINES = 200
#: Drawn from the code, so its length is the code's.
TABLES = {"docs/states.md"}

#: Options of other programs that a document names alone.
OF_OTHERS = {
    "--network", "--webroot", "--standalone", "--rounds", "--srs", "--mediamtx", "--bytes", "--per-second",
    "--build-arg", "--network-caching",
}  # fmt: skip

ALERTS = "deploy/prometheus/alerts.yml"
DASHBOARD = "deploy/grafana/rtmp-cluster.json"

#: Not of a metric either: the claim of a token.
OF_TOKENS = {"rtmp_cluster_permissions"}

texts = {name: (ROOT / name).read_text() for name in documents()}


def test_no_document_is_longer_than_one_sitting() -> None:
    sizes = {name: len(text.splitlines()) for name, text in texts.items()}
    assert {name for name, size in sizes.items() if size > MAX_LINES} == TABLES


@pytest.mark.parametrize("name", texts)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(texts[name])):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        if heading:
            assert heading in set(anchors(path)), target


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> Iterator[str]:
    """What a heading is called in a link to it."""
    for heading in re.findall(r"^#+ (.*)", without_fences(path.read_text()), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", texts)
def test_options_and_variables_exist(name: str) -> None:
    parameters = [each for command in cli.commands.values() for each in command.params]
    options = {"--help", "--version"} | {option for each in parameters for option in each.opts}
    variables = {each.envvar for each in parameters if each.envvar}
    named = {
        option
        for typed in re.findall(r"(?m)`(?:rtmp-cluster |--)[^`]*`|^    rtmp-cluster .*", texts[name])
        for option in re.findall(r"(?<![^\s`])--[a-z][a-z-]*", typed)
    }
    assert named <= options | OF_OTHERS
    assert set(re.findall(r"RTMP_CLUSTER_[A-Z_]+[A-Z]", texts[name])) <= variables | OF_TESTS


#: Variables that only tests know.
OF_TESTS = {"RTMP_CLUSTER_LONG_TESTS"}


@pytest.mark.parametrize("name", [*texts, ALERTS, DASHBOARD])
def test_metrics_exist(name: str) -> None:
    rows = re.findall(r"^\| `(rtmp_cluster_\w+)` \| (\w+) \|", texts["docs/metrics.md"], re.MULTILINE)
    known = {name for name, _ in rows}
    known |= {
        f"{name}_{series}" for name, kind in rows if kind == "histogram"
        for series in ("bucket", "sum", "count")
    }  # fmt: skip
    named = set(re.findall(r"rtmp_cluster_[a-z_]+[a-z]", (ROOT / name).read_text()))
    assert named <= known | OF_ANSIBLE | OF_TOKENS


#: Words of the playbooks, which begin like a metric.
OF_ANSIBLE = {"rtmp_cluster_insecure", "rtmp_cluster_manager"}


@pytest.mark.parametrize("counted", ["_log_lines_lost_total", "_malformed_total"])
def test_what_an_edge_and_a_router_both_count_is_alerted_of_both(counted: str) -> None:
    known = re.findall(r"^\| `(rtmp_cluster_\w+)`", texts["docs/metrics.md"], re.MULTILINE)
    both = {name for name in known if name.endswith(counted)}
    assert len(both) == 2
    assert both <= set(re.findall(r"rtmp_cluster_[a-z_]+[a-z]", (ROOT / ALERTS).read_text()))


def test_every_alert_is_explained() -> None:
    explained = re.findall(r"^\| `([A-Z]\w+)` \|", texts["docs/running.md"], re.MULTILINE)
    assert explained == re.findall(r"- alert: (\w+)", (ROOT / ALERTS).read_text())


@pytest.mark.parametrize("name", texts)
def test_targets_of_make_exist(name: str) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = re.findall(r"`make ([a-z-]+)|^    make ([a-z-]+)", texts[name], re.MULTILINE)
    assert {either for pair in typed for either in pair if either} <= known
