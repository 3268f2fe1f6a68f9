"""A supervisor in a process of its own, with workers that speak no RTMP."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cluster.edge.node import metrics
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.status_pipe import Beat, Ready, StatusPipe, StatusReader
from cluster.edge.node.worker_slot import Backoff, SlotState, Timing, WorkerSlot
from cluster.process.exit_codes import ExitCode
from support.cluster_process import PACKAGES

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
#: In which its processes find the package under test, and it.
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{PACKAGES}:{FAKE_WORKER.parent}"}


class Node:
    """One supervisor process and what it has logged."""

    def __init__(self, options: dict[str, Any], log: Path, prefix: tuple[str, ...] = ()) -> None:
        options = {"binds": ["127.0.0.1:0"], "workers": "2", "log_format": "json", **options}
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, str(FAKE_WORKER), json.dumps(options)],
                stderr=output,
                cwd=log.parent,
                env=ENVIRONMENT,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in events if event.get("event") == name]

    def ready(self) -> dict[str, Any] | None:
        return next(iter(self.events("ready")), None)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.events("ready")[0]["addresses"][0].rpartition(":")
        return host, int(port)

    def ask(self) -> dict[str, Any] | None:
        """What the worker that the kernel picked says of itself; None if it died before it could."""
        try:
            with socket.create_connection(self.address, timeout=30) as connection:
                line = connection.makefile().readline()
        except OSError:
            return None
        return dict(json.loads(line)) if line else None

    def ask_slot(self, slot: int) -> dict[str, Any] | None:
        answer = self.ask()
        return answer if answer and answer["slot"] == slot else None

    def pid(self, slot: int) -> int:
        """Of the newest worker in the slot."""
        return int([event["pid"] for event in self.events("worker_started") if event["slot"] == slot][-1])

    def metrics(self) -> dict[str, float]:
        """Samples by ``name{labels}``, in the text format's own spelling."""
        url = f"http://{self.events('ready')[0]['metrics']}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


def has_ended(pid: int) -> bool:
    """An orphan may stay a zombie until the system's first process looks after it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


StartNode = Callable[..., Node]


@pytest.fixture
def start_node(tmp_path: Path, eventually: Any) -> Iterator[StartNode]:
    """Starts a node (options as texts by field name) and waits until it is ready, or until it ended."""
    nodes: list[Node] = []

    def start(*, wait: bool = True, prefix: tuple[str, ...] = (), **options: Any) -> Node:
        node = Node(options, tmp_path / f"node-{len(nodes)}.log", prefix)
        nodes.append(node)
        if wait:
            eventually(node.ready, "the node is ready")
        return node

    yield start
    for node in nodes:
        pids = [event["pid"] for event in node.events("worker_started")]
        node.process.kill()
        node.process.wait()
        eventually(lambda pids=pids: all(map(has_ended, pids)), "no worker outlives the supervisor")


def stop(node: Node) -> int:
    node.process.send_signal(signal.SIGTERM)
    return node.process.wait(60)


def test_it_says_ready_once_with_the_bound_addresses_and_every_worker_answers(
    start_node: StartNode, eventually: Any
) -> None:
    node = start_node(binds=["127.0.0.1:0", "127.0.0.1:0"])
    (ready,) = node.events("ready")
    assert ready["workers"] == 2
    assert ready["pid"] == node.process.pid
    ports = {address.rpartition(":")[2] for address in ready["addresses"]}
    assert len(ports) == 2
    assert "0" not in ports
    for slot in (0, 1):
        answer = eventually(lambda slot=slot: node.ask_slot(slot), f"worker {slot} is handed a connection")
        assert answer["pid"] == node.pid(slot)
    assert stop(node) == ExitCode.OK


def test_the_ready_line_in_text_begins_with_ready(start_node: StartNode, eventually: Any) -> None:
    node = start_node(wait=False, log_format="text", log_level="warning")
    line = eventually(
        lambda: re.search(r"^ready .*\n", node.log.read_text(), re.MULTILINE), "ready, whatever the level"
    ).group()
    expected = (
        rf"ready on 127\.0\.0\.1:[1-9]\d*; workers: 2, pid {node.process.pid}; "
        r"open to all: whoever reaches it may publish and play\n"
    )
    assert re.fullmatch(expected, line)
    # Without worker pids in the log there is nothing to check afterwards: end it properly.
    assert stop(node) == ExitCode.OK


def test_a_killed_worker_is_back_on_the_same_port_and_the_other_did_not_notice(
    start_node: StartNode, eventually: Any
) -> None:
    node = start_node()
    before = eventually(lambda: node.ask_slot(0), "worker 0 answers")
    other = node.pid(1)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: len(node.events("worker_ready")) == 3, "a worker is ready again")
    answer = eventually(lambda: node.ask_slot(0), "worker 0 answers again")
    assert answer["pid"] != before["pid"]
    assert answer["incarnation"] > before["incarnation"]
    assert node.pid(1) == other
    assert node.events("worker_ended")[0]["how"] == "killed by SIGKILL"
    assert len(node.events("ready")) == 1


def test_a_worker_that_keeps_crashing_is_restarted_more_and_more_slowly(
    start_node: StartNode, eventually: Any
) -> None:
    node = start_node(workers="1", bad="crash", timing={"first_delay_s": 0.05, "longest_delay_s": 0.4})
    eventually(lambda: len(node.events("worker_started")) >= 5, "five attempts")
    assert {event["code"] for event in node.events("worker_ended")} == {1}
    assert stop(node) == ExitCode.OK


def test_the_back_off_begins_at_once_doubles_to_its_bound_and_ends_with_a_long_life() -> None:
    backoff = Backoff(Timing(first_delay_s=0.25, longest_delay_s=5, stable_after_s=10))
    assert [backoff.after(9.9) for _ in range(8)] == [0, 0.25, 0.5, 1, 2, 4, 5, 5]
    assert [backoff.after(lived_s) for lived_s in (10, 1)] == [0, 0.25]


def test_a_host_without_room_for_a_process_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_room)
    files_before = len(os.listdir("/proc/self/fd"))
    timing = Timing(first_delay_s=0.25)
    slot = WorkerSlot(0, EdgeConfig(), instance="0a", timing=timing, clock=lambda: 100.0)
    for restart_at in (100.0, 100.25, 100.5):
        assert slot.start() is None
        assert slot.state is SlotState.WAITING
        assert slot.restart_at == restart_at
    assert len(os.listdir("/proc/self/fd")) == files_before


def test_a_worker_that_is_stuck_is_killed_and_replaced(start_node: StartNode, eventually: Any) -> None:
    node = start_node(bad="stuck-1", timing={"heartbeat_timeout_s": 3})
    stuck = eventually(lambda: node.ask_slot(1), "worker 1 answers, then blocks its loop")
    (event,) = eventually(lambda: node.events("worker_stuck"), "the supervisor notices")
    assert event["pid"] == stuck["pid"]
    assert event["silent_s"] >= 3
    eventually(lambda: len(node.events("worker_ready")) == 3, "another takes its place")
    assert stop(node) == ExitCode.OK


def test_a_node_that_was_stopped_keeps_its_workers(start_node: StartNode, eventually: Any) -> None:
    """A host that was paused: the supervisor goes on before its workers do, and has not heard them."""
    node = start_node(timing={"heartbeat_timeout_s": 3})
    workers = [node.pid(slot) for slot in (0, 1)]
    everybody = (node.process.pid, *workers)
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(5)
        node.process.send_signal(signal.SIGCONT)
        (stalled,) = eventually(lambda: node.events("node_stalled"), "the supervisor says so")
        assert stalled["late_s"] > 3
    finally:
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
    assert [eventually(lambda s=slot: node.ask_slot(s), "an answer")["pid"] for slot in (0, 1)] == workers
    assert not node.events("worker_stuck")


def test_a_silent_worker_gets_no_new_connections(start_node: StartNode, eventually: Any) -> None:
    node = start_node(metrics="127.0.0.1:0")
    stopped = node.pid(0)
    os.kill(stopped, signal.SIGSTOP)
    try:
        (silent,) = eventually(lambda: node.events("worker_silent"), "it is missed")
        assert silent["slot"] == 0
        assert silent["silent_s"] < Timing().heartbeat_timeout_s
        answers = [node.ask() for _ in range(20)]
        assert [answer["slot"] for answer in answers if answer] == [1] * 20
        assert node.metrics()['rtmp_cluster_worker_silences_total{worker="0"}'] == 1
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert len(node.events("worker_silent")) == 1


def test_the_last_worker_keeps_its_connections_however_silent(start_node: StartNode) -> None:
    """They wait for it, or for its successor, rather than be refused."""
    node = start_node(workers="1", timing={"silence_s": 0.1})
    stopped = node.pid(0)
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(0.5)  # nothing may happen
    with socket.create_connection(node.address, timeout=30) as waiting:
        os.kill(stopped, signal.SIGCONT)
        assert waiting.recv(1)
    assert not node.events("worker_silent")


def test_a_worker_that_cannot_boot_ends_the_node_with_its_own_exit_code(start_node: StartNode) -> None:
    node = start_node(wait=False, bad="boot")
    assert node.process.wait(60) == ExitCode.WORKER_BOOT
    assert len(node.events("worker_started")) == 2
    assert "this worker cannot boot" in node.events("boot_failed")[0]["exception"]
    assert not node.events("ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_exit_code_0(start_node: StartNode, number: signal.Signals) -> None:
    node = start_node()
    node.process.send_signal(number)
    assert node.process.wait(60) == ExitCode.OK
    assert [event["code"] for event in node.events("worker_ended")] == [0, 0]
    assert not node.events("killing")


def test_workers_that_do_not_end_in_time_are_killed(start_node: StartNode) -> None:
    node = start_node(bad="deaf", drain_timeout_s="0.3", timing={"drain_margin_s": 0.2})
    assert stop(node) == ExitCode.OK
    assert [event["code"] for event in node.events("worker_ended")] == [-signal.SIGKILL] * 2
    assert len(node.events("killing")) == 1


def test_a_second_signal_ends_at_once(start_node: StartNode, eventually: Any) -> None:
    node = start_node(bad="deaf", drain_timeout_s="3600")
    node.process.send_signal(signal.SIGINT)
    eventually(lambda: node.events("draining"), "the drain begins")
    node.process.send_signal(signal.SIGINT)
    assert node.process.wait(60) == ExitCode.OK


def test_a_waiting_restart_does_not_hold_up_the_end(start_node: StartNode, eventually: Any) -> None:
    node = start_node(workers="1", bad="crash", timing={"first_delay_s": 3600, "longest_delay_s": 3600})
    eventually(lambda: len(node.events("worker_ended")) == 2, "the slot waits for its restart")
    assert stop(node) == ExitCode.OK


def test_sighup_changes_nothing(start_node: StartNode, eventually: Any) -> None:
    node = start_node()
    node.process.send_signal(signal.SIGHUP)
    eventually(lambda: "SIGHUP" in node.log.read_text(), "the log says so")
    assert node.ask()
    assert stop(node) == ExitCode.OK


def test_workers_end_when_the_supervisor_is_killed(start_node: StartNode, eventually: Any) -> None:
    node = start_node(bad="stuck-1")
    eventually(lambda: node.ask_slot(1), "worker 1 answers, then blocks its loop")
    node.process.kill()
    node.process.wait()
    for slot in (0, 1):
        eventually(lambda slot=slot: has_ended(node.pid(slot)), f"worker {slot} ends as well")


def test_counters_go_on_after_a_restart_and_gauges_do_not(start_node: StartNode, eventually: Any) -> None:
    node = start_node(workers="1", metrics="127.0.0.1:0")
    accepted = 'rtmp_cluster_connections_accepted_total{worker="0"}'
    closes = 'rtmp_cluster_closes_total{reason="peer_closed",worker="0"}'
    for _ in range(3):
        assert node.ask()
    eventually(lambda: node.metrics()[accepted] == 3, "the beats carry what was counted")
    assert node.metrics()['rtmp_cluster_connections{worker="0"}'] == 7
    os.kill(node.pid(0), signal.SIGKILL)
    eventually(lambda: len(node.events("worker_ready")) == 2, "the worker is ready again")
    up = 'rtmp_cluster_worker_up{worker="0"}'
    after = eventually(lambda: (now := node.metrics())[up] and now, "its beats")
    assert after[accepted] == after[closes] == 3
    assert after['rtmp_cluster_connections{worker="0"}'] == 0
    assert after['rtmp_cluster_worker_restarts_total{worker="0"}'] == 1
    assert node.ask()
    eventually(lambda: node.metrics()[accepted] == 4, "the count goes on from where it was")
    assert stop(node) == ExitCode.OK


def test_lost_log_lines_of_workers_and_of_the_supervisor_are_numbers_of_one_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = NodeNumbers(2)
    numbers.beat(1, {"log_lines_lost": 5})
    monkeypatch.setattr(metrics, "lines_lost", lambda: 3)
    (family,) = [each for each in numbers.collect() if each.name == "rtmp_cluster_log_lines_lost"]
    assert {sample.labels["worker"]: sample.value for sample in family.samples} == {
        "0": 0, "1": 5, "supervisor": 3,
    }  # fmt: skip


def test_what_processes_use_is_told_of_workers_and_of_the_supervisor() -> None:
    numbers = NodeNumbers(2)
    numbers.beat(1, {"process_cpu_seconds": 2.5, "process_memory_bytes": 1_000})
    numbers.ended(1)
    numbers.beat(1, {"process_cpu_seconds": 0.5, "process_memory_bytes": 700})
    found = {each.name: each for each in numbers.collect()}
    cpu, memory = (
        {sample.labels["worker"]: sample.value for sample in found[f"rtmp_cluster_process_{name}"].samples}
        for name in ("cpu_seconds", "memory_bytes")
    )
    assert (cpu["1"], memory["1"]) == (3.0, 700)
    assert cpu["supervisor"] > 0
    assert memory["supervisor"] > 1_000_000


def test_a_node_that_drains_says_so() -> None:
    numbers = NodeNumbers(1)

    def draining() -> float:
        (family,) = [each for each in numbers.collect() if each.name == "rtmp_cluster_draining"]
        return family.samples[0].value

    assert draining() == 0
    numbers.draining = True
    assert draining() == 1


def test_connections_are_bounded_by_open_files(start_node: StartNode, eventually: Any) -> None:
    """The soft limit is raised to the hard one; what that still does not allow is not promised."""
    node = start_node(prefix=("sh", "-c", 'ulimit -Sn 100; ulimit -Hn 1000; exec "$@"', "sh"))
    (event,) = node.events("connections_bounded")
    assert (event["files"], event["possible"], event["wanted"]) == (1000, 936, 10_000)
    assert eventually(node.ask, "a worker answers")["max_connections"] == 936
    assert stop(node) == ExitCode.OK


# ---- the status pipe -------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[StatusReader, StatusPipe]]:
    read_fd, write_fd = os.pipe()
    reader = StatusReader(read_fd)
    yield reader, StatusPipe(write_fd)
    os.close(write_fd)
    with contextlib.suppress(OSError):
        reader.close()


def test_the_status_pipe_carries_ready_and_beats(pipe: tuple[StatusReader, StatusPipe]) -> None:
    reader, status = pipe
    assert reader.read() == []
    assert not status.is_ready
    status.ready([("::1", 1), ("127.0.0.1", 2)])
    status.beat({"players": 1, "closes": {"not_rtmp": 2}}, {"tcp://r1:1936": ""})
    assert status.is_ready
    beat = Beat({"players": 1, "closes": {"not_rtmp": 2}}, {"tcp://r1:1936": ""})
    assert reader.read() == [Ready(["[::1]:1", "127.0.0.1:2"]), beat]


def test_a_supervisor_that_does_not_read_costs_beats_but_never_half_a_line(
    pipe: tuple[StatusReader, StatusPipe],
) -> None:
    reader, status = pipe
    for number in range(100):
        status.beat({"number": number, "padding": {"x" * 5000: 0}})
    beats = reader.read()
    status.beat({"number": 100})
    beats += reader.read()
    status.beat({"number": 101})
    beats += reader.read()
    numbers = [beat.numbers["number"] for beat in beats if isinstance(beat, Beat)]
    assert numbers[-1] == 101
    assert numbers[:-2] == list(range(len(numbers) - 2)), "the first ones came whole and in order"
    assert len(numbers) < 100


def test_a_supervisor_that_is_gone_is_no_error_of_the_worker(pipe: tuple[StatusReader, StatusPipe]) -> None:
    reader, status = pipe
    reader.close()
    status.beat({"players": 1})
    status.beat({"players": 1})


def test_lines_that_are_no_status_are_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    read_fd, write_fd = os.pipe()
    reader = StatusReader(read_fd)
    os.write(write_fd, b'garbage\n[]\n{"beat": 1}\n{"beat": {"players": 1}}\n{"be')
    assert reader.read() == [Beat({"players": 1}, {})]
    assert len(caplog.records) == 3
    os.write(write_fd, b'at": {}}\n')
    assert reader.read() == [Beat({}, {})]
    reader.close()
    os.close(write_fd)
