"""The servers under measurement, each ready to be connected to within a ``with``."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import strangers
from benchmarks.process import accepts, free_port, started, wait

_TEMPORARY = "rtmp-cluster-bench-"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens, and the roots of its process trees."""

    pids: tuple[int, ...]
    port: int
    #: Where players play, if that is another node.
    play_port: int | None = None
    #: The edge's worker processes.
    workers: tuple[int, ...] = ()
    #: Where the edge serves its metrics, if it was asked to.
    metrics: str | None = None


#: Starts one anew each time it is called.
Starter = Callable[[], AbstractContextManager[Server]]


@contextlib.contextmanager
def edge(
    *options: str, cores: set[int] | None, workers: int = 1, budget_ms: int | None = 0
) -> Iterator[Server]:
    """This project's server, as an operator starts it; yields once every worker accepts.

    ``budget_ms``: None is the default, a latency budget that sets itself.
    """
    budget = "auto" if budget_ms is None else str(budget_ms)
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        log = Path(directory, "edge.log")
        command = _cluster(
            "edge", "--bind", "127.0.0.1:0", "--workers", str(workers), "--latency-budget", budget,
            "--drain-timeout", "1", *options,
        )  # fmt: skip
        with started(command, log, cores) as process:
            ready = wait(process, log, lambda: next(iter(_events(log, "ready")), None))
            yield Server(
                (process.pid,), int(ready["addresses"][0].rpartition(":")[2]),
                workers=tuple(event["pid"] for event in _events(log, "worker_started")),
                metrics=ready.get("metrics"),
            )  # fmt: skip


@contextlib.contextmanager
def two_nodes(*, cores: set[int] | None, budget_ms: int) -> Iterator[Server]:
    """A router and two nodes of one worker each: publishers at the first, players at the second.

    ``pids`` are the router, the first node, the second node.
    """
    with TemporaryDirectory(prefix=_TEMPORARY) as directory, contextlib.ExitStack() as stack:
        log = Path(directory, "router.log")
        address = f"ipc://{directory}/router"
        router = stack.enter_context(started(_cluster("router", "--bind", address), log, cores))
        wait(router, log, lambda: next(iter(_events(log, "ready")), None))
        first, second = (
            stack.enter_context(
                edge("--router", address, "--node-name", name, cores=cores, budget_ms=budget_ms)
            )
            for name in ("first", "second")
        )
        yield Server(
            (router.pid, *first.pids, *second.pids), first.port, second.port,
            workers=first.workers + second.workers,
        )  # fmt: skip


@contextlib.contextmanager
def floor(*, players: int, batch_ms: int, cores: set[int] | None) -> Iterator[Server]:
    """The least a Python process can spend on sending the same bytes (see ``floor.py``)."""
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        log = Path(directory, "floor.log")
        command = [
            sys.executable, "-m", "benchmarks.floor", "--players", str(players),
            "--batch-ms", str(batch_ms),
        ]  # fmt: skip
        with started(command, log, cores) as process:
            port = wait(process, log, lambda: int(log.read_text().strip() or 0) or None)
            yield Server((process.pid,), port)


def nginx(*, chunk_size: int, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(lambda directory, port: strangers.nginx(directory, port, chunk_size), cores)


def node_media_server(*, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(strangers.node_media_server, cores)


def srs(binary: Path, *, chunk_size: int, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(lambda directory, port: strangers.srs(binary, directory, port, chunk_size), cores)


def mediamtx(binary: Path, *, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(lambda directory, port: strangers.mediamtx(binary, directory, port), cores)


@contextlib.contextmanager
def _stranger(start: Callable[[str, int], strangers.Start], cores: set[int] | None) -> Iterator[Server]:
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        port = free_port()
        wanted = start(directory, port)
        for name, text in wanted.files.items():
            Path(directory, name).write_text(text)
        log = Path(directory, "output.log")
        with started(wanted.command, log, cores) as process:
            yield Server((process.pid,), wait(process, log, lambda: port if accepts(port) else None))


def _cluster(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cluster", *arguments, "--log-format", "json"]


def _events(log: Path, name: str) -> list[dict[str, Any]]:
    """The events of that name in a JSON log, oldest first."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == name:
                found.append(event)
    return found
