"""One stream's media clock: 32-bit publisher timestamps in, one clock that never jumps back out."""

from __future__ import annotations

_WRAP = 1 << 32
_HALF = 1 << 31

#: Audio and video of one publisher interleave out of order by this much at most (milliseconds). A
#: larger step back is a publisher that restarted its clock, and players must not see it.
MAX_REORDER_MS = 1000


class Timeline:
    """Unwraps RTMP timestamps (RFC 1982 arithmetic, RTMP 1.0 section 3) and bridges restarts.

    ``latest`` is the highest timestamp handed out, in milliseconds. The first publisher's timestamps
    pass through unchanged; a restart is moved so that its first media message stands after ``latest``.
    """

    __slots__ = ("_last_placed", "_last_wire", "_restart_gap_ms", "latest", "restarts")

    def __init__(self) -> None:
        self.latest = 0
        self.restarts = 0
        self._last_wire = -1
        self._last_placed = 0
        self._restart_gap_ms = -1

    def place(self, wire_ms: int) -> int:
        """The place of a media message stamped ``wire_ms`` (32-bit or already unwrapped)."""
        if self._last_wire < 0:
            too_early = wire_ms < self.latest - MAX_REORDER_MS
            placed = self.latest + 1 if too_early else wire_ms
        elif self._restart_gap_ms >= 0:
            placed = self.latest + self._restart_gap_ms
            self._restart_gap_ms = -1
        else:
            step = (wire_ms - self._last_wire) % _WRAP
            placed = self._last_placed + (step if step < _HALF else step - _WRAP)
            if placed < self.latest - MAX_REORDER_MS or placed < 0:
                placed = self.latest + 1
                self.restarts += 1
        self._last_wire = wire_ms
        self._last_placed = placed
        if placed > self.latest:
            self.latest = placed
        return placed

    def place_header(self, wire_ms: int) -> int:
        """The place of a header stamped ``wire_ms``: where the clock stands.

        Headers often carry 0 whatever the media's clock says. Before any media theirs is all there is
        to go by, and FFmpeg gives up on a stream whose media is hours behind its headers.
        """
        if self._last_wire < 0 and not self.latest:
            self.latest = wire_ms
        return self.latest

    def begin(self, at_ms: int) -> None:
        """Say where the clock of a stream that was joined in its middle stands; later calls are ignored."""
        if self._last_wire < 0:
            self.latest = at_ms

    def restart(self, gap_ms: int) -> None:
        """A new publisher begins: its first media message is placed ``gap_ms`` (at least 1) on."""
        if self._last_wire >= 0:
            self._restart_gap_ms = max(1, gap_ms)
            self.restarts += 1
