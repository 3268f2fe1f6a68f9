"""What a page shows, as those see it who watch: the picture, its age, the words."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import clock_picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Screenshots are kept here, for people to look at.
SHOTS = Path(os.environ.get("BROWSER_SHOTS", Path(__file__).parents[2] / "build" / "browser-shots"))

#: A part of a colour may be so far off: coding, and the matrix that a browser takes for a small picture.
COLOUR_TOLERANCE = 45
#: A publisher sends so many pictures a second.
FPS = 30


@dataclass(frozen=True, slots=True)
class Watched:
    """Some seconds in front of a page."""

    delays_ms: list[float]
    bars: list[list[int]] | None
    unread: int
    advanced_s: float
    decoded: int

    @property
    def delay_p50_ms(self) -> float:
        return statistics.median(self.delays_ms)

    def assert_moves(self, seconds: float) -> None:
        """Pictures came, they were the right ones, and time went on."""
        shown = len(self.delays_ms)
        assert self.advanced_s > 0.8 * seconds, f"{self.advanced_s:.2f} s of {seconds:g} s were played"
        assert self.decoded > 0.6 * FPS * seconds, f"{self.decoded} frames were decoded in {seconds:g} s"
        assert shown > 0.4 * FPS * seconds, f"{shown} were read in {seconds:g} s, {self.unread} not"
        self.assert_colours()

    def assert_colours(self) -> None:
        assert self.bars is not None
        for seen, (expected, _) in zip(self.bars, clock_picture.BARS, strict=True):
            off = max(abs(part - wanted) for part, wanted in zip(seen, expected, strict=True))
            assert off <= COLOUR_TOLERANCE, f"colour {seen} instead of {expected}"


def watch(page: Page, seconds: float) -> Watched:
    """Watch the page's video for so long."""
    before = _progress(page)
    seen = page.evaluate("ms => clockPicture.watch(document.querySelector('video'), ms)", seconds * 1000)
    after = _progress(page)
    return Watched(
        seen["delays"], seen["bars"], seen["unread"], after["time"] - before["time"],
        after["frames"] - before["frames"],
    )  # fmt: skip


def _progress(page: Page) -> dict[str, float]:
    progress: dict[str, float] = page.locator("video").evaluate(
        "video => ({ time: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames })"
    )
    return progress


def wait_live(page: Page, timeout_s: float = 30) -> None:
    """Until the page says that it is live."""
    page.wait_for_selector("#state[data-state=live]", timeout=timeout_s * 1000)


def wait_words(page: Page, words: str, timeout_s: float = 30) -> None:
    """Until the page says these words, as a part of what it says."""
    page.wait_for_function(
        "words => document.getElementById('words').textContent.includes(words)", arg=words,
        timeout=timeout_s * 1000,
    )  # fmt: skip


def wait_moving(page: Page, timeout_s: float = 30) -> None:
    """Until pictures come that are not old."""
    page.wait_for_function(
        "() => { const seen = clockPicture.read(document.querySelector('video'));"
        " return seen && seen.delay_ms < 2000 && document.querySelector('video').readyState > 2; }",
        timeout=timeout_s * 1000,
    )


def stalls(page: Page) -> int:
    return int(page.evaluate("player.stalls"))


def shoot(page: Page, name: str) -> Path:
    path = SHOTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
