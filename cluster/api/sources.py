"""Whom the API of a process can ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.bus.cluster_key import ClusterKey


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a process can ask. ``routers``: those of the cluster, as its option names them. ``own``: a
    router of its own, by an address that is good for it alone. A router has no others: it learns them from
    the nodes that have links to it (``learns``)."""

    routers: Sequence[str]
    own: str | None = None
    key: ClusterKey | None = None
    learns: bool = False
