"""Placement: which router a stream key belongs to, by rendezvous hashing (HRW).

Every worker ranks the routers for a key alike without asking anyone, and when a router comes or
goes only the keys it is first for move.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def rank(key: str, routers: Iterable[str]) -> list[str]:
    """``routers`` from the one that ``key`` belongs to down; the same in every process."""
    key_bytes = key.encode("utf-8", "surrogateescape")
    return sorted(routers, key=lambda router: (_weight(key_bytes, router), router), reverse=True)


def first(key: str, live_routers: Iterable[str]) -> str | None:
    """The router that ``key`` belongs to among the live ones; None if there are none."""
    key_bytes = key.encode("utf-8", "surrogateescape")
    return max(live_routers, key=lambda router: (_weight(key_bytes, router), router), default=None)


def _weight(key_bytes: bytes, router: str) -> bytes:
    # The NUL keeps ("r1", "1/a") and ("r11", "/a") apart.
    return blake2b(router.encode("utf-8", "surrogateescape") + b"\0" + key_bytes, digest_size=8).digest()
