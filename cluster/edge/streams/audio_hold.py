"""Audio rides with video: what is published here goes out with the next video frame of its stream.

Most messages of a stream are audio, and a tenth of its bytes: each would cost a wake-up, an envelope and a
write to every player of its own. A player shows a frame when it has the audio of that time, and has it
already when the frame comes. So audio may wait for the next frame while frames come often enough.

A stream of which the frames come more slowly, or not any more, or to which somebody listens without its
video, sends audio as it comes.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from cluster.core.message import Message, MessageType

if TYPE_CHECKING:
    from cluster.edge.streams.interfaces import Publisher
    from cluster.edge.streams.stream import Stream
    from cluster.edge.streams.turn import Turn

_AUDIO = int(MessageType.AUDIO)

#: A frame that is late by this share of the hold is waited for: the frames of 24 and 25 a second, at the
#: hold of 40 ms that is usual, come a little early and a little late.
LATE_SHARE = 0.25
#: Late frames are looked for this often in one hold at most, however many streams there are.
LOOKS_PER_HOLD = 4
#: The smallest frame of this much time, and of as much before it, says what can only be audio.
LEARN_S = 2.0
#: Less than this may be a frame as well: that of a still picture has few bytes. And more than this is more
#: than one TCP segment: a sender with Nagle's algorithm (FFmpeg, unless told otherwise) keeps less back
#: until the audio before it is acknowledged, and the kernel takes its time for what is not read.
LEAST_QUIET_BYTES = 1_500

_NO_FRAME = 1 << 30


class AudioHold:
    """Lets the audio of a worker's streams wait for video that comes every ``hold_s`` seconds or sooner.

    It waits for at most half as long again. 0 lets no audio wait.
    """

    def __init__(self, turn: Turn, hold_s: float) -> None:
        self.turn = turn
        self.longest_s = hold_s * (1 + LATE_SHARE)
        self._look_every_s = hold_s / LOOKS_PER_HOLD
        self._riding: dict[Ride, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ride(self, stream: Stream, publisher: Publisher) -> Ride | None:
        """What takes the messages of ``publisher`` for ``stream``; None if no audio may wait."""
        return Ride(self, stream, publisher) if self.longest_s else None

    def add(self, ride: Ride) -> None:
        """The audio of ``ride`` waits from now on."""
        self._riding[ride] = None
        if self._timer is None:
            self._plan(ride.frame_at)

    def discard(self, ride: Ride) -> None:
        self._riding.pop(ride, None)

    def _plan(self, oldest_frame_at: float) -> None:
        when = max(oldest_frame_at + self.longest_s, self.turn.now + self._look_every_s)
        self._timer = self.turn.loop.call_at(when, self._look)

    def _look(self) -> None:
        """Whose video is late sends its audio alone."""
        self._timer = None
        turn = self.turn
        turn.begin()
        try:
            for ride in list(self._riding):
                ride.look(turn.now)
            turn.end()
        finally:  # what is raised must not leave audio waiting for ever
            if self._riding and self._timer is None:
                self._plan(min(ride.frame_at for ride in self._riding))


class Ride:
    """What one publisher feeds ``stream`` with, audio held. ``frame_at``: when its latest frame came."""

    __slots__ = (
        "_hold", "_is_on", "_learned_at", "_publisher", "_quiet_bytes", "_smallest", "_smallest_before",
        "frame_at", "stream",
    )  # fmt: skip

    def __init__(self, hold: AudioHold, stream: Stream, publisher: Publisher) -> None:
        self.stream = stream
        self.frame_at = -math.inf
        self._hold = hold
        self._publisher = publisher
        self._is_on = False
        self._quiet_bytes = 0
        self._learned_at = hold.turn.now
        self._smallest, self._smallest_before = _NO_FRAME, 0

    def append(self, message: Message) -> None:
        """One message of the publisher."""
        if message.type_id == _AUDIO and self._is_on:
            self.stream.append_quietly(message)
            return
        entry = self.stream.append(message)
        if entry is not None and entry.is_video_frame:
            self._frame_came(len(message.payload))

    def _frame_came(self, size: int) -> None:
        now, hold = self._hold.turn.now, self._hold
        is_soon = now - self.frame_at <= hold.longest_s
        self.frame_at = now
        if size < self._smallest:
            self._smallest = size
            if size < self._quiet_bytes:
                self._be_quiet_below(size)  # this one may have waited; the next of its size does not
        if not self._is_on and is_soon and self.stream.audio_may_wait:
            self._is_on = True
            hold.add(self)

    def look(self, now: float) -> None:
        """From time to time, while audio is held: whether it still may, and what has been learned."""
        if now - self.frame_at >= self._hold.longest_s or not self.stream.audio_may_wait:
            self.stop()
        elif now - self._learned_at >= LEARN_S:
            self._be_quiet_below(min(self._smallest, self._smallest_before))
            self._learned_at, self._smallest_before = now, self._smallest
            self._smallest = _NO_FRAME

    def stop(self) -> None:
        """Audio goes out as it comes, and first of all what has waited."""
        self._is_on = False
        self._hold.discard(self)
        self._be_quiet_below(0)
        self.stream.send_held()

    def _be_quiet_below(self, size: int) -> None:
        quiet_bytes = size if size >= LEAST_QUIET_BYTES else 0
        if quiet_bytes != self._quiet_bytes:
            self._quiet_bytes = quiet_bytes
            self._publisher.wait_for(quiet_bytes)
