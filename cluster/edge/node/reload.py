"""A new policy for a node that runs, on SIGHUP: every worker has it, or none.

The configuration is read and checked once, here. Then each worker that serves prepares it. Once all have,
it is put in force everywhere; if one cannot, or does not say in time, nowhere. A worker that starts
meanwhile gets what is in force; if that changes before it serves, it is told with the others. Once all go
by the new one, it is told to the log: whoever comes after that line is judged by it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cluster.core.errors import ClusterError
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.orders import Abort, Commit, Prepare, to_line
from cluster.edge.node.policy_source import PolicyFound, PolicySource
from cluster.edge.node.status_pipe import Failed, InForce, Prepared
from cluster.edge.node.worker_slot import SlotState, WorkerSlot
from cluster.process.notify import Notifier

logger = logging.getLogger(__name__)

#: A file that is empty, since it is being written, opens no node.
_OPENS = (
    "no rule is left in it, and whoever reaches the node could publish and play; if that is meant, say so: "
    'match = "*", publish = "allow", play = "allow"'
)
#: The log line of a reload names no more changes than this.
_MAX_NAMED = 20


@dataclass(slots=True)
class _UnderWay:
    """A policy that not every worker has prepared yet."""

    found: PolicyFound
    changes: list[str]
    prepare: bytes
    deadline: float
    #: The slots whose workers have been asked and have not answered, and those that have.
    waiting: set[int]
    prepared: set[int]


@dataclass(slots=True)
class _Committed:
    """A policy that all workers have been told to put in force.

    ``waiting``: the slots whose workers have not said that they have. ``deadline``: when nobody waits for
    them any more. One that hangs serves nobody, and has the order in its pipe.
    """

    found: PolicyFound
    changes: list[str]
    deadline: float
    waiting: set[int]


class Reload:
    """``shared`` is what the node's workers have; with each new policy ``changed`` is called with the next.

    ``prepare_s``: how long the workers may take for each step. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        slots: Sequence[WorkerSlot],
        source: PolicySource,
        shared: NodeShared,
        notifier: Notifier,
        prepare_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.shared = shared
        #: The last reload has changed nothing, for something was wrong.
        self.refused = False
        #: What is in force.
        self.found = source.found
        self.changed: Callable[[NodeShared], None] = lambda shared: None
        self._slots = slots
        self._reread = source.reread
        self._in_force = source.in_force
        self._notifier = notifier
        self._prepare_s = prepare_s
        self._clock = clock
        self._generation = 0
        self._under_way: _UnderWay | None = None
        self._committed: _Committed | None = None
        self._asked_again = False
        #: What the service manager was told when the node was ready; empty before, and once it drains.
        self._ready_status = ""

    @property
    def due(self) -> float:
        """When ``tick`` has something to do."""
        step = self._under_way or self._committed
        return math.inf if step is None else step.deadline

    def is_ready(self, status: str) -> None:
        """The service manager has been told that the node is ready."""
        self._ready_status = status

    def drain(self) -> None:
        """The node ends: nothing changes any more."""
        self._ready_status = ""
        self._reread = None
        self._asked_again = False
        if self._under_way is not None:
            self._abort("the node is draining")
        self._finish(in_time=False)

    def ask(self) -> None:
        """Somebody has sent SIGHUP."""
        if self._reread is None:
            if self._ready_status:  # systemd waits for both words, if it was systemd
                self._notifier.reloading("there is nothing to reload")
                self._notifier.ready(self._ready_status)
            logger.info(
                "SIGHUP: there is nothing to reload; restart to change options",
                extra={"event": "not_reloaded"},
            )
        elif self._under_way is not None or self._committed is not None:
            self._asked_again = True  # the file may have changed since it was read
        else:
            self._begin(self._reread)

    def _begin(self, reread: Callable[[], PolicyFound]) -> None:
        if self._ready_status:
            self._notifier.reloading("reading the configuration")
        try:
            found = reread()
        except ClusterError as error:
            self._refused(str(error))
            return
        except Exception as error:  # a node that runs must not end for what is in a file
            self._refused(f"{type(error).__name__} while it was read")
            return
        if self.found.restricts and not found.restricts:
            self._refused(_OPENS)
            return
        if found.unlike:
            logger.warning(
                "%(options)s: changed, which takes a restart; what was given at the start stays",
                {"options": ", ".join(found.unlike)}, extra={"event": "needs_restart"},
            )  # fmt: skip
        # Imported here: who never reloads does not need it.
        from cluster.edge.admission.policy_words import differences

        changes = differences(self.found.tables, found.tables)
        if changes:
            self._prepare(found, changes)
        else:
            self._reloaded(found, changes)

    def _prepare(self, found: PolicyFound, changes: list[str]) -> None:
        self._generation += 1
        line = to_line(Prepare(self._generation, found.tables))
        asked = {slot.slot for slot in self._slots if slot.state is SlotState.READY}
        self._under_way = _UnderWay(found, changes, line, self._clock() + self._prepare_s, asked, set())
        for slot in self._slots:
            if slot.slot in asked:
                slot.say(line)
        self._commit_if_prepared()

    def heard(self, slot: int, said: Prepared | Failed | InForce) -> None:
        """A worker has answered."""
        if said.generation != self._generation:
            return  # too late
        under_way = self._under_way
        if under_way is None:
            if not isinstance(said, Prepared):  # of one that was told both at once, below
                self._commits_no_more(slot)
        elif slot not in under_way.waiting:
            return
        elif isinstance(said, Failed):
            self._abort(f"worker {slot} cannot go by it: {said.text}")
        else:
            under_way.waiting.discard(slot)
            under_way.prepared.add(slot)
            self._commit_if_prepared()

    def ended(self, slot: int) -> None:
        """A worker has ended."""
        self._commits_no_more(slot)
        if self._under_way is not None:
            self._under_way.prepared.discard(slot)
            if slot in self._under_way.waiting:
                # Perhaps of this very policy: better none has it than all die.
                self._abort(f"worker {slot} has ended before it had prepared it")

    def tick(self) -> None:
        """Give up what has taken too long."""
        if self._under_way is not None and self._clock() >= self._under_way.deadline:
            late = " and ".join(f"worker {slot}" for slot in sorted(self._under_way.waiting))
            self._abort(f"{late} did not prepare it within {self._prepare_s:g} s")
        if self._committed is not None and self._clock() >= self._committed.deadline:
            self._finish(in_time=False)

    def _commit_if_prepared(self) -> None:
        under_way = self._under_way
        if under_way is None or under_way.waiting:
            return
        self._under_way = None
        self.shared = replace(self.shared, policy=under_way.found.tables)
        commit = to_line(Commit(self._generation))
        told: set[int] = set()
        for slot in self._slots:
            slot.shared = self.shared
            if slot.slot in under_way.prepared:
                slot.say(commit)
                told.add(slot.slot)
            elif slot.running:  # it was started with the former policy
                slot.say(under_way.prepare + commit)
                told.add(slot.slot)
        self.changed(self.shared)
        deadline = self._clock() + self._prepare_s
        self._committed = _Committed(under_way.found, under_way.changes, deadline, told)
        self._finish()

    def _commits_no_more(self, slot: int) -> None:
        """Its worker goes by the policy now, or never will."""
        if self._committed is not None:
            self._committed.waiting.discard(slot)
            self._finish()

    def _finish(self, *, in_time: bool = True) -> None:
        """Tell of the policy that is in force, if every worker goes by it; late, in any case."""
        committed = self._committed
        if committed is not None and not (committed.waiting and in_time):
            self._committed = None
            self._reloaded(committed.found, committed.changes)

    def _abort(self, why: str) -> None:
        self._under_way = None
        for slot in self._slots:
            slot.say(to_line(Abort(self._generation)))
        self._refused(why)

    def _reloaded(self, found: PolicyFound, changes: list[str]) -> None:
        self.found = found
        self._in_force(found)
        named = changes[:_MAX_NAMED]
        more = len(changes) - len(named)
        text = "; ".join([*named, *([f"and {more} more"] if more else [])]) or "nothing has changed"
        logger.info(
            "reloaded: %(text)s; %(openness)s",
            {"text": text, "openness": found.openness, "changes": named, "more": more},
            extra={"event": "reloaded"},
        )
        self.refused = False
        self._over("")

    def _refused(self, why: str) -> None:
        logger.error(
            "not reloaded, all stays as it was: %(why)s", {"why": why}, extra={"event": "reload_refused"}
        )
        self.refused = True
        self._over("; the last reload was refused, see the log")

    def _over(self, how: str) -> None:
        if self._ready_status:
            self._notifier.ready(self._ready_status + how)
        if self._asked_again:
            self._asked_again = False
            self.ask()
