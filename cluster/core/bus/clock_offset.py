"""How far another host's clock is ahead of ours: from questions to it, and answers that say its time.

    sent_us ───────────────►
                              clock_us         offset = clock_us - (sent_us + received_us) / 2
    received_us ◄───────────

Half of the round trip is how wrong that can be: as wrong as one way was slower than the other. So of the
last few the one with the shortest round trip counts, as in NTP's clock filter (RFC 5905, section 10).
"""

from __future__ import annotations

from collections import deque

#: Answers that are remembered: a clock that drifts by 100 ppm is 1 ms off after ten seconds.
REMEMBERED = 8
#: Two answers that are further apart than they can be say that a clock was set; this much is not looked at.
_SLACK_US = 1_000


class ClockOffset:
    """The estimate for one other clock."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        #: Round trip and offset.
        self._samples: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)

    def note(self, sent_us: int, clock_us: int, received_us: int) -> None:
        """The other clock showed ``clock_us`` between these two moments of ours."""
        round_trip_us = received_us - sent_us
        offset_us = clock_us - (sent_us + received_us) // 2
        if round_trip_us < 0 or self._contradicts(round_trip_us, offset_us):
            self._samples.clear()
        if round_trip_us >= 0:
            self._samples.append((round_trip_us, offset_us))

    def forget(self) -> None:
        """What is asked from now on may be another clock."""
        self._samples.clear()

    @property
    def is_settled(self) -> bool:
        """As many answers have come as are remembered."""
        return len(self._samples) == REMEMBERED

    @property
    def offset_us(self) -> int | None:
        """Theirs minus ours; None while nothing is known."""
        return min(self._samples)[1] if self._samples else None

    @property
    def round_trip_us(self) -> int:
        """The shortest; 0 while none is known. Half of it is how wrong the offset may be."""
        return min(self._samples)[0] if self._samples else 0

    def _contradicts(self, round_trip_us: int, offset_us: int) -> bool:
        """Not both this and what is known can be true."""
        known_us = self.offset_us
        if known_us is None:
            return False
        return abs(offset_us - known_us) > (round_trip_us + self.round_trip_us) // 2 + _SLACK_US
