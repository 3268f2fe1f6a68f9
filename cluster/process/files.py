"""Files that a command will write: whether it can, before it begins what it is to write about."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.core.errors import EnvironmentFault


def check_writable(path: Path) -> None:
    """EnvironmentFault if ``path`` cannot be written, as far as can be seen without touching it."""
    folder = path.parent
    # Not the questions of Path, which raise OSError in a folder that we may not enter.
    if os.path.isdir(path):
        raise EnvironmentFault(f"cannot write {path}: it is a folder; name a file in it")
    if not os.path.isdir(folder):
        raise EnvironmentFault(f"cannot write {path}: there is no folder {folder}; make it first")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise EnvironmentFault(f"cannot write {path}: permission denied")
