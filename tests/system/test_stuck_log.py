"""A log that nobody reads, or that cannot be written, and a flood of strangers: the streams go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.process.stranger_lines import LINES_PER_SECOND
from support.cluster_process import Edge, StartEdge, kill_worker
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, LivePlayer, Peers

STRANGERS = 3_000
#: Between frames that come every 40 ms: a busy machine, but no loop that waits for a pipe.
LONGEST_PAUSE_S = 1.0
#: A key as long as they may be is twice in the line of each play: some hundred plays fill a queue.
LONG_NAME = "n" * 1_000
PLAYERS, PLAYS = 12, 16
#: A full disk is tried again once a second by each process; the rest is what an idle node takes.
MOST_OF_A_CORE = 0.25


class PipedEdge(Edge):
    """Its log goes through a pipe of the smallest size to the file, as long as it is read."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        super().__init__(arguments, log, stderr=writer)
        os.close(writer)
        self._reading = threading.Event()
        self._reading.set()
        self._thread = threading.Thread(target=self._copy, args=(log,), daemon=True)
        self._thread.start()

    def stop_reading(self) -> None:
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    def kill(self) -> None:
        super().kill()
        self.read_on()
        self._thread.join(10)

    def _copy(self, log: Path) -> None:
        with log.open("ab", buffering=0) as output, open(self._reader, "rb", buffering=0) as reader:
            while data := reader.read(4096):
                output.write(data)
                self._reading.wait()


@pytest.fixture
def start_piped(tmp_path: Path) -> Iterator[StartEdge]:
    started: list[PipedEdge] = []

    def start(*arguments: str) -> PipedEdge:
        edge = PipedEdge(list(arguments), tmp_path / "edge.log")
        started.append(edge)
        edge.wait_ready()
        return edge

    yield start
    for edge in started:
        edge.kill()


class ChattyPlayer(LivePlayer):
    """Plays a long name on as many message streams as it may: each is a long line in the log."""

    def _on_connected(self) -> None:
        for _ in range(PLAYS):
            self._session.play(self.name)


def knock(edge: Edge, count: int, data: bytes = b"") -> float:
    """Connect so often, and leave at once or be closed for ``data``; how long it took in seconds."""
    began_at = time.monotonic()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as stranger:
            if data:
                stranger.sendall(data)
                with contextlib.suppress(ConnectionResetError):
                    stranger.recv(1)
    return time.monotonic() - began_at


def fill_log(edge: Edge, peers: Peers, worker: int) -> None:
    """Of the lines about plays so many are written in each second, the rest is summed."""

    def are_lines_lost() -> float:
        for _ in range(PLAYERS):
            peers._keep(ChattyPlayer, edge, LONG_NAME, worker=worker)
        time.sleep(1)
        return edge.metrics().total("log_lines_lost_total")

    wait_until(are_lines_lost, "lines to be lost")


def restart_worker(edge: Edge, worker: int) -> None:
    """Kill one, and wait for the next in its slot; the log is not needed for it."""
    kill_worker(worker)
    wait_until(lambda: edge.metrics().total("worker_restarts_total") == 1, "the worker to be restarted")
    wait_until(lambda: edge.metrics().total("worker_up") == 2, "its beats")


def test_a_log_that_nobody_reads_stops_neither_workers_nor_supervisor(
    start_piped: StartEdge, peers: Peers
) -> None:
    edge = start_piped("--workers", "2")
    assert isinstance(edge, PipedEdge)
    doomed, survivor = edge.workers().values()
    peers.publish(edge, "well", worker=survivor)
    player = peers.play(edge, "well", worker=survivor)
    player.wait_for_frames(FRAMES_PER_SECOND)

    edge.stop_reading()
    first = len(player.frames)
    knock(edge, STRANGERS)
    fill_log(edge, peers, survivor)
    restart_worker(edge, doomed)
    player.wait_for_frames(len(player.frames) + FRAMES_PER_SECOND)
    assert player.gaps() == []
    assert player.longest_pause_s(first) < LONGEST_PAUSE_S
    lost = edge.metrics().total("log_lines_lost_total", worker=str(edge.slot_of_pid(survivor)))

    edge.read_on()
    wait_until(lambda: edge.events("log_lines_lost"), "the loss to be told")
    assert 0 < lost == max(event["lines"] for event in edge.events("log_lines_lost"))
    wait_until(lambda: len(edge.events("worker_ready")) == 3, "the supervisor's lines")
    assert edge.stop() == 0


def test_a_log_that_nobody_reads_does_not_keep_the_node_from_ending(
    start_piped: StartEdge, peers: Peers
) -> None:
    edge = start_piped("--workers", "1")
    assert isinstance(edge, PipedEdge)
    [worker] = edge.workers().values()
    edge.stop_reading()
    fill_log(edge, peers, worker)
    peers.close()
    began_at = time.monotonic()
    assert edge.stop() == 0
    assert time.monotonic() - began_at < 10


def test_a_full_disk_costs_log_lines_and_nothing_else(tmp_path: Path, peers: Peers) -> None:
    with open("/dev/full", "wb") as full:
        edge = Edge(["--workers", "2"], tmp_path / "edge.log", stderr=full.fileno())
    try:
        workers = wait_until(lambda: _listening_children(edge, 2), "two workers that listen", 20)
        served = _address(workers[0])  # the supervisor has this socket too
        edge.ready = {"addresses": [served], "metrics": _address(psutil.Process(edge.pid), served)}
        wait_until(lambda: edge.metrics().total("worker_up") == 2, "their beats")
        knock(edge, 100)
        peers.publish(edge, "well")
        player = peers.play(edge, "well")
        player.wait_for_frames(FRAMES_PER_SECOND)
        processes = [psutil.Process(edge.pid), *workers]
        began_at, before = time.monotonic(), _cpu_s(processes)
        player.wait_for_frames(len(player.frames) + 2 * FRAMES_PER_SECOND)
        assert _cpu_s(processes) - before < MOST_OF_A_CORE * (time.monotonic() - began_at)
        assert player.gaps() == []
        peers.close()
        restart_worker(edge, workers[0].pid)
        assert edge.stop() == 0
        assert edge.log_text() == ""
    finally:
        peers.close()
        edge.kill()


def test_a_flood_of_strangers_has_few_lines_and_each_is_counted(start_edge: StartEdge) -> None:
    edge = start_edge("--workers", "2")
    before = len(edge.log_text())
    took_s = knock(edge, STRANGERS, b"GET / HTTP/1.1\r\n\r\n")
    wait_until(lambda: edge.metrics().by("reason", "closes_total") == {"not_rtmp": STRANGERS}, "all of it")
    grown = len(edge.log_text()) - before
    print(f"{STRANGERS} strangers in {took_s:.1f} s: {grown} bytes of log")
    assert edge.stop() == 0
    lines = [event["reason"] for event in edge.events("connection_closed")]
    sums = edge.events("strangers_summed")
    assert len(lines) <= 2 * LINES_PER_SECOND * (took_s + 2)
    assert len(lines) + sum(event["reasons"]["not_rtmp"] for event in sums) == STRANGERS
    assert sum(event["networks"]["127.0.0.0/24"] for event in sums) == STRANGERS - len(lines)


def _listening_children(edge: Edge, count: int) -> list[psutil.Process]:
    children = psutil.Process(edge.pid).children()
    return children if len(children) == count and all(map(_address, children)) else []


def _address(process: psutil.Process, besides: str = "") -> str:
    """Where it listens, ``besides`` not counted; "" if it does not yet."""
    for connection in process.net_connections("tcp"):
        address = f"127.0.0.1:{connection.laddr.port}"
        if connection.status == psutil.CONN_LISTEN and address != besides:
            return address
    return ""


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
