"""The worker's end of the line to the process that delivers events.

Nothing here waits: an event is kept until the process has said that it is in its queue. While the process
is away, or slow, events are kept up to a bound; what comes beyond it is counted as lost, and shows as a gap
in the numbers of its stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from cluster.edge.events.lines import LineReader, Told, line

logger = logging.getLogger(__name__)

#: Events that a worker keeps until they are in the queue: some ten seconds' worth of a thousand short
#: sessions a second, and 10 MB at most.
MAX_EVENTS_KEPT = 10_000
#: Streams of which it is remembered how many events were lost. Of others the number alone is counted.
MAX_KEYS_SKIPPED = 10_000
#: What the socket has not taken; beyond it the rest waits here.
_SOCKET_BYTES = 256 * 1024
_CONNECT_AGAIN_S = 0.2


class LossCount(Protocol):
    """Counts what is lost."""

    events_lost: int


class WorkerLine:
    """Tells the process at ``path`` what happens; ``who`` says which worker this is.

    ``sessions`` gives the sessions that are open, by the numbers of the events that began them.
    """

    def __init__(
        self,
        path: str,
        who: Mapping[str, str],
        counters: LossCount,
        sessions: Callable[[], list[int]],
        kept: int = MAX_EVENTS_KEPT,
    ) -> None:
        self._path = path
        self._who = who
        self._counters = counters
        self._sessions = sessions
        self._most_kept = kept
        self._kept: deque[tuple[int, bytes]] = deque()
        self._sent = 0  # of those that are kept: how many this connection has been given
        self._number = 0
        self._skipped: dict[str, int] = {}
        #: The process may miss the begin or end of a session: it is to be told which are open.
        self._is_out_of_step = False
        self._transport: asyncio.WriteTransport | None = None
        self._is_paused = False
        self._connecting: asyncio.Task[None] | None = None
        self._acked = asyncio.Event()
        self._is_closed = False

    def start(self) -> None:
        """Connect, and again whenever the process has been away. On the running loop."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def tell(
        self,
        type: str,
        key: str,
        data: Mapping[str, Any],
        *,
        opens: bool = False,
        closes: int | None = None,
    ) -> int:
        """Say that something has happened; the number of the event."""
        self._number += 1
        if len(self._kept) >= self._most_kept:
            self._lose(key)
            return self._number
        skipped = self._skipped.pop(key, 0)
        told = Told(
            self._number, type, round(time.time(), 3), key, data,
            opens=opens, closes=closes, skipped=skipped,
        )  # fmt: skip
        self._kept.append((self._number, told.to_line()))
        self._send()
        return self._number

    async def close(self, timeout_s: float) -> None:
        """Wait until all that is kept has arrived, or for ``timeout_s``, and hang up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._kept:
                    self._acked.clear()
                    await self._acked.wait()
        self._is_closed = True
        if self._kept:
            self._counters.events_lost += len(self._kept)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    # ---- the connection ----------------------------------------------------------------------

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_unix_connection(lambda: _Connection(self), self._path)
                return
            except OSError:  # it is being started
                await asyncio.sleep(_CONNECT_AGAIN_S)

    def connected(self, transport: asyncio.WriteTransport) -> None:
        """The process listens. What it has not acknowledged is sent again."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_SOCKET_BYTES)
        transport.write(line(self._who))
        self._sent = 0
        self._is_out_of_step = True
        self._send()

    def lost(self) -> None:
        """The process is gone: another one will come."""
        self._transport = None
        self._is_paused = False
        if not self._is_closed:
            self.start()

    def pause(self, is_paused: bool) -> None:
        """The socket takes no more for now, or does again."""
        self._is_paused = is_paused
        self._send()

    def said(self, said: Mapping[str, Any]) -> None:
        """The process has acknowledged events."""
        while self._kept and self._kept[0][0] <= said["ack"]:
            self._kept.popleft()
            self._sent = max(0, self._sent - 1)  # what the process before it has kept need not be sent
        self._acked.set()
        self._send()

    def _send(self) -> None:
        transport = self._transport
        while transport is not None and not self._is_paused and self._sent < len(self._kept):
            self._sent += 1
            transport.write(self._kept[self._sent - 1][1])  # may pause
        has_room = len(self._kept) <= self._most_kept // 2
        if transport is not None and self._is_out_of_step and self._sent == len(self._kept) and has_room:
            self._is_out_of_step = False
            transport.write(line({"open": self._sessions()}))

    def _lose(self, key: str) -> None:
        self._counters.events_lost += 1
        self._is_out_of_step = True
        if key in self._skipped or len(self._skipped) < MAX_KEYS_SKIPPED:
            self._skipped[key] = self._skipped.get(key, 0) + 1


class _Connection(asyncio.Protocol):
    def __init__(self, owner: WorkerLine) -> None:
        self._owner = owner
        self._reader = LineReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._owner.connected(cast(asyncio.WriteTransport, transport))

    def data_received(self, data: bytes) -> None:
        for said in self._reader.read(data):
            self._owner.said(said)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.lost()

    def pause_writing(self) -> None:
        self._owner.pause(True)

    def resume_writing(self) -> None:
        self._owner.pause(False)
