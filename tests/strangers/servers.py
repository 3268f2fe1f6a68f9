"""The edges under attack: a node alone, one whose log nobody reads, one at a router of its own process."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from support.cluster_process import ROOT, ClusterProcess, Edge, free_router_address
from support.tls import make_certificate

from .attack import Attack, Form
from .rows import Usage

_WORKERS = 2
_FATAL, _MOST_WORDS = "Fatal Python error", 1_500


class DeafEdge(Edge):
    """An edge whose standard error is a pipe; ``stop_reading`` fills it for good."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._copy = log
        pipe = log.with_suffix(".pipe")
        os.mkfifo(pipe)
        self._deaf = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(pipe, log), daemon=True)
        self._reader.start()
        super().__init__(arguments, pipe)

    def log_text(self) -> str:
        return self._copy.read_text(errors="replace") if self._copy.exists() else ""

    def stop_reading(self) -> None:
        self._deaf.set()

    def read_on(self) -> None:
        self._deaf.clear()

    def _read(self, pipe: Path, copy: Path) -> None:
        with pipe.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as written:
            while data := source.read(4096):
                written.write(data)
                while self._deaf.is_set():
                    threading.Event().wait(0.05)


class Servers:
    """The edge of one run, or two at a router, and what their processes use.

    ``places``: port and process id of each worker. ``edge`` is the first node.
    """

    def __init__(self, attack: Attack, form: Form, directory: Path) -> None:
        self.log = directory / "edge.log"
        self.router: ClusterProcess | None = None
        self.router_address = ""
        self._edges: list[Edge] = []
        options = _options(attack, form, directory)
        os.environ["PYTHONFAULTHANDLER"] = "1"  # a process that falls says where
        try:
            if attack.edge == "routed":
                self._start_router(directory)
                routed = [*options, "--workers", "1", "--router", self.router_address]
                self._edges = [Edge(routed, self.log), Edge(routed, directory / "edge-1.log")]
            else:
                kind = DeafEdge if attack.edge == "deaf" else Edge
                self._edges = [kind([*options, "--workers", str(_WORKERS)], self.log)]
            for edge in self._edges:
                edge.wait_ready()
        except BaseException:
            self.kill()
            raise
        self.edge = self._edges[0]
        self.places = self._places()
        self._processes = [psutil.Process(pid) for _port, pid in self.places]
        self._router_process = psutil.Process(self.edge.pid if self.router is None else self.router.pid)

    @property
    def workers(self) -> list[int]:
        return [pid for _port, pid in self.places]

    def _places(self) -> list[tuple[int, int]]:
        return [
            (edge.port, pid) for edge in self._edges for _slot, pid in sorted(edge.workers().items())
        ]

    def _start_router(self, directory: Path) -> None:
        self.router_address = free_router_address()
        router = ["router", "--bind", self.router_address]
        self.router = ClusterProcess(router, directory / "router.log")
        self.router.wait_ready()

    def usage(self, at: float) -> Usage:
        memory = [_memory(process) for process in self._processes]
        cpu = [_cpu_s(process) for process in self._processes]
        router = self._router_process
        return Usage(at, memory, _memory(router), cpu, _cpu_s(router))

    def closes(self) -> dict[str, float]:
        """How many connections have ended, by reason; nothing of an edge that does not answer."""
        found: dict[str, float] = {}
        for edge in self._edges:
            with contextlib.suppress(OSError):
                metrics = edge.metrics()
                for name in ("closes_total", "http_closes_total"):
                    for reason, count in metrics.by("reason", name).items():
                        found[reason] = found.get(reason, 0) + count
        return found

    def stop(self, *, may_lose_workers: bool) -> list[str]:
        """End them as an operator does; what was wrong with that."""
        lost = self._places() != self.places and not may_lose_workers
        wrong = ["a worker died"] if lost else []
        if isinstance(self.edge, DeafEdge):
            self.edge.read_on()
        for process in [*self._edges, *filter(None, [self.router])]:
            name = "router" if process is self.router else "edge"
            try:
                code = process.stop()
            except AssertionError:
                wrong.append(f"the {name} does not end")
                continue
            if code:
                wrong.append(f"the {name} ended with {code}{_last_words(process.log_text())}")
            if "Traceback" in process.log_text():
                wrong.append(f"a traceback in the log of the {name}")
        return wrong

    def kill(self) -> None:
        for process in [*self._edges, *filter(None, [self.router])]:
            process.kill()


def _options(attack: Attack, form: Form, directory: Path) -> list[str]:
    certificate = make_certificate(directory)
    options = ["--bind-tls", "127.0.0.1:0", *certificate.options, *attack.options]
    return [*options, *known(attack.wishes), *known(("--worker-bytes", str(form.worker_bytes)))]


@contextlib.contextmanager
def serving(attack: Attack, form: Form, directory: Path) -> Iterator[Servers]:
    servers = Servers(attack, form, directory)
    try:
        yield servers
    finally:
        servers.kill()


def _last_words(log: str) -> str:
    """What Python's fault handler has said of a process that fell."""
    fatal = log.find(_FATAL)
    return "" if fatal < 0 else ": " + " / ".join(log[fatal : fatal + _MOST_WORDS].splitlines())


def known(options: Sequence[str]) -> list[str]:
    """Those of these options (each a flag and its value) that the edge has."""
    pairs = zip(options[::2], options[1::2], strict=True)
    return [text for flag, value in pairs if f"{flag} " in _help() for text in (flag, value)]


@functools.cache
def _help() -> str:
    command = [sys.executable, "-m", "cluster", "edge", "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0


def _cpu_s(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:2]))
    return 0.0
