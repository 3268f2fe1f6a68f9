"""The streams that readers wait for and nobody publishes: until when, and how many there may be.

An idle one costs nothing as time goes by: what is due next stands first in a heap. Whoever waits longest
gives way when there are too many, so that a stranger who asks for keys without end shuts nobody out.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream

#: Streams of one worker that are waited for. Each takes 3 KiB here, and its key at the routers. A wall of
#: players before the show waits for a few; 10,000 names that nobody publishes are a scan.
MAX_WAITING_STREAMS = 10_000


class Waiting:
    """Streams in the order in which they began to be waited for, and when their readers' time is up."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._due: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Stream) -> Stream | None:
        """``stream`` has never been published; returns one that has to give way for it."""
        self._streams.setdefault(stream)
        if len(self._streams) <= MAX_WAITING_STREAMS:
            return None
        longest = next(iter(self._streams))
        del self._streams[longest]
        return longest

    def discard(self, stream: Stream) -> None:
        """``stream`` is published now, or nobody waits for it any more."""
        self._streams.pop(stream, None)

    def remind(self, key: str, due_at: float) -> None:
        """Have ``due`` tell ``key`` once it is ``due_at``."""
        heapq.heappush(self._due, (due_at, key))

    def due(self, now: float) -> set[str]:
        """The keys of streams whose readers' time may be up, if they still wait."""
        keys = set()
        while self._due and self._due[0][0] <= now:
            keys.add(heapq.heappop(self._due)[1])
        return keys
