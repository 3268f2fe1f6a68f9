"""FFmpeg publishes a real file; FFmpeg players on every worker get packets identical to the source."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_process import Edge, StartEdge, StartRouter
from ffmpeg_tools import CLIP_S, GOP_FRAMES, Ffmpegs, Packet, Packets, Player
from polling import wait_until

EARLY_PLAYERS = 4
LATE_PLAYERS = 4
#: So many players of one stream on one worker of two by chance: once in 32,768 runs.
MOST_PLAYERS = 16
END_TIMEOUT_S = CLIP_S + 15.0


@pytest.mark.parametrize("router", ["embedded", "separate"])
def test_every_player_gets_the_packets_of_the_source(
    router: str,
    start_edge: StartEdge,
    start_router: StartRouter,
    ffmpegs: Ffmpegs,
    clip: Path,
    source: Packets,
) -> None:
    routers = ["--router", start_router()] if router == "separate" else []
    edge = start_edge("--workers", "2", *routers)
    url = edge.url("clip")
    early = [ffmpegs.play(url) for _ in range(EARLY_PLAYERS)]
    while len(_workers_of(edge, early)) < 2 and len(early) < MOST_PLAYERS:
        early.append(ffmpegs.play(url))
    assert _workers_of(edge, early) == {"0", "1"}, "both workers serve players"

    publisher = ffmpegs.publish(clip, url)
    _wait_for_media(early[0], 2 * GOP_FRAMES)
    late = [ffmpegs.play(url) for _ in range(LATE_PLAYERS)]

    assert publisher.wait(END_TIMEOUT_S) == 0, publisher.log_text()
    for player in early:
        got = player.wait_for_last(source, 10)
        assert _digests(got.video) == _digests(source.video), "video of a player that was there first"
        assert _digests(got.audio) == _digests(source.audio), "audio of a player that was there first"
        _assert_same_clock(got, source)
    for player in late:
        got = player.wait_for_last(source, 10)
        _assert_tail(got.video, source.video, "video of a player that came later")
        _assert_tail(got.audio, source.audio, "audio of a player that came later")
        assert (len(source.video) - len(got.video)) % GOP_FRAMES == 0, "it did not start on a keyframe"
        _assert_same_clock(got, source)


def _workers_of(edge: Edge, players: list[Player]) -> set[str]:
    """The slots that serve these players, once all of them are counted."""
    def slots() -> set[str] | None:
        by_worker = edge.metrics().by("worker", "players")
        return set(by_worker) if sum(by_worker.values()) == len(players) else None

    return wait_until(slots, f"{len(players)} players in the metrics")


def _wait_for_media(player: Player, frames: int) -> None:
    wait_until(lambda: len(player.packets().video) > frames, f"more than {frames} frames at a player", 20)


def _digests(packets: list[Packet]) -> list[str]:
    return [packet.digest for packet in packets]


def _assert_tail(got: list[Packet], source: list[Packet], what: str) -> None:
    """``got`` is the source from some packet on, complete, in order, nothing twice."""
    assert _digests(got) == _digests(source[-len(got) :]), what
    assert len(got) < len(source), f"{what} should have missed the beginning"


def _assert_same_clock(got: Packets, source: Packets) -> None:
    """One constant lies between the player's timestamps and the source's, for audio and video alike."""
    offsets = {
        have.dts - sent.dts
        for mine, whole in ((got.video, source.video), (got.audio, source.audio))
        for have, sent in zip(mine, whole[-len(mine) :], strict=True)
    }
    assert len(offsets) == 1, f"timestamps moved against the source: {sorted(offsets)[:10]}"
