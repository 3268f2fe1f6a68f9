"""A quota of CPU for each of some processes, by control groups; so that one worker is full at a load that
the generator beside it can still put."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

#: Short, so that a process that has used up its quota waits for milliseconds only.
_PERIOD_US = 10_000
_ROOTS_V1 = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu,cpuacct"))
_ROOTS_V2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_REMOVE_TIMEOUT_S = 5.0


class QuotaError(Exception):
    """No quota can be set here; the text says why."""


@contextlib.contextmanager
def limited(pids: tuple[int, ...], share: float) -> Iterator[None]:
    """Each of these processes may use ``share`` of a core. QuotaError if that is not possible here."""
    root, version = _root()
    groups = [root / f"rtmp-cluster-bench-{os.getpid()}-{pid}" for pid in pids]
    try:
        for group, pid in zip(groups, pids, strict=True):
            _make(group, version, share)
            (group / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as error:
        raise QuotaError(f"control groups cannot be written: {error}; run it as root, on a host") from None
    finally:
        for group in groups:
            _remove(group, root)


def _root() -> tuple[Path, int]:
    for root in _ROOTS_V1:
        if (root / "cpu.shares").exists():
            return root, 1
    for root in _ROOTS_V2:
        control = root / "cgroup.subtree_control"
        if control.exists() and "cpu" in control.read_text().split():
            return root, 2
    raise QuotaError("no control groups with the cpu controller under /sys/fs/cgroup")


def _make(group: Path, version: int, share: float) -> None:
    quota_us = round(_PERIOD_US * share)
    group.mkdir()
    if version == 2:
        (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))


def _remove(group: Path, root: Path) -> None:
    """Its process goes back to where there is no limit, so that it can end in time."""
    deadline = time.monotonic() + _REMOVE_TIMEOUT_S
    while group.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                (root / "cgroup.procs").write_text(pid)
            group.rmdir()
            return
        time.sleep(0.02)
