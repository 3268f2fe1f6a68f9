"""A log handler that never waits for whoever reads the log.

A pipe that nobody reads blocks who writes to it, and the supervisor and all workers of a node write to the
same one. So a thread of its own writes, out of a queue with a bound. What does not fit is lost and counted,
and a line in its place says how much it was.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from queue import SimpleQueue

#: Bytes of lines that may wait to be written: some 1,500 lines. A reader that pauses for a moment misses
#: nothing, and one that has gone for good costs no more memory than this.
QUEUE_BYTES = 256 * 1024

#: A write that has failed (the disk is full, the reader is gone) is tried again after this long: soon
#: enough for people, and seldom enough to cost nothing.
RETRY_S = 1.0

#: When the process ends, what waits is written within this time or not at all: a pipe that nobody reads
#: must not keep it.
CLOSE_TIMEOUT_S = 1.0


class _Gap:
    """Stands in the queue where lines are missing."""

    def __init__(self) -> None:
        self.lines = 0


class QueuedHandler(logging.Handler):
    """Writes each record as one line to the file descriptor ``fd``, in their order.

    ``lines_lost`` counts those that found the queue full; once one has, all do until what waits is written.
    ``close`` is what ``logging.shutdown`` calls, which Python does at its end, but ``os._exit`` does not.

    The writer shares no lock with who logs: the collector may run what logs at any moment, in either
    thread. Each attribute is assigned by one of the two.
    """

    def __init__(self, fd: int, max_bytes: int = QUEUE_BYTES, retry_s: float = RETRY_S) -> None:
        super().__init__()
        self.lines_lost = 0
        self._fd = fd
        self._max_bytes = max_bytes
        self._retry_s = retry_s
        self._taken_bytes = 0
        self._written_bytes = 0  # by the writer
        self._queue: SimpleQueue[bytes | _Gap | None] = SimpleQueue()
        self._gap = _Gap()
        self._told_gap: _Gap | None = self._gap  # by the writer
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_all, name="log writer", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._told_gap is not self._gap:
            self._lose()
            return
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        if self._taken_bytes - self._written_bytes + len(line) > self._max_bytes:
            self._gap = _Gap()
            self._lose()
            self._queue.put(self._gap)
            return
        self._taken_bytes += len(line)
        self._queue.put(line)

    def close(self) -> None:
        """Write what waits, for CLOSE_TIMEOUT_S at most; may be called again."""
        self._closing.set()
        self._queue.put(None)
        self._writer.join(CLOSE_TIMEOUT_S)
        super().close()

    def _lose(self) -> None:
        self._gap.lines += 1
        self.lines_lost += 1

    def _line(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    # ---- the writer's thread ---------------------------------------------------------------------

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Gap):
                self._told_gap = item  # lines are taken again: all stand behind the one about this gap
                self._write(self._line(_loss(item.lines)))
            else:
                self._write(item)
                self._written_bytes += len(item)

    def _write(self, line: bytes) -> None:
        """All of it, however long that takes. In one call while nothing is in the way: lines that other
        processes write to the same pipe then stand before or behind it (POSIX, ``write``: PIPE_BUF)."""
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:  # another process that has it open wants it so
                select.select((), (self._fd,), (), self._retry_s)
            except OSError:
                if self._closing.wait(self._retry_s):
                    return


def _loss(lines: int) -> logging.LogRecord:
    fields = {"lines": lines}
    extra = {"event": "log_lines_lost"}
    message = "%(lines)d lines are missing here: the log was not read, or could not be written, fast enough"
    return logging.getLogger(__name__).makeRecord(
        __name__, logging.WARNING, "", 0, message, (fields,), None, extra=extra
    )
