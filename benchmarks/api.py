"""Measure what it costs to be looked at: an edge that is asked each second beside one that is not.

    python -m benchmarks.api streams             # all of /v1/streams, as a dashboard asks for it: 3 minutes
    python -m benchmarks.api streams play-300    # the same under another load
    python -m benchmarks.api sessions            # all of /v1/sessions
    python -m benchmarks.api metrics             # /metrics, with the API on

Both edges have one worker, run at the same time and have the same load; in each round the other one is
started first. Shown is the CPU of the one as a multiple of the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import proc, servers
from benchmarks.process import free_port

_ROOT = Path(__file__).resolve().parent.parent
_ASK_EVERY_S = 1.0
_RAMP_S = 4.0
#: From the start of the load until it is measured, and then for so long.
_SETTLE_S, _WINDOW_S = 12.0, 24.0
#: Items of a page.
_LIMIT = 200

_LOADS = {
    "publish-200": ["--publishers", "200", "--players", "0", "--bitrate", "1000k"],
    "play-300": ["--publishers", "1", "--players", "300", "--bitrate", "2500k"],
}


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: bytes = answer.read()
    return text


def _list(address: str) -> int:
    """Read a whole list, page after page; how many items it has."""
    count, cursor = 0, ""
    while True:
        page = json.loads(_get(f"{address}?limit={_LIMIT}{cursor}"))
        count += len(page["items"])
        if page["next"] is None:
            return count
        cursor = f"&cursor={page['next']}"


def _lines(address: str) -> int:
    return _get(address).count(b"\n")


@contextlib.contextmanager
def _asked(ask: Callable[[], int]) -> Iterator[list[int]]:
    """Ask each second while the body runs; yields how much came each time."""
    found: list[int] = []
    is_over = threading.Event()

    def run() -> None:
        due = time.monotonic()
        while not is_over.wait(max(0.0, due - time.monotonic())):
            due += _ASK_EVERY_S
            found.append(ask())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def _loaded(server: servers.Server, options: list[str]) -> Iterator[None]:
    url = f"rtmp://127.0.0.1:{server.port}/live/bench"
    timing = ["--ramp", f"{_RAMP_S:g}", "--duration", f"{_SETTLE_S + _WINDOW_S + 5:g}"]
    command = [sys.executable, "-m", "cluster", "load", url, *options, *timing, "--processes", "1"]
    nothing = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=_ROOT, stdin=nothing, stdout=nothing, stderr=nothing) as load:
        try:
            yield
        finally:
            load.terminate()


def _used(server: servers.Server) -> tuple[float, float]:
    """CPU of the worker, and of it with the supervisor."""
    (worker,) = server.workers
    return proc.cpu_s(worker), sum(map(proc.cpu_s, proc.tree(server.pids[0])))


def _measure(what: str, load: list[str], *, asked_first: bool) -> tuple[list[float], list[float], int]:
    """Shares of a core, of the worker and of all: of the edge that is asked and of the other; and the most
    that came at once."""
    api = f"127.0.0.1:{free_port()}"
    options = {True: ["--api", api, "--metrics", "127.0.0.1:0"], False: ["--metrics", "127.0.0.1:0"]}
    with contextlib.ExitStack() as stack:
        edges = {
            is_asked: stack.enter_context(servers.edge(*options[is_asked], cores=None, budget_ms=None))
            for is_asked in (asked_first, not asked_first)
        }
        metrics, address = f"http://{edges[True].metrics}/metrics", f"http://{api}/v1/{what}"
        for server in edges.values():
            stack.enter_context(_loaded(server, load))
        ask = (lambda: _lines(metrics)) if what == "metrics" else (lambda: _list(address))
        found = stack.enter_context(_asked(ask))
        time.sleep(_SETTLE_S)
        began_at, before = time.monotonic(), [_used(edges[True]), _used(edges[False])]
        time.sleep(_WINDOW_S)
        took_s, after = time.monotonic() - began_at, [_used(edges[True]), _used(edges[False])]
        shares = [
            [(more - less) / took_s for less, more in zip(*pair, strict=True)]
            for pair in zip(before, after, strict=True)
        ]
        return shares[0], shares[1], max(found)


def measure(what: str, load: str, rounds: int) -> None:
    """The rounds one by one, and their medians."""
    ratios: list[list[float]] = []
    for number in range(rounds):
        asked, other, most = _measure(what, _LOADS[load], asked_first=number % 2 == 0)
        ratios.append([one / another for one, another in zip(asked, other, strict=True)])
        print(
            f"{load}, {what} asked for each second ({most}): worker {asked[0]:.2%} beside {other[0]:.2%}, "
            f"{ratios[-1][0]:.3f}; with the supervisor {asked[1]:.2%} beside {other[1]:.2%}, "
            f"{ratios[-1][1]:.3f}",
            flush=True,
        )
    for whose, found in zip(("worker", "with the supervisor"), zip(*ratios, strict=True), strict=True):
        print(f"{whose}: {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.api", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=("streams", "sessions", "metrics"))
    parser.add_argument("load", choices=_LOADS, nargs="?", default="publish-200", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="(%(default)s)")
    options = parser.parse_args()
    measure(options.what, options.load, options.rounds)


if __name__ == "__main__":
    main()
