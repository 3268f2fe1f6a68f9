"""Edges that have one node name, as two on a host or cloned containers have: nothing depends on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.cluster_process import ROOT, StartEdge, StartRouter
from support.polling import wait_until
from support.rtmp_peer import Peers

FRAMES = 30


def known(address: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "cluster", "status", "--router", address, "--json"]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT, timeout=20))
    return answer


@pytest.mark.parametrize("workers", ["1", "2"])
def test_edges_of_one_name_exchange_streams_and_say_that_they_share_it(
    start_edge: StartEdge, start_router: StartRouter, peers: Peers, tmp_path: Path, workers: str
) -> None:
    address = start_router()
    a, b = (start_edge("--workers", workers, "--router", address) for _ in range(2))
    players = []
    for publishing, playing, name in ((a, b, "from-a"), (b, a, "from-b")):
        peers.publish(publishing, name)
        players.append(peers.play(playing, name))
    for player in players:
        player.wait_for_frames(FRAMES)
        assert player.gaps() == []

    streams = wait_until(
        lambda: [each for each in known(address)["streams"] if each["players"]][1:] and known(address),
        "the players in the status",
    )
    names = {node["node"] for node in streams["nodes"]}
    assert len(names) == 2
    assert {node["node"].rpartition("/")[2] for node in streams["nodes"]} == {
        node["instance"] for node in streams["nodes"]
    }
    assert [node["workers"] for node in streams["nodes"]] == [int(workers)] * 2
    assert [(node["published"], node["players"]) for node in streams["nodes"]] == [(1, 1)] * 2
    for stream in streams["streams"]:
        [player_at] = stream["players"]
        assert player_at in names - {stream["origin"].rsplit("/", 2)[0]}

    logs = [tmp_path / "router-0.log", tmp_path / "edge-0.log", tmp_path / "edge-1.log"]

    def lines() -> list[list[str]]:
        return [[line for line in log.read_text().splitlines() if "name_shared" in line] for log in logs]

    wait_until(lambda: all(lines()), "a line at the router and at both edges")
    for [line] in lines():
        assert "2 nodes share the name" in json.loads(line)["message"]
        assert "--node-name" in line


def test_an_edge_that_is_restarted_shares_its_name_with_nobody(
    start_edge: StartEdge, start_router: StartRouter, peers: Peers, tmp_path: Path
) -> None:
    address = start_router()
    other = start_edge("--workers", "1", "--node-name", "other", "--router", address)
    first = start_edge("--workers", "1", "--node-name", "edge", "--router", address)
    first.stop()
    second = start_edge("--workers", "1", "--node-name", "edge", "--router", address)
    peers.publish(second, "again")
    peers.play(other, "again").wait_for_frames(4 * FRAMES)  # longer than what is silent counts as alive
    assert [node["node"] for node in known(address)["nodes"]] == ["edge", "other"]
    for log in ("router-0.log", "edge-2.log"):
        assert "name_shared" not in (tmp_path / log).read_text()


def test_edges_of_one_name_without_a_router_have_nothing_to_do_with_each_other(
    start_edge: StartEdge, peers: Peers
) -> None:
    edges = [start_edge("--workers", "2") for _ in range(2)]
    publishers = [peers.publish(edge, "same") for edge in edges]
    for edge, publisher in zip(edges, publishers, strict=True):
        away = next(pid for pid in edge.workers().values() if pid != publisher.worker)
        assert peers.play(edge, "same", worker=away).wait_for_frames(FRAMES)
        assert not edge.events("name_shared")
