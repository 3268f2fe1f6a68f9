"""Measurements as JSON lines: one for each case and round, with where and how it was made."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.model import Measured, Record

#: What says where a measurement comes from.
ORIGIN = ("commit", "machine", "interpreter", "command")
_NEEDED = {*ORIGIN, "at", "scenario", "case", "round", "figures", "complaints"}


class RecordError(Exception):
    """A file does not hold measurements; the text names the line."""


def record(origin: dict[str, str], scenario: str, case: str, number: int, measured: Measured) -> Record:
    return {
        **origin, "scenario": scenario, "case": case, "round": number, "load": measured.load,
        "figures": {name: round(value, 5) for name, value in measured.figures.items()},
        "complaints": measured.complaints,
    }  # fmt: skip


def append(path: Path, made: Record) -> None:
    with path.open("a") as output:
        output.write(json.dumps(made) + "\n")


def read(path: Path) -> list[Record]:
    """All of a file, in order. RecordError if a line is none, or the file cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            made = json.loads(line)
        except ValueError:
            made = None
        if not isinstance(made, dict) or not made.keys() >= _NEEDED:
            raise RecordError(f"{path}:{number} is no measurement: give a file that --json wrote")
        found.append(made)
    return found
