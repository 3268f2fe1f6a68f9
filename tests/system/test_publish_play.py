"""FFmpeg publishes a real file; FFmpeg players on every worker get packets identical to the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.cluster_process import ClusterProcess, Edge, free_router_address
from support.ffmpeg import CLIP_S, GOP_FRAMES, Ffmpegs, Packet, Packets, Player
from support.polling import wait_until

EARLY_PLAYERS = 4
LATE_PLAYERS = 4
#: So many players of one stream on one worker of two by chance: once in 32,768 runs.
MOST_PLAYERS = 16
END_TIMEOUT_S = CLIP_S + 15.0


ROUTERS = ("embedded", "separate")


@dataclass(frozen=True, slots=True)
class Played:
    """The players of the clip: those that were there before it, and those that came in its middle."""

    early: list[Player]
    late: list[Player]


@pytest.fixture(scope="module")
def played(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """The clip over each kind of router, at the same time: it takes as long as the clip."""
    directory = tmp_path_factory.mktemp("publish-play")
    address = free_router_address()
    router = ClusterProcess(["router", "--bind", address], directory / "router.log")
    options = {"embedded": [], "separate": ["--router", address]}
    edges = {kind: Edge(["--workers", "2", *options[kind]], directory / f"{kind}.log") for kind in ROUTERS}
    ffmpegs = Ffmpegs(directory)
    try:
        for process in (router, *edges.values()):
            process.wait_ready()
        early = {kind: _players_on_both_workers(edge, ffmpegs) for kind, edge in edges.items()}
        publishers = [ffmpegs.publish(clip, edge.url("clip")) for edge in edges.values()]
        late = {}
        for kind, edge in edges.items():
            _wait_for_media(early[kind][0], 2 * GOP_FRAMES)
            late[kind] = [ffmpegs.play(edge.url("clip")) for _ in range(LATE_PLAYERS)]
        for publisher in publishers:
            assert publisher.wait(END_TIMEOUT_S) == 0, publisher.log_text()
        yield {kind: Played(early[kind], late[kind]) for kind in ROUTERS}
        ffmpegs.end()
        for process in (*edges.values(), router):
            assert process.stop() == 0, process.log_text()
            assert "Traceback" not in process.log_text(), process.log_text()
    finally:
        ffmpegs.end()
        for process in (*edges.values(), router):
            process.kill()


@pytest.mark.parametrize("router", ROUTERS)
def test_every_player_gets_the_packets_of_the_source(
    router: str, played: dict[str, Played], source: Packets
) -> None:
    for player in played[router].early:
        got = player.wait_for_last(source, 30)
        assert _digests(got.video) == _digests(source.video), "video of a player that was there first"
        assert _digests(got.audio) == _digests(source.audio), "audio of a player that was there first"
        _assert_same_clock(got, source)
    for player in played[router].late:
        got = player.wait_for_last(source, 30)
        _assert_tail(got.video, source.video, "video of a player that came later")
        _assert_tail(got.audio, source.audio, "audio of a player that came later")
        assert (len(source.video) - len(got.video)) % GOP_FRAMES == 0, "it did not start on a keyframe"
        _assert_same_clock(got, source)


def _players_on_both_workers(edge: Edge, ffmpegs: Ffmpegs) -> list[Player]:
    players = [ffmpegs.play(edge.url("clip")) for _ in range(EARLY_PLAYERS)]
    while len(_workers_of(edge, players)) < 2 and len(players) < MOST_PLAYERS:
        players.append(ffmpegs.play(edge.url("clip")))
    assert _workers_of(edge, players) == {"0", "1"}, "both workers serve players"
    return players


def _workers_of(edge: Edge, players: list[Player]) -> set[str]:
    """The slots that serve these players, once all of them are counted."""
    def slots() -> set[str] | None:
        by_worker = edge.metrics().by("worker", "players")
        return set(by_worker) if sum(by_worker.values()) == len(players) else None

    return wait_until(slots, f"{len(players)} players in the metrics")


def _wait_for_media(player: Player, frames: int) -> None:
    wait_until(lambda: len(player.packets().video) > frames, f"more than {frames} frames at a player")


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
