"""What one connection may cost by the number of its chunks, messages and commands.

Reading costs by the chunk and the message, not by the byte: a megabyte in chunks of one byte takes a third
of a second and more, in chunks of 128 bytes 8 ms. A command costs as much as forty chunks, and an attacker
nothing. All that is legal, so it is obeyed, but no faster than this.
"""

from __future__ import annotations

#: Chunks that had to be looked at one by one, a message counting as four (see ``ChunkReader.work``). At 0.5
#: to 1.8 us each that is 5 to 18 % of a core. The most that a real encoder makes of it: 128-byte chunks
#: with extended timestamps at 50 Mbit/s are 47,000; without such timestamps they are a few hundred.
WORK_PER_S = 100_000
#: So much may come at once before it counts: a peer that catches up after a stall is not held up.
BURST_S = 0.25
#: What commands and control messages may make of it (see ``Session.side_work``): a hundred commands a
#: second, half a percent of a core. A real peer sends ten when it begins, and a few when its user presses a
#: button.
SIDE_WORK_PER_S = 4_000
#: Four hundred commands at once: sixteen message streams, each created, played, paused and closed.
SIDE_BURST_S = 4.0
#: Every play is sent the headers of its stream, 2 MB at most: so many bytes of them are one work.
HEADER_BYTES_PER_WORK = 1_024
#: Looked at in one go, for a millisecond or two; then others have their turn.
WORK_PER_TURN = 1_024
#: The clock is looked at once in so much: a connection that only plays never gets there.
WORK_PER_LOOK = 512
#: A peer whose commands had to wait at every look, for so long, has no use for the answers: it is closed.
TOO_MUCH_S = 10.0
#: A peer that was not held up for so long begins anew.
CALM_S = 1.0


class _Bucket:
    """A token bucket: filled with ``per_s``, never fuller than ``burst_s`` of it."""

    __slots__ = ("_burst_s", "_paid_until", "_per_s", "_spent")

    def __init__(self, per_s: float, burst_s: float, now: float) -> None:
        self._per_s = per_s
        self._burst_s = burst_s
        self._spent = 0
        self._paid_until = now - burst_s

    def spend(self, total: int, now: float) -> float:
        """``total``: all that there has been so far. How many seconds there may be no more."""
        spent_s = (total - self._spent) / self._per_s
        self._spent = total
        self._paid_until = max(self._paid_until, now - self._burst_s) + spent_s
        return max(0.0, self._paid_until - now)


class WorkBudget:
    """Of one connection: one bucket for all its work, and a smaller one for its commands."""

    __slots__ = ("_all", "_held_up_at", "_held_up_since", "_side")

    def __init__(self, now: float) -> None:
        self._all = _Bucket(WORK_PER_S, BURST_S, now)
        self._side = _Bucket(SIDE_WORK_PER_S, SIDE_BURST_S, now)
        self._held_up_since = now
        self._held_up_at = now - CALM_S

    def spend(self, work: int, side_work: int, now: float) -> float:
        """What there has been so far, of all and of commands. How many seconds nothing more may be read."""
        side_wait_s = self._side.spend(side_work, now)
        if side_wait_s:
            if now - self._held_up_at >= CALM_S + side_wait_s:
                self._held_up_since = now
            self._held_up_at = now
        return max(self._all.spend(work, now), side_wait_s)

    def is_too_much(self, now: float) -> bool:
        """Its commands have been held up for too long."""
        return self._held_up_at == now and now - self._held_up_since >= TOO_MUCH_S
