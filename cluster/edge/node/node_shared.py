"""What all workers of a node are given alike, by their supervisor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class NodeShared:
    """``secret``: random bytes in hex, for what one worker signs and another checks.

    ``policy``: the tables of the configuration file that say who may, how much, and who is told; what was
    in files is in it. ``events``: the address of the process that delivers events, "" if nobody is told.
    ``counts_fd``: the memory in which workers count together, -1 if nothing is counted so.
    """

    secret: str = field(default="", repr=False)
    policy: dict[str, Any] = field(default_factory=dict, repr=False)
    events: str = ""
    counts_fd: int = -1
