"""A player that stops reading costs bounded memory, and nobody else anything."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from support.cluster_process import Edge, StartEdge, memory_bytes
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, LivePlayer, Peers

pytestmark = pytest.mark.alone

MIB = 1024 * 1024
#: Far more in the stalled time than any bound allows a worker to hold.
BITS_PER_SECOND = 40_000_000
LOG_BYTES = 16 * MIB
#: How long the player is stalled before it is closed; ``make soak-slow-player`` makes it a minute.
CLOSE_S = float(os.environ.get("SLOW_PLAYER_SECONDS", "8"))
SKIP_S = 2.0
SMALL_RECEIVE_BUFFER_BYTES = 64 * 1024
#: What a worker's memory may grow by beside the log: the allocator's and the kernel's own grain.
SLACK_BYTES = 12 * MIB
OPTIONS = [
    "--workers", "1", "--log-bytes", str(LOG_BYTES),
    "--slow-skip", str(SKIP_S), "--slow-close", str(CLOSE_S),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Neighbour:
    """How a healthy player of the same stream fared over some frames."""

    longest_pause_s: float
    gaps: int


def test_a_player_that_stops_reading_is_bounded_then_closed_and_nobody_else_notices(
    start_edge: StartEdge, peers: Peers
) -> None:
    edge = start_edge(*OPTIONS)
    (worker,) = edge.workers().values()
    publisher = peers.publish(edge, "slow", bits_per_second=BITS_PER_SECOND)
    healthy = peers.play(edge, "slow")
    healthy.wait_for_frames(FRAMES_PER_SECOND)
    without = _watch(healthy, 3.0)
    memory_before = memory_bytes(worker)

    stalled = peers.play(edge, "slow", receive_buffer_bytes=SMALL_RECEIVE_BUFFER_BYTES)
    stalled.wait_for_frames(1)
    stalled.stop_reading()
    most_memory = memory_before

    def closed() -> bool:
        nonlocal most_memory
        most_memory = max(most_memory, memory_bytes(worker))
        return edge.metrics().total("closes_total", reason="slow_player") == 1

    first_frame = len(healthy.frames)
    wait_until(closed, "the stalled player to be closed as a slow player", CLOSE_S + 15)
    beside = _neighbour(healthy, first_frame)

    print(
        f"worker: {memory_before / MIB:.0f} MiB before, {most_memory / MIB:.0f} MiB at most, "
        f"in {CLOSE_S:g} s at {BITS_PER_SECOND / 1e6:g} Mbit/s; {without=}, {beside=}"
    )
    assert most_memory - memory_before < LOG_BYTES + SLACK_BYTES, "memory grew beyond the log's bound"
    published_bytes = (len(healthy.frames) - first_frame) * BITS_PER_SECOND / 8 / FRAMES_PER_SECOND
    assert published_bytes > LOG_BYTES + SLACK_BYTES, "too little was published to show a bound"
    assert beside.gaps == 0
    assert beside.longest_pause_s < without.longest_pause_s + 0.25, (without, beside)
    assert not publisher.closed
    metrics = edge.metrics()
    assert metrics.total("player_skips_total") >= 1
    assert metrics.total("player_messages_dropped_total") > 0
    assert metrics.by("reason", "closes_total") == {"slow_player": 1.0}


def test_a_player_that_reads_on_in_time_goes_on_at_a_keyframe(start_edge: StartEdge, peers: Peers) -> None:
    edge = start_edge(*OPTIONS)
    peers.publish(edge, "pause", bits_per_second=BITS_PER_SECOND)
    player = peers.play(edge, "pause", receive_buffer_bytes=SMALL_RECEIVE_BUFFER_BYTES)
    player.wait_for_frames(1)
    player.stop_reading()
    wait_until(lambda: _skips(edge) >= 1, "the stalled player to be moved to a newer keyframe", CLOSE_S)

    player.read_on()
    wait_until(lambda: player.gaps(), "a gap at the player that reads on")
    _before, after = player.gaps()[0]
    resumed = next(frame for frame in player.frames if frame.sequence == after)
    assert resumed.keyframe
    wait_until(lambda: player.frames[-1].sequence > after + FRAMES_PER_SECOND, "it to go on")
    assert not player.closed


def _skips(edge: Edge) -> float:
    return edge.metrics().total("player_skips_total")


def _watch(player: LivePlayer, seconds: float) -> Neighbour:
    """How it fares over the next frames."""
    first = len(player.frames)
    player.wait_for_frames(first + int(seconds * FRAMES_PER_SECOND), seconds * 2 + 5)
    return _neighbour(player, first)


def _neighbour(player: LivePlayer, first: int) -> Neighbour:
    start = player.frames[first].sequence
    return Neighbour(player.longest_pause_s(first), sum(after > start for _, after in player.gaps()))
