"""The supervisor's part of the process that delivers events: starts it, hears it, ends it last."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.core.errors import EnvironmentFault
from cluster.edge.events.start import EventsStart, Receiver
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.status_pipe import Beat, StatusReader
from cluster.edge.node.worker_slot import Backoff, Timing, process_environment
from cluster.process.running import service_place

logger = logging.getLogger(__name__)

#: What it has from SIGTERM on: to deliver what waits (``events.process.DRAIN_S``), and to end.
ENDS_AFTER_S = 8.0


class EventsProcess:
    """Runs ``python -m cluster.edge.events.process``, again whenever it has ended, if ``tables`` name a
    receiver; else nothing.

    Its place, with its socket, is a directory of this user alone. ``tables``: as ``NodeShared.policy`` has
    them. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        config: EdgeConfig,
        instance: str,
        numbers: NodeNumbers,
        timing: Timing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receiver = _receiver_in(tables)
        self._config = config
        self._instance = instance
        self._numbers = numbers
        self._clock = clock
        self._backoff = Backoff(timing)
        #: None if nobody is told; this does nothing then.
        self._place: Path | None = None
        if self._receiver is not None:
            if config.events_queue is not None:
                _check_place(config.events_queue)
            self._place = Path(tempfile.mkdtemp(prefix="rtmp-cluster-", dir=service_place()))  # mode 0700
        self._process: subprocess.Popen[bytes] | None = None
        self._status: StatusReader | None = None
        self._started_at = 0.0
        self._start_at = clock()
        self._kill_at: float | None = None

    @property
    def address(self) -> str:
        """Where workers reach it; "" if nobody is told."""
        return "" if self._place is None else str(self._place / "e")

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def due(self) -> float:
        """When ``tick`` is to be called, whatever happens."""
        if self._process is None:
            return self._start_at if self._may_start else math.inf
        return math.inf if self._kill_at is None else self._kill_at

    def tick(self) -> None:
        """Start it if it is due, hear what it has counted, and bury it if it has ended."""
        process = self._process
        ended = process is not None and process.poll() is not None
        self._hear()
        if process is not None and ended:
            self._bury(process, is_asked=self._kill_at is not None)
        if self._process is None and self._may_start and self._clock() >= self._start_at:
            self._start()
        if self._process is not None and self._kill_at is not None and self._clock() >= self._kill_at:
            self._process.kill()

    def end(self, within_s: float = ENDS_AFTER_S) -> None:
        """No worker tells any more: deliver for a moment what waits, and end."""
        if self._kill_at is None and self._process is not None:
            self._process.send_signal(signal.SIGTERM)
        kill_at = self._clock() + within_s
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def kill(self) -> None:
        """End it now, and remove its place."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._release(self._process)
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    def changed(self, shared: NodeShared) -> None:
        """Another policy is in force. The next process goes on with the same queue."""
        receiver = _receiver_in(shared.policy)
        if receiver == self._receiver:
            return
        if receiver is None or self._place is None:
            logger.warning(
                "%(options)s: changed, which takes a restart; what was given at the start stays",
                {"options": "events in [hooks]"}, extra={"event": "needs_restart"},
            )  # fmt: skip
            return
        self._receiver = receiver
        self._start_at = self._clock()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._bury(self._process, is_asked=True)
            self._start_at = self._clock()

    # ---- the process -------------------------------------------------------------------------

    @property
    def _may_start(self) -> bool:
        return self._place is not None and self._kill_at is None

    def _start(self) -> None:
        assert self._receiver is not None
        assert self._place is not None
        config, queue = self._config, self._config.events_queue
        status_fd, process_fd = os.pipe()
        start = EventsStart(
            self._receiver, self.address, str((queue or self._place / "queue").absolute()),
            queue is not None, config.events_kept, self._instance, process_fd,
            (config.log_format, config.log_level),
        )  # fmt: skip
        try:
            self._process = _spawn(start)
        except OSError as error:
            os.close(status_fd)
            self._start_at = self._clock() + self._backoff.after(0.0)
            logger.error(
                "the process that delivers events cannot be started: %(error)s", {"error": str(error)},
                extra={"event": "events_not_started"},
            )  # fmt: skip
            return
        finally:
            os.close(process_fd)
        self._status = StatusReader(status_fd)
        self._started_at = self._clock()
        logger.info(
            "events are delivered by pid %(pid)d", {"pid": self._process.pid},
            extra={"event": "events_started"},
        )  # fmt: skip

    def _hear(self) -> None:
        for said in self._status.read() if self._status is not None else ():
            if isinstance(said, Beat):
                self._numbers.events_beat(said.numbers)

    def _bury(self, process: subprocess.Popen[bytes], *, is_asked: bool) -> None:
        self._release(process)
        self._numbers.events_ended()
        lived_s = round(self._clock() - self._started_at, 3)
        self._start_at = self._clock() + self._backoff.after(lived_s)
        logger.log(
            logging.INFO if is_asked else logging.WARNING,
            "the process that delivers events, pid %(pid)d, ended after %(lived_s).1f s (%(code)d)",
            {"pid": process.pid, "lived_s": lived_s, "code": process.returncode},
            extra={"event": "events_ended"},
        )

    def _release(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        if self._status is not None:
            self._status.close()
            self._status = None


def _receiver_in(tables: Mapping[str, Any]) -> Receiver | None:
    """Who is told, if anybody is."""
    if "hooks" not in tables:
        return None
    from cluster.edge.admission.hooks.settings import parse_hooks

    settings = parse_hooks(tables["hooks"])
    return Receiver(settings.events, settings.events_secrets) if settings.events else None


def _check_place(queue: Path) -> None:
    """Here, so that a bad one ends nothing but this command."""
    if queue.is_dir() or not os.access(queue if queue.exists() else queue.absolute().parent, os.W_OK):
        raise EnvironmentFault(f"cannot write {queue}, the queue of events (--events-queue)")


def _spawn(start: EventsStart) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cluster.edge.events.process"],
        stdin=subprocess.PIPE,
        bufsize=0,
        pass_fds=(start.status_fd,),
        env=process_environment(),
        process_group=0,  # as a worker's
    )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(start.to_line())
    return process
