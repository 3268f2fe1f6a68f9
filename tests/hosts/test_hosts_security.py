"""Encrypted links between hosts: who has the key is let in, anyone else is told apart in one line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts_cluster import ROUTER_PORT, HostedCluster, HostedEdge

from cluster.bus.cluster_key import generate
from cluster.commands.main import run
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ClusterProcess
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND
from support.topology import Topology

GARBAGE = [
    b"", b"GET / HTTP/1.1\r\nHost: router\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\xff" + bytes(8) + b"\x7f", b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48), bytes(4096),
    os.urandom(4096),
]  # fmt: skip


@pytest.fixture
def keyed(other_hosts: Topology, tmp_path: Path) -> Iterator[HostedCluster]:
    """Router r1 and nodes a and b, all with one key."""
    key = ["--cluster-key", str(generate(tmp_path / "key"))]
    cluster = HostedCluster(other_hosts, tmp_path, router_options=key, node_options=key)
    try:
        cluster.make_whole(("r1",), ("a", "b"))
        yield cluster
        cluster.end()
    finally:
        cluster.close()


def test_whoever_lacks_the_key_is_refused_and_nobody_else_notices(
    keyed: HostedCluster, other_hosts: Topology, tmp_path: Path
) -> None:
    router = keyed.routers["r1"]
    publisher = keyed.publish("a", "keyed")
    player = keyed.play("b", "keyed")
    player.wait_for_frames(FRAMES_PER_SECOND)

    strangers = {
        "keyless": HostedEdge(
            other_hosts["c"], ["--router", router.address, "--insecure"], tmp_path / "keyless.log"
        ),
        "wrong": HostedEdge(
            other_hosts["r2"],
            ["--router", router.address, "--cluster-key", str(generate(tmp_path / "other"))],
            tmp_path / "wrong.log",
        ),
    }
    try:
        for stranger in strangers.values():
            stranger.wait_ready()
        for name, stranger in strangers.items():
            wait_until(lambda s=stranger: s.events("router_unreached"), f"a line in the log of {name}")
        told = {name: stranger.events("router_unreached") for name, stranger in strangers.items()}
    finally:
        for stranger in strangers.values():
            os.kill(stranger.pid, signal.SIGTERM)
        for stranger in strangers.values():
            stranger.wait_ended()
    assert all("--cluster-key" in event["message"] for event in told["keyless"])
    assert all("cluster key is another" in event["message"] for event in told["wrong"])
    assert all(len(events) == 1 for events in told.values()), "one line each, for two workers"
    refused = {event["peer"].split(":")[0]: event["message"] for event in router.events("peer_refused")}
    assert "--cluster-key" in refused[other_hosts["c"].address]
    assert "another cluster key" in refused[other_hosts["r2"].address]
    assert len(router.events("peer_refused")) <= 4, "not a line for every attempt"
    assert player.gaps() == []
    assert not publisher.closed
    assert keyed.nodes["a"].numbers("routers_live") == keyed.nodes["b"].numbers("routers_live") == 2


@pytest.mark.parametrize("has_key", [True, False])
def test_garbage_on_the_ports_of_a_router(has_key: bool, request: pytest.FixtureRequest) -> None:
    cluster: HostedCluster = request.getfixturevalue("keyed" if has_key else "cluster")
    router = cluster.routers["r1"]
    publisher = cluster.publish("a", "scanned")
    player = cluster.play("b", "scanned")
    player.wait_for_frames(FRAMES_PER_SECOND)
    scanner = cluster.topology["c"]
    malformed = len(router.events("control_malformed"))
    for port in range(ROUTER_PORT, ROUTER_PORT + 3):
        for data in GARBAGE:
            with (
                scanner.inside(),
                socket.create_connection((router.host.address, port), 5) as connection,
                contextlib.suppress(OSError),  # it may have been shown the door already
            ):
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
    lines = [event for event in router.events("peer_refused") if event["peer"].startswith(scanner.address)]
    assert len(lines) <= 1, "one line, however often it tries"
    assert len(router.events("control_malformed")) - malformed <= 1, "what gets through as messages, too"
    player.wait_for_frames(len(player.frames) + FRAMES_PER_SECOND)
    assert player.gaps() == []
    assert not publisher.closed
    assert router.running
    assert cluster.nodes["b"].numbers("routers_live") >= 2


@pytest.mark.parametrize(("command", "option"), [("router", "--bind"), ("edge", "--router")])
def test_without_a_key_nothing_leaves_its_host(
    command: str, option: str, other_hosts: Topology, tmp_path: Path
) -> None:
    address = f"tcp://{other_hosts['r2'].address}:2936"
    own = ["--bind", "127.0.0.1:0", "--workers", "1"] if command == "edge" else []
    with other_hosts["r2"].inside():
        for options in (["--insecure"], ["--cluster-key", str(generate(tmp_path))]):
            process = ClusterProcess([command, option, address, *own, *options], tmp_path / "allowed.log")
            try:
                process.wait_ready()
                assert process.stop() == ExitCode.OK
            finally:
                process.kill()
    assert run([command, option, address, *own]) == ExitCode.USAGE
