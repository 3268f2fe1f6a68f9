"""The tables of docs/operating.md, events.md, api.md and metrics.md (log events, close reasons) are those
of the code.

To write the tables of metrics anew:
METRICS_DOC=docs/metrics.md .venv/bin/python -m pytest tests/test_operating_doc.py
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.registry import Collector

from cluster.core.errors import CloseReason
from cluster.edge.node.metrics import NodeNumbers
from cluster.router.metrics import RouterNumbers
from cluster.router.router import Router

ROOT = Path(__file__).parents[1]
#: The same section may stand in several.
DOCS = [ROOT / "docs" / name for name in ("operating.md", "events.md", "api.md")]
METRICS_DOC = ROOT / "docs" / "metrics.md"
WRITE = os.environ.get("METRICS_DOC", "")
ANEW = "write it anew, as the head of tests/test_operating_doc.py says"

#: By the name between the marks in the file.
COLLECTORS: dict[str, Collector] = {"EDGE": NodeNumbers(1), "ROUTER": RouterNumbers(Router("ipc:///none"))}

LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
#: Where an event is named that is not said at once, and the level it is said with.
MAKERS = {
    "Complaints": (1, "warning"), "announce": (1, "always"), "StrangerLines": (None, ""), "_tell": (1, ""),
}  # fmt: skip

_MARKED = re.compile(r"(<!-- (?P<name>\w+) begin -->\n).*?(<!-- (?P=name) end -->)", re.DOTALL)


# ---- what the code says ----------------------------------------------------------------------


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Each call in ``cluster/``, and the file it stands in."""
    for path in sorted((ROOT / "cluster").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield str(path.relative_to(ROOT)), node


def text_of(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts_of(path: Path, node: ast.expr | None) -> list[str]:
    """What an expression may be, as far as that stands there: a text, one of two, a name for them."""
    if isinstance(node, ast.IfExp):
        return texts_of(path, node.body) + texts_of(path, node.orelse)
    if isinstance(node, ast.Name):
        return [text for each in assigned(path, node.id) for text in texts_of(path, each)]
    return [text for text in [text_of(node)] if text is not None]


def assigned(path: Path, name: str) -> list[ast.expr]:
    found = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Assign)]
    return [each.value for each in found if ast.unparse(each.targets[0]) == name]


def said_level(call: ast.Call) -> str | None:
    """The level of a call of a logger's; "" if it is decided as it is said; None if it is another call."""
    called = call.func
    if not isinstance(called, ast.Attribute) or called.attr not in LEVELS:
        return None
    if ast.unparse(called.value) not in ("logger", "self._logger"):
        return None
    return {"exception": "error", "log": ""}.get(called.attr, called.attr)


def values_of_event(path: Path, call: ast.Call) -> list[ast.expr]:
    """What a line gives as its event."""
    given = [each.value for each in call.keywords if each.arg == "extra"]
    if given and isinstance(given[0], ast.Name):
        given = assigned(path, given[0].id)
    pairs = [
        pair
        for extra in given if isinstance(extra, ast.Dict)
        for pair in zip(extra.keys, extra.values, strict=True)
    ]  # fmt: skip
    return [value for key, value in pairs if text_of(key) == "event"]


def events_in(path: Path, call: ast.Call) -> list[str]:
    """The events that a line may have, as far as they stand there."""
    return [text for value in values_of_event(path, call) for text in texts_of(path, value)]


def events() -> dict[str, set[str]]:
    """Every event that the code has, and the levels it is said with, as far as they stand there."""
    found: dict[str, set[str]] = {"log_lines_lost": {"warning"}, "strangers_summed": set()}
    for path, call in calls():
        maker = MAKERS.get(ast.unparse(call.func).rpartition(".")[2])
        if maker is not None:
            place, level = maker
            named = next((each.value for each in call.keywords if each.arg == "event"), None)
            if place is not None and len(call.args) > place:
                named = call.args[place]
            for event in texts_of(ROOT / path, named):
                found.setdefault(event, set()).update({level} - {""})
        elif (said := said_level(call)) is not None:
            for event in events_in(ROOT / path, call):
                found.setdefault(event, set()).update({said} - {""})
    return found


# ---- what the document says ------------------------------------------------------------------


def section(title: str) -> str:
    parts = [doc.read_text().partition(f"\n## {title}\n") for doc in DOCS]
    assert any(found for _, found, _ in parts), title
    return "".join(after.partition("\n## ")[0] for _, _, after in parts)


def rows(title: str) -> list[list[str]]:
    """The rows of the tables in a section whose first cell is a name in code."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(title: str) -> list[str]:
    return [row[0].strip("`") for row in rows(title)]


def table(collector: Collector) -> str:
    """The metrics of ``collector`` in Markdown."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for family in collector.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in family._labelnames) or "–"  # type: ignore[attr-defined]
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    return _MARKED.sub(lambda match: match[1] + table(COLLECTORS[match["name"]]) + match[3], text)


# ---- the same --------------------------------------------------------------------------------


def test_every_event_is_in_the_table_and_no_other() -> None:
    assert sorted(names("Log events")) == sorted(events())


def test_every_event_has_the_level_of_the_code() -> None:
    told = {row[0].strip("`"): set(row[1].split(", ")) for row in rows("Log events")}
    assert {name: told[name] for name, levels in events().items() if levels} == {
        name: levels for name, levels in events().items() if levels
    }


def test_every_line_has_an_event() -> None:
    bare = [
        f"{path}:{call.lineno}"
        for path, call in calls()
        if said_level(call) is not None and not values_of_event(ROOT / path, call)
    ]
    assert bare == []


def test_every_close_reason_is_in_the_table_and_no_other() -> None:
    assert sorted(names("Close reasons")) == sorted(CloseReason)


def test_every_close_reason_is_given_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "cluster").rglob("*.py"))
    assert [each for each in CloseReason if f"CloseReason.{each.name}" not in source] == []


@pytest.mark.parametrize("title", ["Log events", "Close reasons"])
def test_every_row_says_what_it_means_and_what_to_do(title: str) -> None:
    for row in rows(title):
        assert len(row) == 4, row
        assert all(row), row


def test_the_tables_of_metrics_are_those_of_the_code() -> None:
    text = METRICS_DOC.read_text()
    if WRITE:
        text = written(text)
        (ROOT / WRITE).write_text(text)
    assert {match["name"] for match in _MARKED.finditer(text)} == set(COLLECTORS)
    assert written(text) == text, ANEW
