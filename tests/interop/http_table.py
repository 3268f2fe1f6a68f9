"""The table of playback over HTTP, as the tests fill it."""

from __future__ import annotations

from typing import Literal

from http_matrix import FORMS, Form, HttpRow, OwnLoss
from table import Cell
from workbench import Hashes

#: A column of the table: a form, or "segments", each of which is opened by itself.
Column = Literal[Form, "segments"]
COLUMNS: tuple[Column, ...] = (*FORMS, "segments")


def compare_http(source: Hashes, got: Hashes, own_loss: OwnLoss | None) -> Cell:
    """Whether ``got`` is every packet of ``source``, but for one that the peer drops by itself."""
    if got == source:
        return Cell("yes")
    if own_loss is not None:
        audio = list(source["audio0"])
        del audio[own_loss.place]
        if got == {**source, "audio0": audio}:
            return Cell("yes", own_loss.reason)
    counts = ", ".join(f"{name}: {len(got.get(name, []))} of {len(sent)}" for name, sent in source.items())
    return Cell("no", f"differs from the source ({counts})")


class HttpTable:
    """Rows in the order in which their tests ran."""

    def __init__(self) -> None:
        self._rows: list[tuple[HttpRow, dict[Column, Cell]]] = []

    def add(self, row: HttpRow) -> dict[Column, Cell]:
        """The cells of a new row, to be filled."""
        cells: dict[Column, Cell] = {}
        self._rows.append((row, cells))
        return cells

    def as_lines(self) -> list[str]:
        """A section of ``docs/interop.md``; nothing if no test has run."""
        if not self._rows:
            return []
        notes = list(dict.fromkeys(
            cells[column].note
            for _, cells in self._rows for column in COLUMNS if column in cells and cells[column].note
        ))  # fmt: skip
        header = ["peer", "media", *(f"`.{form}`" for form in FORMS), "each segment alone"]
        lines = [header, ["---"] * len(header)]
        for row, cells in self._rows:
            found = [cells.get(column, Cell("?")) for column in COLUMNS]
            marks = [
                f"{cell.mark} ({notes.index(cell.note) + 1})" if cell.note else cell.mark for cell in found
            ]
            lines.append([row.peer, row.media.name, *marks])
        numbered = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
        return [
            "## Playback over HTTP",
            "",
            "Published by `rtmp-cluster publish`, played from a node of two workers: the same comparison,",
            "packet by packet. Of HLS both workers have been asked for the stream before: a worker has the",
            "segments that begin after it was first asked. *Each segment alone*: its packets, of a file of",
            "the init segment and that segment, opened without a warning (FFmpeg: by ffprobe).",
            "",
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            *(["Notes:", "", *numbered, ""] if notes else []),
        ]  # fmt: skip
