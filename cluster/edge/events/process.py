"""The process of a node that delivers events: ``python -m cluster.edge.events.process``.

It reads one line of JSON from stdin, an ``EventsStart``. Stdin then stays open for as long as the
supervisor lives. Its end, or SIGTERM, says that no worker will tell more: it delivers for a moment what
waits, and ends. So the ends of a node that was killed are told too. Any exception ends it at once: what is
in the queue stays, and workers tell the next process again what this one has not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, cast

from cluster.core.errors import EnvironmentFault
from cluster.edge.events.delivery import MAX_ON_THE_WAY, Delivery
from cluster.edge.events.intake import Intake
from cluster.edge.events.lines import LineReader, Told, line
from cluster.edge.events.queue import EventQueue
from cluster.edge.events.receiver import HttpReceiver
from cluster.edge.events.start import EventCounts, EventsStart
from cluster.process import usage
from cluster.process.event_loop import loop_factory
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import configure, lines_lost

#: By name: as a process of its own this module is "__main__".
logger = logging.getLogger("cluster.edge.events.process")

#: How long what waits may go on being delivered once the node has ended.
DRAIN_S = 5.0
#: When one whose supervisor is gone ends, whatever happens.
ORPHAN_ENDS_AFTER_S = 2 * DRAIN_S
#: Workers whose process before this one was killed come back within this, or have ended.
WORKERS_RETURN_S = 10.0
#: How long what has changed waits for more, to be kept by the file system together.
_COMMIT_S = 0.02
_BEAT_S = 0.5


class EventsProcess:
    """Hears workers at a socket, and delivers what they tell. ``is_orphaned`` is set when the supervisor is
    gone."""

    def __init__(self, start: EventsStart, queue: EventQueue, is_orphaned: threading.Event) -> None:
        self._start = start
        self._is_orphaned = is_orphaned
        self._is_over = False
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._counts = EventCounts()
        self._receiver = HttpReceiver(start.receiver, MAX_ON_THE_WAY)
        self._delivery = Delivery(queue, self._receiver, self._counts, start.kept, changed=self.changed)
        self.intake = Intake(queue, self._delivery, start.instance)
        self._hearings: set[_Hearing] = set()
        self._unheard = asyncio.Event()  # no worker is connected
        self._unheard.set()
        self._commit: asyncio.TimerHandle | None = None
        #: Workers that an earlier process has heard, and that have not come back.
        self._missing = set(self.intake.unheard())

    async def run(self) -> None:
        """Until SIGTERM, and as long as there is something to deliver, within a bound."""
        self._loop.set_exception_handler(_end_by)
        asked = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, asked.set)
        watch = (self._loop, asked, self._is_orphaned)
        threading.Thread(target=_watch_supervisor, args=watch, daemon=True).start()
        path = self._start.socket_path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of one that was killed
        server = await self._loop.create_unix_server(lambda: _Hearing(self), path)
        self._say({"ready": []})
        self._loop.call_later(WORKERS_RETURN_S, self._give_up_missing)
        beats = self._loop.create_task(self._beat())
        try:
            await asked.wait()
            await self._drain()
        finally:
            self._is_over = True
            beats.cancel()
            server.close()
            await self._delivery.close()
            await self._receiver.close()
            self._keep()
            self._say_what_is_left()
            self._say({"beat": self._numbers()})

    async def _drain(self) -> None:
        deadline = self._loop.time() + DRAIN_S
        with contextlib.suppress(TimeoutError):  # what the last ones have said is on its way
            await asyncio.wait_for(self._unheard.wait(), DRAIN_S)
        await self._delivery.wait_until_empty(max(0.0, deadline - self._loop.time()))

    def _say_what_is_left(self) -> None:
        left = self._counts.events_waiting
        if not left:
            return
        if self._start.is_durable:
            logger.info(
                "%(left)d events wait in the queue for the next start", {"left": left},
                extra={"event": "events_left"},
            )  # fmt: skip
            return
        self._counts.events_lost += left
        logger.warning(
            "%(left)d events could not be delivered before the end and are lost: --events-queue keeps them",
            {"left": left}, extra={"event": "events_lost_at_end"},
        )  # fmt: skip

    async def _beat(self) -> None:
        while True:
            self._say({"beat": self._numbers()})
            await asyncio.sleep(_BEAT_S)

    def _say(self, said: dict[str, object]) -> None:
        """Tell the supervisor: what is shorter than PIPE_BUF is written whole, or not at all."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._start.status_fd, json.dumps(said).encode() + b"\n")

    def _numbers(self) -> dict[str, float]:
        return {
            **asdict(self._counts), "log_lines_lost": lines_lost(),
            "process_cpu_seconds": usage.cpu_seconds(), "process_memory_bytes": usage.memory_bytes(),
        }  # fmt: skip

    # ---- workers -----------------------------------------------------------------------------

    def joined(self, hearing: _Hearing) -> None:
        self._hearings.add(hearing)
        self._unheard.clear()
        self._missing.discard(hearing.worker)

    def left(self, hearing: _Hearing) -> None:
        """The connection of a worker has ended, and so has the worker: it hangs up for nothing else."""
        self._hearings.discard(hearing)
        if self._is_over:
            return  # it is us who end: the next process hears from the worker
        if not self._hearings:
            self._unheard.set()
        if hearing.worker and not any(each.worker == hearing.worker for each in self._hearings):
            self.intake.worker_lost(hearing.worker)
            self.changed()

    def _give_up_missing(self) -> None:
        for worker in self._missing:
            self.intake.worker_lost(worker)
        self._missing.clear()
        self.changed()

    # ---- the queue ---------------------------------------------------------------------------

    def changed(self) -> None:
        """The queue has changed: it is kept in a moment, and workers are told so."""
        if self._commit is None:
            self._commit = self._loop.call_later(_COMMIT_S, self._keep)

    def _keep(self) -> None:
        if self._commit is not None:
            self._commit.cancel()
            self._commit = None
        self._queue.commit()
        for hearing in self._hearings:
            hearing.acknowledge(self.intake.last(hearing.worker))


class _Hearing(asyncio.Protocol):
    """The connection of one worker."""

    worker = ""

    def __init__(self, owner: EventsProcess) -> None:
        self._owner = owner
        self._reader = LineReader()
        self._acknowledged = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        intake = self._owner.intake
        for said in self._reader.read(data):
            if "worker" in said:
                self.worker = said["worker"]
                intake.greet(self.worker, said["instance"])
                self._owner.joined(self)
            elif "open" in said:
                intake.still_open(self.worker, said["open"])
            else:
                intake.take(self.worker, Told.read(said))
        self._owner.changed()

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.left(self)

    def acknowledge(self, number: int) -> None:
        """What the worker has told up to ``number`` is in the queue."""
        if self._transport is not None and number > self._acknowledged:
            self._acknowledged = number
            self._transport.write(line({"ack": number}))


def main() -> int:
    """Deliver events; the exit code."""
    stdin = sys.stdin.buffer
    start = EventsStart.from_line(stdin.readline())
    configure(*start.log)
    os.set_blocking(start.status_fd, False)
    try:
        queue = EventQueue(start.queue_file, is_durable=start.is_durable)
    except EnvironmentFault as fault:
        logger.error("%(fault)s", {"fault": str(fault)}, extra={"event": "events_queue_failed"})
        return ExitCode.ENVIRONMENT
    is_orphaned = threading.Event()
    with contextlib.closing(queue), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(start, queue, is_orphaned))
    if is_orphaned.is_set() and not start.is_durable:  # nobody else is left to do it
        shutil.rmtree(start.queue_file.parent, ignore_errors=True)
    return ExitCode.OK


async def _run(start: EventsStart, queue: EventQueue, is_orphaned: threading.Event) -> None:
    await EventsProcess(start, queue, is_orphaned).run()


def _watch_supervisor(
    loop: asyncio.AbstractEventLoop, asked: asyncio.Event, is_orphaned: threading.Event
) -> None:
    """The supervisor is gone when stdin ends: its workers end too, and what they owe is to be told."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    is_orphaned.set()
    with contextlib.suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(asked.set)
    time.sleep(ORPHAN_ENDS_AFTER_S)
    os._exit(ExitCode.ORPHANED)


def _end_by(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Something was not foreseen, such as a full disk: to go on could tell what is not so."""
    logger.error(
        "%(what)s: the process that delivers events ends",
        {"what": context["message"]}, exc_info=context.get("exception"), extra={"event": "events_failed"},
    )  # fmt: skip
    logging.shutdown()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
