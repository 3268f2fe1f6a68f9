"""A log handler that never waits for whoever reads the log.

A pipe that nobody reads blocks every process that writes to it, and the supervisor and all workers of a
node write to the same one. So a thread of its own writes the lines, out of a queue with a bound. Lines that
do not fit are lost and counted, and a line in their place says how many they were.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import traceback
from queue import SimpleQueue

#: Bytes of lines that may wait to be written: some 1,000 lines. A reader that pauses for a moment misses
#: nothing, and one that has gone for good costs no more memory than this.
QUEUE_BYTES = 256 * 1024

#: A write that has failed (the disk is full, the reader is gone) is tried again after this long: soon
#: enough for people, and seldom enough to cost nothing.
RETRY_S = 1.0

#: When the process ends, what waits is written within this time or not at all: a pipe that nobody reads
#: must not keep it.
CLOSE_TIMEOUT_S = 1.0


class _Gap:
    """A place in the queue where ``lines`` lines are missing."""

    def __init__(self) -> None:
        self.lines = 0


class QueuedHandler(logging.Handler):
    """Writes each record as one line to the file descriptor ``fd``, in their order.

    ``lines_lost`` counts the lines that found the queue full. Once one has, all are lost until what waits
    is written. ``logging.shutdown`` calls ``close``; Python calls it at its end, but ``os._exit`` does not.

    The writer's thread shares no lock with the threads that log, because the garbage collector may run code
    that logs at any moment, in any of them. Each attribute is assigned on one side only.
    """

    def __init__(self, fd: int, max_bytes: int = QUEUE_BYTES, retry_s: float = RETRY_S) -> None:
        super().__init__()
        self.lines_lost = 0
        self._fd = fd
        self._max_bytes = max_bytes
        self._retry_s = retry_s
        self._taken_bytes = 0
        self._written_bytes = 0  # assigned by the writer
        self._queue: SimpleQueue[bytes | _Gap | None] = SimpleQueue()
        self._gap = _Gap()
        self._told_gap = self._gap  # assigned by the writer
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_all, name="log writer", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._told_gap is not self._gap:
            self._lose()
            return
        try:
            line = self._line(record)
        except Exception:  # a call of ours is wrong; logging's own way is to write to stderr, and to wait
            where = f"{record.pathname}:{record.lineno}: cannot be logged\n"
            line = (where + traceback.format_exc()).encode(errors="backslashreplace")
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
        """Write all of ``line``, however long that takes.

        It is handed over in one call, so that lines which other processes write to the same pipe stand
        before or behind it (POSIX, ``write``: PIPE_BUF).
        """
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
