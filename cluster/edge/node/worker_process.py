"""A worker process from the inside: how it starts, what it runs, and how it ends.

``python -m cluster.edge.node.worker_process`` reads one line of JSON from stdin, a ``WorkerStart``, and
runs the worker in it. Stdin then stays open for as long as the supervisor lives, which says there what is
to change (``orders``): its end is the end of the worker, however the supervisor died. Exit codes are those
of ``ExitCode``.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import ClusterError
from cluster.edge.node import orders
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.orders import Abort, Commit, Inbox, LineReader, Prepare, Serve, Service
from cluster.edge.node.status_pipe import StatusPipe
from cluster.process.event_loop import loop_factory
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import configure

__all__ = ["StatusPipe", "WorkerStart", "main"]

#: By name: as a process of its own this module is "__main__".
logger = logging.getLogger("cluster.edge.node.worker_process")

WORKER_CLASS = "cluster.edge.node.worker:Worker"


class Changeable(Protocol):
    """What ``PolicyInForce`` is to the supervisor."""

    @property
    def parse(self) -> Callable[[Mapping[str, Any]], Any]: ...
    def prepare(self, generation: int, policy: Any) -> None: ...
    def commit(self, generation: int) -> None: ...
    def abort(self, generation: int) -> None: ...


class Runnable(Protocol):
    """What a worker class makes: ``run`` returns when the worker has drained."""

    @property
    def in_force(self) -> Changeable: ...

    def run(self) -> Coroutine[Any, Any, None]: ...
    def serve(self, service: Service) -> None: ...


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What the supervisor hands a new worker process. ``worker_class`` is ``module:Class``,
    ``own_router`` as ``Supervisor`` has it. ``bound_fds``: sockets as ``Worker`` takes them, which the
    supervisor holds too. ``shared``: what all workers of the node are given."""

    config: EdgeConfig
    identity: WorkerIdentity
    status_fd: int
    worker_class: str
    own_router: str | None
    bound_fds: list[int]
    shared: NodeShared = field(default_factory=NodeShared)

    def to_line(self) -> bytes:
        start = {
            "config": self.config.to_texts(), "identity": asdict(self.identity),
            "status_fd": self.status_fd, "worker_class": self.worker_class, "own_router": self.own_router,
            "bound_fds": self.bound_fds, "shared": asdict(self.shared),
        }  # fmt: skip
        return json.dumps(start).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerStart:
        start = json.loads(line)
        return cls(
            EdgeConfig.from_texts(start["config"]),
            WorkerIdentity(**start["identity"]),
            start["status_fd"],
            start["worker_class"],
            start["own_router"],
            start["bound_fds"],
            NodeShared(**start["shared"]),
        )


def main() -> int:
    """Run one worker; the exit code."""
    lines = LineReader(sys.stdin.fileno())
    start = WorkerStart.from_line(lines.read())
    configure(start.config.log_format, start.config.log_level)
    inbox = Inbox()
    threading.Thread(target=_end_with_supervisor, args=(lines, inbox), daemon=True).start()
    status = StatusPipe(start.status_fd)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_run(start, status, inbox))
    except Exception:
        fields = {"slot": start.identity.slot}
        if not status.is_ready:
            logger.exception("worker %(slot)d cannot boot", fields, extra={"event": "boot_failed"})
            return ExitCode.WORKER_BOOT
        logger.exception("worker %(slot)d failed", fields, extra={"event": "worker_failed"})
        return 1
    return ExitCode.OK


async def _run(start: WorkerStart, status: StatusPipe, inbox: Inbox) -> None:
    # Imported here: what is wrong with the worker's own imports must be reported as a boot failure.
    module_name, _, class_name = start.worker_class.partition(":")
    worker_class = getattr(importlib.import_module(module_name), class_name)
    bound = [socket.socket(fileno=fd) for fd in start.bound_fds]
    worker: Runnable = worker_class(
        start.config, start.identity, status, start.own_router, bound, start.shared
    )
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the process is about to
            loop.call_soon_threadsafe(woken.set)

    async def obey() -> None:
        for order in inbox.taken():
            if isinstance(order, Serve):
                loop.call_soon(worker.serve, order.service)
            else:
                await _carry_out(order, worker.in_force, status)

    async def obey_on() -> None:
        while await woken.wait():
            woken.clear()
            await obey()

    inbox.open(wake)
    await obey()  # what has changed while it started, before anybody is let in
    obeying = loop.create_task(obey_on())
    try:
        await worker.run()
    finally:
        obeying.cancel()


async def _carry_out(order: Prepare | Commit | Abort, in_force: Changeable, status: StatusPipe) -> None:
    match order:
        case Prepare(generation, tables):
            try:
                in_force.prepare(generation, await asyncio.to_thread(in_force.parse, tables))
            except ClusterError as error:
                status.failed(generation, str(error))
            except Exception as error:  # whose text may hold what was in the tables
                status.failed(generation, f"{type(error).__name__} in {_where(error)}")
            else:
                status.prepared(generation)
        case Commit(generation):
            try:
                in_force.commit(generation)
            except Exception as error:
                # With the old policy it may not go on, and the siblings have the new one.
                logger.error(
                    "policy %(generation)d cannot be put in force (%(error)s): this worker drains",
                    {"generation": generation, "error": f"{type(error).__name__} in {_where(error)}"},
                    extra={"event": "policy_failed"},
                )
                os.kill(os.getpid(), signal.SIGTERM)
                status.failed(generation, "it drains")
            else:
                status.in_force(generation)
        case Abort(generation):
            in_force.abort(generation)


def _where(error: BaseException) -> str:
    """The line of the source that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "no place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _end_with_supervisor(lines: LineReader, inbox: Inbox) -> None:
    """Watch in a thread, so that a stuck loop ends too: nobody is left to notice that it is stuck."""
    while line := lines.read():
        inbox.put(orders.from_line(line))
    logger.error("the supervisor is gone: this worker ends", extra={"event": "orphaned"})
    logging.shutdown()
    os._exit(ExitCode.ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
