"""What the workers of a node count together, without locks: memory that all of them have mapped.

Each worker writes in a region of its own, which is a table of counts by 64-bit ids (a keyed hash of what
is counted), and reads those of the others. Every value is eight bytes, stored at once. Two workers that
look at the same moment may each let one in where there is room for one; nothing else can go wrong.
The supervisor clears the region of a worker that has died.
"""

from __future__ import annotations

import hashlib
import mmap
import os

#: Places for ids in the region of one worker: its networks, its keys with a limit, and its apps.
SLOTS = 32_768
#: Places of a table that are looked at for one id; they follow each other.
MAX_PROBES = 32

_HEADER_WORDS = 8
_REGION_WORDS = _HEADER_WORDS + 3 * SLOTS
_WORD = 8

# Words of the header.
_USED, _RATE = 0, 1
# What stands in the place of an id: nothing has ever stood here, or nothing does any more.
_NEVER, _FREED = 0, 1
_LEAST_ID = 2


class CountsMemory:
    """The supervisor's side: makes the memory, and clears what dead workers have left in it."""

    def __init__(self, workers: int) -> None:
        """OSError if the host has no memory or file left for it."""
        self.fd = os.memfd_create("rtmp-cluster-counts")
        os.ftruncate(self.fd, workers * _REGION_WORDS * _WORD)

    def clear(self, slot: int) -> None:
        """The worker in ``slot`` has died: what it counted is gone."""
        start = slot * _REGION_WORDS * _WORD
        if any(os.pread(self.fd, _WORD, start + _USED * _WORD)):
            os.pwrite(self.fd, bytes(_REGION_WORDS * _WORD), start)

    def close(self) -> None:
        os.close(self.fd)


class SharedCounts:
    """A worker's side. ``fd``: of the memory of ``workers``, of which this is that in ``slot``.

    ``secret``: the node's, so that nobody can choose names that meet in the tables.
    """

    def __init__(self, fd: int, workers: int, slot: int, secret: bytes) -> None:
        words = memoryview(mmap.mmap(fd, workers * _REGION_WORDS * _WORD))
        self._ints = words.cast("Q")
        self._floats = words.cast("d")
        self._own = slot * _REGION_WORDS
        self._others = [each * _REGION_WORDS for each in range(workers) if each != slot]
        self._secret = secret
        self._slots: dict[int, int] = {}
        #: Ids that found no place: the others do not see what is counted for them here.
        self.lost = 0

    # ---- ids ---------------------------------------------------------------------------------

    def id_of(self, kind: str, name: str) -> int:
        """The id of what is counted: the same in all workers of the node."""
        digest = hashlib.blake2b(f"{kind}\0{name}".encode(), digest_size=_WORD, key=self._secret).digest()
        return int.from_bytes(digest, "little") | _LEAST_ID

    # ---- writing -----------------------------------------------------------------------------

    def set_count(self, id: int, count: int) -> None:
        """So many there are in this worker."""
        at = self._place(id)
        if at is not None:
            self._ints[at + SLOTS] = count

    def set_until(self, id: int, until: float) -> None:
        """A time that only grows, as far as this worker knows it; see ``until_elsewhere``."""
        at = self._place(id)
        if at is not None:
            self._floats[at + 2 * SLOTS] = until

    def forget(self, id: int) -> None:
        """Nothing is counted for ``id`` here any more. Without effect if nothing is."""
        at = self._slots.pop(id, None)
        if at is None:
            return
        ints, first = self._ints, self._own + _HEADER_WORDS
        ints[at + SLOTS] = 0
        self._floats[at + 2 * SLOTS] = 0.0
        ints[at] = _FREED
        # Who looks for an id stops where none has ever stood: the chain that ends here gets shorter.
        if ints[_next(at, first)] == _NEVER:
            while ints[at] == _FREED:
                ints[at] = _NEVER
                at = at - 1 if at > first else first + SLOTS - 1

    def set_rate(self, rate: float) -> None:
        """Bytes a second that this worker sends."""
        self._ints[self._own + _USED] = 1
        self._floats[self._own + _RATE] = rate

    def _place(self, id: int) -> int | None:
        """Where ``id`` stands in this worker's region, from now on; None if its places are taken."""
        at = self._slots.get(id)
        if at is not None:
            return at
        ints, first = self._ints, self._own + _HEADER_WORDS
        at = first + id % SLOTS
        for _ in range(MAX_PROBES):
            if ints[at] < _LEAST_ID:
                ints[self._own + _USED] = 1
                ints[at] = id
                self._slots[id] = at
                return at
            at = _next(at, first)
        self.lost += 1
        return None

    # ---- reading -----------------------------------------------------------------------------

    def count_elsewhere(self, id: int) -> int:
        """The counts of the other workers together."""
        return sum(self._ints[at + SLOTS] for at in self._places_elsewhere(id))

    def until_elsewhere(self, id: int) -> float:
        """The latest of the times that the other workers have written; 0 if none has."""
        return max((self._floats[at + 2 * SLOTS] for at in self._places_elsewhere(id)), default=0.0)

    def rate_elsewhere(self) -> float:
        """Bytes a second that the other workers send together."""
        return sum(self._floats[region + _RATE] for region in self._others)

    def _places_elsewhere(self, id: int) -> list[int]:
        ints, start = self._ints, id % SLOTS
        found = []
        for region in self._others:
            if not ints[region + _USED]:
                continue
            first = region + _HEADER_WORDS
            at = first + start
            for _ in range(MAX_PROBES):
                there = ints[at]
                if there == id:
                    found.append(at)
                if there in (id, _NEVER):
                    break
                at = _next(at, first)
        return found


def _next(at: int, first: int) -> int:
    return at + 1 if at + 1 < first + SLOTS else first
