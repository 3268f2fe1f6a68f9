"""One publisher per key over all hosts: partitions, publishers that move, nodes that drain."""

from __future__ import annotations

import time
from collections.abc import Callable

from hosts_cluster import NODES, HostedCluster

from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, GOP_FRAMES, LivePlayer

#: After a partition has healed one publisher is left so soon.
ONE_LEFT_S = 2.0
#: Sequence numbers of the second publisher of a key.
SECOND = 100 * GOP_FRAMES


def test_a_partition_with_two_publishers_of_one_key_heals(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    cluster.topology.partition("a", "r1")
    wait_until(lambda: _live(cluster) == 6, "each half to have missed the other's router")
    loser = cluster.publish("a", "split")
    winner = cluster.publish("b", "split", first_sequence=SECOND)  # later, so in the higher epoch
    players = {node: cluster.play(node, "split") for node in NODES}
    for player in players.values():
        player.wait_for_frames(FRAMES_PER_SECOND)
    assert players["a"].frames[-1].sequence < SECOND <= players["c"].frames[-1].sequence

    cluster.topology.heal()
    healed_at = time.monotonic()
    wait_until(lambda: loser.closed, "the publisher of the lower epoch to be closed", 10)
    one_left_s = time.monotonic() - healed_at
    sent = winner.sent
    for player in players.values():
        wait_until(lambda p=player: p.frames[-1].sequence >= SECOND + sent, "the winner's frames")
    everywhere_s = max(_first_of_second(player) for player in players.values()) - healed_at
    figure(f"partition healed: one publisher after {one_left_s:.2f} s, played after {everywhere_s:.2f} s")

    assert one_left_s < ONE_LEFT_S
    assert everywhere_s < ONE_LEFT_S
    assert "NetStream.Publish.BadName" in loser.codes
    assert not winner.closed
    for player in players.values():
        _assert_goes_on(player)


def test_a_publisher_moves_to_another_host_within_the_grace(cluster: HostedCluster) -> None:
    publisher = cluster.publish("a", "moving")
    players = {node: cluster.play(node, "moving") for node in NODES}
    for player in players.values():
        player.wait_for_frames(FRAMES_PER_SECOND)
    publisher.close()
    second = cluster.publish("b", "moving", first_sequence=SECOND)
    second.wait_sent(FRAMES_PER_SECOND)
    last = SECOND + FRAMES_PER_SECOND - 1
    for player in players.values():
        wait_until(lambda p=player: p.frames[-1].sequence >= last, "frames from B")
        _assert_goes_on(player)
        assert _first_sequence_of_second(player) == SECOND, "nothing of the returned publisher is missing"


def _live(cluster: HostedCluster) -> float:
    return sum(node.numbers("routers_live") for node in cluster.nodes.values())


def _first_of_second(player: LivePlayer) -> float:
    return next(frame.at for frame in player.frames if frame.sequence >= SECOND)


def _first_sequence_of_second(player: LivePlayer) -> int:
    return next(frame.sequence for frame in player.frames if frame.sequence >= SECOND)


def _assert_goes_on(player: LivePlayer) -> None:
    """It was never closed, its clock never went back, and each publisher's frames came in order."""
    assert not player.closed
    stamps = [frame.timestamp for frame in player.frames]
    assert stamps == sorted(stamps)
    sequence = [frame.sequence for frame in player.frames]
    assert sequence == sorted(set(sequence))
