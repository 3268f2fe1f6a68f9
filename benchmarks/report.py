"""Tables and verdicts in Markdown, from measurements; written into docs/benchmarks.md, with a picture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.bars import Group, bar_chart
from benchmarks.model import Found, Record, Scenario, Verdict
from benchmarks.records import ORIGIN

_DOCS = Path(__file__).resolve().parent.parent / "docs"
#: What stands between these lines of the document is replaced.
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PICTURE = "benchmarks.svg"

#: What stands before the first number of a text, the number, and the rest.
_FIRST_NUMBER = re.compile(r"(\D*)([\d.]*)(.*)", re.DOTALL)


def write(records: list[Record], scenarios: Sequence[Scenario], docs: Path = _DOCS) -> None:
    """Put the tables into ``benchmarks.md``, but for what the aims tell, and the picture beside it."""
    document = docs / "benchmarks.md"
    before, _, rest = document.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    shown = markdown(records, scenarios, in_short=True)
    text = f"![CPU beside other servers]({PICTURE})\n\n{shown}"
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    (docs / PICTURE).write_text(picture(records, scenarios))


def markdown(records: list[Record], scenarios: Sequence[Scenario], *, in_short: bool = False) -> str:
    """Where the measurements come from, every aim, and the tables of all scenarios that were measured.
    ``in_short``: not of those whose aims tell it all."""
    parts = [origin(records), aims(verdicts(records, scenarios))]
    measured = _measured(records, scenarios)
    shown = [each for each in measured if not (in_short and each[0].told_by_aims)]
    for _, together in groupby(shown, key=lambda each: each[0].table or each[0].name):
        parts.append(table(list(together)))
    return "\n\n".join(parts)


def verdicts(records: list[Record], scenarios: Sequence[Scenario]) -> list[Verdict]:
    """On every aim of the scenarios that were measured."""
    return [
        verdict for scenario, found in _measured(records, scenarios) for verdict in scenario.judge(found)
    ]


def _measured(records: list[Record], scenarios: Sequence[Scenario]) -> list[tuple[Scenario, Found]]:
    found = [
        (scenario, Found([record for record in records if record["scenario"] == scenario.name]))
        for scenario in scenarios
    ]
    return [(scenario, each) for scenario, each in found if each.cases]


def origin(records: list[Record]) -> str:
    """Each thing once, in the order it was seen."""
    lines = []
    for name in ORIGIN:
        values = dict.fromkeys(record[name] for record in records)
        mark = "`" if name == "command" else ""
        lines.append(f"- {name}: " + "; ".join(f"{mark}{value}{mark}" for value in values))
    rounds = max((record["round"] for record in records), default=0)
    return "\n".join([*lines, f"- medians of {rounds} round{'' if rounds == 1 else 's'}"])


def aims(judged: Iterable[Verdict]) -> str:
    rows = [[verdict.aim, verdict.seen, verdict.mark] for verdict in judged]
    return _grid(["aim", "seen", ""], rows)


def table(measured: list[tuple[Scenario, Found]]) -> str:
    """Medians of scenarios with the same columns: a row for each case, and below what makes them doubtful.
    Where there is one scenario its title is the heading; otherwise it stands before its cases."""
    first = measured[0][0]
    shared = bool(first.table)
    columns = [
        column for column in first.columns
        if any(column.text(found, case) for _, found in measured for case in found.cases)
    ]  # fmt: skip
    rows, doubts = [], []
    for scenario, found in measured:
        for number, case in enumerate(found.cases):
            title = [scenario.title if number == 0 else ""] if shared else []
            rows.append([*title, case, *(column.text(found, case) for column in columns)])
            where = f"{scenario.title}, {case}" if shared else case
            doubts += [(where, told) for told in found.complaints(case)]
    heads = [*[""] * (1 + shared), *(column.heading for column in columns)]
    lines = [f"### {first.table or first.title}", "", _grid(heads, rows, texts=1 + shared)]
    complaints = _complaints(doubts)
    return "\n".join(lines + ([""] if complaints else []) + complaints)


def _complaints(doubts: list[tuple[str, str]]) -> list[str]:
    """A line for each kind of doubt: of several that differ in their first number only, all in one."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for where, told in doubts:
        before, number, after = _FIRST_NUMBER.findall(told)[0]
        kinds.setdefault(f"{before}{'…' if number else ''}{after}", []).append((where, number))
    return [
        f"- {seen[0][0]}: {kind.replace('…', seen[0][1], 1)}" if len(seen) == 1
        else f"- {kind}: {'; '.join(f'{where} ({number})' if number else where for where, number in seen)}"
        for kind, seen in kinds.items()
    ]  # fmt: skip


def _grid(heads: list[str], rows: list[list[str]], *, texts: int = 1) -> str:
    """A table whose first columns, so many, are text and whose others are numbers."""
    lines = [heads, [*["---"] * texts, *["--:"] * (len(heads) - texts)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def picture(records: list[Record], scenarios: Sequence[Scenario]) -> str:
    """An SVG of the CPU of each case, for the scenarios that compare servers."""
    groups = []
    for scenario, found in _measured(records, scenarios):
        if scenario.bar is None:
            continue
        figure, unit = scenario.bar
        values = {case: found.value(case, figure) for case in found.cases}
        bars = {case: value for case, value in values.items() if value is not None}
        groups.append(Group(f"{scenario.title}: {unit}", bars))
    return bar_chart(groups)
