"""The clock of a recording: a stream's messages placed from 0 on."""

from __future__ import annotations

from typing import NamedTuple

from cluster.core.media.classify import is_coded
from cluster.core.media.timeline import Timeline
from cluster.core.message import Message

#: How long, in media time, the first messages are held for a medium that has not sent a frame.
MAX_HELD_MS = 1000
#: How many messages are held at most: a second of video, and of audio, and more than any stream's headers.
MAX_HELD_MESSAGES = 128

#: Audio and video.
_MEDIA = 2


class Placed(NamedTuple):
    """A message, its timestamp where it stands, and how much media time had passed when it came."""

    message: Message
    progress_ms: int


class FileClock:
    """Places messages like ``Timeline``, moved so that the first frame of the earliest medium is at 0.

    Media may be stamped apart, and the one ahead may come first. So messages are held until there has been
    a frame of audio and one of video, within the bounds above. What precedes all frames is at 0.
    """

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._held: list[Placed] | None = []
        #: By message type, where its first frame stands.
        self._firsts: dict[int, int] = {}
        self._base_ms = 0

    def feed(self, message: Message) -> list[Placed]:
        """The messages that can be placed now, in order of arrival: none while some are held."""
        placed_ms = self._timeline.place_message(message)
        coded = is_coded(message)
        if coded and self._held is not None:
            self._firsts.setdefault(message.type_id, placed_ms)
        elif self._held is not None and not self._firsts:
            placed_ms = -1  # before all frames
        placed = Placed(message._replace(timestamp=placed_ms), self._timeline.progress_ms)
        if self._held is None:
            return [self._from_zero(placed)]
        self._held.append(placed)
        full = len(self._held) >= MAX_HELD_MESSAGES or self._timeline.progress_ms >= MAX_HELD_MS
        return self.flush() if full or len(self._firsts) == _MEDIA else []

    def flush(self) -> list[Placed]:
        """The messages that are held, which wait no longer."""
        if self._held is None:
            return []
        held, self._held = self._held, None if self._firsts else []
        self._base_ms = min(self._firsts.values(), default=0)
        return [self._from_zero(placed) for placed in held]

    def _from_zero(self, placed: Placed) -> Placed:
        at_ms = max(0, placed.message.timestamp - self._base_ms)
        return placed._replace(message=placed.message._replace(timestamp=at_ms))
