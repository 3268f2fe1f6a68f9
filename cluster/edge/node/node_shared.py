"""What all workers of a node are given alike, by their supervisor."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.bus import cluster_key

#: As many as SHA-256 has.
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class NodeShared:
    """``secret``: bytes in hex, for what one worker signs and another checks.

    ``policy``: the tables of the configuration file that say who may, how much, and who is told; what was
    in files is in it. ``events``: the address of the process that delivers events, "" if nobody is told.
    ``counts_fd``: the memory in which workers count together, -1 if nothing is counted so. ``is_asked``: an
    operator may ask the workers, over the API of this node or another's.
    """

    secret: str = field(default="", repr=False)
    policy: dict[str, Any] = field(default_factory=dict, repr=False)
    events: str = ""
    counts_fd: int = -1
    is_asked: bool = True


def shared_secret(key_file: Path | None) -> str:
    """What workers sign with, in hex: it follows from the cluster's key, if there is one, so that a player
    may go on at another node with what this one has signed. EnvironmentFault if the key cannot be used."""
    if key_file is None:
        return secrets.token_hex(_SECRET_BYTES)
    return cluster_key.load(key_file).signing.hex()
