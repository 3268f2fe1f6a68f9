"""Routers die and links break under streams that are played on three hosts."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime

from hosts_cluster import ROUTERS, HostedCluster, router_address

from cluster.core.bus import placement
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, LivePlayer, LivePublisher

#: Longest pause in media that losing one of two routers may cost.
FAILOVER_S = 1.0
#: Media goes on so soon after the only way for it is back.
RETURN_S = 2.0
#: A player on the publisher's own node, between frames 40 ms apart: it has noticed nothing.
UNNOTICED_S = 0.5
#: How long the link is down, or the only router away: longer than any timeout of the bus but one, and 30 s
#: with RTMP_CLUSTER_LONG_TESTS=1 (``make long-outage``).
OUTAGE_S = 30.0 if os.environ.get("RTMP_CLUSTER_LONG_TESTS") else 4.0


def test_one_of_two_routers_is_killed_and_returns(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    used, other = _by_rank(cluster, "live/failover")
    publisher = cluster.publish("a", "failover")
    players = cluster.play_everywhere("failover", publisher)

    killed_at = time.monotonic()
    cluster.routers[used].kill()
    _play_on(players, 2 * FRAMES_PER_SECOND)
    pauses = {node: _pause_s(player, killed_at) for node, player in players.items()}
    figure("router killed: longest pause " + _seconds(pauses))
    noticed = _noticed_s(cluster, used, killed_at)
    figure("router killed: noticed after " + _seconds(noticed))

    back_at = time.monotonic()
    cluster.start_router(used).wait_ready()
    for node in cluster.nodes.values():
        cluster.wait_joined(node)
    _play_on(players, 2 * FRAMES_PER_SECOND)
    returns = {node: _pause_s(player, back_at) for node, player in players.items()}
    figure("router returned: longest pause " + _seconds(returns))

    assert pauses["a"] < UNNOTICED_S
    assert max(pauses["b"], pauses["c"]) < FAILOVER_S
    assert max(noticed.values()) < 0.5
    assert max(returns.values()) < UNNOTICED_S, "its share moves back without a gap"
    assert cluster.routers[other].events("ready"), "the other one was there all the time"
    _assert_whole(players, publisher)


def test_a_router_that_hangs(cluster: HostedCluster, figure: Callable[[str], None]) -> None:
    names = {router: _name_at(cluster, router) for router in ROUTERS}
    publishers = {router: cluster.publish("a", name) for router, name in names.items()}
    places = [(router, node) for router in ROUTERS for node in ("b", "c")]
    players = {f"{router}-{node}": cluster.play(node, names[router]) for router, node in places}
    for player in players.values():
        player.wait_for_frames(FRAMES_PER_SECOND)

    stopped_at = time.monotonic()
    os.kill(cluster.routers["r1"].pid, signal.SIGSTOP)
    _play_on(players, 2 * FRAMES_PER_SECOND)
    pauses = {name: _pause_s(player, stopped_at) for name, player in players.items()}
    figure("router hangs: longest pause " + _seconds(pauses))
    os.kill(cluster.routers["r1"].pid, signal.SIGCONT)
    resumed_at = time.monotonic()
    _play_on(players, 2 * FRAMES_PER_SECOND)
    returns = {name: _pause_s(player, resumed_at) for name, player in players.items()}
    figure("router goes on: longest pause " + _seconds(returns))

    for name, pause in pauses.items():
        assert pause < (FAILOVER_S if name.startswith("r1") else UNNOTICED_S), name
    assert max(returns.values()) < UNNOTICED_S
    for router, publisher in publishers.items():
        its_players = {name: player for name, player in players.items() if name.startswith(router)}
        _assert_whole(its_players, publisher)


def test_the_only_router_is_killed_and_returns(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    cluster.routers["r2"].kill()
    publisher = cluster.publish("a", "alone")
    players = cluster.play_everywhere("alone", publisher)

    killed_at = time.monotonic()
    cluster.routers["r1"].kill()
    _outlast(publisher)
    router = cluster.start_router("r1")
    router.wait_ready()
    back_at = time.monotonic()
    _play_on(players, 2 * FRAMES_PER_SECOND)
    after = {node: _first_after(players[node], back_at) for node in ("b", "c")}
    figure(f"only router back after {OUTAGE_S:g} s: media goes on after " + _seconds(after))

    assert _pause_s(players["a"], killed_at) < UNNOTICED_S
    assert max(after.values()) < RETURN_S
    _assert_whole(players, publisher, gaps=1)


def test_the_link_of_a_node_is_cut(cluster: HostedCluster, figure: Callable[[str], None]) -> None:
    publisher = cluster.publish("a", "cut")
    players = cluster.play_everywhere("cut", publisher)

    cut_at = time.monotonic()
    cluster.topology.cut("b")
    _outlast(publisher)
    cluster.topology.mend("b")
    mended_at = time.monotonic()
    _play_on(players, 2 * FRAMES_PER_SECOND)
    after_s = _first_after(players["b"], mended_at)
    figure(f"link down {OUTAGE_S:g} s: B's player goes on {after_s:.2f} s after it is up")

    assert max(_pause_s(players[node], cut_at) for node in ("a", "c")) < UNNOTICED_S
    assert after_s < RETURN_S
    _assert_whole(players, publisher, gaps=1)


def test_a_router_that_returns_knows_200_streams_within_two_seconds(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    for number in range(200):
        cluster.publish("abc"[number % 3], f"many-{number}", bits_per_second=1_000)
    cluster.routers["r1"].kill()
    wait_until(lambda: _live(cluster) == 6, "the router to be missed")
    router = cluster.start_router("r1")
    router.wait_ready()
    back_at = time.monotonic()
    wait_until(lambda: _live(cluster) == 12, "every worker to have told it everything", 10)
    whole_s = time.monotonic() - back_at
    figure(f"200 streams: the registry is whole {whole_s:.2f} s after its router is ready")
    assert whole_s < 2.0
    streams = [router["streams"] for router in cluster.known()["routers"]]
    assert streams == [200, 200], "every router knows every stream"


# ---- what the tests above share ----------------------------------------------------------------


def _by_rank(cluster: HostedCluster, key: str) -> list[str]:
    """The routers from the one that ``key`` belongs to down."""
    by_address = {router_address(cluster.topology[name]): name for name in ROUTERS}
    return [by_address[address] for address in placement.rank(key, by_address)]


def _name_at(cluster: HostedCluster, router: str) -> str:
    """The name of a stream that belongs to ``router``."""
    return next(
        name for name in map("stream-{}".format, itertools.count())
        if _by_rank(cluster, f"live/{name}")[0] == router
    )  # fmt: skip


def _live(cluster: HostedCluster) -> float:
    return sum(node.numbers("routers_live") for node in cluster.nodes.values())


def _play_on(players: dict[str, LivePlayer], frames: int) -> None:
    wanted = [(player, len(player.frames) + frames) for player in players.values()]
    for player, count in wanted:
        player.wait_for_frames(count)


def _outlast(publisher: LivePublisher) -> None:
    """The publisher goes on through the outage."""
    publisher.wait_sent(publisher.sent + round(OUTAGE_S * FRAMES_PER_SECOND), OUTAGE_S + 5)


def _pause_s(player: LivePlayer, since: float) -> float:
    """The longest pause between two frames of which the later one came after ``since``."""
    frames = player.frames[:]
    return max(after.at - before.at for before, after in itertools.pairwise(frames) if after.at > since)


def _first_after(player: LivePlayer, moment: float) -> float:
    """How long after ``moment`` the first frame came."""
    return next(frame.at for frame in player.frames if frame.at > moment) - moment


def _noticed_s(cluster: HostedCluster, router: str, killed_at: float) -> dict[str, float]:
    """How long after ``killed_at`` (monotonic) each node logged that its workers had lost the router."""
    address = router_address(cluster.topology[router])
    to_wall = time.time() - time.monotonic()
    noticed = {}
    for name, node in cluster.nodes.items():
        lost = [event for event in node.events("router_lost") if event["router"] == address]
        times = [datetime.fromisoformat(event["time"]).timestamp() for event in lost]
        assert len(times) == 1, f"one line of {name}, for both its workers: {times}"
        noticed[name] = max(times) - to_wall - killed_at
    return noticed


def _seconds(by_name: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3f} s" for name, seconds in by_name.items())


def _assert_whole(players: dict[str, LivePlayer], publisher: LivePublisher, *, gaps: int = 0) -> None:
    """Nobody was closed, clocks never went back, nothing came twice, and little is missing."""
    assert not publisher.closed
    for name, player in players.items():
        assert not player.closed, name
        stamps = [frame.timestamp for frame in player.frames]
        assert stamps == sorted(stamps), name
        sequence = [frame.sequence for frame in player.frames]
        assert sequence == sorted(set(sequence)), name
        assert len(player.gaps()) <= gaps, f"{name}: {player.gaps()}"


