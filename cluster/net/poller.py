"""Waits for RTMP sockets: one wake-up of the event loop serves every socket that is ready.

The sockets stand in an epoll set of their own, which the asyncio loop watches as a single file
descriptor. A turn calls ``before_turn``, serves all that are ready and then calls ``after_turn`` once,
so messages that arrived together leave together. Each socket has a pace: those that only carry media
may be looked at once per latency budget, which makes reads and writes fewer and larger, and those whose
media nobody waits for twice a second. A budget begins with the first message that waits for a turn, so
that it is made the most of, and while nothing comes nothing is looked at.
"""

from __future__ import annotations

import asyncio
import enum
import select
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from cluster.net.wake_ups import WakeUps

#: Sockets served before the loop gets a chance to run timers and the bus: bounds one turn's length.
MAX_EVENTS_PER_TURN = 512

#: A leisurely socket is read this often. What is lost meanwhile is that much of a joiner's newest media
#: (it follows in the next turn), and as long until a command of such a peer is seen.
LEISURE_S = 0.5
#: Leisurely sockets read in one turn, so that many of them are spread over LEISURE_S and delay nobody.
LEISURELY_PER_TURN = 4

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

Handler = Callable[[int], None]


class Pace(enum.Enum):
    """How soon a socket is served once it is readable."""

    PROMPT = "at once"
    #: Once per latency budget; at a budget of 0, at once.
    BUDGETED = "budgeted"
    #: Every LEISURE_S, and at once if it counts as readable before that: it is for sockets whose
    #: low-water mark (SO_RCVLOWAT) lets only much data, or the end, count.
    LEISURELY = "leisurely"


@dataclass(slots=True)
class _Pause:
    """A socket that is not read until ``timer`` is due; ``pace`` is what it has then."""

    pace: Pace
    timer: asyncio.TimerHandle


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
        self._paces: dict[int, Pace] = {}  # of those that are not prompt
        self._writing: set[int] = set()
        self._paused: dict[int, _Pause] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._leisurely: dict[int, None] = {}  # the one to be read next comes first
        self._leisure: asyncio.TimerHandle | None = None
        self._wake_ups = WakeUps(loop, self._prompt.fileno(), lambda: self._turn(self._prompt))
        if self._deferred is not None:
            loop.add_reader(self._deferred.fileno(), self._deferred_woken)

    def register(self, fd: int, handler: Handler) -> None:
        """Call ``handler`` when ``fd`` is readable."""
        self._handlers[fd] = handler
        self._prompt.register(fd, READABLE)

    def want_write(self, fd: int, wanted: bool) -> None:
        """Call the handler of ``fd`` also when it takes bytes again; such a socket is always prompt."""
        self.set_pace(fd, Pace.PROMPT)
        before = self._prompt_mask(fd)
        if wanted:
            self._writing.add(fd)
        else:
            self._writing.discard(fd)
        self._change_prompt(fd, before)

    def pause(self, fd: int, seconds: float, resume: Callable[[], None]) -> None:
        """Do not read ``fd`` for ``seconds``, then call ``resume`` in a turn. It must not be paused yet.

        That the peer has closed is not noticed meanwhile, unless bytes wait to be written to it.
        """
        pace = self._paces.get(fd, Pace.PROMPT)
        self.set_pace(fd, Pace.PROMPT)
        before = self._prompt_mask(fd)
        self._paused[fd] = _Pause(pace, self._loop.call_later(seconds, self._resume, fd, resume))
        self._change_prompt(fd, before)

    def is_paused(self, fd: int) -> bool:
        return fd in self._paused

    def _resume(self, fd: int, resume: Callable[[], None]) -> None:
        self._before_turn()
        before = self._prompt_mask(fd)
        pause = self._paused.pop(fd)
        self._change_prompt(fd, before)
        self.set_pace(fd, pause.pace)
        resume()
        self._after_turn()

    def _prompt_mask(self, fd: int) -> int:
        """What a prompt socket is looked at for."""
        return (0 if fd in self._paused else READABLE) | (WRITABLE if fd in self._writing else 0)

    def _change_prompt(self, fd: int, before: int) -> None:
        """Tell epoll what the mask of ``fd`` is now; it was ``before``.

        One that is registered for nothing would still tell of a broken connection, again and again.
        """
        mask = self._prompt_mask(fd)
        if mask == before:
            return
        if not before:
            self._prompt.register(fd, mask)
        elif mask:
            self._prompt.modify(fd, mask)
        else:
            self._prompt.unregister(fd)

    def set_pace(self, fd: int, pace: Pace) -> None:
        """Serve ``fd`` at this pace from now on, or once it is no longer paused."""
        if fd in self._paused:
            self._paused[fd].pace = pace
            return
        if pace is Pace.BUDGETED and self._deferred is None:
            pace = Pace.PROMPT
        before = self._paces.pop(fd, Pace.PROMPT)
        if pace is not Pace.PROMPT:
            self._paces[fd] = pace
        if pace is before:
            return
        if before is Pace.BUDGETED:
            self._undefer(fd)
        elif before is Pace.LEISURELY:
            del self._leisurely[fd]
        if pace is Pace.BUDGETED:
            self._defer(fd)
        elif pace is Pace.LEISURELY:
            self._leisurely[fd] = None
            if self._leisure is None:
                self._plan_leisure()

    def _defer(self, fd: int) -> None:
        assert self._deferred is not None
        self._prompt.unregister(fd)
        self._deferred.register(fd, READABLE)

    def _undefer(self, fd: int) -> None:
        assert self._deferred is not None
        self._deferred.unregister(fd)
        self._prompt.register(fd, READABLE)

    def unregister(self, fd: int) -> None:
        """Forget ``fd``; to be called before it is closed."""
        self.set_pace(fd, Pace.PROMPT)
        del self._handlers[fd]
        if self._prompt_mask(fd):
            self._prompt.unregister(fd)
        self._writing.discard(fd)
        pause = self._paused.pop(fd, None)
        if pause is not None:
            pause.timer.cancel()

    def close(self) -> None:
        self._wake_ups.close()
        for timer in (self._tick, self._leisure, *(pause.timer for pause in self._paused.values())):
            if timer is not None:
                timer.cancel()
        self._prompt.close()
        if self._deferred is not None:
            self._loop.remove_reader(self._deferred.fileno())
            self._deferred.close()

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

    def _deferred_woken(self) -> None:
        """A deferred socket is readable: it waits for the latency budget, and others are served with it."""
        assert self._deferred is not None
        self._loop.remove_reader(self._deferred.fileno())
        self._tick = self._loop.call_later(self._budget_s, self._deferred_turn)

    def _deferred_turn(self) -> None:
        assert self._deferred is not None
        # First, so that an error in a handler cannot end the turns.
        self._loop.add_reader(self._deferred.fileno(), self._deferred_woken)
        self._turn(self._deferred)

    def _plan_leisure(self) -> None:
        """The next of the turns that together come round to each leisurely socket in LEISURE_S."""
        turns = -(-len(self._leisurely) // LEISURELY_PER_TURN)
        self._leisure = self._loop.call_later(LEISURE_S / turns, self._leisure_turn)

    def _leisure_turn(self) -> None:
        self._leisure = None
        self._before_turn()
        for fd in list(islice(self._leisurely, LEISURELY_PER_TURN)):
            if fd in self._leisurely:  # the handler of another may have changed that
                self._leisurely[fd] = self._leisurely.pop(fd)
                self._handlers[fd](READABLE)
        self._after_turn()
        if self._leisurely and self._leisure is None:
            self._plan_leisure()
