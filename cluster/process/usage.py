"""What this process uses: for metrics."""

from __future__ import annotations

import resource
import time

_PAGE_BYTES = resource.getpagesize()


def cpu_seconds() -> float:
    """CPU time of this process so far, user and system."""
    return time.process_time()


def memory_bytes() -> int:
    """Its resident memory (proc(5), ``statm``); 0 where there is no such file."""
    try:
        with open("/proc/self/statm", "rb") as sizes:
            return int(sizes.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0
