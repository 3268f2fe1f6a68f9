"""Where a result comes from: the host that put the load on, and what was typed."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

from cluster.process.words import hide_secrets


def host_line() -> str:
    """One line for this host: its name, its cores, its system and this Python."""
    return (
        f"{platform.node()}: {os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def command_line(arguments: Sequence[str]) -> str:
    """What was typed behind the command's name. What is secret in an address is hidden."""
    shown = (hide_secrets(os.fsencode(each)).decode(errors="replace") for each in arguments)
    return f"rtmp-cluster {shlex.join(shown)}"


def _processor() -> str:
    """The model where Linux tells it, or else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
