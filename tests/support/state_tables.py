"""Tables of states, drawn for the docs: a diagram of the changes, then every state with every input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """What an entry says: the state afterwards, and what is done, if the table says that too."""

    next: Enum
    does: str = ""


def cells(table: Mapping[tuple[Any, Any], Any]) -> dict[tuple[Enum, Enum], Cell]:
    """``table``, whose entries are states, or steps: a verb and the state afterwards."""
    return {
        pair: Cell(entry) if isinstance(entry, Enum) else Cell(entry[1], words(entry[0]))
        for pair, entry in table.items()
    }


def words(member: Enum) -> str:
    return str(member.value).replace("_", " ")


def drawing(table: Mapping[tuple[Enum, Enum], Cell], starts: Sequence[Enum]) -> str:
    """Markdown. Of the states and inputs those that the table has, in the order of their enums."""
    some_state, some_input = next(iter(table))
    known = {state for state, _ in table} | {cell.next for cell in table.values()}
    states = [state for state in type(some_state) if state in known]
    inputs = [what for what in type(some_input) if any(what is entry for _, entry in table)]
    return "\n".join([*_diagram(states, inputs, table, starts), "", *_rows(states, inputs, table), ""])


def _diagram(
    states: list[Enum],
    inputs: list[Enum],
    table: Mapping[tuple[Enum, Enum], Cell],
    starts: Sequence[Enum],
) -> list[str]:
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{words(state)}" as {state.name}' for state in states]
    lines += [f"    [*] --> {state.name}" for state in starts]
    for state in states:
        for other in states:
            ways = [words(what) for what in inputs if _leads(table, state, what, other)]
            if ways and other is not state:
                lines.append(f"    {state.name} --> {other.name}: {', '.join(ways)}")
    return [*lines, "```"]


def _leads(table: Mapping[tuple[Enum, Enum], Cell], state: Enum, what: Enum, other: Enum) -> bool:
    cell = table.get((state, what))
    return cell is not None and cell.next is other


def _rows(states: list[Enum], inputs: list[Enum], table: Mapping[tuple[Enum, Enum], Cell]) -> list[str]:
    lines = ["| input | " + " | ".join(map(words, states)) + " |", "|---" * (len(states) + 1) + "|"]
    for what in inputs:
        said = [_said(state, table.get((state, what))) for state in states]
        lines.append(f"| {words(what)} | " + " | ".join(said) + " |")
    return lines


def _said(state: Enum, cell: Cell | None) -> str:
    if cell is None:
        return "–"
    after = "stays" if cell.next is state else words(cell.next)
    return f"{cell.does}; {after}" if cell.does else after
