"""The API of two routers and three nodes on hosts of their own: the same answer from any of the five."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts_cluster import NODES, ROUTERS, HostedCluster, HostedEdge, HostedRouter

from cluster.api.fresh import FRESH_S
from support.api_cluster import Said, ask
from support.polling import wait_until
from support.topology import Topology

#: Each host has a loopback of its own.
API = "http://127.0.0.1:9997"
#: An answer comes within a second; the rest is for a machine that does something else besides.
WITHIN_S = 1.5
LISTS = ("/v1/nodes", "/v1/streams", "/v1/sessions", "/v1/routers", "/v1/routes")


@pytest.fixture(scope="module")
def hosted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostedCluster]:
    hosts: Topology = request.getfixturevalue("hosts")
    options = ("--insecure", "--api", API.removeprefix("http://"))
    cluster = HostedCluster(
        hosts, tmp_path_factory.mktemp("api"), router_options=options, node_options=options
    )
    try:
        cluster.make_whole()
        yield cluster
        cluster.end()
    finally:
        cluster.close()


def asked_at(cluster: HostedCluster, name: str, path: str, method: str = "GET", body: Any = None) -> Said:
    with cluster.topology[name].inside():
        return ask(API, path, method, body)


def items(cluster: HostedCluster, name: str, path: str, *fields: str) -> list[tuple[Any, ...]]:
    said = asked_at(cluster, name, path)
    return sorted(tuple(each[field] for field in fields) for each in said.json["items"])


def process(cluster: HostedCluster, name: str) -> HostedEdge | HostedRouter:
    return cluster.nodes[name] if name in cluster.nodes else cluster.routers[name]


def send(cluster: HostedCluster, name: str, number: signal.Signals) -> None:
    """To the process and its children."""
    parent = psutil.Process(process(cluster, name).pid)
    for pid in (parent.pid, *(child.pid for child in parent.children(recursive=True))):
        os.kill(pid, number)


def test_all_five_say_the_same_and_name_who_hangs_or_is_gone(
    hosted: HostedCluster, figure: Callable[[str], None], short_clip: Path
) -> None:
    publisher = hosted.publish("a", "everywhere")
    for node in ("b", "c"):
        hosted.play(node, "everywhere")
    publisher.wait_sent(60)
    everyone = (*ROUTERS, *NODES)

    def the_same(path: str, *fields: str) -> Callable[[], bool]:
        def look() -> bool:
            said = [items(hosted, name, path, *fields) for name in everyone]
            return bool(said[0]) and all(each == said[0] for each in said)

        return look

    for path, fields in (
        ("/v1/nodes", ("node", "id", "state", "version")),
        ("/v1/routers", ("router", "answers", "workers", "nodes_linked", "nodes")),
        ("/v1/streams", ("key", "epoch", "node", "session", "players")),
        ("/v1/sessions", ("session", "node", "role", "key", "peer", "agent")),
        ("/v1/routes", ("key", "from_node", "to_node", "router", "players")),
    ):
        wait_until(the_same(path, *fields), f"the same answer to {path} from all five")
    addresses = [hosted.routers[name].address for name in ROUTERS]
    assert [row[0] for row in items(hosted, "r2", "/v1/routers", "router")] == addresses
    wait_until(  # a player elsewhere is counted within four seconds
        lambda: items(hosted, "r1", "/v1/streams", "key", "players")[0][1] == 2, "both players"
    )

    send(hosted, "b", signal.SIGSTOP)
    try:
        slowest = 0.0
        for wait_s in (FRESH_S, 2.0):
            time.sleep(wait_s)
            for name in ("r1", "r2", "a", "c"):
                for path in LISTS:
                    said = asked_at(hosted, name, path)
                    slowest = max(slowest, said.took_s)
                    assert (said.status, said.json["complete"]) == (200, False)
                    assert {each["node"] for each in said.json["missing"]} == {"b"}, (name, path)
        figure(f"with a node that hangs, the slowest answer came after {slowest * 1000:.0f} ms")
        assert slowest < WITHIN_S
    finally:
        send(hosted, "b", signal.SIGCONT)
    wait_until(lambda: asked_at(hosted, "a", "/v1/nodes").json["complete"], "b to be back")

    hosted.routers["r2"].kill()
    time.sleep(FRESH_S)
    slowest = 0.0
    for name in ("r1", *NODES):
        for path in LISTS:
            said = asked_at(hosted, name, path)
            slowest = max(slowest, said.took_s)
            assert said.json["complete"], (name, path, said.text)
            assert [each["router"] for each in said.json["missing_routers"]] == addresses[1:], (name, path)
    figure(f"with a router that is gone, the slowest answer came after {slowest * 1000:.0f} ms")
    assert slowest < WITHIN_S
    hosted.make_whole()


def test_orders_reach_another_host(hosted: HostedCluster, short_clip: Path) -> None:
    publisher = hosted.publish_file("a", "ordered", short_clip)
    [session] = wait_until(
        lambda: items(hosted, "r1", "/v1/sessions?key=live/ordered&role=publisher", "session"), "it"
    )
    assert asked_at(hosted, "c", f"/v1/sessions/{session[0]}", "DELETE").status == 200
    assert publisher.wait(30) != 0
    assert asked_at(hosted, "r2", "/v1/nodes/b/drain", "POST", {"deadline_s": 1}).status == 200
    wait_until(lambda: asked_at(hosted, "b", "/readyz").status == 503, "b not to be ready")
    assert hosted.publish_file("b", "late", short_clip).wait(30) != 0
    assert asked_at(hosted, "a", "/v1/nodes/b/undrain", "POST").status == 200
    wait_until(lambda: asked_at(hosted, "b", "/readyz").status == 200, "b to be ready")
