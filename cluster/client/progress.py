"""A line on stderr that says how a stream goes on: rewritten in place, or one after another in a file."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from typing import TYPE_CHECKING, Self, TextIO

from cluster.client.statistics import StreamStatistics
from cluster.process.words import printable

if TYPE_CHECKING:
    from types import TracebackType

TERMINAL_EVERY_S = 1.0
PLAIN_EVERY_S = 5.0


class Progress:
    """Shows ``statistics`` while the body of its ``async with`` runs, and once at the end."""

    def __init__(self, statistics: StreamStatistics, where: str, *, output: TextIO | None = None) -> None:
        self._statistics = statistics
        self._where = printable(where)
        self._output = output or sys.stderr
        self._terminal = self._output.isatty()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._show(f"{self._where}: waiting for the first message")
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._show(f"{self._where}: {self.summary()}")
        if self._terminal:
            self._output.write("\n")

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._show(text)
        if self._terminal:
            self._output.write("\n")

    def line(self, now: float) -> str:
        """How it goes at the moment."""
        seen = self._statistics
        if seen.first_at is None:
            return "waiting for the first message"
        kilobits, frames = seen.rates(now)
        return (
            f"{now - seen.first_at:.0f} s  {kilobits:.0f} kbit/s  {seen.video} frames ({frames:.1f}/s)  "
            f"{seen.keyframes} keyframes  {seen.audio} audio  delay {seen.delay_ms:.0f} ms  "
            f"jitter {seen.jitter_ms:.1f} ms"
        )

    def summary(self) -> str:
        """How it was."""
        seen = self._statistics
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
        with contextlib.suppress(OSError):  # a closed pipe is no reason to lose a recording
            if self._terminal:
                columns = shutil.get_terminal_size().columns
                self._output.write(f"\r\x1b[K{text[: columns - 1]}")
            else:
                self._output.write(f"{text}\n")
            self._output.flush()
