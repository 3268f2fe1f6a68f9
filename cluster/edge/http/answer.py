"""The answer to a request whose body is whole: a playlist, a piece of media, a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from cluster.core.message import Buffer


class Answer(NamedTuple):
    """What is answered. ``body`` may be shared with other answers, and is never changed.

    ``cache_control``: the header of that name, for browsers and for caches on the way. ``closes``: the
    connection ends with it, so that the next request may reach another worker. ``location``: where else
    to ask, if anywhere; it may be relative. ``schemes``: with which Authorization to ask again.
    ``is_text``: it may be compressed for those who take it so. ``coding``: how it has been, if it has.
    """

    status: int
    content_type: str
    cache_control: str
    body: Sequence[Buffer]
    closes: bool = False
    location: str = ""
    schemes: Sequence[str] = ()
    is_text: bool = False
    coding: str = ""

    @property
    def size(self) -> int:
        """The bytes of the body."""
        return sum(map(len, self.body))


class Waiting(Protocol):
    """A request whose answer is not there yet; it is given once, to whoever asked."""

    def cancel(self) -> object:
        """Whoever asked has gone: nothing is given. Without effect once something has been."""


def line(status: int, text: str, cache_control: str = "no-store") -> Answer:
    """An answer of one line, for people."""
    return Answer(status, "text/plain; charset=utf-8", cache_control, [f"{text}\n".encode()])
