"""Measure what a router pays for a thousand workers that publish, play and report, before any media.

    python -m benchmarks.membership                      # this tree, three rounds: two minutes
    python -m benchmarks.membership --against DIRECTORY  # and another tree beside it, in turns

A router runs on core 0. On core 1 one process is 125 nodes of 8 workers (``members.py``), which say what
the workers of the router's own tree say, as often as they do. Medians over the rounds are shown. A machine
that has other work to do loses workers: such a round is measured again.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import machine, proc
from benchmarks.process import ServerError, started, wait

_HERE = Path(__file__).resolve().parent
_ROUTER_CORES, _PEER_CORES = {0}, {1}
_ENDS_WITHIN_S = 60.0
_MIB = 1024 * 1024
#: Of a round, before the machine is too busy for it.
_TRIES = 4


class _DisturbedError(Exception):
    """Workers were lost: their router was asked for something else than was meant."""


def _python(tree: Path) -> list[str]:
    """The command of an interpreter for which ``cluster`` is that of ``tree``."""
    return ["env", f"PYTHONPATH={tree}", sys.executable, "-P"]


def _endpoint(log: Path) -> str | None:
    """Where the router is, once it is ready."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return next((line["endpoint"] for line in lines if line.get("event") == "ready"), None)


def measure(tree: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One round with the router and the messages of ``tree``; ServerError if none succeeds."""
    for _ in range(_TRIES):
        try:
            return _round(tree, options)
        except _DisturbedError as error:
            print(f"  once more: {error}", flush=True)
    raise ServerError(f"{_TRIES} rounds were disturbed: let the machine rest, or give fewer --nodes")


def _round(tree: Path, options: argparse.Namespace) -> dict[str, Any]:
    with TemporaryDirectory(prefix="rtmp-cluster-membership-") as directory:
        log = Path(directory, "router.log")
        command = [
            *_python(tree), "-m", "cluster", "router", "--bind", "tcp://127.0.0.1:0",
            "--log-format", "json",
        ]  # fmt: skip
        with started(command, log, _ROUTER_CORES) as router:
            base = wait(router, log, lambda: _endpoint(log))
            sizes = [
                f"--{name}={getattr(options, name.replace('-', '_'))}"
                for name in ("nodes", "workers", "streams", "played-on", "played-by")
            ]
            with proc.on_cores(_PEER_CORES):
                members = subprocess.Popen(
                    [*_python(tree), str(_HERE / "members.py"), "--router", base, *sizes],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )  # fmt: skip
            try:
                return _watched(router.pid, members, tree, options.seconds)
            finally:
                members.kill()
                members.communicate()


def _watched(pid: int, members: subprocess.Popen[str], tree: Path, seconds: float) -> dict[str, Any]:
    assert members.stdout is not None
    joined = json.loads(members.stdout.readline() or "{}")
    if not joined:
        raise _DisturbedError("the workers did not all join in time")
    if not Path(joined["cluster"]).is_relative_to(tree):
        raise ServerError(f"{joined['cluster']} is not of {tree}")
    begun = time.monotonic()
    before = proc.cpu_s(pid), proc.thread_seconds(pid, "ZMQbg")
    time.sleep(seconds)
    took = time.monotonic() - begun
    cpu = (proc.cpu_s(pid) - before[0]) / took
    io = (proc.thread_seconds(pid, "ZMQbg") - before[1]) / took
    memory = psutil.Process(pid).memory_info().rss / _MIB
    said, _ = members.communicate("end\n", timeout=_ENDS_WITHIN_S)
    if not said:
        raise _DisturbedError("the router did not say what it knows")
    seen = json.loads(said)
    if seen["hellos"] or seen["known"] != seen["expected"]:
        raise _DisturbedError(
            f"late by {seen['late_s']:.1f} s, {seen['hellos']} workers came back; of workers, streams and "
            f"players the router knows {seen['known']}, not {seen['expected']}"
        )
    return {
        "cpu": cpu, "io": io, "memory": memory, "joined_s": joined["joined_s"],
        "answers_per_s": seen["received_per_s"], "us_each": 1e6 * cpu / seen["received_per_s"],
    }  # fmt: skip


_COLUMNS = {
    "cpu": ("CPU", "{:.1%}"), "io": ("of it libzmq's I/O", "{:.1%}"),
    "answers_per_s": ("answers/s", "{:,.0f}"), "us_each": ("us for each", "{:.1f}"),
    "memory": ("MiB", "{:.0f}"), "joined_s": ("joined in s", "{:.1f}"),
}  # fmt: skip


def _line(name: str, figures: dict[str, Any]) -> str:
    cells = (f"{title} {form.format(figures[key])}" for key, (title, form) in _COLUMNS.items())
    return f"  {name:8} {', '.join(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.membership", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--against", type=Path, metavar="DIRECTORY", help="another tree of this project")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of one round (%(default)s)")
    parser.add_argument("--nodes", type=int, default=125, help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="of a node (%(default)s)")
    parser.add_argument("--streams", type=int, default=20, help="published at each worker (%(default)s)")
    parser.add_argument("--played-on", type=int, default=3, help="other nodes, each stream (%(default)s)")
    parser.add_argument("--played-by", type=int, default=3, help="workers of each (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and what runs is ended
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trees = {"this": _HERE.parent}
    if options.against is not None:
        trees["other"] = options.against.resolve()
    print(f"commit {machine.commit()}, {machine.machine()}, {machine.interpreter()}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in trees}
    for number in range(options.rounds):
        for name in list(trees)[:: 1 if number % 2 else -1]:
            figures = measure(trees[name], options)
            found[name].append(figures)
            print(_line(name, figures), flush=True)
    print(f"medians of {options.rounds} rounds")
    for name, rounds in found.items():
        print(_line(name, {key: statistics.median(each[key] for each in rounds) for key in _COLUMNS}))
    if options.against is not None:
        for key in ("cpu", "us_each"):
            pairs = zip(found["this"], found["other"], strict=True)
            ratios = sorted(this[key] / other[key] for this, other in pairs)
            spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            print(f"  this / other, {_COLUMNS[key][0]}: {spread}")


if __name__ == "__main__":
    main()
