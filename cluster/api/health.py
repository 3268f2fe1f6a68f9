"""Whether a process lives and may be sent peers, for whoever probes it: no token, and plain text.

``/livez`` is about this process alone: that a router or another node is away must restart nothing.
``/readyz`` is about new connections. With ``?verbose`` each check is told, as Kubernetes does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Health(Protocol):
    """What is wrong with a process, by check; nothing is "". Called in the server's thread."""

    def alive(self) -> Mapping[str, str]:
        """Whether it lives."""

    def ready(self) -> Mapping[str, str]:
        """Whether it may be sent peers."""


def told(checks: Mapping[str, str], name: str, *, verbose: bool) -> tuple[int, str]:
    """Status and body."""
    is_well = not any(checks.values())
    lines = [f"[{'-' if why else '+'}]{check} {why or 'ok'}" for check, why in checks.items()]
    if verbose or not is_well:
        lines.append(f"{name} check {'passed' if is_well else 'failed'}")
        return 200 if is_well else 503, "\n".join(lines) + "\n"
    return 200, "ok\n"
