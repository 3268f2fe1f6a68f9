"""The requests of peers that wait for an answer: may it connect, publish, play; is the stream free."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from cluster.edge.peers.join_rates import sender_of

if TYPE_CHECKING:
    from cluster.edge.rtmp.connection import Connection

logger = logging.getLogger(__name__)

#: Requests that may wait at once in one worker. Each is a task, some kilobytes: a slow judge must not
#: cost more memory than the connections themselves.
MAX_WAITING_REQUESTS = 10_000
#: Of one address: who asks without end, from some hundred connections with many streams each, leaves room
#: for others. All of an office, or behind a balancer, have it together.
MAX_WAITING_OF_ADDRESS = 5_000

#: The connection itself, among the message stream ids (0 is one) that requests are filed under.
WHOLE_CONNECTION = -1

class RequestBook:
    """One request at most for each message stream of a connection; a new one takes the old one back."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Connection, dict[int, asyncio.Task[None]]] = {}
        self._count = 0
        self._of_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._count

    def start(
        self, connection: Connection, stream_id: int, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> bool:
        """See to a request in a task of its own; False if too many wait already."""
        self.take_back(connection, stream_id)
        address = sender_of(connection.peer)
        is_full = self._count >= MAX_WAITING_REQUESTS
        if is_full or self._of_address[address] >= MAX_WAITING_OF_ADDRESS:
            return False
        task = self._loop.create_task(work())
        self._waiting.setdefault(connection, {})[stream_id] = task
        self._count += 1
        self._of_address[address] += 1
        task.add_done_callback(lambda done: self._done(connection, stream_id, done))
        return True

    def take_back(self, connection: Connection, stream_id: int) -> None:
        """The peer does not want it any more: the answer must not go to what it does next."""
        task = self._waiting.get(connection, {}).get(stream_id)
        if task is not None:
            self._remove(connection, stream_id)
            task.cancel()

    def take_back_all(self, connection: Connection) -> None:
        """The connection has ended."""
        for stream_id in list(self._waiting.get(connection, ())):
            self.take_back(connection, stream_id)

    async def close(self) -> None:
        """Cancel what still waits."""
        tasks = [task for of_connection in self._waiting.values() for task in of_connection.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _remove(self, connection: Connection, stream_id: int) -> None:
        of_connection = self._waiting[connection]
        del of_connection[stream_id]
        self._count -= 1
        address = sender_of(connection.peer)
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        if not of_connection:
            del self._waiting[connection]

    def _done(self, connection: Connection, stream_id: int, task: asyncio.Task[None]) -> None:
        if self._waiting.get(connection, {}).get(stream_id) is task:
            self._remove(connection, stream_id)
        if not task.cancelled() and task.exception() is not None:
            logger.error(
                "a request could not be carried out", exc_info=task.exception(),
                extra={"event": "request_failed", **connection.facts()},
            )  # fmt: skip
