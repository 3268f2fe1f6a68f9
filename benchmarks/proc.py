"""Process trees, cores, and the CPU of threads. Linux only."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil

from cluster.load.server_usage import cpu_seconds

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SAMPLE_EVERY_S = 0.25


def tree(root_pid: int) -> list[int]:
    """The process and all its descendants, as far as they are alive now."""
    found = [root_pid]
    for pid in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


@contextlib.contextmanager
def on_cores(cores: set[int] | None) -> Iterator[None]:
    """Run the body, and processes started in it, on these cores only (None: as it is)."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """What a process has used, to the nanosecond."""
    return cpu_seconds(psutil.Process(pid))


def thread_seconds(pid: int, name_begins: str) -> float:
    """CPU of the threads of a process whose name begins so, in steps of 10 ms."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            total += _ticks((task / "stat").read_text(), name_begins)
    return total / _TICKS_PER_S


def _ticks(stat: str, name_begins: str) -> int:
    """User and system time of a thread's ``stat`` (proc(5)); 0 if it is called otherwise."""
    name, _, fields = stat.partition("(")[2].rpartition(")")
    if not name.startswith(name_begins):
        return 0
    user, system = fields.split()[11:13]
    return int(user) + int(system)


class Watch:
    """Samples the CPU of processes and of some of their threads while a load runs.

    ``with Watch(pids, "ZMQbg") as watch: …`` and then ``watch.used(…)``.
    """

    def __init__(self, pids: dict[str, int], threads: str) -> None:
        self._pids = pids
        self._threads = threads
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY_S):
            sample = {}
            for name, pid in self._pids.items():
                sample[name] = cpu_s(pid)
                sample[f"{name} {self._threads}"] = thread_seconds(pid, self._threads)
            self._samples.append((time.monotonic(), sample))

    def used(self, seconds: float, before_end: float) -> dict[str, float]:
        """The share of a core that each process, and its threads (``"name threads"``), used in about so
        many seconds, the last of them ``before_end`` seconds before the watch ended."""
        end = self._samples[-1][0] - before_end
        within = [each for each in self._samples if end - seconds <= each[0] <= end]
        (first, before), (last, after) = within[0], within[-1]
        return {name: (after[name] - before[name]) / (last - first) for name in after}
