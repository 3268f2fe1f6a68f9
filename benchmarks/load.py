"""Puts a load on a server with ``rtmp-cluster load`` as a process of its own, on cores of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import proc
from benchmarks.servers import Server

_ROOT = Path(__file__).resolve().parent.parent

#: What ``--json`` writes (docs/load.md).
Result = dict[str, Any]


class LoadError(Exception):
    """The load could not be put on the server; the text is what the generator said."""


def measure(server: Server, arguments: list[str], cores: set[int] | None) -> Result:
    """Run the generator with these options against ``server`` and return its result."""
    command = [
        sys.executable, "-m", "cluster", "load", f"rtmp://127.0.0.1:{server.port}/live/bench",
        "--pid", str(server.pid), "--json", "-", *arguments,
    ]  # fmt: skip
    with proc.on_cores(cores):
        run = subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode:
        raise LoadError(run.stderr.strip() or f"the generator ended with {run.returncode}")
    result: Result = json.loads(run.stdout)
    if result["server"] is None:
        raise LoadError(f"nothing was measured: {'; '.join(result['complaints'])}")
    return result
