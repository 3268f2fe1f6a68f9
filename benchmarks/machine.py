"""Where figures come from: one line each for the machine, the interpreter and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
import timeit
from pathlib import Path


def machine() -> str:
    """Cores, processor and kernel."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}"


def interpreter() -> str:
    """Its version, whether it was built with profile-guided optimization (PGO), and its bare speed, which
    shows what a build hides."""
    best_s = min(timeit.repeat("for _ in range(1_000_000): pass", number=1, repeat=5))
    version = " ".join(sys.version.split())
    return f"{platform.python_implementation()} {version}, {pgo()}, {best_s * 1000:.0f} ns a loop turn"


def pgo() -> str:
    """As far as the build recorded it."""
    recorded = {name: str(sysconfig.get_config_var(name) or "") for name in (
        "CONFIG_ARGS", "PY_CFLAGS_NODIST", "PY_CORE_CFLAGS", "PGO_PROF_USE_FLAG",
    )}  # fmt: skip
    used = "-fprofile-use" in recorded["PY_CFLAGS_NODIST"] + recorded["PY_CORE_CFLAGS"]
    if used or "--enable-optimizations" in recorded["CONFIG_ARGS"]:
        return "with PGO"
    # configure always sets the flag; Debian, which builds with PGO, removes every trace of it.
    return "without PGO" if recorded["PGO_PROF_USE_FLAG"] else "PGO not recorded (Debian's build has it)"


def commit() -> str:
    """The commit of the working tree, with ``+`` when it has changes; ``unknown`` outside of one."""
    try:
        root = Path(__file__).parent
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
