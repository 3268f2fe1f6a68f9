"""The segments of one stream that can be fetched: those that the list shows, and those it has shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from cluster.core.media.fmp4 import Track
from cluster.core.media.hls_segment import Segment

#: Segments that a list has at least, once there are so many: with fewer, Safari plays at normal latency.
_LISTED_AT_LEAST = 7

#: How long a list is, in target durations. A player begins three behind the end (RFC 8216, 6.3.3), and
#: may stall; what is older than six may be left out of an update.
_LISTED_TARGETS = 7


class Window:
    """``listed`` join on to each other. ``size`` is the bytes of all there are. ``dropped``: how many were
    forgotten before their time, because there was no room."""

    __slots__ = ("_by_number", "_inits", "_made_s", "_removed", "_target_s", "dropped", "listed", "size")

    def __init__(self, target_s: int) -> None:
        self._target_s = target_s
        self.listed: deque[Segment] = deque()
        #: Those that have left the list, and how much media there has been when they may go.
        self._removed: deque[tuple[Segment, float]] = deque()
        self._made_s = 0.0
        self._by_number: dict[int, Segment] = {}
        self._inits: dict[str, tuple[bytes, Sequence[Track]]] = {}
        self.size = 0
        self.dropped = 0

    def joins_on(self, segment: Segment) -> bool:
        """Whether ``segment`` can stand behind the last that is listed: players count both of these on."""
        if not self.listed:
            return True
        last, mark = self.listed[-1].mark, segment.mark
        discontinuity = last.discontinuity + (not mark.follows)
        return mark.number == last.number + 1 and mark.discontinuity == discontinuity

    def add(self, segment: Segment) -> None:
        """``segment`` is whole. If it does not join on, the list begins anew with it.

        Numbers only rise, until ``clear``.
        """
        if not self.joins_on(segment):
            while self.listed:
                self._unlist()
        self.listed.append(segment)
        self._by_number[segment.number] = segment
        self.size += segment.size
        self._made_s += segment.duration_s
        self._keep_length()

    def shrink(self, max_bytes: int) -> bool:
        """Forget the oldest until the others take no more, but not the last. Whether the list changes."""
        while self._removed and self.size > max_bytes:
            self._forget(self._removed.popleft()[0])
            self.dropped += 1
        has_changed = False
        while len(self.listed) > 1 and self.size > max_bytes:
            self._forget(self.listed.popleft())
            self.dropped += 1
            has_changed = True
        return has_changed

    def clear(self) -> None:
        self.listed.clear()
        self._removed.clear()
        self._by_number.clear()
        self._inits.clear()
        self.size = 0

    def segment(self, number: int) -> Segment | None:
        return self._by_number.get(number)

    def keep_init(self, name: str, data: bytes, tracks: Sequence[Track]) -> None:
        """An init file, for the segments that are to come."""
        self._inits.setdefault(name, (data, tracks))

    def init(self, name: str) -> bytes | None:
        found = self._inits.get(name)
        return None if found is None else found[0]

    def tracks(self, name: str) -> Sequence[Track]:
        """What is in the init file ``name``."""
        return self._inits[name][1]

    def forget_inits(self, in_use: str) -> None:
        """Forget those that no segment needs, nor the one that is being made, which has ``in_use``."""
        used = {segment.init for segment in self._by_number.values()} | {in_use}
        for name in self._inits.keys() - used:
            del self._inits[name]

    def _keep_length(self) -> None:
        """A segment may leave while three target durations stay (RFC 8216, 6.2.2). It can be fetched for as
        long as it takes, and as long as the list that had it (ibid.)."""
        longest_s = self._target_s * _LISTED_TARGETS
        listed_s = sum(segment.duration_s for segment in self.listed)
        while len(self.listed) > _LISTED_AT_LEAST:
            listed_s -= self.listed[0].duration_s
            if listed_s < longest_s:
                break
            self._unlist()
        while self._removed and self._removed[0][1] <= self._made_s:
            self._forget(self._removed.popleft()[0])

    def _unlist(self) -> None:
        kept_s = sum(segment.duration_s for segment in self.listed)
        segment = self.listed.popleft()
        self._removed.append((segment, self._made_s + segment.duration_s + kept_s))

    def _forget(self, segment: Segment) -> None:
        self.size -= segment.size
        del self._by_number[segment.number]
