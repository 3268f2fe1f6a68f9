"""An FLV file as a publisher's source: in real time, over and over if asked, the clock never set back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from cluster.core.errors import EnvironmentFault
from cluster.core.media.classify import MediaFlags, flags_of, is_coded
from cluster.core.media.file_clock import FileClock, Placed
from cluster.core.media.flv import FlvError, FlvFault, FlvOddity, FlvReader
from cluster.core.media.headers import Headers
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
        self._headers: Headers[Message] = Headers()

    async def __aiter__(self) -> AsyncIterator[Message]:
        pace = _Pace() if self._realtime else None
        while True:
            async for message, progress_ms in self._one_pass():
                if pace is not None:
                    await pace.wait_for(progress_ms)
                yield message
            self.passes += 1
            if not self._loop:
                return
            if not self._clock.next_pass():
                raise FlvError(FlvFault.TRUNCATED, f"{self._path} has no audio and no video to repeat")

    async def _one_pass(self) -> AsyncIterator[Placed]:
        try:
            with self._path.open("rb") as file:
                async for message in self._read(file):
                    if self._wanted(message):
                        for placed in self._clock.feed(message):
                            yield placed
                for placed in self._clock.flush():
                    yield placed
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
        header = self._headers.remember(message)
        return header is None or header.is_new or self.passes == 0


class _LoopClock:
    """Places the messages of one pass after another on one clock, which starts at 0."""

    def __init__(self) -> None:
        self._clock = FileClock()
        #: Where the present pass begins.
        self._from_ms = 0
        self._frame_ms: dict[int, int] = {}
        self._first_ms: dict[int, int] = {}
        self._last_ms: dict[int, int] = {}

    def feed(self, message: Message) -> list[Placed]:
        """The messages that can be placed now."""
        return [self._in_pass(placed) for placed in self._clock.feed(message)]

    def flush(self) -> list[Placed]:
        """The messages that are held: the pass is over."""
        return [self._in_pass(placed) for placed in self._clock.flush()]

    def next_pass(self) -> bool:
        """Another pass begins, when the last frame of each medium is over; False if there was nothing."""
        if not self._last_ms:
            return False
        self._from_ms += max(
            last_ms + self._frame_ms.get(medium, DEFAULT_FRAME_MS) - self._first_ms[medium]
            for medium, last_ms in self._last_ms.items()
        )
        self._clock = FileClock()
        self._first_ms.clear()
        self._last_ms.clear()
        return True

    def _in_pass(self, placed: Placed) -> Placed:
        message, progress_ms = placed
        if is_coded(message):
            medium, at_ms = message.type_id, message.timestamp
            step_ms = at_ms - self._last_ms.get(medium, at_ms)
            if step_ms > 0:
                self._frame_ms[medium] = step_ms
            self._first_ms.setdefault(medium, at_ms)
            self._last_ms[medium] = at_ms
        at_ms = message.timestamp + self._from_ms
        return Placed(message._replace(timestamp=at_ms), progress_ms + self._from_ms)


class _Pace:
    """Holds messages back until they are due."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None

    async def wait_for(self, progress_ms: int) -> None:
        """Return when so much media time may have passed. Timestamps may lie far apart from it."""
        now = self._loop.time()
        if self._began is None:
            self._began = now - progress_ms / 1000
        late_s = now - (self._began + progress_ms / 1000)
        if late_s > MAX_LATE_S:
            self._began += late_s
        elif late_s < 0:
            await asyncio.sleep(-late_s)
