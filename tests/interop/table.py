"""The table that the tests fill: a cell for each peer, direction, scheme and worker."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field

from matrix import COLUMNS, Direction, Row, Scheme, Worker
from workbench import Hashes

from support.ffmpeg import GOP_FRAMES

_HEADINGS = {"publish": "publishes", "play": "plays", "same": "same worker", "other": "other worker"}

#: Fewer packets than these in common show nothing.
MIN_PART = 30


@dataclass(frozen=True, slots=True)
class Cell:
    """``mark`` is what stands in the table: "yes", "no", "–" or "late"; ``note`` says more."""

    mark: str
    note: str = ""


def compare(source: Hashes, got: Hashes, may_begin_late: str | None) -> Cell:
    """The cell that shows how ``got`` stands to ``source``.

    ``may_begin_late``: why the peer may miss the beginning; it must still begin on a keyframe.
    """
    if got == source:
        return Cell("yes")
    counts = ", ".join(f"{name}: {len(got.get(name, []))} of {len(sent)}" for name, sent in source.items())
    for name, sent in source.items():
        have = got.get(name, [])
        if may_begin_late is None or not have or have != sent[-len(have) :]:
            return Cell("no", f"differs from the source ({counts})")
    missing = len(source["video0"]) - len(got["video0"])
    if missing % GOP_FRAMES or got.keys() != source.keys():
        return Cell("no", f"does not begin on a keyframe, or has more than the source ({counts})")
    return Cell("late", may_begin_late)


def compare_part(recorded: Hashes, got: Hashes) -> Cell:
    """The same of a peer that records what it encodes: ``got`` may begin later and end sooner than that
    recording, or end later if that was cut off, but between has every packet of it."""
    for name, packets in recorded.items():
        have = got.get(name, [])
        if not any(_agree(packets[first:], have) for first in range(len(packets))):
            return Cell("no", f"{name}: {len(have)} packets, no part of the {len(packets)} recorded")
    if got.keys() != recorded.keys():
        return Cell("no", "has other streams than the recording")
    return Cell("yes")


def _agree(packets: list[str], have: list[str]) -> bool:
    """Whether both begin alike, for as long as both go on, and that is long enough."""
    length = min(len(packets), len(have))
    return length >= MIN_PART and packets[:length] == have[:length]


@dataclass(slots=True)
class TableRow:
    row: Row
    version: str
    cells: dict[tuple[Direction, Scheme, Worker], Cell] = field(default_factory=dict)


class Table:
    """Rows in the order in which their tests ran."""

    def __init__(self) -> None:
        self.rows: list[TableRow] = []

    def add(self, row: Row, version: str) -> TableRow:
        self.rows.append(TableRow(row, version))
        return self.rows[-1]

    def as_text(self) -> str:
        """For a terminal: the columns aligned."""
        lines = [["peer", "media", *("/".join(column) for column in COLUMNS)], *self._lines()]
        widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*text, "", *self._numbered_notes()])

    def as_document(self, sections: Sequence[str] = ()) -> str:
        """``docs/interop.md``; ``sections``: lines that come before the versions."""
        lines = [_header(), ["---"] * len(_header()), *self._lines()]
        versions = sorted({(each.row.peer, each.version) for each in self.rows})
        return "\n".join([
            "# Interop",
            "",
            "What other programs publish to and play from this server, compared packet by packet: the hash",
            "of every elementary stream packet at the end of the way is that of the source, in the same",
            "order, none missing. Written by `make interop-table` from what the tests saw; `make interop`",
            "repeats them. OBS encodes by itself: its source is what it records of the same packets.",
            "",
            "*yes*: every packet of the source. *late*: every packet from a keyframe on, for the reason in",
            "the note. *–*: the peer cannot, for the reason in the note. *Same worker* and *other worker*",
            "say where the player is: with the publisher, or on another node at the same router.",
            "",
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            "Notes:",
            "",
            *self._numbered_notes(),
            "",
            *sections,
            "## Versions",
            "",
            "| peer | version |",
            "| --- | --- |",
            *(f"| {peer} | {version} |" for peer, version in versions),
            "",
            f"On {platform.system()} {platform.machine()}, Python {platform.python_version()}.",
            "",
        ])  # fmt: skip

    def _lines(self) -> list[list[str]]:
        notes = self._notes()
        lines = []
        for each in self.rows:
            cells = [each.cells.get(column, Cell("?")) for column in COLUMNS]
            marks = [
                f"{cell.mark} ({notes.index(cell.note) + 1})" if cell.note else cell.mark for cell in cells
            ]
            lines.append([each.row.peer, each.row.media.name, *marks])
        return lines

    def _numbered_notes(self) -> list[str]:
        return [f"{number}. {note}" for number, note in enumerate(self._notes(), 1)]

    def _notes(self) -> list[str]:
        """Each note once, in the order of the table."""
        return list(dict.fromkeys(
            each.cells[column].note
            for each in self.rows for column in COLUMNS if column in each.cells and each.cells[column].note
        ))  # fmt: skip


def _header() -> list[str]:
    return ["peer", "media", *(
        f"{_HEADINGS[direction]}, {scheme.upper()}, {_HEADINGS[worker]}"
        for direction, scheme, worker in COLUMNS
    )]  # fmt: skip
