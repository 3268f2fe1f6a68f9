"""A player that joins in the middle of a group of pictures gets its first keyframe at once."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest

from support.cluster_process import Edge
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, GOP_FRAMES, LivePlayer, LivePublisher, Peers

JOINS = 12
P50_LIMIT_S = 0.100


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """Two workers for all tests here; streams have names of their own."""
    edge = Edge(["--workers", "2"], tmp_path_factory.mktemp("join") / "edge.log")
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()


@pytest.mark.alone
def test_the_first_keyframe_comes_at_once_whichever_worker_the_player_is_on(
    edge: Edge, peers: Peers
) -> None:
    publisher = peers.publish(edge, "join")
    publisher.wait_sent(GOP_FRAMES // 2)
    home = publisher.worker
    away = next(pid for pid in edge.workers().values() if pid != home)

    # In turns, so that both meet the same load and the same places in the group of pictures.
    waits = [(_join(edge, peers, home), _join(edge, peers, away)) for _ in range(JOINS)]

    same_worker, other_worker = (statistics.median(column) for column in zip(*waits, strict=True))
    assert same_worker < P50_LIMIT_S, f"on the publisher's worker: {same_worker * 1000:.0f} ms"
    assert other_worker < P50_LIMIT_S, f"on the other worker: {other_worker * 1000:.0f} ms"


def test_a_join_sends_the_whole_group_of_pictures_so_far(edge: Edge, peers: Peers) -> None:
    publisher = peers.publish(edge, "gop")
    onlooker = peers.play(edge, "gop", worker=publisher.worker)
    onlooker.wait_for_frames(GOP_FRAMES)
    for worker in edge.workers().values():
        newest = _keyframe_passed_on_early_in_its_group(onlooker)
        player = peers.play(edge, "gop", worker=worker)
        first = player.wait_for_frames(1)[0]
        assert first.keyframe
        assert newest <= first.sequence, "the newest keyframe, from before it asked or since"
        player.wait_for_frames(GOP_FRAMES)
        assert player.gaps() == []


def _keyframe_passed_on_early_in_its_group(onlooker: LivePlayer) -> int:
    """The newest keyframe that the server has passed on, when there is a second to join before the next."""

    def early() -> bool:
        return GOP_FRAMES // 5 <= onlooker.frames[-1].sequence % GOP_FRAMES <= GOP_FRAMES // 2

    wait_until(early, "a place early in a group of pictures")
    return onlooker.frames[-1].sequence // GOP_FRAMES * GOP_FRAMES


def _join(edge: Edge, peers: Peers, worker: int) -> float:
    """Seconds from connecting to the first frame, which must be a keyframe."""
    player = peers.play(edge, "join", worker=worker)
    first = player.wait_for_frames(1)[0]
    player.close()
    assert first.keyframe
    return first.at - player.started_at


def test_two_publishers_on_two_workers_do_not_mix(edge: Edge, peers: Peers) -> None:
    """Stream keys of which one begins with the other: bus topics match by prefix."""
    one, two = edge.workers().values()
    _publish_far_apart(edge, peers, {"a": one, "ab": two})
    for name, worker, base in (("a", two, 0), ("ab", one, 1_000_000)):
        frames = peers.play(edge, name, worker=worker).wait_for_frames(FRAMES_PER_SECOND)
        assert all(base <= frame.sequence < base + 1_000_000 for frame in frames), name


def _publish_far_apart(edge: Edge, peers: Peers, workers: dict[str, int]) -> list[LivePublisher]:
    return [
        peers.publish(edge, name, worker=worker, first_sequence=n * 1_000_000)
        for n, (name, worker) in enumerate(workers.items())
    ]
