"""One clock for the messages of a stream: unwrapped, never jumping back, with a place for each kind."""

from __future__ import annotations

from cluster.core.media.classify import NOT_TIMED, flags_of, is_coded
from cluster.core.media.timeline import Timeline
from cluster.core.message import Message

#: Data further off than this from the media around it was stamped by another clock, or not at all.
MAX_DATA_OFFSET_MS = 1000

_WRAP = 1 << 32
_HALF = 1 << 31


def wire_step_ms(before: int, after: int) -> int:
    """From one 32-bit timestamp to another the short way, in milliseconds."""
    return (after - before + _HALF) % _WRAP - _HALF


class MediaClock:
    """Places messages in milliseconds. Coded media sets the clock; headers and data follow it.

    ``from_zero``: the first coded message stands at 0, otherwise where its timestamp says. ``wire_ms`` is
    the timestamp of the last coded message as it came, None before the first.
    """

    def __init__(self, *, from_zero: bool) -> None:
        self.wire_ms: int | None = None
        self._timeline = Timeline()
        self._from_zero = from_zero
        self._base_ms = 0

    @property
    def latest_ms(self) -> int:
        """The highest time handed out."""
        return self._timeline.latest - self._base_ms

    def place(self, message: Message) -> int:
        """Where the message stands, at 0 or after."""
        timestamp = message.timestamp
        if is_coded(message):
            placed_ms = self._timeline.place(timestamp)
            if self.wire_ms is None and self._from_zero:
                self._base_ms = placed_ms
            self.wire_ms = timestamp
            return max(0, placed_ms - self._base_ms)
        if self.wire_ms is None:
            return 0 if self._from_zero else timestamp
        step_ms = wire_step_ms(self.wire_ms, timestamp)
        if flags_of(message.type_id, message.payload) & NOT_TIMED or abs(step_ms) > MAX_DATA_OFFSET_MS:
            step_ms = 0
        return max(0, self.latest_ms + step_ms)

    def restart(self, gap_ms: int) -> None:
        """Other timestamps begin: the next coded message stands ``gap_ms`` (at least 1) on."""
        self._timeline.restart(gap_ms)
