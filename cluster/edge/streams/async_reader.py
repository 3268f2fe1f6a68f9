"""A reader for coroutines: what a recorder, an uploader or an HTTP response iterates over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.core.message import Buffer
from cluster.edge.streams.interfaces import EndOfRead

if TYPE_CHECKING:
    from cluster.edge.streams.reader import Reader
    from cluster.edge.streams.turn import Turn

#: Bytes that wait for a coroutine. Beyond them the reader is behind, as behind a full socket: the rest
#: stands in the stream's log, and the slow rule holds.
WAITING_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole messages, encoded, in order. ``skipped``: messages left out in front of it, for slowness."""

    data: list[Buffer]
    skipped: int


class AsyncReader:
    """The sink of one reader, and an iterator over what comes, until the read ends; ``end`` says why.

        reader = streams.read("live/a", FLV)
        async for batch in reader:
            response.write(b"".join(batch.data))
    """

    reader: Reader

    def __init__(self, turn: Turn, name: str = "") -> None:
        self.name = name
        self.end: EndOfRead | None = None
        self._turn = turn
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._skipped = 0  # in all, in front of what waits
        self._gap = 0
        self._changed = asyncio.Event()

    def __aiter__(self) -> AsyncReader:
        return self

    async def __anext__(self) -> Batch:
        while not self._waiting:
            if self.end is not None:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        data, self._waiting, self._waiting_bytes = self._waiting, [], 0
        batch = Batch(data, self._gap)
        if self.end is None:
            self._turn.begin()
            self.reader.catch_up()
        # While bytes waited nothing was added to them, so all that was skipped lies in front of the next.
        self._gap, self._skipped = self.reader.skipped - self._skipped, self.reader.skipped
        return batch

    # ---- as a sink ---------------------------------------------------------------------------

    @property
    def facts(self) -> dict[str, object]:
        return {"peer": self.name}

    def begin(self, reader: Reader) -> None:
        self.reader = reader

    @property
    def is_full(self) -> bool:
        return self._waiting_bytes >= WAITING_BYTES

    def send(self, data: Buffer) -> int:
        """What everyone in step gets: all of it, or nothing."""
        if self.is_full:
            raise BlockingIOError
        self.keep([data])
        return len(data)

    def write(self, buffers: Sequence[Buffer]) -> bool:
        self.keep(buffers)
        return not self.is_full

    def keep(self, rest: Sequence[Buffer]) -> None:
        self._waiting.extend(rest)
        self._waiting_bytes += sum(map(len, rest))
        self._changed.set()

    def failed(self, error: OSError) -> None:
        raise AssertionError("nothing here can fail") from error

    def caught_up(self) -> None:
        """There is no pace to set: nothing is read from a peer."""

    def over(self, why: EndOfRead, detail: str) -> bool:
        """What waits is still given out; then the iteration ends."""
        self.end = why
        self._changed.set()
        return False

    def returned(self) -> None:
        raise AssertionError("a reader that does not stay is not there when the stream returns")
