"""What one connection may cost by the number of its chunks and messages.

Reading costs by the chunk and the message, not by the byte: a megabyte in chunks of one byte takes a third
of a second and more, in chunks of 128 bytes 8 ms. Such chunks are legal, so they are obeyed, but no faster
than this.
"""

from __future__ import annotations

#: Chunks that had to be looked at one by one, a message counting as four (see ``ChunkReader.work``). At 0.5
#: to 1.8 us each that is 5 to 18 % of a core. The most that a real encoder makes of it: 128-byte chunks
#: with extended timestamps at 50 Mbit/s are 47,000; without such timestamps they are a few hundred.
CHUNKS_PER_S = 100_000
#: So much may come at once before it counts: a peer that catches up after a stall is not held up.
BURST_S = 0.25
#: Looked at in one turn, for 2 to 14 ms; a read of 256 KiB in 128-byte chunks is 2,016 and passes whole.
CHUNKS_PER_TURN = 2_048
#: The clock is looked at once in so many: a connection that only plays never gets there.
CHUNKS_PER_LOOK = 1_024


class ChunkBudget:
    """A token bucket: filled with CHUNKS_PER_S, never fuller than BURST_S of it."""

    __slots__ = ("_paid_until", "_work")

    def __init__(self, now: float) -> None:
        self._work = 0
        self._paid_until = now - BURST_S

    def spend(self, work: int, now: float) -> float:
        """``work``: all that there has been so far. How many seconds nothing more may be read."""
        spent_s = (work - self._work) / CHUNKS_PER_S
        self._work = work
        self._paid_until = max(self._paid_until, now - BURST_S) + spent_s
        return max(0.0, self._paid_until - now)
