"""Making one stream of what several connections in a row deliver: no message twice, no step back."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from cluster.core.media.classify import is_coded
from cluster.core.media.headers import Headers
from cluster.core.media.timeline import Timeline
from cluster.core.message import Message

#: Messages remembered to know them again: a minute of video and audio, more than any keyframe interval.
MAX_REMEMBERED = 4096

#: A step forward up to this is the same clock with a gap in it.
MAX_GAP_MS = 600_000

#: Type, timestamp and a hash of the payload.
_Mark: TypeAlias = tuple[int, int, int]


class Rejoin:
    """Tells for each message whether and when it goes on.

    A server starts a player at the latest keyframe, which after a reconnect has often been seen: coded
    messages that were seen are dropped until the first that was not. If the stream's clock started anew,
    it is moved to stand after what was seen, by as long as the connection was away. Headers that say
    nothing new are dropped. Timestamps are unwrapped and begin where the stream's do.
    """

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._headers: Headers[Message] = Headers()
        self._marks: set[_Mark] = set()
        self._order: deque[_Mark] = deque()
        self._away_ms: int | None = None
        self._overlaps = False

    def reconnected(self, away_ms: int) -> None:
        """What comes now is from another connection, after so long without one."""
        self._away_ms, self._overlaps = away_ms, False

    def place(self, message: Message) -> Message | None:
        """The message as it goes on; None: it does not."""
        header = self._headers.remember(message)
        if header is not None and not header.is_new:
            return None
        if is_coded(message):
            mark = (message.type_id, message.timestamp, hash(bytes(message.payload)))
            if self._away_ms is not None:
                if mark in self._marks:
                    self._overlaps = True
                    return None
                self._join(message, self._away_ms)
            self._remember(mark)
        return message._replace(timestamp=self._timeline.place_message(message))

    def _join(self, message: Message, away_ms: int) -> None:
        """The first message from this connection that is new."""
        self._away_ms = None
        step_ms = self._timeline.step_ms(message)
        if step_ms is not None and not self._overlaps and not 0 < step_ms <= MAX_GAP_MS:
            self._timeline.restart(away_ms)

    def _remember(self, mark: _Mark) -> None:
        if mark not in self._marks:
            self._marks.add(mark)
            self._order.append(mark)
            if len(self._order) > MAX_REMEMBERED:
                self._marks.discard(self._order.popleft())
