"""A cluster on hosts: routers and nodes as the real commands, each on a host of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.cluster_process import ROOT, ClusterProcess, Edge
from support.ffmpeg import Ffmpegs, Player, Publisher
from support.polling import wait_until
from support.rtmp_peer import (
    FRAMES_PER_SECOND,
    LivePlayer,
    LivePublisher,
    PatientPublisher,
    Peers,
    RtmpPeer,
)
from support.topology import Host, Topology

ROUTERS = ("r1", "r2")
NODES = ("a", "b", "c")
#: The three ports of a router on its own host, where nobody else can have them.
ROUTER_PORT = 1936


def router_address(host: Host) -> str:
    return f"tcp://{host.address}:{ROUTER_PORT}"


class Running:
    """Whether a process still runs."""

    _process: subprocess.Popen[bytes]

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_ended(self) -> int:
        """The exit code, once it has ended after a signal it was sent."""
        return self._process.wait(20)


class HostedEdge(Running, Edge):
    """A node on a host; it is reached over that host's loopback."""

    def __init__(self, host: Host, arguments: list[str], log: Path) -> None:
        self.host = host
        with host.inside():
            super().__init__(["--workers", "2", "--node-name", host.name, *arguments], log)

    def numbers(self, name: str) -> float:
        """The sum of a metric over the node's workers."""
        with self.host.inside():
            return self.metrics().total(name)


class HostedRouter(Running, ClusterProcess):
    """A router on a host, at the same address each time it is started."""

    def __init__(self, host: Host, arguments: list[str], log: Path) -> None:
        self.host = host
        self.address = router_address(host)
        with host.inside():
            super().__init__(["router", "--bind", self.address, *arguments], log)


class HostedCluster:
    """Everything that runs on a topology: two routers and three nodes, each node knowing both routers.

    A test may kill what it likes; ``make_whole`` starts it again. ``close`` ends all, by process id.
    """

    def __init__(
        self, topology: Topology, directory: Path, *, router_options: Sequence[str] = ("--insecure",),
        node_options: Sequence[str] = ("--insecure",),
    ) -> None:  # fmt: skip
        self.topology = topology
        self.routers: dict[str, HostedRouter] = {}
        self.nodes: dict[str, HostedEdge] = {}
        self._router_options = list(router_options)
        self._node_options = list(node_options)
        self._directory = directory
        self._all: list[HostedEdge | HostedRouter] = []
        self.begin()

    # ---- processes ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Before a test: no peers are left of the one before."""
        self._peers = Peers()
        self._ffmpegs = Ffmpegs(Path(tempfile.mkdtemp(dir=self._directory)))

    def end(self) -> None:
        """After a test: its peers go, and links are whole again."""
        self._peers.close()
        self._ffmpegs.end()
        self.topology.heal()

    def make_whole(self, routers: Sequence[str] = ROUTERS, nodes: Sequence[str] = NODES) -> None:
        """Start what does not run; ready, and every worker known at every router, when done."""
        for name in routers:
            if name not in self.routers or not self.routers[name].running:
                self.start_router(name)
        for name in nodes:
            if name not in self.nodes or not self.nodes[name].running:
                self.start_node(name, routers)
        for process in (*self.routers.values(), *self.nodes.values()):
            process.wait_ready()
        for node in self.nodes.values():
            self.wait_joined(node)

    def start_router(self, name: str, *options: str) -> HostedRouter:
        arguments = [*self._router_options, *options]
        router = HostedRouter(self.topology[name], arguments, self._log(name))
        self.routers[name] = router
        self._all.append(router)
        return router

    def start_node(self, name: str, routers: Sequence[str] = ROUTERS, *options: str) -> HostedEdge:
        given = [arg for each in routers for arg in ("--router", router_address(self.topology[each]))]
        arguments = [*given, *self._node_options, *options]
        node = HostedEdge(self.topology[name], arguments, self._log(name))
        self.nodes[name] = node
        self._all.append(node)
        return node

    def wait_joined(self, node: HostedEdge) -> None:
        """Every worker of ``node`` has every router that runs."""
        wanted = node.ready["workers"] * sum(router.running for router in self.routers.values())
        what = f"{wanted} links of node {node.host.name} to the routers"
        wait_until(lambda: node.numbers("routers_live") == wanted, what)

    def status(self, *options: str) -> subprocess.CompletedProcess[str]:
        """What ``rtmp-cluster status`` prints on node C's host."""
        given = [arg for router in self.routers.values() for arg in ("--router", router.address)]
        command = [sys.executable, "-m", "cluster", "status", *given, *options]
        with self.topology["c"].inside():
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)

    def known(self) -> dict[str, Any]:
        """The same as data."""
        known: dict[str, Any] = json.loads(self.status("--json").stdout)
        return known

    def close(self) -> None:
        """End everything; AssertionError if a node that still ran did not end well."""
        running = [process for process in self._all if process.running]
        for process in running:
            os.kill(process.pid, signal.SIGCONT)
            os.kill(process.pid, signal.SIGTERM)
        try:
            for process in running:
                assert process.wait_ended() == 0, f"exit code; the log:\n{process.log_text()}"
            for process in self._all:
                assert "Traceback" not in process.log_text(), f"a traceback:\n{process.log_text()}"
        finally:
            for process in self._all:
                process.kill()

    def _log(self, name: str) -> Path:
        return self._directory / f"{len(self._all)}-{name}.log"

    # ---- publishers and players --------------------------------------------------------------

    def publish(self, node: str, name: str, **options: int | None) -> LivePublisher:
        """A light publisher on the node's host, whose publishing was granted."""
        edge = self.nodes[node]
        with edge.host.inside():
            return self._peers.publish(edge, name, **options)

    def connect(self, node: str, name: str, worker: int) -> PatientPublisher:
        """One that is connected to this worker (process id) of the node, and does not publish yet."""
        edge = self.nodes[node]
        with edge.host.inside():
            return self._peers.connect(edge, name, worker=worker)

    def play(
        self, node: str, name: str, *, beside: LivePublisher | None = None, worker: int | None = None
    ) -> LivePlayer:
        """A light player on the node's host; on this worker (process id), or ``beside`` this publisher."""
        edge = self.nodes[node]
        with edge.host.inside():
            return self._peers.play(edge, name, worker=beside.worker if beside is not None else worker)

    def worker_of(self, node: str, peer: RtmpPeer) -> int:
        """The worker (process id) of the node that has this publisher or player."""
        with self.nodes[node].host.inside():
            return peer.worker

    def play_everywhere(self, name: str, publisher: LivePublisher) -> dict[str, LivePlayer]:
        """A player on each node, at node A on the worker of its publisher; each has media."""
        players = {
            node: self.play(node, name, beside=publisher if node == "a" else None) for node in self.nodes
        }
        for player in players.values():
            player.wait_for_frames(FRAMES_PER_SECOND)
        return players

    def publish_file(self, node: str, name: str, clip: Path) -> Publisher:
        """FFmpeg as publisher, on the node's host."""
        edge = self.nodes[node]
        with edge.host.inside():
            return self._ffmpegs.publish(clip, edge.url(name))

    def play_file(self, node: str, name: str) -> Player:
        edge = self.nodes[node]
        with edge.host.inside():
            return self._ffmpegs.play(edge.url(name))
