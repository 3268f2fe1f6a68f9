"""How many play a stream, and on which nodes: every router of the cluster knows, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.commands.status import Target, ask
from cluster.core.bus.cluster_status import StreamStatus
from cluster.core.bus.endpoints import endpoints
from support.cluster_process import (
    ClusterProcess,
    Edge,
    StartEdge,
    StartRouter,
    free_router_address,
    kill_worker,
)
from support.polling import wait_until
from support.rtmp_peer import Peers

STREAM = "counted"


def stream_at(router: str) -> StreamStatus | None:
    (answer,) = ask([Target(endpoints(router))])
    streams = [] if answer.status is None else answer.status.streams
    return next((each for each in streams if each.key == f"live/{STREAM}"), None)


def players_at(router: str) -> dict[str, float]:
    """The players of the stream by the name of their node, as this router tells them."""
    stream = stream_at(router)
    players = {} if stream is None else stream.players
    return {node.rpartition("/")[0]: count for node, count in players.items()}


def play(peers: Peers, edge: Edge) -> None:
    """One player at each worker."""
    for worker in edge.workers().values():
        peers.play(edge, STREAM, worker=worker)


@pytest.fixture
def routers(start_router: StartRouter, tmp_path: Path) -> Iterator[tuple[str, str, ClusterProcess]]:
    """Two; and the process of the second, which a test may kill."""
    address = free_router_address()
    second = ClusterProcess(["router", "--bind", address], tmp_path / "second.log")
    try:
        second.wait_ready()
        yield start_router(), address, second
    finally:
        second.kill()


def test_every_router_knows_who_plays_where(
    start_edge: StartEdge, routers: tuple[str, str, ClusterProcess], peers: Peers, tmp_path: Path
) -> None:
    one, two, process = routers
    given = ["--router", one, "--router", two]
    many = start_edge("--workers", "2", "--node-name", "many", *given)
    single = start_edge("--workers", "1", "--node-name", "single", *given)
    peers.publish(many, STREAM, worker=many.workers()[0])
    for edge in (many, single):
        play(peers, edge)
    everybody = {"many": 2, "single": 1}
    for router in (one, two):
        wait_until(lambda r=router: players_at(r) == everybody, "the players of both nodes")
    stream = wait_until(lambda: (told := stream_at(two)) and told.bits_per_second and told, "a rate")
    assert isinstance(stream, StreamStatus)
    assert (stream.codecs, stream.origin.split("/")[0]) == ("avc1", "many")

    kill_worker(many.workers()[1])
    for router in (one, two):
        wait_until(lambda r=router: players_at(r) == {"many": 1, "single": 1}, "one that is gone")

    process.kill()
    again = ClusterProcess(["router", "--bind", two], tmp_path / "again.log")
    try:
        wait_until(lambda: players_at(two) == {"many": 1, "single": 1}, "a router that was restarted knows")
    finally:
        again.kill()
