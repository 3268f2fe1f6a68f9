"""The supervisor of a node: starts the workers, hears their beats, restarts the dead, ends them all.

Signal handlers only queue and workers only report; the one loop here decides. It serves no media, so
that nothing a peer does can delay it: the node's own router and its repeaters, which are in this process,
have threads of their own.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Callable

from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.events_process import ENDS_AFTER_S, EventsProcess
from cluster.edge.node.in_service import InService, State
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.node_shared import NodeShared, shared_secret
from cluster.edge.node.open_files import bounded_by_open_files
from cluster.edge.node.orders import OrderPipe
from cluster.edge.node.policy_source import PolicySource
from cluster.edge.node.reload import Reload
from cluster.edge.node.router_lines import RouterLines
from cluster.edge.node.status_pipe import Asked, Beat, Failed, InForce, Prepared, StatusReader
from cluster.edge.node.worker_process import WORKER_CLASS
from cluster.edge.node.worker_slot import SlotState, Timing, WorkerSlot
from cluster.edge.peers.shared_counts import CountsMemory
from cluster.net.addresses import BindAddress
from cluster.net.metrics_page import served
from cluster.process import signals
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import announce
from cluster.process.notify import Notifier

logger = logging.getLogger(__name__)

#: How long ``ready`` waits for the routers once every worker accepts connections: it says how many answer.
_ROUTERS_WAIT_S = 1.0

#: Random bytes of a node's instance id. Two nodes of one name that draw the same are one in four billion,
#: and people read it where names do not tell nodes apart.
_INSTANCE_BYTES = 4

#: The loop turns at least so often.
_TURN_S = 1.0
#: After a turn of this length: the process was stopped, or had no CPU. Its workers then neither.
_STALLED_S = 2.0
#: A loop that has not turned for this long is not well.
_STUCK_S = 60.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """Runs one node whose addresses are reserved already: no port 0 and no name in ``config.addresses``.
    ``own_router``: the address of the node's own router, beside those of
    ``config.routers``; None if it is the only one. ``is_alone``: it is, and there is no cluster.
    ``policy``: who may, how much, and who is told."""

    def __init__(
        self,
        config: EdgeConfig,
        *,
        own_router: str | None = None,
        is_alone: bool = False,
        policy: PolicySource | None = None,
        worker_class: str = WORKER_CLASS,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = bounded_by_open_files(config)
        self._timing = timing or Timing()
        self._clock = clock
        self._numbers = NodeNumbers(config.workers)
        instance = secrets.token_hex(_INSTANCE_BYTES)
        policy = policy or PolicySource()
        tables = policy.found.tables
        self._events = EventsProcess(tables, config, instance, self._numbers, self._timing, clock)
        #: None for a worker alone. Nothing of it is in use until a worker counts something in it.
        self._counts = CountsMemory(config.workers) if config.workers > 1 else None
        shared = NodeShared(
            secret=shared_secret(config.cluster_key),
            policy=tables,
            events=self._events.address,
            counts_fd=-1 if self._counts is None else self._counts.fd,
            is_asked=config.api is not None or not is_alone,
        )
        self._slots = [
            WorkerSlot(
                slot,
                self._config,
                instance=instance,
                timing=self._timing,
                own_router=own_router,
                worker_class=worker_class,
                shared=shared,
                clock=clock,
            )
            for slot in range(config.workers)
        ]
        self._service = InService(self._slots, clock)
        self._turned_at = clock()
        self._selector = selectors.DefaultSelector()
        self._readers: dict[int, StatusReader] = {}
        self._metrics_address: BindAddress | None = None
        self._is_alone = is_alone
        self._router_lines = RouterLines(clock)
        self._all_ready_at = math.inf
        self._announced = False
        self._notifier = Notifier.taken_from(os.environ)
        self._reload = Reload(
            self._slots, policy, shared, self._notifier, self._timing.prepare_s, clock
        )
        self._reload.changed = self._events.changed
        #: The pipes to workers that wait until they can take more, by slot.
        self._behind: dict[int, OrderPipe] = {}
        self._drain_deadline = math.inf
        self._exit_code = ExitCode.OK

    def run(self) -> ExitCode:
        """Serve until told to end (SIGTERM, SIGINT), or until no worker can boot. Main thread only.

        EnvironmentFault if the metrics address cannot be had.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._selector)
            stack.callback(self._events.kill)
            queue = stack.enter_context(signals.queued(*_SIGNALS))
            self._selector.register(queue, selectors.EVENT_READ)
            if self._config.metrics is not None:
                self._metrics_address = stack.enter_context(served(self._numbers, self._config.metrics))
            if self._counts is not None:
                stack.callback(self._counts.close)
            stack.callback(self._kill_all)
            self._tend_events()
            for slot in self._slots:
                self._start(slot)
            while self._has_workers or self._events.runs:
                self._turn(queue)
        return self._exit_code

    # ---- its health, told in any thread ------------------------------------------------------

    def alive(self) -> dict[str, str]:
        """What is wrong with this process, by check: nothing is "" ."""
        stuck_s = self._clock() - self._turned_at
        return {"supervisor": f"it has not turned for {stuck_s:.0f} s" if stuck_s >= _STUCK_S else ""}

    def ready(self) -> dict[str, str]:
        """What keeps the node from taking connections, in the same way."""
        has_worker = any(slot.state is SlotState.READY for slot in self._slots)
        is_draining = self._draining or self._service.state is not State.IN
        return {
            **self.alive(), "workers": "" if has_worker else "no worker accepts connections",
            "in_service": "it is draining" if is_draining else "",
        }  # fmt: skip

    # ---- its loop ----------------------------------------------------------------------------

    def _turn(self, queue: socket.socket) -> None:
        """Wait for something to happen, or to be due, and do it."""
        for slot in self._slots:
            self._watch_behind(slot)
        self._selector.select(min(self._until_due(), _TURN_S))
        turned_at, self._turned_at = self._turned_at, self._clock()
        self._note_stall(self._turned_at - turned_at)
        # What was said comes before what was not: beats may have waited while we were stopped.
        for slot in self._slots:
            self._hear(slot)
        for number in signals.read(queue):
            self._handle_signal(number)
        for slot in self._slots:
            if slot.exit_code() is not None:
                self._ended(slot)
            elif slot.state is SlotState.WAITING:
                self._restart_if_due(slot)
            elif not self._draining:
                slot.kill_if_stuck()
        if not self._announced:
            self._announce_if_ready()
        self._reload.tick()
        self._numbers.reload_refused = self._reload.refused
        if not self._draining:
            self._router_lines.tick()
            self._shun_silent()
            self._service.tick()
        if self._draining and self._has_workers and self._clock() >= self._drain_deadline:
            self._drain_timed_out()
        self._tend_events()

    @property
    def _has_workers(self) -> bool:
        """A process is in some slot, or will be."""
        return any(slot.state is not SlotState.EMPTY for slot in self._slots)

    def _tend_events(self) -> None:
        """See to the process that delivers events. It ends when there is nobody who could tell one."""
        if self._draining and not self._has_workers:
            self._events.end()
        self._events.tick()

    @property
    def _draining(self) -> bool:
        return self._drain_deadline < math.inf

    def _note_stall(self, turn_s: float) -> None:
        """If this process has not run, its workers most likely have not either: a host that was paused, a
        container. That they have said nothing meanwhile does not count against them."""
        if turn_s > _STALLED_S:
            logger.warning(
                "this node did not run for %(late_s).1f s: it was stopped, or its host had no CPU for it",
                {"late_s": round(turn_s - _TURN_S, 1)}, extra={"event": "node_stalled"},
            )  # fmt: skip
            for slot in self._slots:
                slot.excuse(turn_s)

    def _shun_silent(self) -> None:
        """A worker that is silent gets no new connections, as long as there is another to take them.

        Nothing has to be due for this: the beats of the other, twice a second, are what wakes us.
        """
        ready = [slot for slot in self._slots if slot.state is SlotState.READY]
        silent = [slot for slot in ready if slot.is_silent]
        if len(silent) < len(ready):
            for slot in silent:
                if slot.shun():
                    self._numbers.silent(slot.slot)

    def _until_due(self) -> float:
        due = [
            self._drain_deadline if self._has_workers else math.inf, self._events.due, self._reload.due,
            self._service.until,
        ]  # fmt: skip
        if not self._announced:
            due.append(self._all_ready_at + _ROUTERS_WAIT_S)
        for slot in self._slots:
            if slot.state is SlotState.WAITING:
                due.append(slot.restart_at)
            elif slot.running and not self._draining:
                due.append(slot.silent_until())
        return max(0.0, min(due) - self._clock())

    # ---- workers -----------------------------------------------------------------------------

    def _start(self, slot: WorkerSlot) -> None:
        reader = slot.start()
        if reader is not None:
            self._readers[slot.slot] = reader
            self._selector.register(reader, selectors.EVENT_READ)

    def _restart_if_due(self, slot: WorkerSlot) -> None:
        if self._clock() >= slot.restart_at:
            self._numbers.restarted(slot.slot)
            self._start(slot)

    def _hear(self, slot: WorkerSlot) -> None:
        for said in slot.hear():
            if isinstance(said, Beat):
                self._numbers.beat(slot.slot, said.numbers)
                if not self._is_alone:
                    self._router_lines.hear(slot.slot, said.routers)
            elif isinstance(said, Prepared | Failed | InForce):
                self._reload.heard(slot.slot, said)
            elif isinstance(said, Asked):
                self._asked(said)
            else:
                self._service.worker_ready(slot)

    def _asked(self, asked: Asked) -> None:
        """An operator asks for this, through a worker."""
        if asked.what == "reload":
            self._handle_signal(signal.SIGHUP)
        elif asked.what == "undrain":
            self._service.undrain()
        elif asked.what == "drain":
            self._service.drain(asked.deadline_s)
        self._numbers.draining = self._draining or self._service.state is not State.IN

    def _watch_behind(self, slot: WorkerSlot) -> None:
        """Wake up when the worker can take more of what it is told."""
        before, now = self._behind.get(slot.slot), slot.behind()
        if before is now:
            return
        if before is not None:
            self._selector.unregister(self._behind.pop(slot.slot))
        if now is not None:
            self._behind[slot.slot] = now
            self._selector.register(now, selectors.EVENT_WRITE)

    def _ended(self, slot: WorkerSlot) -> None:
        self._hear(slot)  # its last words: what it counted until the end
        self._numbers.ended(slot.slot)
        self._router_lines.ended(slot.slot)
        self._selector.unregister(self._readers.pop(slot.slot))
        if slot.slot in self._behind:
            self._selector.unregister(self._behind.pop(slot.slot))
        if self._counts is not None:
            self._counts.clear(slot.slot)
        slot.bury(restart=not self._draining)
        self._reload.ended(slot.slot)
        if slot.state is SlotState.EMPTY and not self._draining:
            self._given_up()

    def _given_up(self) -> None:
        """A slot cannot be filled: the end of a node that was never whole, or that has no other slot."""
        if not self._announced or all(slot.state is SlotState.EMPTY for slot in self._slots):
            self._exit_code = ExitCode.WORKER_BOOT
            self._drain()

    def _announce_if_ready(self) -> None:
        """If every worker accepts connections, and it is known which routers answer, or was waited for."""
        if not all(each.state is SlotState.READY for each in self._slots):
            self._all_ready_at = math.inf
            return
        self._all_ready_at = min(self._all_ready_at, self._clock())
        is_known = self._is_alone or self._router_lines.are_known(len(self._slots))
        if is_known or self._clock() >= self._all_ready_at + _ROUTERS_WAIT_S:
            self._announced = True
            self._router_lines.tick()
            self._announce_ready()

    def _announce_ready(self) -> None:
        addresses = [str(address) for address in self._config.binds]
        fields = {"addresses": addresses, "workers": len(self._slots), "pid": os.getpid()}
        where = ", ".join(addresses)
        if self._config.tls_binds:
            fields["tls_addresses"] = tls_addresses = [str(address) for address in self._config.tls_binds]
            where += f", with TLS on {', '.join(tls_addresses)}"
        for name, binds in (("http", self._config.http_binds), ("https", self._config.http_tls_binds)):
            if binds:
                fields[f"{name}_addresses"] = shown = [f"{name}://{bind}" for bind in binds]
                where += f", {', '.join(shown)}"
        if self._metrics_address is not None:
            fields["metrics"] = str(self._metrics_address)
            where += f", metrics on http://{self._metrics_address}/metrics"
        routers = ""
        if not self._is_alone:
            fields["routers_answering"], fields["routers"] = self._router_lines.counts()
            routers = ", routers: %(routers_answering)d of %(routers)d answer"
        text = f"ready on {where}; workers: %(workers)d{routers}, pid %(pid)d; %(openness)s"
        policy = self._reload.found
        fields |= {"openness": policy.openness, "open_to_all": not policy.restricts}
        if policy.restricts:
            fields["opens"] = list(policy.opens)
        announce(logger, "ready", text, fields)
        self._notifier.ready(f"ready on {where}")
        self._reload.is_ready(f"ready on {where}")

    # ---- the end -----------------------------------------------------------------------------

    def _handle_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload.ask()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._draining:
                logger.warning("a second signal: ending at once", extra={"event": "killing"})
                self._signal_all(signal.SIGKILL)
                self._events.end(within_s=0.0)
            else:
                self._drain()

    def _drain(self) -> None:
        """Ask every worker to end, and start no other."""
        timeout_s = self._config.drain_timeout_s
        logger.info(
            "draining: sessions may go on for %(timeout_s)g s; a second signal ends them at once",
            {"timeout_s": timeout_s},
            extra={"event": "draining"},
        )
        self._numbers.draining = True
        self._reload.drain()
        self._drain_deadline = self._clock() + timeout_s + self._timing.drain_margin_s
        # Twice the margin: the second is for those that have to be killed.
        within_s = timeout_s + 2 * self._timing.drain_margin_s
        within_s += ENDS_AFTER_S if self._events.address else 0.0
        self._notifier.stopping("draining", within_s=within_s)
        for slot in self._slots:
            slot.cancel_restart()
        self._signal_all(signal.SIGTERM)

    def _drain_timed_out(self) -> None:
        logger.error("workers have not ended in time: killing them", extra={"event": "killing"})
        self._drain_deadline = self._clock() + self._timing.drain_margin_s
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        for slot in self._slots:
            slot.send(number)

    def _kill_all(self) -> None:
        """Whatever ends the loop, no worker outlives it."""
        for slot in self._slots:
            slot.kill()
