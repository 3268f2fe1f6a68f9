"""One epoll loop with microsecond timers, for thousands of connections: no tasks, no futures."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Protocol

#: Sockets looked at before timers get their turn again.
_EVENTS_PER_POLL = 64

#: Called with the moment it was due and the present one; returns when it is due next, None: never again.
Timer = Callable[[int, int], int | None]


class Reader(Protocol):
    """What a loop tells about a file descriptor."""

    def on_event(self, events: int) -> None: ...


class Loop:
    """Moments are nanoseconds of CLOCK_MONOTONIC, the same in all processes of a host. To be closed."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        #: (due, order, timer): order keeps the heap from ever comparing timers.
        self._due: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def close(self) -> None:
        self._epoll.close()

    def watch(self, fd: int, reader: Reader, events: int) -> None:
        """Tell ``reader`` of these events (``select.EPOLLIN``, ``EPOLLOUT``), level-triggered."""
        if fd in self._readers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._readers[fd] = reader

    def unwatch(self, fd: int) -> None:
        """Stop watching ``fd``; call this before the descriptor is closed."""
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, due_ns: int, timer: Timer) -> None:
        heapq.heappush(self._due, (due_ns, next(self._order), timer))

    def stop(self) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until ``stop`` is called."""
        epoll, readers, due = self._epoll, self._readers, self._due
        epoll_fd = [epoll.fileno()]
        clock = time.monotonic_ns
        while not self._stopped:
            now = clock()
            while due and due[0][0] <= now:
                due_ns, order, timer = heapq.heappop(due)
                again_ns = timer(due_ns, now)
                if again_ns is not None:
                    heapq.heappush(due, (again_ns, order, timer))
                now = clock()
            events = epoll.poll(0, _EVENTS_PER_POLL)
            if not events:
                # select waits for microseconds where epoll_wait waits for milliseconds.
                wait_ns = due[0][0] - clock() if due else 1_000_000_000
                select.select(epoll_fd, (), (), max(0, wait_ns) / 1e9)
                continue
            for fd, what in events:
                reader = readers.get(fd)
                if reader is not None:  # closed by what stood before it
                    reader.on_event(what)
