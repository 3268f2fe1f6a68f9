"""Measure what connections that say nothing cost those who play: an edge that has them beside one without.

    python -m benchmarks.silent                       # 10,000 at the HTTP port, default options: 3 minutes
    python -m benchmarks.silent --all-have-a-place    # the same, and none of them is closed

Both edges have one worker, run at the same time and have the same players over RTMP; in each round the
other one is started first. Whoever is closed comes again. Shown is the delay of one edge's players as a
multiple of that of the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import load, servers
from benchmarks.model import Setting

_ROOT = Path(__file__).resolve().parent.parent
_PLAYERS = 50
_SETTING = Setting(settle_s=16.0, window_s=20.0)
#: They come from so many addresses, each of a network of its own.
_SOURCES = 50
#: Those that are late by more than this are not made up for.
_BURST_S = 0.01
_ALL_HAVE_A_PLACE = ["--max-connections", "20000", "--max-half-open", "20000", "--handshake-timeout", "600"]


class _Silent:
    """Connections that say nothing."""

    def __init__(self, port: int, count: int, per_s: float) -> None:
        self._port, self._count, self._per_s = port, count, per_s
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._come = 0

    def hold(self, until: float) -> None:
        """Open so many in a second until there are enough; who is closed comes again, as fast as that."""
        next_at = time.monotonic()
        while (now := time.monotonic()) < until:
            while len(self._open) < self._count and next_at <= now:
                next_at = max(next_at, now - _BURST_S) + 1.0 / self._per_s
                self._connect()
            for file, _ in self._poll.poll(0.002):
                self._poll.unregister(file)
                self._open.pop(file).close()

    def _connect(self) -> None:
        self._come += 1
        peer = socket.socket()
        peer.bind((f"127.1.{self._come % _SOURCES}.1", 0))
        peer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            peer.connect(("127.0.0.1", self._port))
        self._open[peer.fileno()] = peer
        self._poll.register(peer, select.EPOLLRDHUP)


def _run_silent(port: int, count: int, per_s: float, seconds: float) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 1000, most), most))
    _Silent(port, count, per_s).hold(time.monotonic() + seconds)


@contextlib.contextmanager
def _loaded(server: servers.Server) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable, "-m", "cluster", "load", f"rtmp://127.0.0.1:{server.port}/live/bench",
        "--json", "-", "--sample", "5", *load.timing(_SETTING), *load.players(_PLAYERS),
    ]  # fmt: skip
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _measure(options: list[str], count: int, per_s: float, *, first: bool) -> list[dict[str, float]]:
    """Delays in ms of the edge that has them, and of the other."""
    with contextlib.ExitStack() as stack:
        edges = {
            has_them: stack.enter_context(
                servers.edge("--http", "127.0.0.1:0", *options, cores=None, budget_ms=None)
            )
            for has_them in (first, not first)
        }
        seconds = _SETTING.settle_s + _SETTING.window_s + 5.0
        silent = multiprocessing.get_context("spawn").Process(
            target=_run_silent, args=(edges[True].http_port, count, per_s, seconds)
        )
        loads = {has_them: stack.enter_context(_loaded(server)) for has_them, server in edges.items()}
        silent.start()
        try:
            said = {has_them: each.communicate(timeout=90)[0] for has_them, each in loads.items()}
        finally:
            silent.kill()
            silent.join()
    delays = (json.loads(said[has_them])["video_delay_ms"] for has_them in (True, False))
    return [{name: float(each[name]) for name in ("p50", "p99")} for each in delays]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.silent", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--connections", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--per-s", type=float, default=1000.0, help="that come in a second (%(default)s)")
    parser.add_argument("--all-have-a-place", action="store_true")
    parser.add_argument("--rounds", type=int, default=4, help="(%(default)s)")
    chosen = parser.parse_args()
    options = _ALL_HAVE_A_PLACE if chosen.all_have_a_place else []
    ratios: dict[str, list[float]] = {"p50": [], "p99": []}
    for number in range(chosen.rounds):
        has, other = _measure(options, chosen.connections, chosen.per_s, first=number % 2 == 0)
        for name, found in ratios.items():
            found.append(has[name] / other[name])
        line = ", ".join(f"{name} {has[name]:.2f} beside {other[name]:.2f} ms" for name in ratios)
        print(line, flush=True)
    for name, found in ratios.items():
        print(f"{name}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
