"""What a page shows, as those see it who watch: the picture, its age, the words."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import clock_picture
import pytest
from clock_picture import FPS
from standstill import Standstills, merged, shown_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Screenshots are kept here, for people to look at.
SHOTS = Path(os.environ.get("BROWSER_SHOTS", Path(__file__).parents[2] / "build" / "browser-shots"))

#: A part of a colour may be so far off: coding, and the matrix that a browser takes for a small picture.
COLOUR_TOLERANCE = 45

#: How long is waited for what a page is to show. That it takes long is no result: what is measured comes
#: after.
PATIENCE_S = 60.0

#: It is watched in pieces, until enough of them is undisturbed, or this is over.
_PIECE_S = 2.0
_LONGEST_TIMES = 3
_SLACK_S = 30.0  # for a short time to watch, one standstill takes long


@dataclass(slots=True)
class Watched:
    """Some seconds in front of a page.

    ``clear_s``: those in which nothing shows that this machine let a program wait; ``delays_ms`` are of
    these, and ``stalls`` began in these. ``excused``: the other stalls since the page was there, as little
    clear as what they began in. All are in Unix ms.
    """

    clear_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    stalls: list[tuple[float, float]] = field(default_factory=list)
    excused: list[tuple[float, float]] = field(default_factory=list)
    disturbed: list[tuple[float, float]] = field(default_factory=list)
    bars: list[list[int]] | None = None
    unread: int = 0
    read: int = 0
    drawn: int = 0
    advanced_s: float = 0.0
    until_ms: float = 0.0
    decoded: float = 0

    @property
    def delay_p50_ms(self) -> float:
        return statistics.median(self.delays_ms)

    @property
    def excused_s(self) -> float:
        return sum(ended - began for began, ended in self.excused) / 1000

    def is_disturbed(self, at_ms: float) -> bool:
        return any(began <= at_ms <= ended for began, ended in self.disturbed)

    def assert_moves(self, seconds: float) -> None:
        """Pictures came, they were the right ones, and time went on."""
        clear_s = min(seconds, self.clear_s)
        assert self.advanced_s > 0.8 * clear_s, f"{self.advanced_s:.2f} s of {clear_s:.2f} s were played"
        assert self.decoded > 0.6 * FPS * clear_s, f"{self.decoded} frames were decoded in {clear_s:.2f} s"
        most = min(FPS * clear_s, self.drawn)  # what this browser has come to draw
        assert self.read > 0.4 * most, f"{self.read} of {most} were read, {self.unread} not"
        self.assert_colours()

    def assert_colours(self) -> None:
        assert self.bars is not None
        for seen, (expected, _) in zip(self.bars, clock_picture.BARS, strict=True):
            off = max(abs(part - wanted) for part, wanted in zip(seen, expected, strict=True))
            assert off <= COLOUR_TOLERANCE, f"colour {seen} instead of {expected}"

    def __str__(self) -> str:
        return (
            f"{self.clear_s:.1f} s clear, delay p50 {self.delay_p50_ms:.0f} ms, "
            f"most {max(self.delays_ms):.0f} ms, {len(self.stalls)} stalls; "
            f"disturbed {len(self.disturbed)} times, {len(self.excused)} stalls for that"
        )


#: Watches the page's video for so many seconds.
Watch = Callable[["Page", float], Watched]


def watch_with(standstills: Standstills, page: Page, seconds: float) -> Watched:
    """Watch until so many seconds were undisturbed. If most are not, nothing can be told: skipped."""
    seen = Watched()
    pieces = 0
    while seen.clear_s < seconds:
        if pieces * _PIECE_S > _LONGEST_TIMES * seconds + _SLACK_S:
            worst = "; ".join(str(each) for each in standstills.seen[-5:])
            pytest.skip(f"{seen.clear_s:.1f} s of {pieces * _PIECE_S:.0f} s could be watched: {worst}")
        _watch_piece(seen, standstills, page, min(_PIECE_S, seconds))
        pieces += 1
    return seen


def _watch_piece(seen: Watched, standstills: Standstills, page: Page, seconds: float) -> None:
    before = _progress(page)
    piece = page.evaluate("ms => clockPicture.watch(document.querySelector('video'), ms)", seconds * 1000)
    after = _progress(page)
    began, ended = seen.until_ms or piece["from_ms"], piece["to_ms"]
    seen.until_ms = ended
    seen.excused.clear()
    for stall in page.evaluate("clockPicture.stalls"):
        stall_began, stall_ended = stall[0], stall[1] or ended
        if standstills.disturbed(stall_began - 1, stall_began + 1):
            seen.excused.append((stall_began, stall_ended))
        elif began <= stall_began < ended:
            seen.stalls.append((stall_began, stall_ended))
    disturbed = merged([*standstills.disturbed(began, ended), *shown_in(seen.excused, began, ended)])
    seen.disturbed += disturbed
    seen.clear_s += (ended - began - sum(to - from_ for from_, to in disturbed)) / 1000
    seen.delays_ms += [delay for at, delay in piece["delays"] if not seen.is_disturbed(at)]
    seen.read += len(piece["delays"])
    seen.unread += piece["unread"]
    seen.drawn += piece["drawn"]
    seen.bars = piece["bars"] or seen.bars
    seen.advanced_s += after["time"] - before["time"]
    # WebKitGTK counts anew after each change of speed; what was shown has been decoded.
    seen.decoded += max(after["frames"] - before["frames"], len(piece["delays"]) + piece["unread"])


def _progress(page: Page) -> dict[str, float]:
    progress: dict[str, float] = page.evaluate(
        "() => { const video = document.querySelector('video');"
        " return { time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames }; }"
    )
    return progress


def wait_live(page: Page) -> None:
    """Until the page says that it is live."""
    page.wait_for_function(
        "() => document.getElementById('state').dataset.state === 'live'", timeout=PATIENCE_S * 1000
    )


def wait_words(page: Page, words: str) -> None:
    """Until the page says these words, as a part of what it says."""
    page.wait_for_function(
        "words => document.getElementById('words').textContent.includes(words)", arg=words,
        timeout=PATIENCE_S * 1000,
    )  # fmt: skip


def wait_moving(page: Page) -> None:
    """Until pictures come that are not old."""
    page.wait_for_function(
        "() => { const seen = clockPicture.read(document.querySelector('video'));"
        " return seen && seen.delay_ms < 2000 && document.querySelector('video').readyState > 2; }",
        timeout=PATIENCE_S * 1000,
    )


def shoot(page: Page, name: str) -> Path:
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
