"""What workers tell, made events of the queue: with an id and a number; and what is owed for them."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cluster.edge.events.lines import Told
from cluster.edge.events.queue import EventQueue, Waiting, WorkerState

#: How the end of what has begun is called.
_ENDS = {"stream.published": "stream.unpublished", "play.started": "play.stopped"}


class Outgoing(Protocol):
    """Where events go to be delivered."""

    def add(self, key: str, event: Waiting) -> None:
        """Append ``event`` to those of ``key``."""


class Intake:
    """Takes what workers tell. ``instance`` is the node's, ``clock`` says seconds since 1970."""

    def __init__(
        self, queue: EventQueue, outgoing: Outgoing, instance: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._queue = queue
        self._outgoing = outgoing
        self._clock = clock
        for worker, state in queue.workers().items():
            if state.instance != instance:  # the node has ended, and so have they
                self.worker_lost(worker)
                queue.forget_worker(worker)

    def unheard(self) -> list[str]:
        """The workers of this node that an earlier process has heard; they are to come back."""
        return list(self._queue.workers())

    def greet(self, worker: str, instance: str) -> None:
        """``worker`` is there, for the first time or again."""
        if self._queue.worker(worker) is None:
            self._queue.keep_worker(worker, WorkerState(instance, 0, 0))

    def take(self, worker: str, told: Told) -> None:
        """An event; one that has been told before is left out."""
        queue = self._queue
        state = queue.worker(worker)
        if state is None or told.number <= state.last:
            return
        queue.keep_worker(worker, state._replace(last=told.number))
        if told.closes is not None:
            if told.closes <= state.ended:
                return  # its end has been told when the worker was thought to be gone
            queue.close_session(worker, told.closes)
        self._add(f"{worker}-{told.number}", state.instance, told)
        if told.opens:
            began = {"type": told.type, "at": told.at, "data": told.data}
            queue.open_session(worker, told.number, told.key, began)

    def last(self, worker: str) -> int:
        """The number of the last event of ``worker``."""
        state = self._queue.worker(worker)
        return state.last if state is not None else 0

    def still_open(self, worker: str, numbers: list[int]) -> None:
        """These are the sessions of ``worker``: of others that are open here the end was lost."""
        self._end_sessions(worker, "events_lost", besides=set(numbers))

    def worker_lost(self, worker: str) -> None:
        """``worker`` says nothing any more: the ends of its sessions are owed."""
        self._end_sessions(worker, "worker_lost", besides=set())
        state = self._queue.worker(worker)
        if state is not None:
            self._queue.keep_worker(worker, state._replace(ended=state.last))

    def _end_sessions(self, worker: str, reason: str, besides: set[int]) -> None:
        state = self._queue.worker(worker)
        if state is None:
            return
        now = round(self._clock(), 3)
        for number, key, began in self._queue.sessions(worker):
            if number in besides:
                continue
            self._queue.close_session(worker, number)
            seconds = round(max(0.0, now - began["at"]), 3)
            data = {**began["data"], "reason": reason, "seconds": seconds}
            self._add(
                f"{worker}-{number}-end", state.instance, Told(0, _ENDS[began["type"]], now, key, data)
            )

    def _add(self, id: str, instance: str, told: Told) -> None:
        number = self._queue.next_number(instance, told.key, told.skipped)
        data: Mapping[str, Any] = {"key": told.key, **told.data, "instance": instance, "sequence": number}
        body = {"type": told.type, "timestamp": _spelled(told.at), "data": data}
        text = json.dumps(body, separators=(",", ":")).encode()
        self._outgoing.add(told.key, Waiting(f"evt_{id}", told.at, text))


def _spelled(at: float) -> str:
    """A moment as ISO 8601 has it, in UTC."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
