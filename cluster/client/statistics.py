"""What a stream looks like as it passes: bit rate, frames, and how evenly it arrives."""

from __future__ import annotations

from collections import deque

from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.timeline import Timeline
from cluster.core.message import Message, MessageType

#: Rates are means over this long.
WINDOW_S = 5.0
#: Messages remembered for the rates: more than WINDOW_S has in any real stream.
_MAX_WINDOW = 4096

#: As in RFC 3550, section 6.4.1: one sixteenth of each new difference.
_JITTER_GAIN = 1 / 16


class StreamStatistics:
    """Fed with each message and the time it passed (seconds, monotonic).

    Time counts from the first frame, for servers send headers and metadata even of a stream that nobody
    publishes. Until then ``first_at`` is None.

    ``delay_ms`` is how much later than the quickest message of the stream the latest one came, and
    ``jitter_ms`` how unevenly they come: what a player has to buffer. No clock is shared with the
    publisher, so the delay all messages have in common cannot be seen.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.video = 0
        self.audio = 0
        self.keyframes = 0
        self.delay_ms = 0.0
        self.jitter_ms = 0.0
        self.first_at: float | None = None
        self._last_at = 0.0
        self._timeline = Timeline()
        #: By message type, the latest and the least time from a message's place to when it passed.
        #: By type, because media may be stamped apart.
        self._transits_ms: dict[int, tuple[float, float]] = {}
        self._window: deque[tuple[float, int, bool]] = deque(maxlen=_MAX_WINDOW)

    def add(self, message: Message, now: float) -> None:
        """The message passed at ``now``."""
        type_id, _, payload, _ = message
        coded = is_coded(message)
        if coded and self.first_at is None:
            self.first_at = now
        self._last_at = now
        self.messages += 1
        self.bytes += len(payload)
        is_video = coded and type_id == MessageType.VIDEO
        self.video += is_video
        self.audio += coded and not is_video
        self.keyframes += bool(flags_of(type_id, payload) & MediaFlags.KEYFRAME)
        self._window.append((now, len(payload), is_video))
        if coded:
            self._measure(type_id, now * 1000 - self._timeline.place_message(message))

    @property
    def elapsed_s(self) -> float:
        """From the first frame to the latest message."""
        return 0.0 if self.first_at is None else self._last_at - self.first_at

    def rates(self, now: float) -> tuple[float, float]:
        """Kilobits and video frames per second, of late."""
        while self._window and self._window[0][0] < now - WINDOW_S:
            self._window.popleft()
        if self.first_at is None:
            return 0.0, 0.0
        span_s = max(min(WINDOW_S, now - self.first_at), 0.001)
        kilobits = sum(size for _, size, _ in self._window) * 8 / 1000
        return kilobits / span_s, sum(is_video for _, _, is_video in self._window) / span_s

    def _measure(self, type_id: int, transit_ms: float) -> None:
        before = self._transits_ms.get(type_id)
        least_ms = transit_ms
        if before is not None:
            last_ms, least_ms = before[0], min(before[1], transit_ms)
            self.jitter_ms += (abs(transit_ms - last_ms) - self.jitter_ms) * _JITTER_GAIN
        self._transits_ms[type_id] = transit_ms, least_ms
        self.delay_ms = transit_ms - least_ms
