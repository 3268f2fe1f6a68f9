"""The tables of docs/addresses.md: what is written there is what is tested."""

from __future__ import annotations

import re
from pathlib import Path

_DOC = Path(__file__).parents[2] / "docs" / "addresses.md"
_WORDS = {"nothing": "", "refused": ""}


def _table(*head: str) -> list[tuple[str, ...]]:
    """The rows of the table with these columns; what is not in backquotes is one of the two words."""
    lines = iter(_DOC.read_text().splitlines())
    first = "| " + " | ".join(head)
    assert any(line.startswith(first) for line in lines), f"no table {first}"
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append(tuple(_cell(cell) for cell in cells[: len(head)]))
    return rows


def _cell(cell: str) -> str:
    match = re.fullmatch(r"`([^`]+)`", cell)
    return match[1] if match is not None else _WORDS[cell]


#: (app, name, stream key) of what peers send.
SENT = _table("app", "name", "stream key")
#: (address, app, name, stream key) of what our own client is given.
TYPED = _table("address", "app", "name", "stream key")
