"""Warnings that somebody else could make us repeat without end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: How often the same complaint gets a line. A scanner's bytes can be many messages, and a node of another
#: version sends thousands a second; each is counted, but only the first needs a line.
COMPLAIN_EVERY_S = 30.0

#: How many subjects of one event are told apart. A scan from more addresses begins to be told again.
MAX_PEERS = 1_000


@dataclass(slots=True)
class _Line:
    """When the last line was written, and how many were left out since."""

    said_at: float
    left_out: int = 0


class OnceInAWhile:
    """When to speak of a subject again: at once if it is new, then once each COMPLAIN_EVERY_S."""

    def __init__(self) -> None:
        self._last: dict[str, _Line] = {}

    def is_due(self, subject: str, now: float) -> bool:
        """Whether ``left_out`` would say to speak of it."""
        last = self._last.get(subject)
        return last is None or now - last.said_at >= COMPLAIN_EVERY_S

    def left_out(self, subject: str, now: float) -> int | None:
        """None: do not speak of it now. Else how many times it was not spoken of since the last one."""
        last = self._last.get(subject)
        if last is not None and not self.is_due(subject, now):
            last.left_out += 1
            return None
        if last is None and len(self._last) >= MAX_PEERS:
            self._last.clear()
        self._last[subject] = _Line(now)
        return 0 if last is None else last.left_out


class Complaints:
    """Warnings of one event: a line each COMPLAIN_EVERY_S at most, which says how many were left out.

    Those about different peers do not silence each other.
    """

    def __init__(
        self, logger: logging.Logger, event: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._event = event
        self._clock = clock
        self._peers = OnceInAWhile()

    def warn(self, what: str, facts: Callable[[], Mapping[str, object]] | None = None) -> None:
        """Log ``what``, or count it. ``facts`` gives further fields of the line, if one is written."""
        self._warn("", what, facts=facts)

    def warn_about(self, peer: str, message: str, fields: Mapping[str, Any]) -> None:
        """Log or count what concerns ``peer``; ``message`` is formatted with ``fields`` (%-style)."""
        self._warn(peer, message, fields)

    def is_due(self, peer: str) -> bool:
        """Whether the next warning about ``peer`` gets a line."""
        return self._peers.is_due(peer, self._clock())

    def _warn(
        self, peer: str, message: str, *fields: Mapping[str, Any],
        facts: Callable[[], Mapping[str, object]] | None = None,
    ) -> None:  # fmt: skip
        left_out = self._peers.left_out(peer, self._clock())
        if left_out is None:
            return
        more = f" (and {left_out} like it since the last line)" if left_out else ""
        extra = {"event": self._event, **(facts() if facts is not None else {})}
        self._logger.warning(message + more, *fields, extra=extra)
