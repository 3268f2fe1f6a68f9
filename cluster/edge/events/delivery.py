"""Delivers what is in the queue: in order within each stream, many streams side by side.

The events of one stream key are a lane: one of them is on its way at a time, and the next goes when it has
arrived, or is given up. A lane whose event has failed waits, longer each time. A receiver that has failed
many times in a row is down: one event after the other is tried until one arrives; then all may go on.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from cluster.edge.events.queue import EventQueue, Waiting
from cluster.edge.events.receiver import Attempt, Outcome
from cluster.edge.events.start import EventCounts
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)
_dead = Complaints(logger, "events_dead")
_dropped = Complaints(logger, "events_dropped")

#: Events on their way at once.
MAX_ON_THE_WAY = 32
#: An event that has failed for so long is a dead letter.
EVENTS_GIVEN_UP_S = 24 * 3_600.0
#: Between attempts with one event: doubled each time, and half of it by chance.
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 30.0
#: Failures in a row, of whatever events, after which the receiver is down. One that fails half of the time
#: does so once in a million times.
DOWN_AFTER_FAILURES = 20
#: How often one that is down is tried.
LONGEST_PROBE_S = 5.0


class Telling(Protocol):
    """Who is told."""

    async def tell(self, event: Waiting) -> Attempt: ...


class Lane:
    """The events of one stream key that wait, by their rows in the queue."""

    __slots__ = ("failures", "is_on_its_way", "key", "rows")

    def __init__(self, key: str) -> None:
        self.key = key
        self.rows: deque[int] = deque()
        self.failures = 0
        self.is_on_its_way = False


class Health:
    """Whether the receiver answers, and when it may be asked. Times are of the loop."""

    def __init__(self) -> None:
        self._failures = 0
        self._wait_s = FIRST_WAIT_S
        self.not_before = 0.0

    @property
    def is_down(self) -> bool:
        return self._failures >= DOWN_AFTER_FAILURES

    def failed(self, attempt: Attempt, now: float) -> None:
        was_down = self.is_down
        self._failures += 1
        if self.is_down:
            self.not_before = max(self.not_before, now + self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_PROBE_S)
        if attempt.retry_after_s:
            self.not_before = max(self.not_before, now + attempt.retry_after_s)
        if self.is_down and not was_down:
            logger.warning(
                "the receiver of events is down: %(failures)d failures in a row (%(why)s)",
                {"failures": self._failures, "why": attempt.why}, extra={"event": "events_receiver_down"},
            )  # fmt: skip

    def answered(self) -> bool:
        """The receiver has taken an event; True if it was down."""
        was_down = self.is_down
        self._failures = 0
        self._wait_s = FIRST_WAIT_S
        self.not_before = 0.0
        return was_down


class Delivery:
    """Delivers to ``receiver`` until it is cancelled; ``kept``: events that may wait."""

    def __init__(
        self,
        queue: EventQueue,
        receiver: Telling,
        counts: EventCounts,
        kept: int,
        *,
        given_up_s: float = EVENTS_GIVEN_UP_S,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._receiver = receiver
        self._counts = counts
        self._kept = kept
        self._given_up_s = given_up_s
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        #: When each may go on, the row of its event, and the lane.
        self._later: list[tuple[float, int, Lane]] = []
        self._on_their_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._health = Health()
        self._is_disabled = False
        self._empty = asyncio.Event()
        self._empty.set()
        for row, key in queue.rows():
            self._append(key, row)
        self._pump()

    @property
    def waiting(self) -> int:
        return self._counts.events_waiting

    def add(self, key: str, event: Waiting) -> None:
        """Append ``event`` to those of ``key``. The oldest of all goes if there is no room."""
        if self._is_disabled:
            self._counts.events_dead += 1
            return
        if self.waiting >= self._kept:
            self._drop_oldest()
        self._append(key, self._queue.add(key, event))
        self._pump()

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Return once nothing waits, or after ``timeout_s``."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Deliver no more; what is on its way counts as not delivered."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._on_their_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- lanes -------------------------------------------------------------------------------

    def _append(self, key: str, row: int) -> None:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
            self._ready.append(lane)
        lane.rows.append(row)
        self._counts.events_waiting += 1
        self._empty.clear()

    def _drop_oldest(self) -> None:
        # One for each that may be on its way, and one that is not.
        for row, key in self._queue.rows(MAX_ON_THE_WAY + 1):
            lane = self._lanes[key]
            if lane.is_on_its_way and lane.rows[0] == row:
                continue
            lane.rows.remove(row)
            self._forget(row)
            self._counts.events_lost += 1
            _dropped.warn("too many events wait (--events-kept): the oldest are dropped")
            if not lane.rows:
                self._lanes.pop(key)  # it stays in the deque or heap, and is passed over
            return

    def _forget(self, row: int) -> None:
        self._queue.remove(row)
        self._changed()
        self._counts.events_waiting -= 1
        if not self.waiting:
            self._empty.set()

    # ---- turns -------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what may be sent now, and see to what may be later."""
        now = self._loop.time()
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        most = 1 if self._health.is_down else MAX_ON_THE_WAY
        while self._ready and len(self._on_their_way) < most and now >= self._health.not_before:
            lane = self._ready.popleft()
            if lane.rows and self._lanes.get(lane.key) is lane:
                self._begin(lane)
        self._set_timer(now, most)

    def _set_timer(self, now: float, most: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = [self._later[0][0]] if self._later else []
        if self._ready and len(self._on_their_way) < most:
            due = [self._health.not_before]
        if due and len(self._on_their_way) < most:
            at = max(min(due), self._health.not_before)
            self._timer = self._loop.call_at(max(at, now), self._pump)

    def _begin(self, lane: Lane) -> None:
        lane.is_on_its_way = True
        if lane.failures:
            self._counts.events_retried += 1
        task = self._loop.create_task(self._deliver(lane))
        self._on_their_way.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._on_their_way.discard(task)
        if not task.cancelled():
            task.result()
            self._pump()

    async def _deliver(self, lane: Lane) -> None:
        if self._is_disabled:
            return
        row = lane.rows[0]
        if not self._queue.is_kept(row):  # what somebody has seen must not be forgotten
            self._queue.commit()
        event = self._queue.event(row)
        attempt = await self._receiver.tell(event)
        lane.is_on_its_way = False
        if self._is_disabled:  # it was on its way while another got the answer: all has been given up
            return
        if attempt.outcome is Outcome.DELIVERED:
            self._counts.events_sent += 1
            self._over(lane, row)
            if self._health.answered():
                self._is_back()
        elif attempt.outcome is Outcome.GONE:
            self._disable(attempt)
        else:
            self._failed(lane, row, event, attempt)

    def _over(self, lane: Lane, row: int) -> None:
        """The first event of ``lane`` is done with."""
        lane.failures = 0
        lane.rows.popleft()
        self._forget(row)
        if lane.rows:
            self._ready.append(lane)
        elif self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _failed(self, lane: Lane, row: int, event: Waiting, attempt: Attempt) -> None:
        now = self._loop.time()
        self._health.failed(attempt, now)
        lane.failures += 1
        if time.time() - event.at >= self._given_up_s:
            self._counts.events_dead += 1
            _dead.warn(
                f"an event could not be delivered for {self._given_up_s:g} s and is given up; the latest "
                f"failure: {attempt.why}"
            )
            self._over(lane, row)
            return
        # Not more often than the float allows: a lane may fail for days.
        wait_s = min(FIRST_WAIT_S * 2 ** min(lane.failures - 1, 20), LONGEST_WAIT_S)
        heapq.heappush(self._later, (now + wait_s * random.uniform(0.5, 1.0), row, lane))

    def _is_back(self) -> None:
        """The receiver answers again. What has failed meanwhile was not the fault of the events."""
        logger.info(
            "the receiver of events answers again; %(waiting)d wait", {"waiting": self.waiting},
            extra={"event": "events_receiver_back"},
        )  # fmt: skip
        for _, _, lane in sorted(self._later, key=lambda each: each[1]):
            lane.failures = 0
            self._ready.append(lane)
        self._later.clear()

    def _disable(self, attempt: Attempt) -> None:
        """The receiver wants no more: nothing is sent until the node starts again."""
        self._is_disabled = True
        given_up = self.waiting
        logger.error(
            "the receiver of events has answered 410 Gone: no event is sent any more, and %(given_up)d "
            "that waited are given up; start the node again to try again",
            {"given_up": given_up}, extra={"event": "events_disabled"},
        )  # fmt: skip
        self._queue.clear()
        self._changed()
        self._counts.events_dead += given_up
        self._counts.events_waiting = 0
        self._lanes.clear()
        self._ready.clear()
        self._later.clear()
        self._empty.set()
