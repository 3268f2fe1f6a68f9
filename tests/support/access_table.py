"""Who was let in, by what, and how soon: a row for a kind of rule and a way, a column for a protocol."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

#: What was shown: what the rule asks for, something wrong, or nothing.
Case = Literal["right", "wrong", "nothing"]
CASES: tuple[Case, ...] = ("right", "wrong", "nothing")


@dataclass
class _Cell:
    seconds: dict[Case, list[float]] = field(default_factory=lambda: defaultdict(list))
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.faults:
            return "FAILED"
        return " / ".join(_span(self.seconds[case]) for case in CASES)


def _span(seconds: list[float]) -> str:
    """Milliseconds, or seconds of what took longer."""
    if not seconds:
        return "–"
    low, high = min(seconds), max(seconds)
    if high < 0.9995:
        return f"{high * 1000:.0f} ms"
    return f"{high:.1f} s" if high - low < 0.05 else f"{low:.1f}-{high:.1f} s"


class AccessTable:
    """Gathers attempts. ``faults`` has what did not end as it should."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.faults: list[str] = []
        self.count = 0
        self._cells: dict[tuple[str, str], _Cell] = {}
        self._columns: list[str] = []

    def expect(self, row: str, column: str) -> None:
        """An attempt will be made: rows and columns stand in the order in which this is said of them."""
        if column not in self._columns:
            self._columns.append(column)
        self._cells.setdefault((row, column), _Cell())

    def add(
        self, row: str, column: str, case: Case, *, as_it_should: bool, seconds: float, said: str
    ) -> None:
        """An attempt. ``said``: what came of it, for a fault."""
        self.expect(row, column)
        cell = self._cells[row, column]
        cell.seconds[case].append(seconds)
        self.count += 1
        if not as_it_should:
            fault = f"{row}, {column}, {case}: {said} after {seconds:.2f} s"
            cell.faults.append(fault)
            self.faults.append(fault)

    def seconds(self, case: Case) -> list[float]:
        """How long each attempt of that case took."""
        return [each for cell in self._cells.values() for each in cell.seconds[case]]

    def as_lines(self) -> list[str]:
        """For a terminal; "right / wrong / nothing" in each cell."""
        if not self._cells:
            return []
        rows = list(dict.fromkeys(row for row, _ in self._cells))
        lines = [["", *self._columns]]
        for row in rows:
            cells = (self._cells.get((row, column)) for column in self._columns)
            lines.append([row, *(str(cell) if cell is not None else "–" for cell in cells)])
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        return [
            f"{self.title}: let in with what is right / refused with what is wrong / with nothing",
            *(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                for line in lines
            ),
            *self.faults,
            "",
        ]
