"""One worker slot of a node: the process that is in it now, and when the next one may start."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import MisuseError
from cluster.edge.node.config import OPTIONS, EdgeConfig
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.orders import OrderPipe
from cluster.edge.node.status_pipe import Ready, Said, StatusReader
from cluster.edge.node.worker_process import WORKER_CLASS, WorkerStart
from cluster.net.listener import bound_socket
from cluster.process.exit_codes import ExitCode

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """The supervisor's times, in seconds."""

    #: A worker beats every 0.5 s; a loop that did not turn for this long serves nobody.
    heartbeat_timeout_s: float = 10.0
    #: Two beats that have not come: until it is heard again, its siblings get the new connections.
    silence_s: float = 1.25
    #: From the start of the process to ``ready``: imports on a busy machine.
    boot_timeout_s: float = 30.0
    #: A worker that lived this long is restarted at once, whatever happened before.
    stable_after_s: float = 10.0
    first_delay_s: float = 0.25
    longest_delay_s: float = 5.0
    #: What a worker gets beyond the drain timeout to close its sockets and exit.
    drain_margin_s: float = 2.0
    #: To prepare a new policy: a loop that has not turned for this long is not well.
    prepare_s: float = 5.0
    #: Failures to boot in a row after which a slot stays empty.
    boot_attempts: int = 5


class Backoff:
    """How long to wait before the next start: not at all, then 0.25 s, doubling up to a bound."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._delay_s = 0.0

    def after(self, lived_s: float) -> float:
        """The wait after a process that lived for ``lived_s``."""
        if lived_s >= self._timing.stable_after_s:
            self._delay_s = 0.0
        delay_s = self._delay_s
        self._delay_s = min(max(self._timing.first_delay_s, delay_s * 2), self._timing.longest_delay_s)
        return delay_s


class SlotState(enum.Enum):
    """Where a slot stands."""

    STARTING = "starting"  # a process runs and is not ready yet
    READY = "ready"  # a process accepts connections
    WAITING = "waiting"  # no process; the next one starts at ``restart_at``
    EMPTY = "empty"  # no process, and none will be started


class WorkerSlot:
    """Starts, hears and ends the processes of one slot.

    ``instance`` is the node's, see ``WorkerIdentity``; ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        slot: int,
        config: EdgeConfig,
        *,
        instance: str,
        timing: Timing,
        own_router: str | None = None,
        worker_class: str = WORKER_CLASS,
        shared: NodeShared | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slot = slot
        self.state = SlotState.EMPTY
        self.restart_at = 0.0
        self._config = config
        self._instance = instance
        self._timing = timing
        self._own_router = own_router
        self._worker_class = worker_class
        #: Handed to the next process.
        self.shared = shared or NodeShared()
        self._clock = clock
        self._backoff = Backoff(timing)
        self._process: subprocess.Popen[bytes] | None = None
        self._status: StatusReader | None = None
        self._orders: OrderPipe | None = None
        #: What the worker listens on. Held here too, so that it can be shut down while the worker is stuck.
        self._bound: list[socket.socket] = []
        self._shunned = False
        self._started_at = 0.0
        self._heard_at = 0.0
        self._incarnation = 0
        self._boot_failures = 0
        self._was_ready = False

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def is_silent(self) -> bool:
        """The worker should accept connections, but has missed its beats."""
        return (
            self.state is SlotState.READY and self._clock() - self._heard_at >= self._timing.silence_s
        )

    def start(self) -> StatusReader | None:
        """Start the next incarnation; the reader on which it reports. None if the host has no memory,
        process or file left for it, which must not end the workers that run: it is tried again.
        """
        try:
            return self._start()
        except OSError as error:
            self.state = SlotState.WAITING
            self.restart_at = self._clock() + self._backoff.after(0.0)
            logger.error(
                "worker %(slot)d cannot be started: %(error)s", {"slot": self.slot, "error": str(error)},
                extra={"event": "worker_not_started"},
            )  # fmt: skip
            return None

    def _start(self) -> StatusReader:
        self._incarnation += 1
        identity = WorkerIdentity(self._config.node_name, self._instance, self.slot, self._incarnation)
        config = self._config
        status_fd, worker_fd = os.pipe()
        try:
            for address in config.addresses:
                self._bound.append(bound_socket(*address, config.unacknowledged_s))
            bound_fds = [bound.fileno() for bound in self._bound]
            start = WorkerStart(
                config, identity, worker_fd, self._worker_class, self._own_router, bound_fds, self.shared
            )
            self._process, self._orders = _spawn(start)
        except OSError:
            os.close(status_fd)
            self._close_bound()
            raise
        finally:
            os.close(worker_fd)
        self._status = StatusReader(status_fd)
        self.state = SlotState.STARTING
        self._started_at = self._heard_at = self._clock()
        logger.info(
            "worker %(slot)d started pid %(pid)d",
            {"slot": self.slot, "pid": self._process.pid, "incarnation": self._incarnation},
            extra={"event": "worker_started"},
        )
        return self._status

    def hear(self) -> list[Said]:
        """Read what the process has said."""
        heard: list[Said] = []
        for said in self._status.read() if self._status is not None else ():
            self._heard_at = self._clock()
            self._shunned = False  # it listens again by itself
            if isinstance(said, Ready):
                self._became_ready()
            heard.append(said)
        return heard

    def _became_ready(self) -> None:
        self.state = SlotState.READY
        self._was_ready = True
        self._boot_failures = 0
        logger.info(
            "worker %(slot)d ready after %(after_s).2f s",
            {"slot": self.slot, "after_s": round(self._clock() - self._started_at, 3)},
            extra={"event": "worker_ready"},
        )

    def silent_until(self) -> float:
        """When the process counts as stuck if it says nothing until then."""
        timing = self._timing
        booting = self.state is SlotState.STARTING
        return self._heard_at + (timing.boot_timeout_s if booting else timing.heartbeat_timeout_s)

    def excuse(self, silent_s: float) -> None:
        """Do not count so much of its silence: nobody was there to hear it."""
        self._heard_at += silent_s

    def shun(self) -> bool:
        """Let the kernel deal new connections to other workers until this one is heard again; False if it
        does so already. Those that wait to be accepted are reset, or moved to others if the host is set so
        (``net.ipv4.tcp_migrate_req``)."""
        if self._shunned:
            return False
        self._shunned = True
        for bound in self._bound:
            with contextlib.suppress(OSError):  # the worker has closed it: it drains
                bound.shutdown(socket.SHUT_RD)
        logger.warning(
            "worker %(slot)d is silent for %(silent_s).1f s: new connections go to the others",
            {"slot": self.slot, "silent_s": round(self._clock() - self._heard_at, 1)},
            extra={"event": "worker_silent"},
        )
        return True

    def kill_if_stuck(self) -> None:
        """End a process that has been silent for too long; its exit is then seen as any other."""
        if self._process is None or self._clock() < self.silent_until():
            return
        silent_s = round(self._clock() - self._heard_at, 1)
        logger.error(
            "worker %(slot)d pid %(pid)d is stuck: silent for %(silent_s).1f s; killing it",
            {"slot": self.slot, "pid": self._process.pid, "silent_s": silent_s},
            extra={"event": "worker_stuck"},
        )
        self.send(signal.SIGKILL)
        self._heard_at = self._clock()

    def send(self, number: signal.Signals) -> None:
        """Signal the process, if there is one."""
        if self._process is not None:
            self._process.send_signal(number)

    def say(self, line: bytes) -> None:
        """Tell the process an order, if there is one. Never waits: see ``behind``."""
        if self._orders is not None:
            self._orders.say(line)

    def behind(self) -> OrderPipe | None:
        """The pipe that has not taken all that was said, once what it can take has been tried."""
        if self._orders is not None and self._orders.is_behind:
            self._orders.flush()
            return self._orders if self._orders.is_behind else None
        return None

    def exit_code(self) -> int | None:
        """The code the process has ended with (negative: by that signal); None while it runs."""
        return self._process.poll() if self._process is not None else None

    def bury(self, *, restart: bool) -> None:
        """The process has ended: release what it held, and decide when the next one starts."""
        process = self._release()
        code = process.returncode
        lived_s = round(self._clock() - self._started_at, 3)
        logger.log(
            logging.WARNING if restart else logging.INFO,
            "worker %(slot)d pid %(pid)d ended after %(lived_s).1f s: %(how)s",
            {"slot": self.slot, "pid": process.pid, "lived_s": lived_s, "how": _how(code), "code": code},
            extra={"event": "worker_ended"},
        )
        if restart and self._may_boot_again(code):
            self.state = SlotState.WAITING
            self.restart_at = self._clock() + self._backoff.after(lived_s)

    def cancel_restart(self) -> None:
        """Start no other process in this slot."""
        if self.state is SlotState.WAITING:
            self.state = SlotState.EMPTY

    def kill(self) -> None:
        """End the process, if there is one, now and without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._release()

    def _release(self) -> subprocess.Popen[bytes]:
        process, status = self._process, self._status
        if process is None or process.stdin is None or status is None:
            raise MisuseError("there is no process in this slot")
        status.close()
        process.stdin.close()
        self._close_bound()
        self._process = self._status = self._orders = None
        self.state = SlotState.EMPTY
        return process

    def _close_bound(self) -> None:
        for bound in self._bound:
            bound.close()
        self._bound.clear()

    def _may_boot_again(self, code: int) -> bool:
        """A worker that has never been ready will not boot the next time either; one that has been
        may, after a few attempts: an upgrade in place takes a moment."""
        if code != ExitCode.WORKER_BOOT:
            return True
        self._boot_failures += 1
        if self._was_ready and self._boot_failures < self._timing.boot_attempts:
            return True
        logger.error(
            "worker %(slot)d cannot boot; it is not started again", {"slot": self.slot},
            extra={"event": "worker_given_up"},
        )  # fmt: skip
        return False


def _spawn(start: WorkerStart) -> tuple[subprocess.Popen[bytes], OrderPipe]:
    shared_fds = [start.shared.counts_fd] if start.shared.counts_fd >= 0 else []
    process = subprocess.Popen(
        # -P: the search path is the parent's, never by accident the current directory.
        [sys.executable, "-P", "-m", "cluster.edge.node.worker_process"],
        stdin=subprocess.PIPE,
        bufsize=0,
        pass_fds=(start.status_fd, *start.bound_fds, *shared_fds),
        env=process_environment(),
        process_group=0,  # Ctrl-C in a terminal is for the supervisor, which then asks the workers
    )
    if process.stdin is None:
        raise MisuseError("a process that was given a pipe has none")
    pipe = OrderPipe(process.stdin.fileno())
    pipe.say(start.to_line())
    return process, pipe


def process_environment() -> dict[str, str]:
    """What a process of the node gets of ours: no secret, as it is told all by its standard input."""
    secret = {option.env for option in OPTIONS.values() if option.is_secret}
    kept = {name: value for name, value in os.environ.items() if name not in secret}
    return {**kept, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "exit code 0" if code == 0 else f"exit code {code}"
