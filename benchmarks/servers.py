"""The servers under measurement, each ready to be connected to within a ``with``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import proc, strangers
from benchmarks.process import ServerError, accepts, free_port, started, wait

_TEMPORARY = "rtmp-cluster-bench-"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens, and the roots of its process trees."""

    pids: tuple[int, ...]
    port: int
    #: Where players play, if that is another node.
    play_port: int | None = None
    #: The processes that serve, if those are not the roots.
    workers: tuple[int, ...] = ()
    #: Where the edge serves its metrics, if it was asked to.
    metrics: str | None = None
    #: Where the edge listens for RTMPS, if it was asked to.
    tls_port: int | None = None
    #: Where the edge listens for HTTP, if it was asked to.
    http_port: int | None = None
    #: At ``port`` it speaks RTMPS, with a certificate that nobody knows.
    tls: bool = False


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
            tls_port, http_port = (
                next((_port(each) for each in ready.get(f"{name}_addresses", ())), None)
                for name in ("tls", "http")
            )
            yield Server(
                (process.pid,), _port(ready["addresses"][0]),
                workers=tuple(event["pid"] for event in _events(log, "worker_started")),
                metrics=ready.get("metrics"), tls_port=tls_port, http_port=http_port,
            )  # fmt: skip


@contextlib.contextmanager
def edge_with_tls(*, cores: set[int] | None) -> Iterator[Server]:
    """One worker with default options, and RTMPS at its port."""
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        options = ["--bind-tls", "127.0.0.1:0", *_certificate(directory)]
        with edge(*options, cores=cores, budget_ms=None) as server:
            assert server.tls_port is not None
            yield replace(server, port=server.tls_port, tls=True)


def _certificate(directory: str) -> list[str]:
    """The edge's options for one that this makes."""
    key, cert = f"{directory}/edge.key", f"{directory}/edge.crt"
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", cert,
    ]  # fmt: skip
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServerError(f"openssl makes no certificate: {error}") from None
    return ["--tls-cert", cert, "--tls-key", key]


@contextlib.contextmanager
def two_nodes(*, cores: set[int] | None, budget_ms: int | None) -> Iterator[Server]:
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


def floor(
    *, players: int, batch_ms: int, hold_audio: bool, cores: set[int] | None
) -> AbstractContextManager[Server]:
    """The least a Python process can spend on sending the same bytes (see ``floor.py``)."""
    options = ["--players", str(players), "--batch-ms", str(batch_ms), *["--hold-audio"] * hold_audio]
    return _floor("floor", options, cores)


def floor_of_many(
    *, streams: int, players: int, batch_ms: int, cores: set[int] | None
) -> AbstractContextManager[Server]:
    """The same for many streams: ``players`` of all of them together (see ``floor_of_many.py``)."""
    options = ["--streams", str(streams), "--players", str(players), "--batch-ms", str(batch_ms)]
    return _floor("floor_of_many", options, cores)


@contextlib.contextmanager
def _floor(module: str, options: list[str], cores: set[int] | None) -> Iterator[Server]:
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        log = Path(directory, "floor.log")
        command = [sys.executable, "-m", f"benchmarks.{module}", *options]
        with started(command, log, cores) as process:
            port = wait(process, log, lambda: int(log.read_text().strip() or 0) or None)
            yield Server((process.pid,), port)


def nginx(*, chunk_size: int, cores: set[int] | None) -> AbstractContextManager[Server]:
    def start(directory: str, port: int) -> strangers.Start:
        return strangers.nginx(directory, port, chunk_size)

    return _stranger(start, cores, workers=1)


def node_media_server(*, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(strangers.node_media_server, cores)


def srs(binary: Path, *, chunk_size: int, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(lambda directory, port: strangers.srs(binary, directory, port, chunk_size), cores)


def mediamtx(binary: Path, *, cores: set[int] | None) -> AbstractContextManager[Server]:
    return _stranger(lambda directory, port: strangers.mediamtx(binary, directory, port), cores)


@contextlib.contextmanager
def _stranger(
    start: Callable[[str, int], strangers.Start], cores: set[int] | None, *, workers: int = 0
) -> Iterator[Server]:
    """``workers``: so many processes it starts, that serve; its port is there before them."""
    with TemporaryDirectory(prefix=_TEMPORARY) as directory:
        port = free_port()
        wanted = start(directory, port)
        for name, text in wanted.files.items():
            Path(directory, name).write_text(text)
        log = Path(directory, "output.log")
        with started(wanted.command, log, cores) as process:

            def serving() -> tuple[int, ...] | None:
                found = tuple(proc.tree(process.pid)[1:])
                return found if accepts(port) and len(found) >= workers else None

            yield Server((process.pid,), port, workers=wait(process, log, serving))


def _cluster(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cluster", *arguments, "--log-format", "json"]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _events(log: Path, name: str) -> list[dict[str, Any]]:
    """The events of that name in a JSON log, oldest first."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == name:
                found.append(event)
    return found
