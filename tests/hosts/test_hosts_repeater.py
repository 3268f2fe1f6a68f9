"""One copy of a stream for each host, and none of the network's troubles inside one."""

from __future__ import annotations

from collections.abc import Callable

from hosts_cluster import ROUTERS, HostedCluster

from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, GOP_FRAMES, LivePlayer, LivePublisher

#: Frames for which bytes on the wire are counted: 4 s, whole groups of pictures.
WINDOW_FRAMES = 2 * GOP_FRAMES
#: What 16 players on 4 workers may add to the traffic of one.
TOLERANCE = 0.05
BITS_PER_SECOND = 2_000_000
#: A player that gets a frame every 0.04 s has noticed nothing.
UNNOTICED_S = 0.5


def test_a_stream_comes_to_a_host_once_and_leaves_one_once(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    assert cluster.nodes["c"].stop() == 0
    node = cluster.start_node("c", ROUTERS, "--workers", "4")
    node.wait_ready()
    cluster.wait_joined(node)
    publisher = cluster.publish("a", "once", bits_per_second=BITS_PER_SECOND)
    first = cluster.play("c", "once")
    to_c, from_a = _bytes_on_the_wire(cluster, first)

    workers = [worker for worker in node.workers().values() for _ in range(4)]
    workers.remove(cluster.worker_of("c", first))
    players = [first, *(cluster.play("c", "once", worker=worker) for worker in workers)]
    at_c = [cluster.worker_of("c", player) for player in players]
    assert [at_c.count(worker) for worker in set(at_c)] == [4, 4, 4, 4]
    players += [cluster.play("a", "once", worker=_sibling(cluster, publisher)), cluster.play("b", "once")]
    for player in players:
        player.wait_for_frames(GOP_FRAMES)
    to_c_of_16, from_a_of_18 = _bytes_on_the_wire(cluster, first)

    figure(f"1 player at C, and 16 on 4 workers: {to_c / 1000:.0f} and {to_c_of_16 / 1000:.0f} kB/s to C")
    figure(f"the same, and one at A's other worker and at B: {from_a / 1000:.0f} and "
           f"{from_a_of_18 / 1000:.0f} kB/s from A")  # fmt: skip
    assert abs(to_c_of_16 - to_c) < TOLERANCE * to_c
    assert abs(from_a_of_18 - from_a) < TOLERANCE * from_a
    assert to_c > BITS_PER_SECOND / 8, "it is the stream that was counted"
    assert all(player.gaps() == [] for player in players)
    assert node.stop() == 0  # the next test gets one with as many workers as the others


def test_with_every_router_killed_a_node_goes_on_by_itself(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    publisher = cluster.publish("a", "at-home")
    sibling = cluster.play("a", "at-home", worker=_sibling(cluster, publisher))
    elsewhere = cluster.play("b", "at-home")
    for player in (sibling, elsewhere):
        player.wait_for_frames(GOP_FRAMES)

    killed_from = len(sibling.frames)
    for router in cluster.routers.values():
        router.kill()
    node = cluster.nodes["a"]
    wait_until(lambda: node.numbers("routers_live") == 0, "the workers to miss them")
    joined = cluster.play("a", "at-home", worker=_sibling(cluster, publisher))
    joined.wait_for_frames(GOP_FRAMES)
    begun = cluster.publish("a", "begun-alone")
    beside = cluster.play("a", "begun-alone", worker=_sibling(cluster, begun))
    beside.wait_for_frames(GOP_FRAMES)
    sibling.wait_for_frames(killed_from + 3 * GOP_FRAMES)
    at_b = len(elsewhere.frames)
    away_s = sibling.longest_pause_s(killed_from - 1)

    back_from = len(sibling.frames)
    for name in ROUTERS:
        cluster.start_router(name).wait_ready()
    cluster.wait_joined(node)
    sibling.wait_for_frames(back_from + 2 * GOP_FRAMES)
    elsewhere.wait_for_frames(at_b + GOP_FRAMES)
    back_s = sibling.longest_pause_s(back_from - 1)
    figure(f"every router killed: longest pause at a sibling {away_s:.3f} s, when back {back_s:.3f} s")

    assert max(away_s, back_s) < UNNOTICED_S
    for player in (sibling, joined, beside):
        assert player.gaps() == []
        assert not player.closed
    assert not publisher.closed
    assert not begun.closed


def _sibling(cluster: HostedCluster, publisher: LivePublisher) -> int:
    """A worker (process id) of node A beside that of ``publisher``."""
    its_own = cluster.worker_of("a", publisher)
    return next(worker for worker in cluster.nodes["a"].workers().values() if worker != its_own)


def _bytes_on_the_wire(cluster: HostedCluster, player: LivePlayer) -> tuple[float, float]:
    """Bytes to host C and from host A for each second of media at ``player``."""
    topology = cluster.topology
    begin = player.wait_for_frames(len(player.frames) + FRAMES_PER_SECOND)[-1].sequence
    before = topology.received_bytes("c"), topology.sent_bytes("a")
    wait_until(lambda: player.frames[-1].sequence >= begin + WINDOW_FRAMES, "the window's media", 20)
    after = topology.received_bytes("c"), topology.sent_bytes("a")
    seconds = (player.frames[-1].sequence - begin) / FRAMES_PER_SECOND
    return (after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds
