"""Tells how long the kernel lets threads wait for a CPU: those of all processes below one.

``python waits_of_threads.py PID`` writes a line for each look: from and until when in Unix ms, how long
that thread waited that waited longest, and which it was. If it was itself woken late, all waited.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

#: How often it looks.
_EVERY_S = 0.1
#: How often it looks for new processes and threads.
_LOOK_ABOUT_S = 1.0
#: Chromium's work that may wait: the kernel is told so, and lets it.
_MAY_WAIT = "ThreadPoolBack"


def _children(roots: set[int]) -> set[int]:
    """All processes below ``roots``."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text()
                parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    new = roots
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


class _Threads:
    """How long each thread has waited, as the kernel counts it (``schedstat``)."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._files: dict[Path, tuple[int, str]] = {}
        self._waited: dict[Path, int] = {}

    def look_about(self) -> None:
        tasks = set()
        for pid in _children({self._root}) - {os.getpid()}:
            with contextlib.suppress(OSError):
                tasks |= set(Path(f"/proc/{pid}/task").iterdir())
        for task in tasks - self._files.keys():
            with contextlib.suppress(OSError):
                name = (task / "comm").read_text().strip()
                if not name.startswith(_MAY_WAIT):
                    self._files[task] = os.open(task / "schedstat", os.O_RDONLY), f"{name} {task.name}"
        for task in self._files.keys() - tasks:
            os.close(self._files.pop(task)[0])
            self._waited.pop(task, None)

    def longest_wait(self) -> tuple[float, str]:
        """Of one thread since the last call, in ms, and which that was."""
        longest = 0.0, ""
        for task, (file, name) in self._files.items():
            with contextlib.suppress(OSError, IndexError):
                waited = int(os.pread(file, 100, 0).split()[1])
                longest = max(longest, ((waited - self._waited.get(task, waited)) / 1e6, name))
                self._waited[task] = waited
        return longest


def _watch(root: int) -> None:
    threads = _Threads(root)
    looked_about_at = 0.0
    before = time.time()
    while os.getppid() == root:
        if before - looked_about_at > _LOOK_ABOUT_S:
            threads.look_about()
            looked_about_at = before = time.time()
            threads.longest_wait()
        time.sleep(_EVERY_S)
        now = time.time()
        late_ms = (now - before - _EVERY_S) * 1000
        waited_ms, who = max(threads.longest_wait(), (late_ms, "all"))
        print(json.dumps((before * 1000, now * 1000, waited_ms, who)), flush=True)
        before = now


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
