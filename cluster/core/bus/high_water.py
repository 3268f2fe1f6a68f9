"""High-water marks in bytes, for sockets that count messages.

ZeroMQ bounds a queue by the number of messages in it. What they weigh is known here: a connection begins
with a mark for large envelopes, and gets a higher one once its envelopes prove small. Never a lower one:
libzmq tells a writer only now and then how much has been read, and a writer whose mark falls below what
it has not been told of yet waits for ever (seen with 4.3.5).
"""

from __future__ import annotations

from cluster.core.bus import bounds

#: How many envelopes must have gone through before anything follows from their size.
_WINDOW = 64
#: A mark is raised by this factor at least, or to the highest.
_STEP = 1.25


class HighWater:
    """One socket's mark, by what went through it. ``mark`` is what the socket is to be set to."""

    __slots__ = ("_bytes", "_envelopes", "mark")

    def __init__(self) -> None:
        self.mark = min(bounds.FIRST_HIGH_WATER_MARK, bounds.DATA_HIGH_WATER_MARK)
        self._envelopes = 0
        self._bytes = 0

    @property
    def is_highest(self) -> bool:
        """Whether ``mark`` cannot rise any more."""
        return self.mark >= bounds.DATA_HIGH_WATER_MARK

    def note(self, size_bytes: int, envelopes: int = 1) -> bool:
        """``envelopes`` of ``size_bytes`` together went through; True if ``mark`` has been raised."""
        self._envelopes += envelopes
        self._bytes += size_bytes
        if self._envelopes < _WINDOW:
            return False
        fitting = bounds.DATA_HIGH_WATER_BYTES * self._envelopes // max(1, self._bytes)
        wanted = min(bounds.DATA_HIGH_WATER_MARK, fitting)
        self._envelopes = self._bytes = 0
        if wanted <= self.mark or (wanted < self.mark * _STEP and wanted < bounds.DATA_HIGH_WATER_MARK):
            return False
        self.mark = wanted
        return True
