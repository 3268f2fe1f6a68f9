"""Waits for RTMP sockets: one wake-up of the event loop serves every socket that is ready.

The sockets stand in an epoll set of their own, which the asyncio loop watches as a single file
descriptor. A turn calls ``before_turn``, serves all that are ready and then calls ``after_turn`` once,
so messages that arrived together leave together. Sockets that only carry media may be deferred: they
are looked at once per latency budget, which makes reads and writes fewer and larger.

A worker that is woken thousands of times a second, each time for one message, spends more on waking
than on serving. It then rests a millisecond between turns, as network cards moderate their interrupts:
the next turn serves what has come meanwhile.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from time import monotonic

#: Sockets served before the loop gets a chance to run timers and the bus: bounds one turn's length.
MAX_EVENTS_PER_TURN = 512

#: A turn that begins this soon after the last one ended is hasty.
HASTE_S = 0.0005
#: After so many hasty turns in a row the poller rests between turns.
HASTY_TURNS = 32
#: How long it rests: what a message may wait at most, on a worker that busy.
REST_S = 0.001

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

Handler = Callable[[int], None]


class Poller:
    """Readiness of non-blocking sockets, each with one handler that is given the epoll event mask."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        budget_s: float,
        before_turn: Callable[[], None],
        after_turn: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._budget_s = budget_s
        self._before_turn = before_turn
        self._after_turn = after_turn
        self._handlers: dict[int, Handler] = {}
        self._prompt = select.epoll()
        self._deferred = select.epoll() if budget_s > 0 else None
        self._deferred_fds: set[int] = set()
        self._tick: asyncio.TimerHandle | None = None
        self._hasty_turns = 0
        self._turn_ended_at = 0.0
        self._rest: asyncio.TimerHandle | None = None
        loop.add_reader(self._prompt.fileno(), self._woken)

    def register(self, fd: int, handler: Handler) -> None:
        """Call ``handler`` when ``fd`` is readable."""
        self._handlers[fd] = handler
        self._prompt.register(fd, READABLE)

    def want_write(self, fd: int, wanted: bool) -> None:
        """Also call its handler when ``fd`` takes bytes again; such a socket is never deferred."""
        self.defer(fd, False)
        self._prompt.modify(fd, READABLE | WRITABLE if wanted else READABLE)

    def defer(self, fd: int, deferred: bool) -> None:
        """Look at ``fd`` once per latency budget only (no difference at a budget of 0)."""
        if self._deferred is None or deferred == (fd in self._deferred_fds):
            return
        if deferred:
            self._prompt.unregister(fd)
            self._deferred.register(fd, READABLE)
            self._deferred_fds.add(fd)
            if self._tick is None:
                self._tick = self._loop.call_later(self._budget_s, self._deferred_turn)
        else:
            self._deferred.unregister(fd)
            self._deferred_fds.discard(fd)
            self._prompt.register(fd, READABLE)

    def unregister(self, fd: int) -> None:
        """Forget ``fd``; to be called before it is closed."""
        self.defer(fd, False)
        del self._handlers[fd]
        self._prompt.unregister(fd)

    def close(self) -> None:
        self._loop.remove_reader(self._prompt.fileno())
        for timer in (self._tick, self._rest):
            if timer is not None:
                timer.cancel()
        self._prompt.close()
        if self._deferred is not None:
            self._deferred.close()

    def _woken(self) -> None:
        hasty = monotonic() - self._turn_ended_at < HASTE_S
        self._turn(self._prompt)
        self._turn_ended_at = monotonic()
        if not hasty:
            self._hasty_turns = 0
            return
        self._hasty_turns += 1
        if self._hasty_turns >= HASTY_TURNS:
            self._loop.remove_reader(self._prompt.fileno())
            self._rest = self._loop.call_later(REST_S, self._rested)

    def _rested(self) -> None:
        served = self._turn(self._prompt)
        if served > 1:
            self._rest = self._loop.call_later(REST_S, self._rested)
        else:  # it would have been served at once just as well
            self._rest = None
            self._hasty_turns = 0
            self._loop.add_reader(self._prompt.fileno(), self._woken)

    def _turn(self, ready: select.epoll) -> int:
        """Serve what is ready; how many sockets that was."""
        self._before_turn()
        handlers = self._handlers
        events = ready.poll(0, MAX_EVENTS_PER_TURN)
        for fd, mask in events:
            handler = handlers.get(fd)  # one handler of this turn may have closed another's socket
            if handler is not None:
                handler(mask)
        self._after_turn()
        return len(events)

    def _deferred_turn(self) -> None:
        assert self._deferred is not None
        self._tick = None
        if self._deferred_fds:
            self._tick = self._loop.call_later(self._budget_s, self._deferred_turn)
        self._turn(self._deferred)
