"""Warnings that somebody else could make us repeat without end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

#: A line in so long. A scanner's bytes can be many messages, and a node of another version sends thousands
#: a second; each is counted, none but the first needs a line.
COMPLAIN_EVERY_S = 30.0


class Complaints:
    """Warnings of one event: a line each COMPLAIN_EVERY_S at most, which says how many were left out."""

    def __init__(
        self, logger: logging.Logger, event: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._event = event
        self._clock = clock
        self._said_at: float | None = None
        self._left_out = 0

    def warn(self, what: str) -> None:
        """Say it, or count it."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < COMPLAIN_EVERY_S:
            self._left_out += 1
            return
        more = f" (and {self._left_out} like it since the last line)" if self._left_out else ""
        self._said_at, self._left_out = now, 0
        self._logger.warning("%s%s", what, more, extra={"event": self._event})
