"""An FLV file as a publisher's source: in real time, over and over if asked, the clock never set back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from cluster.client.headers import Headers
from cluster.client.media_clock import MediaClock
from cluster.core.errors import EnvironmentFault
from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.flv import FlvError, FlvFault, FlvOddity, FlvReader
from cluster.core.message import Message

_READ_BYTES = 256 * 1024

#: How long the last frame of a pass lasts, if the file has no two of its medium to tell.
DEFAULT_FRAME_MS = 40

#: A source that is late by more than this goes on from now instead of rushing to catch up.
MAX_LATE_S = 5.0


class FlvSource:
    """Iterates over the messages of a file: ``async for message in FlvSource(path):``.

    Timestamps start at 0, run on from one pass to the next, and are unwrapped, so that a long run passes
    2**32. Only inside a pass may they step back, as far as the file interleaves. In later passes the
    headers come only if they have changed, and no end of sequence comes between two. A file that ends in
    the middle of a tag ends in front of it, and ``truncated`` says so; ``oddities`` has what else was wrong
    and did not matter. Raises FlvError for what is not FLV or has no media to loop over, and
    EnvironmentFault if it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False, realtime: bool = True) -> None:
        self.passes = 0
        self.truncated = False
        self.oddities: set[FlvOddity] = set()
        self._path = Path(path)
        self._loop = loop
        self._realtime = realtime
        self._clock = _LoopClock()
        self._headers = Headers()

    async def __aiter__(self) -> AsyncIterator[Message]:
        pace = _Pace() if self._realtime else None
        while True:
            async for message in self._one_pass():
                if pace is not None:
                    await pace.wait_for(message.timestamp)
                yield message
            self.passes += 1
            if not self._loop:
                return
            if not self._clock.next_pass():
                raise FlvError(FlvFault.TRUNCATED, f"{self._path} has no audio and no video to repeat")

    async def _one_pass(self) -> AsyncIterator[Message]:
        try:
            with self._path.open("rb") as file:
                async for message in self._read(file):
                    if self._wanted(message):
                        yield message._replace(timestamp=self._clock.place(message))
        except OSError as error:
            raise EnvironmentFault(f"cannot read {self._path}: {error.strerror}") from None

    async def _read(self, file: BinaryIO) -> AsyncIterator[Message]:
        reader = FlvReader()
        while data := await asyncio.to_thread(file.read, _READ_BYTES):
            messages = reader.feed(data)
            self.oddities.update(reader.oddities)
            for message in messages:
                yield message
        try:
            reader.finish()
        except FlvError as error:
            if error.fault is not FlvFault.TRUNCATED or reader.header is None:
                raise
            self.truncated = True

    def _wanted(self, message: Message) -> bool:
        if self._loop and flags_of(message.type_id, message.payload) & MediaFlags.END_OF_SEQUENCE:
            return False
        return not self._headers.is_known(message) or self.passes == 0


class _LoopClock:
    """Places the messages of one pass after another on one clock, which starts at 0."""

    def __init__(self) -> None:
        self._clock = MediaClock(from_zero=True)
        #: Nothing of the present pass stands before it.
        self._floor_ms = 0
        self._frame_ms: dict[int, int] = {}
        self._last_ms: dict[int, int] = {}

    def place(self, message: Message) -> int:
        """Where the message stands."""
        placed_ms = max(self._clock.place(message), self._floor_ms)
        if is_coded(message):
            step_ms = placed_ms - self._last_ms.get(message.type_id, placed_ms)
            if step_ms > 0:
                self._frame_ms[message.type_id] = step_ms
            self._last_ms[message.type_id] = placed_ms
        return placed_ms

    def next_pass(self) -> bool:
        """Another pass begins, when the last frame of each medium is over; False if there was nothing."""
        if not self._last_ms:
            return False
        over_ms = max(
            last_ms + self._frame_ms.get(medium, DEFAULT_FRAME_MS)
            for medium, last_ms in self._last_ms.items()
        )
        self._clock.restart(over_ms - self._clock.latest_ms)
        self._floor_ms = self._clock.latest_ms
        self._last_ms.clear()
        return True


class _Pace:
    """Holds messages back until they are due."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None

    async def wait_for(self, timestamp_ms: int) -> None:
        now = self._loop.time()
        if self._began is None:
            self._began = now - timestamp_ms / 1000
        late_s = now - (self._began + timestamp_ms / 1000)
        if late_s > MAX_LATE_S:
            self._began += late_s
        elif late_s < 0:
            await asyncio.sleep(-late_s)
