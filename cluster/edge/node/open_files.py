"""How many connections the host lets a worker have: each is an open file."""

from __future__ import annotations

import contextlib
import logging
import resource
from dataclasses import replace

from cluster.edge.node.config import EdgeConfig

logger = logging.getLogger(__name__)

#: File descriptors of a worker that are not connections: listeners, bus sockets, the loop's own.
_RESERVED_FILES = 64


def bounded_by_open_files(config: EdgeConfig) -> EdgeConfig:
    """``config`` with no more connections than a worker may have files open, once this process (and so
    every worker) may open as many as the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY or soft - _RESERVED_FILES >= config.max_connections:
        return config
    possible = max(1, soft - _RESERVED_FILES)
    logger.warning(
        "%(possible)d connections per worker, not %(wanted)d: raise the limit on open files (%(files)d)",
        {"possible": possible, "wanted": config.max_connections, "files": soft},
        extra={"event": "connections_bounded"},
    )
    return replace(config, max_connections=possible)
