"""A line on stderr that says how a stream goes on, also while there is none yet.

On a terminal it is rewritten in place, in a file one stands after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self, TextIO

from cluster.client.statistics import StreamStatistics
from cluster.process.words import printable

if TYPE_CHECKING:
    from types import TracebackType

TERMINAL_EVERY_S = 1.0
PLAIN_EVERY_S = 5.0
#: A wait that is over sooner is not told of.
SLOW_S = 1.0


@contextlib.asynccontextmanager
async def told_if_slow(text: str) -> AsyncIterator[None]:
    """Say ``text`` on stderr, once, if the body takes longer than SLOW_S."""
    telling = asyncio.get_running_loop().call_later(SLOW_S, _write, sys.stderr, f"{printable(text)}\n")
    try:
        yield
    finally:
        telling.cancel()


class Progress:
    """Shows ``statistics`` while the body of its ``async with`` runs, and once at the end.

    ``question`` is asked of those who wait for the first frame.
    """

    def __init__(
        self, statistics: StreamStatistics, where: str, *, question: str = "", output: TextIO | None = None
    ) -> None:
        self._statistics = statistics
        self._where = printable(where)
        self._question = f"; {question}" if question else ""
        self._output = output or sys.stderr
        self._terminal = self._output.isatty()
        self._began_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._began_at = asyncio.get_running_loop().time()
        self._show(f"{self._where}: waiting for the first frame")
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._show(f"{self._where}: {self.summary(asyncio.get_running_loop().time())}")
        if self._terminal:
            self._output.write("\n")

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._show(printable(text))
        if self._terminal:
            self._output.write("\n")

    def line(self, now: float) -> str:
        """How it goes at the moment."""
        seen = self._statistics
        if seen.first_at is None:
            return f"waiting for the first frame, for {now - self._began_at:.0f} s now{self._question}"
        kilobits, frames = seen.rates(now)
        return (
            f"{now - seen.first_at:.0f} s  {kilobits:.0f} kbit/s  {seen.video} frames ({frames:.1f}/s)  "
            f"{seen.keyframes} keyframes  {seen.audio} audio  delay {seen.delay_ms:.0f} ms  "
            f"jitter {seen.jitter_ms:.1f} ms"
        )

    def summary(self, now: float) -> str:
        """How it was."""
        seen = self._statistics
        if seen.first_at is None:
            return f"no frame in {now - self._began_at:.1f} s"
        return (
            f"{seen.messages} messages, {seen.bytes} bytes in {seen.elapsed_s:.1f} s: {seen.video} frames, "
            f"{seen.keyframes} keyframes, {seen.audio} audio"
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TERMINAL_EVERY_S if self._terminal else PLAIN_EVERY_S)
            self._show(self.line(loop.time()))

    def _show(self, text: str) -> None:
        if self._terminal:
            columns = shutil.get_terminal_size().columns
            _write(self._output, f"\r\x1b[K{text[: columns - 1]}")
        else:
            _write(self._output, f"{text}\n")


def _write(output: TextIO, text: str) -> None:
    with contextlib.suppress(OSError):  # a closed pipe is no reason to lose a recording
        output.write(text)
        output.flush()
