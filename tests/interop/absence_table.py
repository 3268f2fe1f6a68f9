"""The table of how soon viewers behind relays have media again, as the tests fill it."""

from __future__ import annotations


class AbsenceTable:
    def __init__(self) -> None:
        self._rows: list[list[str]] = []

    def note(self, relay: str, absence_s: int, ours_s: float | None, theirs_s: float | None) -> None:
        self._rows.append([relay, f"{absence_s} s", _shown(ours_s), _shown(theirs_s)])

    def as_lines(self) -> list[str]:
        """A section of ``docs/interop.md``; nothing if no test has run."""
        if not self._rows:
            return []
        header = ["relay", "publisher away", "from this server", "from nginx-rtmp"]
        return [
            "## Behind a relay, when the publisher comes back",
            "",
            "A relay pulls; the publisher stops and comes back. How soon a viewer at the relay, connected",
            "all the time, has audio and video again, counted from the publisher's new connection.",
            "",
            *("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *self._rows)),
            "",
        ]


def _shown(seconds: float | None) -> str:
    return "no media" if seconds is None else f"{seconds:.1f} s"
