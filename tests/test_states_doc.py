"""docs/states.md shows the tables that the code uses, as they are.

To write it anew: STATES_DOC=docs/states.md .venv/bin/python -m pytest tests/test_states_doc.py
"""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path

import pytest

from cluster.core.bus.splice_states import SPLICE
from cluster.core.rtmp import states as rtmp
from cluster.edge.link.watch_states import WATCH
from cluster.edge.streams.reader_states import READER
from support.state_tables import Cell, cells, drawing

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "states.md"
WRITE = os.environ.get("STATES_DOC", "")
ANEW = "write it anew: STATES_DOC=docs/states.md .venv/bin/python -m pytest tests/test_states_doc.py"

#: By the name between the marks in the file.
TABLES: dict[str, dict[tuple[Enum, Enum], Cell]] = {
    "READER": cells(READER),
    "SPLICE": cells(SPLICE),
    "WATCH": cells(WATCH),
    "SERVER_SESSION": cells(rtmp.SERVER_SESSION),
    "CLIENT_SESSION": cells(rtmp.CLIENT_SESSION),
    "SERVER_STREAM": cells(rtmp.SERVER_STREAM),
    "CLIENT_STREAM": cells(rtmp.CLIENT_STREAM),
}

#: Where a message stream begins, beside the first of its states: ``createStream`` is the session's affair.
ALSO_STARTS: dict[str, tuple[Enum, ...]] = {
    "SERVER_STREAM": (rtmp.StreamState.CONTROL, rtmp.StreamState.IDLE),
    "CLIENT_STREAM": (rtmp.StreamState.IDLE,),
}

_MARKED = re.compile(r"(<!-- (?P<name>\w+) begin -->\n).*?(<!-- (?P=name) end -->)", re.DOTALL)


def starts(name: str) -> tuple[Enum, ...]:
    some_state, _ = next(iter(TABLES[name]))
    return next(iter(type(some_state))), *ALSO_STARTS.get(name, ())


def written(text: str) -> str:
    """``text`` with each drawing as its table says."""

    def draw(match: re.Match[str]) -> str:
        return match[1] + drawing(TABLES[match["name"]], starts(match["name"])) + match[3]

    return _MARKED.sub(draw, text)


def test_the_tables_are_drawn_as_they_are() -> None:
    text = DOC.read_text()
    if WRITE:
        text = written(text)
        (ROOT / WRITE).write_text(text)
    assert {match["name"] for match in _MARKED.finditer(text)} == set(TABLES)
    assert written(text) == text, ANEW


class Light(Enum):
    RED = "red"
    AMBER_LIGHT = "amber_light"


class Event(Enum):
    GO = "go"
    STOP = "stop"
    WAIT = "wait"


def test_a_drawing() -> None:
    table = {
        (Light.RED, Event.GO): Light.AMBER_LIGHT,
        (Light.RED, Event.WAIT): Light.AMBER_LIGHT,
        (Light.AMBER_LIGHT, Event.STOP): Light.RED,
        (Light.AMBER_LIGHT, Event.WAIT): Light.AMBER_LIGHT,
    }
    assert drawing(cells(table), (Light.RED,)).splitlines() == [
        "```mermaid",
        "stateDiagram-v2",
        '    state "red" as RED',
        '    state "amber light" as AMBER_LIGHT',
        "    [*] --> RED",
        "    RED --> AMBER_LIGHT: go, wait",
        "    AMBER_LIGHT --> RED: stop",
        "```",
        "",
        "| input | red | amber light |",
        "|---|---|---|",
        "| go | amber light | – |",
        "| stop | – | red |",
        "| wait | amber light | stays |",
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached(name: str) -> None:
    table = TABLES[name]
    known = set(starts(name))
    while new := {cell.next for (state, _), cell in table.items() if state in known} - known:
        known |= new
    assert {state for state, _ in table} == known
