"""The stream's clock after single frames stamped far ahead, and after restarts with another skew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cluster.core.media.timeline import SETTLED_MS, Timeline

AUDIO, VIDEO = 8, 9
FRAME_MS = 40
AHEAD_MS = 100_000
LENGTH_MS = 20_000


def _interleaved(ahead: dict[int, set[int]]) -> Iterator[tuple[int, int]]:
    """Frames of both media, those in ``ahead`` stamped far ahead."""
    for at_ms in range(0, LENGTH_MS, FRAME_MS):
        for medium in (VIDEO, AUDIO):
            yield medium, at_ms + (AHEAD_MS if at_ms in ahead.get(medium, ()) else 0)


def _restarted_apart() -> Iterator[tuple[int, int]]:
    """An encoder that counts anew, with its audio 20 s ahead of where it was before."""
    for at_ms in range(0, LENGTH_MS, FRAME_MS):
        yield VIDEO, at_ms + 500_000
        yield AUDIO, at_ms + 500_000
    for at_ms in range(0, LENGTH_MS, FRAME_MS):
        yield VIDEO, at_ms
        yield AUDIO, at_ms + 20_000


def _gone_on_long_ago() -> Iterator[tuple[int, int]]:
    """Both media went ahead long before they restart, near where they had been before that."""
    for start_ms, first_ms, end_ms in ((0, 0, 5_000), (AHEAD_MS, 0, 60_000), (0, 6_000, LENGTH_MS)):
        for at_ms in range(first_ms, end_ms, FRAME_MS):
            yield AUDIO, at_ms + start_ms
            yield VIDEO, at_ms + start_ms


def _gone_ahead_and_half_back() -> Iterator[tuple[int, int]]:
    """Audio goes ahead, and then falls back to a third place: that is a restart of audio alone."""
    yield VIDEO, 0
    yield AUDIO, 0
    yield AUDIO, AHEAD_MS
    for at_ms in range(FRAME_MS, LENGTH_MS, FRAME_MS):
        yield VIDEO, at_ms
        yield AUDIO, at_ms + AHEAD_MS // 2


@pytest.mark.parametrize(
    ("frames", "skew_ms"),
    [
        (lambda: _interleaved({AUDIO: {1000}}), 0),
        (lambda: _interleaved({VIDEO: {1000}}), 0),
        (lambda: _interleaved({AUDIO: {1000}, VIDEO: {1000}}), 0),
        (lambda: _interleaved({VIDEO: set(range(1000, 1000 + SETTLED_MS // 2, FRAME_MS))}), 0),
        (lambda: _interleaved({AUDIO: {1000, 1040, 3000}}), 0),
        (_restarted_apart, 20_000),
        (_gone_on_long_ago, 0),
        (_gone_ahead_and_half_back, AHEAD_MS),
    ],
    ids=["audio", "video", "both", "some", "again", "restart", "long_ago", "third_place"],
)
def test_media_stay_together_and_none_counts_as_gone(
    frames: Callable[[], Iterator[tuple[int, int]]], skew_ms: int
) -> None:
    timeline = Timeline()
    last: dict[int, int] = {}
    for medium, wire_ms in frames():
        placed_ms = timeline.place(medium, wire_ms)
        assert placed_ms >= last.get(medium, placed_ms)
        last[medium] = placed_ms
    assert abs(last[AUDIO] - last[VIDEO] - skew_ms) <= FRAME_MS
    assert timeline.silent_ms(VIDEO) <= 2 * FRAME_MS
    assert timeline.silent_ms(AUDIO) <= 2 * FRAME_MS
