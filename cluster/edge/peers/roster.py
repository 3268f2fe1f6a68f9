"""The sessions of a worker in the order of their numbers: what is listed page by page, and found by number.

A list of 10,000 is not walked in one go: the media would wait for it. Whoever comes has the highest number,
or nearly so, and one that goes is found by halving.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Protocol

from cluster.core.bus.questions import SessionRow


class Listed(Protocol):
    """A connection of any protocol."""

    @property
    def use(self) -> tuple[str, str]:
        """Its role and stream key, as far as they are known."""

    @property
    def kind(self) -> str:
        """As what it is served."""

    def row(self) -> SessionRow:
        """All that there is to say of it."""

    def kick(self, why: str) -> None:
        """End it, because an operator wants that."""


class Roster:
    """The connections that are open, without those in their TLS handshake."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._by_number: dict[int, Listed] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, session: Listed) -> None:
        insort(self._numbers, number)
        self._by_number[number] = session

    def discard(self, number: int) -> None:
        if self._by_number.pop(number, None) is not None:
            del self._numbers[bisect_right(self._numbers, number) - 1]

    def get(self, number: int) -> Listed | None:
        return self._by_number.get(number)

    def above(self, number: int) -> Iterator[tuple[int, Listed]]:
        """Sessions with a higher number, in order; the roster must not change meanwhile."""
        numbers = self._numbers
        for index in range(bisect_right(numbers, number), len(numbers)):
            yield numbers[index], self._by_number[numbers[index]]
