"""FFmpeg at both ends plays what is not two even tracks, and players on either of two nodes see the source.

Audio and video far apart in their stamps; a camera that is switched off and on; one keyframe ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from uneven_clips import (
    CAMERA_CLIP_S,
    CAMERA_OFF_S,
    FRAMES_BEFORE_CAMERA_OFF,
    GOP_FRAMES,
    UnevenPlayer,
    UnevenPublisher,
    assert_same_packets,
    keyframes_of,
    make_camera_off_clip,
    make_even_clip,
    make_intra_refresh_clip,
)

from support.cluster_process import Edge, StartEdge, StartRouter
from support.ffmpeg import Packets, hashes_of_file
from support.polling import wait_until

pytestmark = pytest.mark.alone

SKEWED_CLIP_S = 5
INTRA_REFRESH_CLIP_S = 9
#: When the camera has been off for so long: video may come back any moment, or the stream is audio alone.
CAMERA_JOINS_S = {"soon after": 2.5, "long after": 10.5}
#: Which medium's stamps are ahead of the other's, in milliseconds.
SKEWS = [(kind, ahead_ms) for kind in ("audio", "video") for ahead_ms in (1_500, 60_000)]
KEYFRAME_WAIT_S = 2.0
#: The log forgets a keyframe before the players come that are to miss it.
SHORT_LOG = ("--log-seconds", "2", "--slow-skip", "2")
#: From starting an FFmpeg player to its first line, beside others that start: FFmpeg's own doing.
PLAYER_STARTS_S = 2.5
END_TIMEOUT_S = 15.0


class Pair(NamedTuple):
    """Two nodes at one router; publishers are on the first."""

    same: Edge
    other: Edge


@pytest.fixture
def start_pair(start_router: StartRouter, start_edge: StartEdge) -> Callable[..., Pair]:
    def start(*options: str) -> Pair:
        address = start_router()
        common = ("--workers", "1", "--router", address, "--publish-grace", "0.5", *options)
        return Pair(*(start_edge(*common, "--node-name", name) for name in ("same", "other")))

    return start


@dataclass(slots=True)
class Field:
    """Starts FFmpegs with files of their own."""

    directory: Path
    started: list[UnevenPublisher | UnevenPlayer]

    def publish(self, clip: Path, url: str, ahead: tuple[str, int] | None = None) -> UnevenPublisher:
        self.started.append(UnevenPublisher(clip, url, self._path("publisher.log"), ahead))
        return self.started[-1]

    def play_on_both(self, pair: Pair, name: str) -> dict[str, UnevenPlayer]:
        players = {}
        for node, edge in zip(Pair._fields, pair, strict=True):
            players[node] = UnevenPlayer(edge.url(name), self._path("player"))
            self.started.append(players[node])
        return players

    def _path(self, name: str) -> Path:
        return self.directory / f"{len(self.started)}-{name}"


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    field = Field(tmp_path, [])
    yield field
    for process in field.started:
        process.end()


def test_audio_and_video_far_apart(start_pair: Callable[..., Pair], field: Field, tmp_path: Path) -> None:
    """Neither medium restarted: each passes as it is stamped, however far the other is."""
    clip = tmp_path / "clip.flv"
    make_even_clip(clip, SKEWED_CLIP_S)
    source = hashes_of_file(clip, tmp_path / "source")
    pair = start_pair()
    names = {skew: f"{skew[0]}-{skew[1]}" for skew in SKEWS}
    early = {skew: field.play_on_both(pair, name) for skew, name in names.items()}
    _wait_for_players(pair, 2 * len(SKEWS))
    publishers = [field.publish(clip, pair.same.url(name), skew) for skew, name in names.items()]
    _wait_for_frames(early[SKEWS[0]]["same"], GOP_FRAMES * 3 // 2)
    late = {skew: field.play_on_both(pair, name) for skew, name in names.items()}
    for publisher in publishers:
        assert publisher.wait(SKEWED_CLIP_S + END_TIMEOUT_S) == 0, publisher.log_text()
    for skew in SKEWS:
        for joined, players in (("early", early[skew]), ("late", late[skew])):
            for node, player in players.items():
                what = f"{skew[0]} {skew[1]} ms ahead, {joined} on the {node} node"
                _assert_skewed(player, source, skew, what, late=joined == "late")


def _assert_skewed(
    player: UnevenPlayer, source: Packets, skew: tuple[str, int], what: str, *, late: bool
) -> None:
    got = player.wait_for_last(source, END_TIMEOUT_S)
    moved = {
        "video": assert_same_packets(got.video, source.video, f"video of {what}", late=late),
        "audio": assert_same_packets(got.audio, source.audio, f"audio of {what}", late=late),
    }
    ahead, behind = skew[0], "audio" if skew[0] == "video" else "video"
    assert moved[ahead] - moved[behind] == skew[1], f"{what}: the distance became another: {moved}"
    assert (len(source.video) - len(got.video)) % GOP_FRAMES == 0, f"{what}: it begins on no keyframe"


def test_the_camera_is_switched_off_and_on(
    start_pair: Callable[..., Pair], field: Field, tmp_path: Path
) -> None:
    """Who joins while there is no video hears the audio at once, and sees the camera when it is back."""
    clip = tmp_path / "clip.flv"
    make_camera_off_clip(clip)
    source = hashes_of_file(clip, tmp_path / "source")
    assert FRAMES_BEFORE_CAMERA_OFF in keyframes_of(clip), "the camera comes back with a keyframe"
    pair = start_pair(*SHORT_LOG)
    joined = {"before": field.play_on_both(pair, "camera")}
    _wait_for_players(pair, 2)
    publisher = field.publish(clip, pair.same.url("camera"))
    began_at = time.monotonic()
    early = joined["before"]["same"]
    _wait_for_frames(early, FRAMES_BEFORE_CAMERA_OFF)
    for when, off_s in CAMERA_JOINS_S.items():
        _wait_until_clock(began_at + CAMERA_OFF_S + off_s)
        joined[when] = field.play_on_both(pair, "camera")
        for node, player in joined[when].items():
            wait_until(lambda p=player: p.packets().audio, f"audio on the {node} node", PLAYER_STARTS_S)
    assert len(early.packets().video) == FRAMES_BEFORE_CAMERA_OFF, "the camera was back too early"
    _wait_for_frames(early, (CAMERA_OFF_S + 1) * GOP_FRAMES + GOP_FRAMES // 2)
    joined["when it was back, after"] = field.play_on_both(pair, "camera")
    assert publisher.wait(CAMERA_CLIP_S + END_TIMEOUT_S) == 0, publisher.log_text()

    keyframes = keyframes_of(clip)
    for when, players in joined.items():
        for node, player in players.items():
            what = f"a player that joined {when} the camera was off, on the {node} node"
            got = player.wait_for_last(source, END_TIMEOUT_S)
            late = when != "before"
            moved = assert_same_packets(got.video, source.video, f"video of {what}", late=late)
            assert moved == assert_same_packets(got.audio, source.audio, f"audio of {what}", late=late)
            assert len(source.video) - len(got.video) in keyframes, f"{what}: it begins on no keyframe"


def test_one_keyframe_ever(start_pair: Callable[..., Pair], field: Field, tmp_path: Path) -> None:
    """Intra refresh: joiners hear at once, and see when they have waited for a keyframe long enough."""
    clip = tmp_path / "clip.flv"
    make_intra_refresh_clip(clip, INTRA_REFRESH_CLIP_S)
    source = hashes_of_file(clip, tmp_path / "source")
    assert keyframes_of(clip) == [0]
    pair = start_pair(*SHORT_LOG, "--keyframe-wait", f"{KEYFRAME_WAIT_S:g}")
    early = field.play_on_both(pair, "refresh")
    _wait_for_players(pair, 2)
    publisher = field.publish(clip, pair.same.url("refresh"))
    _wait_for_frames(early["same"], 3 * GOP_FRAMES)
    late = field.play_on_both(pair, "refresh")
    started_at = time.monotonic()
    for kind, wait_s in (("audio", 0.0), ("video", KEYFRAME_WAIT_S)):
        for node, player in late.items():
            left_s = started_at + PLAYER_STARTS_S + wait_s - time.monotonic()
            what = f"{kind} on the {node} node"
            wait_until(lambda p=player, k=kind: getattr(p.packets(), k), what, max(0.0, left_s))
    assert publisher.wait(INTRA_REFRESH_CLIP_S + END_TIMEOUT_S) == 0, publisher.log_text()

    for when, players in (("before", early), ("in mid-stream", late)):
        for node, player in players.items():
            what = f"a player that joined {when}, on the {node} node"
            got = player.wait_for_last(source, END_TIMEOUT_S)
            moved = assert_same_packets(got.video, source.video, f"video of {what}", late=players is late)
            assert moved == assert_same_packets(
                got.audio, source.audio, f"audio of {what}", late=players is late
            )


def _wait_for_players(pair: Pair, each: int) -> None:
    for edge in pair:
        wait_until(lambda e=edge: e.metrics().total("players") >= each, "the players that come first")


def _wait_for_frames(player: UnevenPlayer, frames: int) -> None:
    wait_until(lambda: len(player.packets().video) >= frames, f"{frames} frames at a player")


def _wait_until_clock(at: float) -> None:
    wait_until(lambda: time.monotonic() >= at, "the time to join")
