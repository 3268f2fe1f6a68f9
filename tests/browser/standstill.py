"""When this machine let a program of the tests wait: what a viewer misses then is no server's fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from support.polling import wait_until

_LOOKER = Path(__file__).with_name("waits_of_threads.py")
#: Who waits for less of a look does not miss a frame.
LEAST_MS = 50.0
#: For so long what stood still may show: pictures that are late have been waited for in a player's reserve.
SHOWS_FOR_MS = 2_000.0


#: From when until when, in Unix ms.
Span = tuple[float, float]


class Standstill(NamedTuple):
    """Unix time in ms, and the thread that waited longest."""

    from_ms: float
    to_ms: float
    waited_ms: float
    who: str

    def __str__(self) -> str:
        return f"{self.who} waited {self.waited_ms:.0f} ms"


class Standstills:
    """All there have been since this began, of what this process has started."""

    def __init__(self) -> None:
        self.seen: list[Standstill] = []
        self._looked_until_ms = 0.0
        self._process = subprocess.Popen(
            [sys.executable, str(_LOOKER), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            look = Standstill(*json.loads(line))
            if look.waited_ms >= LEAST_MS:
                self.seen.append(look)
            self._looked_until_ms = look.to_ms

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def disturbed(self, from_ms: float, to_ms: float) -> list[Span]:
        """The spans of that time in which something that stood still may show, one behind the other."""
        wait_until(lambda: self._looked_until_ms >= to_ms, "the next look at what stands still")
        first = bisect_left(self.seen, from_ms - SHOWS_FOR_MS, key=lambda each: each.to_ms)
        return merged(shown_in([each[:2] for each in self.seen[first:]], from_ms, to_ms))


def shown_in(events: Iterable[Span], from_ms: float, to_ms: float) -> list[Span]:
    """When ``events``, and what they leave behind, show in that time."""
    spans = [(max(began, from_ms), min(ended + SHOWS_FOR_MS, to_ms)) for began, ended in events]
    return [(began, ended) for began, ended in spans if began < ended]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that stand one behind the other."""
    found: list[Span] = []
    for began, ended in sorted(spans):
        if found and began <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], ended)
        else:
            found.append((began, ended))
    return found
