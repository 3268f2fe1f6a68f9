"""The table of what peers see at ours and at nginx-rtmp, as the tests fill it."""

from __future__ import annotations


class SightTable:
    """Commands down, streams across; both in the order in which the tests come to them."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], bool] = {}

    def note(self, command: str, stream: str, *, same: bool) -> None:
        """A cell holds for early and late joiners together: it is bad if one of them is."""
        self._cells[command, stream] = self._cells.get((command, stream), True) and same

    def as_lines(self) -> list[str]:
        """A section of ``docs/interop.md``; nothing if no test has run."""
        if not self._cells:
            return []
        streams = list(dict.fromkeys(stream for _, stream in self._cells))
        commands = list(dict.fromkeys(command for command, _ in self._cells))
        marks = {True: "same", False: "worse", None: "–"}
        rows = [
            [f"`{command}`", *(marks[self._cells.get((command, stream))] for stream in streams)]
            for command in commands
        ]
        header = ["typed", *streams]
        return [
            "## What peers see",
            "",
            "What people type, at this server (2 workers) and at nginx-rtmp at the same time, as players",
            "that were there before the publisher and as players that came in mid-stream. *same*: the same",
            "list of streams, no warning that nginx-rtmp does not cause, the same exit code, as soon, and",
            "as many packets written. *–*: not tried, it needs video.",
            "",
            *("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows)),
            "",
        ]  # fmt: skip
