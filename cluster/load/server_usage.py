"""What the server's processes use: CPU seconds and memory of whole process trees."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass

import psutil

from cluster.core.errors import EnvironmentFault


@dataclass(frozen=True, slots=True)
class ServerSample:
    """The server at ``at_ns`` (CLOCK_MONOTONIC): CPU used since the first sample, resident memory (pages
    that several processes share count in each), and the number of processes."""

    at_ns: int
    cpu_s: float
    rss_bytes: int
    processes: int


class ServerUsage:
    """Samples the trees below ``pids``. EnvironmentFault if one of them is no process."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        self._roots: list[psutil.Process] = []
        #: CPU seconds of each process ever seen, as last seen; less those before the first sample.
        self._cpu_s: dict[psutil.Process, float] = {}
        self._before_s = 0.0
        for pid in pids:
            try:
                self._roots.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                raise EnvironmentFault(f"--pid {pid}: no such process") from None
        self._before_s = self.sample().cpu_s

    def sample(self) -> ServerSample:
        """How it stands now. A process that has ended keeps the CPU it was last seen with."""
        rss_bytes = processes = 0
        at_ns = time.monotonic_ns()
        for process in self._tree():
            with contextlib.suppress(psutil.Error), process.oneshot():
                self._cpu_s[process] = cpu_seconds(process)
                rss_bytes += process.memory_info().rss
                processes += 1
        return ServerSample(at_ns, sum(self._cpu_s.values()) - self._before_s, rss_bytes, processes)

    def pss_bytes(self) -> int | None:
        """Resident memory, each page that several processes share counted once; None if not allowed."""
        total = 0
        try:
            for process in self._tree():
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_full_info().pss
        except (psutil.AccessDenied, AttributeError):  # another user's, or a system without it
            return None
        return total

    def _tree(self) -> set[psutil.Process]:
        found = set(self._roots)
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                found.update(root.children(recursive=True))
        return found


def cpu_seconds(process: psutil.Process) -> float:
    """What all threads of a process have used, those that ended too: to the nanosecond on Linux, to the
    10 ms of its statistics elsewhere. psutil.Error if it is gone."""
    if sys.platform == "linux":
        try:
            # The CPU clock of another process: clock_getcpuclockid(3) makes its number so.
            return time.clock_gettime(~process.pid << 3 | 2)
        except OSError:  # it has ended, which psutil tells from a clock that is not allowed
            pass
    times = process.cpu_times()
    return times.user + times.system
