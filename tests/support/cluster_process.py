"""The command under test as a child process: its log events, its workers, its metrics, its end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

import cluster
from support.polling import wait_until

ROOT = Path(__file__).resolve().parents[2]
#: Where Python finds the package under test: the tree, or where it is installed.
PACKAGES = Path(cluster.__file__).resolve().parents[1]
_METRIC_PREFIX = "rtmp_cluster_"
ROUTER_PORTS = 3
_GIVEN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT = 10_000
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0


class ClusterProcess:
    """``python -m cluster …``, with JSON logs if ``arguments`` say no other format. End it with ``stop``;
    ``kill`` is for broken ones.

    ``stderr``: a file descriptor that it logs to, if not to the file ``log`` itself.
    """

    def __init__(self, arguments: list[str], log: Path, stderr: int | None = None) -> None:
        self._log = log
        logs = [] if "--log-format" in arguments else ["--log-format", "json"]
        command = [sys.executable, "-m", "cluster", *arguments, *logs]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output if stderr is None else stderr,
            )  # fmt: skip
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        def ready() -> dict[str, Any] | None:
            assert self._process.poll() is None, f"ended before it was ready:\n{self.log_text()}"
            return next(iter(self.events("ready")), None)

        self.ready = wait_until(ready, "the ready event", _READY_TIMEOUT_S)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log events of that name so far, oldest first."""
        found = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == name:
                    found.append(event)
        return found

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM; the exit code. AssertionError if it does not end by itself."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            text = f"still there {_STOP_TIMEOUT_S:g} s after SIGTERM:\n{self.log_text()}"
            raise AssertionError(text) from None

    def kill(self) -> None:
        """Kill it and all its children, by process id."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children(recursive=True)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Edge(ClusterProcess):
    """One node, bound to a free port on loopback, with metrics on another."""

    def __init__(self, arguments: list[str], log: Path, stderr: int | None = None) -> None:
        fixed = ["--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--drain-timeout", "2"]
        super().__init__(["edge", *fixed, *arguments], log, stderr)

    @property
    def port(self) -> int:
        return int(self.ready["addresses"][0].rpartition(":")[2])

    @property
    def tls_port(self) -> int:
        return int(self.ready["tls_addresses"][0].rpartition(":")[2])

    @property
    def http_port(self) -> int:
        """0 if it serves no HTTP."""
        return self._port_of("http_addresses")

    @property
    def https_port(self) -> int:
        """0 if it serves no HTTPS."""
        return self._port_of("https_addresses")

    def _port_of(self, addresses: str) -> int:
        return int(str(self.ready.get(addresses, [":0"])[0]).rpartition(":")[2])

    def url(self, name: str) -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{name}"

    def tls_url(self, name: str) -> str:
        return f"rtmps://127.0.0.1:{self.tls_port}/live/{name}"

    def workers(self) -> dict[int, int]:
        """The process id of the worker in each slot, by the newest ``worker_started`` event."""
        return {event["slot"]: event["pid"] for event in self.events("worker_started")}

    def slot_of_pid(self, pid: int) -> int:
        return next(slot for slot, worker in self.workers().items() if worker == pid)

    def owner_of(self, peer_port: int) -> int | None:
        """The worker (process id) that holds the connection from this local port of ours."""
        for pid in self.workers().values():
            with contextlib.suppress(psutil.NoSuchProcess):
                for connection in psutil.Process(pid).net_connections("tcp"):
                    if connection.raddr and connection.raddr.port == peer_port:
                        return pid
        return None

    def metrics(self) -> Metrics:
        with urllib.request.urlopen(f"http://{self.ready['metrics']}/metrics", timeout=30) as answer:
            return Metrics(answer.read().decode())


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples of that name (without the common prefix) with these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == _METRIC_PREFIX + name
            and all(sample.labels.get(key) == value for key, value in labels.items())
        )

    def by(self, label: str, name: str) -> dict[str, float]:
        """The sums of ``name`` for each value of ``label`` that is not 0."""
        found: dict[str, float] = {}
        for sample in self._samples:
            if sample.name == _METRIC_PREFIX + name and sample.value:
                found[sample.labels[label]] = found.get(sample.labels[label], 0) + sample.value
        return found


def free_router_address() -> str:
    """Where a router can be bound: its port is free together with those after it that a router uses.

    Below the ports that the kernel gives to who asks for any: nobody gets them before the router does.
    """
    lowest_given = int(_GIVEN_PORTS.read_text().split()[0])
    for _ in range(100):
        first = random.SystemRandom().randrange(_LOWEST_PORT, lowest_given - ROUTER_PORTS)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + ROUTER_PORTS):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{first}"
    raise AssertionError("no free ports in a row")


def memory_bytes(pid: int) -> int:
    """Resident memory of one process."""
    return psutil.Process(pid).memory_info().rss


def kill_worker(pid: int) -> None:
    """``kill -9`` of one worker that a fixture's edge started."""
    os.kill(pid, signal.SIGKILL)


#: Starts an edge with these further arguments and returns it ready.
StartEdge = Callable[..., Edge]
#: Starts a router and returns its address, as ``--router`` takes it.
StartRouter = Callable[[], str]
