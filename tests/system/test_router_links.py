"""What a node and a router say of the link between them when it is not as it should be, on real processes:
within two seconds, on each side that can speak, in a line that names what to change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.bus.cluster_key import generate
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, ClusterProcess, Edge, free_router_address
from support.polling import wait_until

WITHIN_S = 2.0

pytestmark = pytest.mark.alone


class Started:
    """Edges and routers of one test; each must end well, and without a traceback."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._all: list[ClusterProcess] = []

    def router(self, address: str, *options: str) -> ClusterProcess:
        router = ClusterProcess(["router", "--bind", address, *options], self._log("router"))
        self._all.append(router)
        router.wait_ready()
        return router

    def edge(self, *options: str, name: str = "a") -> Edge:
        edge = Edge(["--workers", "2", "--node-name", name, *options], self._log("edge"))
        self._all.append(edge)
        edge.wait_ready()
        return edge

    def end(self) -> None:
        for process in self._all:
            assert process.stop() == ExitCode.OK
            assert "Traceback" not in process.log_text()

    def kill(self) -> None:
        for process in self._all:
            process.kill()

    def _log(self, kind: str) -> Path:
        return self._directory / f"{kind}-{len(self._all)}.log"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    try:
        yield started
        started.end()
    finally:
        started.kill()


def at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


def one(
    process: ClusterProcess, event: str, since: float, says: str, within_s: float = WITHIN_S
) -> None:
    """The one line that says so has come soon after ``since`` (Unix time)."""
    found: list[dict[str, Any]] = wait_until(
        lambda: [each for each in process.events(event) if at(each) >= since - 0.001], f"{event} in the log"
    )
    assert len(found) == 1, found
    assert says in found[0]["message"], found[0]
    after_s = at(found[0]) - since
    print(f"{event}: {after_s:.2f} s: {found[0]['message']}")
    assert after_s < within_s


def status(*options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what ``--json`` shows, and stderr."""
    command = [sys.executable, "-m", "cluster", "status", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def states(*options: str) -> dict[str, str]:
    """By router, the node's own left out."""
    _, shown, _ = status(*options)
    return {
        each["router"]: each["state"] for each in shown["routers"] if each["router"].startswith("tcp://")
    }


def test_a_router_that_is_not_there_then_there_then_gone(started: Started) -> None:
    address = free_router_address()
    began_at = time.time()
    edge = started.edge("--router", address, name="lonely")
    one(edge, "router_unreached", began_at, "--router", _boot_s(edge, began_at) + WITHIN_S)
    assert (edge.ready["routers_answering"], edge.ready["routers"]) == (0, 1)
    assert "routers: 0 of 1 answer" in edge.ready["message"]
    code, shown, _ = status()
    assert code == ExitCode.OK, "the node's own router is found, and answers"
    assert states()[address] == "nobody there"
    (node,) = [node for node in shown["nodes"] if node["node"] == "lonely"]
    assert (node["routers_live"], node["routers"]) == (0, 1)

    router = started.router(address)
    since = at(router.ready)
    one(edge, "router_reached", since, "answers")
    one(router, "node_linked", since, "node lonely")
    assert states()[address].endswith(" ms")

    since = time.time()
    assert router.stop() == ExitCode.OK
    one(edge, "router_lost", since, "start the router")
    again = started.router(address)
    one(edge, "router_back", at(again.ready), "answers again")


def _boot_s(edge: Edge, began_at: float) -> float:
    """Until the first worker was up: before, nothing could be tried."""
    return min(map(at, edge.events("worker_ready"))) - began_at


def test_ready_says_how_many_routers_answer(started: Started) -> None:
    there, absent = free_router_address(), free_router_address()
    started.router(there)
    edge = started.edge("--router", there, "--router", absent)
    assert "routers: 1 of 2 answer" in edge.ready["message"]
    whole = started.edge("--router", there, name="b")
    assert "routers: 1 of 1 answer" in whole.ready["message"]
    assert "router" not in started.edge(name="c").ready["message"]


@pytest.mark.parametrize(
    ("router_has_key", "edge_has_key", "state"),
    [(True, True, "wrong key"), (True, False, "wants a key"), (False, True, "has no key")],
)
def test_a_wrong_key(
    started: Started, tmp_path: Path, router_has_key: bool, edge_has_key: bool, state: str
) -> None:
    address = free_router_address()
    keys = [["--cluster-key", str(generate(tmp_path / name))] for name in ("router", "edge")]
    router = started.router(address, *(keys[0] if router_has_key else []))
    began_at = time.time()
    edge = started.edge("--router", address, *(keys[1] if edge_has_key else []))
    boot_s = _boot_s(edge, began_at)
    one(edge, "router_unreached", began_at, "--cluster-key", boot_s + WITHIN_S)
    one(router, "peer_refused", began_at, "--cluster-key", boot_s + WITHIN_S)
    told = states("--router", address, *(keys[1] if edge_has_key else []))
    # The first to hang up may hide why: then it is a guess, which goes by whether our end has a key.
    guess = "wrong key" if edge_has_key else "no router"
    assert told[address] in (state, guess, "no router")
    assert address in states(), "found by itself, too"


def test_a_hung_router(started: Started) -> None:
    hung, well = free_router_address(), free_router_address()
    router = started.router(hung)
    started.router(well)
    edge = started.edge("--router", hung, "--router", well)
    wait_until(lambda: len(edge.events("router_reached")) == 2, "both routers")
    since = time.time()
    os.kill(router.pid, signal.SIGSTOP)
    try:
        one(edge, "router_lost", since, "hangs")
        wait_until(lambda: states("--router", hung) == {hung: "hangs"}, "the status shows it")
        shown = states()
        assert shown[hung] == "hangs"
        assert shown[well].endswith(" ms")
        wait_until(lambda: time.time() > since + 4, "a while")
        assert len(edge.events("router_lost")) == 1, "not a line for each thing that it notices"
    finally:
        resumed_at = time.time()
        os.kill(router.pid, signal.SIGCONT)
    one(edge, "router_back", resumed_at, "answers again")
    one(router, "router_stalled", resumed_at, "did not run")


def test_two_edges_of_one_name(started: Started) -> None:
    address = free_router_address()
    router = started.router(address)
    edges = [started.edge("--router", address)]
    edges.append(started.edge("--router", address))
    wait_until(lambda: len(router.events("node_linked")) == 2, "both to be linked")
    since = max(map(at, router.events("node_linked")))
    for process in (router, *edges):
        one(process, "name_shared", since, "--node-name")
    _, shown, _ = status("--router", address)
    assert any("--node-name" in advice for advice in shown["advice"])


def test_a_node_that_hangs_is_told_of_by_the_router(started: Started) -> None:
    address = free_router_address()
    router = started.router(address)
    edge = started.edge("--router", address)
    wait_until(lambda: router.events("node_linked"), "the link")
    pids = [edge.pid, *edge.workers().values()]
    since = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        one(router, "node_lost", since, "silent for 1.5 s")
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: len(router.events("node_linked")) == 2, "it is linked again")


@pytest.mark.parametrize("address", ["tcp", "ipc"])
def test_a_router_started_twice(started: Started, tmp_path: Path, address: str) -> None:
    bind = free_router_address() if address == "tcp" else f"ipc://{tmp_path}/r"
    router = started.router(bind)
    command = [sys.executable, "-m", "cluster", "router", "--bind", bind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == ExitCode.ENVIRONMENT
    assert len(done.stderr.splitlines()) == 1
    assert "runs already" in done.stderr
    assert "--bind" in done.stderr
    assert status("--router", bind)[0] == ExitCode.OK, "the first one still serves"
    assert router.events("ready")


def test_status_without_options_finds_a_single_host(started: Started) -> None:
    """And whatever else its user runs on this machine."""
    edge = started.edge(name="single")

    def nodes() -> set[str]:
        return {node["node"] for node in status()[1].get("nodes", [])}

    wait_until(lambda: "single" in nodes(), "the node")
    assert edge.stop() == ExitCode.OK
    assert "single" not in nodes()
