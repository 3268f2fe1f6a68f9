"""When to read from the socket: not while what was read already waits for its consumers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

#: What is received and not yet consumed of one connection: some seconds of a high bit rate.
DEFAULT_QUEUE_BYTES = 8 * 1024 * 1024


class ReadGate:
    """Counts the bytes that wait in all queues of one connection, and pauses reading at the bound.

    Reading goes on at half the bound. What one read brings, at most a message of ``max_message_bytes``
    and a few small ones, may come on top. An answer can stand behind all the media that the server has
    sent by then: while one is awaited, the bound is higher by as much again.
    """

    def __init__(
        self,
        bound_bytes: int,
        max_message_bytes: int,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self.queued_bytes = 0
        self.paused = False
        self._bound_bytes = bound_bytes
        self._awaiting_bound_bytes = 2 * bound_bytes + max_message_bytes
        self._pause = pause
        self._resume = resume
        self._awaited = 0

    def add(self, size_bytes: int) -> None:
        """That much more waits."""
        self.queued_bytes += size_bytes
        self._decide()

    def remove(self, size_bytes: int) -> None:
        """That much was consumed."""
        self.queued_bytes -= size_bytes
        self._decide()

    @contextlib.contextmanager
    def awaiting(self) -> Iterator[None]:
        """While the body runs, an answer is awaited."""
        self._awaited += 1
        self._decide()
        try:
            yield
        finally:
            self._awaited -= 1
            self._decide()

    def _decide(self) -> None:
        if self._awaited:
            stop_at = go_on_below = self._awaiting_bound_bytes
        else:
            stop_at, go_on_below = self._bound_bytes, self._bound_bytes // 2 + 1
        if not self.paused and self.queued_bytes >= stop_at:
            self.paused = True
            self._pause()
        elif self.paused and self.queued_bytes < go_on_below:
            self.paused = False
            self._resume()
