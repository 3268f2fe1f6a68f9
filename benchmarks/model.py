"""What a scenario is made of: cases that are measured in turns, columns to show, aims to judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

#: One JSON line: what a case gave in one round (``records.py``).
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How all scenarios are measured. Cores: None is any."""

    window_s: float = 10.0
    settle_s: float = 2.0
    server_cores: set[int] | None = None
    generator_cores: set[int] | None = None
    soak_s: float = 1800.0
    #: Paths of servers that are measured too where they are given.
    srs: Path | None = None
    mediamtx: Path | None = None


@dataclass(slots=True)
class Measured:
    """One measurement: figures by name, what makes them doubtful, the generator's options."""

    figures: dict[str, float]
    complaints: list[str]
    load: list[str]


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a scenario's table, and how it is measured once."""

    name: str
    measure: Callable[[], Measured]


class Found:
    """The medians of one scenario over the rounds."""

    def __init__(self, records: list[Record]) -> None:
        self._by_case: dict[str, list[Record]] = {}
        for record in records:
            self._by_case.setdefault(record["case"], []).append(record)

    @property
    def cases(self) -> list[str]:
        """In the order in which they were measured."""
        return list(self._by_case)

    def values(self, case: str, figure: str) -> list[float]:
        """Of all rounds that gave it."""
        figures = (record["figures"] for record in self._by_case.get(case, ()))
        return [found[figure] for found in figures if found.get(figure) is not None]

    def value(self, case: str, figure: str) -> float | None:
        values = self.values(case, figure)
        return median(values) if values else None

    def ratio(self, case: str, reference: str, figure: str) -> float | None:
        """Of two medians; None if one is missing or nothing."""
        value, other = self.value(case, figure), self.value(reference, figure)
        return value / other if value is not None and other else None

    def complaints(self, case: str) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(text for record in self._by_case[case] for text in record["complaints"]))


@dataclass(frozen=True, slots=True)
class Column:
    """``text`` of a case; empty where there is nothing to say."""

    heading: str
    text: Callable[[Found, str], str]


def value(heading: str, figure: str, shown: str) -> Column:
    """A median, as the format ``shown`` has it: "{:.1f} ms"."""

    def text(found: Found, case: str) -> str:
        number = found.value(case, figure)
        return "" if number is None else shown.format(number)

    return Column(heading, text)


def ratio(heading: str, figure: str, reference: Callable[[str], str | None]) -> Column:
    """The median divided by that of another case, which ``reference`` names for each; None: no such."""

    def text(found: Found, case: str) -> str:
        other = reference(case)
        number = None if other is None else found.ratio(case, other, figure)
        return "" if number is None else f"{number:.2f}"

    return Column(heading, text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim, and what was seen; ``reached`` None: not measured."""

    aim: str
    seen: str
    reached: bool | None

    @property
    def mark(self) -> str:
        return {True: "reached", False: "missed", None: "not measured"}[self.reached]


def at_most(what: str, limit: float, seen: float | None, shown: str) -> Verdict:
    aim = f"{what}: at most {shown.format(limit)}"
    return Verdict(aim, "" if seen is None else shown.format(seen), None if seen is None else seen <= limit)


def at_least(what: str, limit: float, seen: float | None, shown: str) -> Verdict:
    aim = f"{what}: at least {shown.format(limit)}"
    return Verdict(aim, "" if seen is None else shown.format(seen), None if seen is None else seen >= limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One table of the report."""

    name: str
    title: str
    cases: Callable[[Setting], list[Case]]
    columns: tuple[Column, ...]
    judge: Callable[[Found], list[Verdict]] = lambda found: []
    #: About how long one case takes, with starting and ending.
    case_s: Callable[[Setting], float] = lambda setting: setting.window_s + setting.settle_s + 5.0
    #: Of a picture: the figure of each case that is shown as a bar, and its unit.
    bar: tuple[str, str] | None = None
    #: Measured only when named.
    on_demand: bool = False
    #: The heading of a table that neighbouring scenarios of the same columns share; it has one of its own.
    table: str = ""
    #: Its aims say all that a reader of the document wants: there its table is left out.
    told_by_aims: bool = False

    def seconds(self, setting: Setting) -> float:
        """About how long one round takes."""
        return len(self.cases(setting)) * self.case_s(setting)
