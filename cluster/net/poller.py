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
from time import monotonic

from cluster.net.latency_budget import LatencyBudget
from cluster.net.wake_ups import WakeUps

#: A leisurely socket is read this often. What is lost meanwhile is that much of a joiner's newest media
#: (it follows in the next turn), and as long until a command of such a peer is seen.
LEISURE_S = 0.5
#: Leisurely sockets read in one turn, so that many of them are spread over LEISURE_S and delay nobody.
LEISURELY_PER_TURN = 4

#: A turn in which somebody makes much work ends after so long; those not looked at come first in the next.
TURN_S = 0.005
#: Sockets looked at in one go: the clock is read after each.
EVENTS_AT_ONCE = 16
#: The same for strangers, and for those whose reading was put off.
STRANGERS_TURN_S = 0.002
#: Strangers looked at in one go. The kernel puts those it has told of behind the others, so each gets its
#: turn.
STRANGERS_AT_ONCE = 8

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
    #: After all others have had their turn, and for STRANGERS_TURN_S at a time: for sockets of peers that
    #: neither send nor want media so far, which others must not have to wait for.
    STRANGER = "stranger"


@dataclass(slots=True)
class _Pause:
    """A socket that is not read until ``timer`` is due, if any; ``pace`` is what it has then."""

    pace: Pace
    timer: asyncio.TimerHandle | None = None


class Poller:
    """Readiness of non-blocking sockets, each with one handler that is given the epoll event mask."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        budget: LatencyBudget,
        before_turn: Callable[[], None],
        after_turn: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._before_turn = before_turn
        self._after_turn = after_turn
        self._handlers: dict[int, Handler] = {}
        self._prompt = select.epoll()
        self._deferred = select.epoll()
        self._strangers = select.epoll()
        self._paces: dict[int, Pace] = {}  # of those that are not prompt
        self._writing: set[int] = set()
        self._paused: dict[int, _Pause] = {}
        #: Those whose pause is over, the longest first.
        self._late: dict[int, Callable[[], None]] = {}
        self._late_turn_planned = False
        #: By epoll set: the turn for what the last one had no time for.
        self._planned: dict[select.epoll, asyncio.Handle] = {}
        self._leisurely: dict[int, None] = {}  # the one to be read next comes first
        self._leisure: asyncio.TimerHandle | None = None
        self._wake_ups = WakeUps(loop, self._prompt.fileno(), self._prompt_turn)
        self._strange_wake_ups = WakeUps(loop, self._strangers.fileno(), self._strangers_turn)
        self._budget = budget
        self._deferred_wake_ups = WakeUps(loop, self._deferred.fileno(), self._deferred_turn, budget)

    def register(self, fd: int, handler: Handler, pace: Pace = Pace.PROMPT) -> None:
        """Call ``handler`` when ``fd`` is readable."""
        self._handlers[fd] = handler
        self._prompt.register(fd, READABLE)
        self.set_pace(fd, pace)

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

        Even 0 seconds let all others have their turn first.

        That the peer has closed is not noticed meanwhile, unless bytes wait to be written to it.
        """
        pace = self._paces.get(fd, Pace.PROMPT)
        self.set_pace(fd, Pace.PROMPT)
        before = self._prompt_mask(fd)
        pause = self._paused[fd] = _Pause(pace)
        self._change_prompt(fd, before)
        if seconds:
            pause.timer = self._loop.call_later(seconds, self._pause_over, fd, resume)
        else:
            self._pause_over(fd, resume)

    def is_paused(self, fd: int) -> bool:
        return fd in self._paused

    def _pause_over(self, fd: int, resume: Callable[[], None]) -> None:
        self._late[fd] = resume
        if not self._late_turn_planned:
            self._late_turn_planned = True
            self._loop.call_soon(self._late_turn)

    def _late_turn(self) -> None:
        """Those whose pause is over, one after the other, until their time is over."""
        self._late_turn_planned = False
        self._before_turn()
        began = monotonic()
        until = began + STRANGERS_TURN_S
        while self._late:
            fd = next(iter(self._late))
            self._resume(fd, self._late.pop(fd))
            if monotonic() >= until:
                break
        self._after_turn()
        self._budget.served_aside(monotonic() - began)
        if self._late and not self._late_turn_planned:
            self._late_turn_planned = True
            self._loop.call_soon(self._late_turn)

    def _resume(self, fd: int, resume: Callable[[], None]) -> None:
        before = self._prompt_mask(fd)
        pause = self._paused.pop(fd)
        self._change_prompt(fd, before)
        self.set_pace(fd, pause.pace)
        resume()

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
        before = self._paces.pop(fd, Pace.PROMPT)
        if pace is not Pace.PROMPT:
            self._paces[fd] = pace
        if pace is before:
            return
        stood, stands = self._set_of(before), self._set_of(pace)
        if stood is not stands:
            stood.unregister(fd)
            stands.register(fd, READABLE)
        if before is Pace.LEISURELY:
            del self._leisurely[fd]
        if pace is Pace.LEISURELY:
            self._leisurely[fd] = None
            if self._leisure is None:
                self._plan_leisure()

    def _set_of(self, pace: Pace) -> select.epoll:
        """The epoll set in which sockets of this pace stand."""
        if pace is Pace.BUDGETED:
            return self._deferred
        return self._strangers if pace is Pace.STRANGER else self._prompt

    def unregister(self, fd: int) -> None:
        """Forget ``fd``; to be called before it is closed."""
        self.set_pace(fd, Pace.PROMPT)
        del self._handlers[fd]
        if self._prompt_mask(fd):
            self._prompt.unregister(fd)
        self._writing.discard(fd)
        pause = self._paused.pop(fd, None)
        if pause is not None and pause.timer is not None:
            pause.timer.cancel()
        self._late.pop(fd, None)

    def close(self) -> None:
        self._wake_ups.close()
        self._strange_wake_ups.close()
        self._deferred_wake_ups.close()
        self._late.clear()
        pauses = (pause.timer for pause in self._paused.values())
        for timer in (self._leisure, *self._planned.values(), *pauses):
            if timer is not None:
                timer.cancel()
        self._prompt.close()
        self._strangers.close()
        self._deferred.close()

    def _turn(self, ready: select.epoll, turn_s: float, at_once: int) -> int:
        """Serve what is ready, until the time is over; how many sockets that was.

        What is left is served when others have had their turn, whatever moderates the wake-ups for it;
        strangers wait for theirs. The kernel puts the sockets it has told of behind the others, so those
        left come first.
        """
        planned = self._planned.pop(ready, None)
        if planned is not None:
            planned.cancel()
        self._before_turn()
        handlers = self._handlers
        served = 0
        until = monotonic() + turn_s
        while True:
            events = ready.poll(0, at_once)
            for fd, mask in events:
                handler = handlers.get(fd)  # one handler of this turn may have closed another's socket
                if handler is not None:
                    handler(mask)
            served += len(events)
            if len(events) < at_once:
                break
            if monotonic() >= until:
                if ready is not self._strangers:
                    self._planned[ready] = self._loop.call_soon(self._turn, ready, turn_s, at_once)
                break
        self._after_turn()
        return served

    def _prompt_turn(self) -> int:
        return self._turn(self._prompt, TURN_S, EVENTS_AT_ONCE)

    def _strangers_turn(self) -> int:
        began = monotonic()
        served = self._turn(self._strangers, STRANGERS_TURN_S, STRANGERS_AT_ONCE)
        self._budget.served_aside(monotonic() - began)
        return served

    def _deferred_turn(self) -> int:
        return self._turn(self._deferred, TURN_S, EVENTS_AT_ONCE)

    def _plan_leisure(self) -> None:
        """The next of the turns that together come round to each leisurely socket in LEISURE_S."""
        turns = -(-len(self._leisurely) // LEISURELY_PER_TURN)
        self._leisure = self._loop.call_later(LEISURE_S / turns, self._leisure_turn)

    def _leisure_turn(self) -> None:
        self._leisure = None
        began = monotonic()
        self._before_turn()
        for fd in list(islice(self._leisurely, LEISURELY_PER_TURN)):
            if fd in self._leisurely:  # the handler of another may have changed that
                self._leisurely[fd] = self._leisurely.pop(fd)
                self._handlers[fd](READABLE)
        self._after_turn()
        self._budget.served_aside(monotonic() - began)
        if self._leisurely and self._leisure is None:
            self._plan_leisure()
