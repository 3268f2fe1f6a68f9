"""A following: one follower of one stream. A follower is given the messages themselves, in this worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cluster.edge.streams.interfaces import Follower

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream


class Following:
    """What ``follower`` holds for as long as it follows ``stream``."""

    __slots__ = ("_on_left", "follower", "stream")

    def __init__(self, stream: Stream, follower: Follower, on_left: Callable[[Stream], None]) -> None:
        self.stream = stream
        self.follower = follower
        self._on_left = on_left

    @property
    def offline_since(self) -> float | None:
        """When the publisher left, on the worker's clock; None while there is one."""
        return self.stream.offline_since

    def leave(self) -> None:
        """The follower is given no more; without effect if it has left already."""
        if self.stream.unfollow(self):
            self._on_left(self.stream)
