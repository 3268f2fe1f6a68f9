"""The registry: membership, who publishes which stream key, and who wants to know.

A state machine that is given control messages, the monotonic time (``now``, in seconds) and the wall clock
(``wall_ms``, Unix time), and returns the messages to send. Who is the origin of a key is decided by the
grants below it, which may answer later: nothing else waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from cluster.core.bus import control
from cluster.core.bus.bounds import (
    CONTEST_TIMEOUT_S,
    GRANT_TIMEOUT_S,
    MAX_ORIGINS,
    MAX_PENDING_CLAIMS,
    MAX_WAITING_PUBLISHERS,
    WORKER_TIMEOUT_S,
)
from cluster.core.bus.control import BUSY, CLOSED, DRAINING, RoutedMessage
from cluster.core.bus.epochs import latest_epoch
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.leases import Holder, Lease
from cluster.router.closed_keys import ClosedKeys
from cluster.router.facts import FactsBook
from cluster.router.grants import Grants
from cluster.router.lost import LostWorkers
from cluster.router.members import LEFT, SILENT, UNREACHABLE, Members
from cluster.router.passing import Passing
from cluster.router.records import Claim, HelloHeard, Worker
from cluster.router.refusals import Refusals
from cluster.router.shared_names import SharedNames
from cluster.router.status import cluster_status
from cluster.router.watchers import Watchers

#: A message and the id of the worker it goes to.
Delivery: TypeAlias = tuple[str, RoutedMessage]


class Registry:
    """The registry of one router; when ``grants`` call ``wake``, it wants to ``settle``."""

    def __init__(
        self, grants: Grants, wake: Callable[[], None], refusals: Refusals | None = None,
        members: Members | None = None,
    ) -> None:  # fmt: skip
        self._grants = grants
        self._refusals = refusals or Refusals()
        self._members = members or Members()
        self._workers: dict[str, Worker] = {}
        self._places: dict[tuple[str, str, int], str] = {}
        self._streams: dict[str, Lease] = {}
        self._watchers = Watchers()
        self._claims: dict[str, Claim] = {}
        #: The claims whose question is with the grants.
        self._pending: set[Claim] = set()
        self.facts = FactsBook()
        self._closed = ClosedKeys()
        self._lost = LostWorkers()
        self._shared_names = SharedNames()
        self._last_contest_id = 0
        self._now = 0.0
        self._wall_ms = 0
        self._out: list[Delivery] = []
        passing = Passing(self._workers, self._streams, self._refusals, self._send)
        self._from_anyone: dict[type, Callable[[str, Any], None]] = {
            control.Hello: self._hello,
            control.StatusRequest: self._status_request,
            control.Question: self._of_now(passing.question),
            control.CloseKey: self._of_now(self._closed.asked),
            control.NodeReport: lambda _, report: self.facts.node_report(report.node, report.streams),
        }
        self._handlers: dict[type, Callable[[str, Any], None]] = {
            control.HelloPart: self._hello_part,
            control.Heartbeat: self._heartbeat,
            control.TimedHeartbeat: self._heartbeat,
            control.Goodbye: lambda worker_id, _: self._drop(worker_id, LEFT),
            control.Publish: self._publish,
            control.Announce: self._announce,
            control.Unpublish: self._unpublish,
            control.Watch: self._watch,
            control.Unwatch: self._unwatch,
            control.ContestReply: self._contest_reply,
            control.SnapshotRequest: self._of_now(passing.snapshot_request),
            control.SealedSnapshot: self._of_now(passing.snapshot),
            control.Report: lambda worker_id, report: self.facts.report(worker_id, report.streams),
            control.NoStream: self._of_now(passing.snapshot),
            control.Answer: self._of_now(passing.answer),
        }
        grants.watch(self._lease_changed, wake)

    # ---- what a router calls ---------------------------------------------------------------------

    def receive(self, worker_id: str, message: RoutedMessage, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` sent ``message``: what to send to whom now.

        A worker that has not said hello is asked to; messages only a router sends are ignored.
        """
        self._now, self._wall_ms = now, wall_ms
        kind = type(message)
        if kind in self._from_anyone:
            self._from_anyone[kind](worker_id, message)
        elif (worker := self._workers.get(worker_id)) is not None:
            worker.heard_at = now
            if kind in self._handlers:
                self._handlers[kind](worker_id, message)
            worker.received += 1
        elif kind is not control.Goodbye:
            self._send(worker_id, control.HelloWanted())
        return self._take()

    def tick(self, now: float, wall_ms: int) -> list[Delivery]:
        """Drop workers silent for WORKER_TIMEOUT_S; contests unanswered for CONTEST_TIMEOUT_S are won,
        claims unanswered for GRANT_TIMEOUT_S are forgotten; nodes that share a name are told so now and
        then."""
        self._now, self._wall_ms = now, wall_ms
        for worker_id, worker in list(self._workers.items()):
            if now - worker.heard_at > WORKER_TIMEOUT_S:
                self._drop(worker_id, SILENT)
        for claim in list(self._claims.values()):
            if now >= claim.deadline:
                self._overdue(claim)
        for worker_id, shared in self._shared_names.look(self._workers.values(), now):
            self._send(worker_id, shared)
        self._members.tick()
        return self._take()

    def settle(self, now: float, wall_ms: int) -> list[Delivery]:
        """The grants have something to say."""
        self._now, self._wall_ms = now, wall_ms
        self._grants.settle()
        return self._take()

    def drop_worker(self, worker_id: str, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` cannot be reached: its streams end and watchers are told."""
        self._now, self._wall_ms = now, wall_ms
        self._drop(worker_id, UNREACHABLE)
        return self._take()

    def sizes(self) -> dict[str, int]:
        """How many workers, streams and watched keys there are."""
        streams, watched_keys = len(self._streams), len(self._watchers)
        return {"workers": len(self._workers), "streams": streams, "watched_keys": watched_keys}

    def _send(self, worker_id: str, message: RoutedMessage) -> None:
        self._out.append((worker_id, message))
        if worker_id in self._workers:
            self._workers[worker_id].sent += 1

    def _of_now(self, handle: Callable[[str, Any, float], None]) -> Callable[[str, Any], None]:
        return lambda worker_id, message: handle(worker_id, message, self._now)

    def _take(self) -> list[Delivery]:
        out, self._out = self._out, []
        return out

    def _status_request(self, asker: str, _: control.StatusRequest) -> None:
        status = cluster_status(self._workers, self._streams, self.facts, self._now, self._wall_ms)
        self._out.append((asker, status.with_workers(self._lost.rows(self._now))))

    # ---- membership ------------------------------------------------------------------------------

    def _hello(self, worker_id: str, hello: control.Hello) -> None:
        identity = WorkerIdentity(hello.node, hello.instance, hello.slot, hello.incarnation)
        if identity.worker_id != worker_id:
            return
        if self._places.get(identity.place, worker_id) != worker_id:
            self._drop(self._places[identity.place], LEFT)  # a slot holds one process: that one is dead
        worker = self._workers.get(worker_id)
        if worker is None:
            worker = self._workers[worker_id] = Worker(identity, self._now, self._now, hello.draining, {})
            self._places[identity.place] = worker_id
            self._members.came(worker_id)
            self.facts.came(worker_id)
            self._lost.came(identity)
        worker.heard_at, worker.draining, worker.load = self._now, hello.draining, dict(hello.load)
        self._send(worker_id, control.Welcome())
        worker.received = worker.sent = 0
        worker.hello = HelloHeard(hello.parts + 1)
        self._hello_part(worker_id, hello)

    def _hello_part(self, worker_id: str, part: control.Hello | control.HelloPart) -> None:
        """What is in no part of a Hello is no more."""
        worker = self._workers[worker_id]
        heard = worker.hello
        if not heard.take(part):
            return
        if heard.parts == 0:
            worker.hello = HelloHeard()
            for key in worker.origins - heard.origins:
                self._grants.release(self._streams[key])
            for key in worker.watches - heard.watches:
                self._watchers.discard(key, worker_id, worker)
        for key, epoch in part.origins:
            self._announce(worker_id, control.Announce(key, epoch))
        for key in part.watches:
            self._watch(worker_id, control.Watch(key))

    def _heartbeat(self, worker_id: str, heartbeat: control.Heartbeat) -> None:
        worker = self._workers[worker_id]
        worker.load, worker.draining = dict(heartbeat.load), heartbeat.draining
        self._grants.renew(worker_id)
        if heartbeat.messages != worker.received:
            self._send(worker_id, control.HelloWanted())
        tells_others = self.facts.is_fetched(self._now)
        self._send(worker_id, worker.answer(heartbeat, tells_others, self._now, self._wall_ms))

    def _drop(self, worker_id: str, why: str) -> None:
        worker = self._workers.pop(worker_id, None)
        if worker is None:
            return
        del self._places[worker.identity.place]
        self._members.went(worker_id, why)
        if why is not LEFT:
            self._lost.went(worker.identity, worker.heard_at)
        self.facts.went(worker_id)
        for key in list(worker.watches):
            self._watchers.discard(key, worker_id, worker)
        for key in list(worker.origins):
            self._grants.release(self._streams[key])

    # ---- who publishes ---------------------------------------------------------------------------

    def _publish(self, worker_id: str, publish: control.Publish) -> None:
        key = publish.key
        claim = self._claims.get(key)
        worker = self._workers[worker_id]
        if worker.draining:
            self._send(worker_id, control.Refused(key, DRAINING, publish.request_id))
        elif self._closed.holds(key, self._now):
            self._send(worker_id, control.Refused(key, CLOSED, publish.request_id))
        elif len(worker.origins) >= MAX_ORIGINS and key not in worker.origins:
            self._refusals.note("origin", worker_id)
            self._send(worker_id, control.Refused(key, BUSY, publish.request_id))
        elif claim is not None:
            if len(claim.waiting) >= MAX_WAITING_PUBLISHERS:
                self._send(worker_id, control.Refused(key, BUSY, publish.request_id))
            else:
                claim.waiting.append((worker_id, publish))
                self._send(worker_id, control.Contested(key, publish.request_id))
        else:
            claim = self._claims[key] = Claim(worker_id, publish, 0.0)
            self._ask_grants(claim)

    def _ask_grants(self, claim: Claim) -> None:
        """Ask for the key of ``claim``; in place of its holder, if that has yielded."""
        if len(self._pending) >= MAX_PENDING_CLAIMS:
            self._refuse(claim, BUSY)
            self._conclude(claim)
            return
        yielded, claim.holder = claim.holder, None
        claim.deadline = self._now + GRANT_TIMEOUT_S
        self._pending.add(claim)
        self._grants.claim(
            claim.publish.key, claim.requester, self._wall_ms,
            lambda answer: self._answered(claim, answer), replace=yielded,
        )  # fmt: skip

    def _answered(self, claim: Claim, answer: Lease | Holder) -> None:
        """A lease that nobody waits for any more goes back."""
        if claim not in self._pending:
            if isinstance(answer, Lease):
                self._grants.release(answer)
            return
        self._pending.remove(claim)
        if not self._is_wanted(claim):
            if isinstance(answer, Lease):
                self._grants.release(answer)
            self._conclude(claim)
        elif isinstance(answer, Lease):
            publish = claim.publish
            watched = self._watchers.others(publish.key, claim.requester)
            granted = control.Granted(publish.key, answer.epoch, publish.request_id, watched)
            self._send(claim.requester, granted)
            self._conclude(claim)
        else:
            self._ask_holder(claim, answer.lease)

    def _is_wanted(self, claim: Claim) -> bool:
        """Whether the requester may still be granted its key; one that drains is refused."""
        requester = self._workers.get(claim.requester)
        if requester is not None and requester.draining:
            self._refuse(claim, DRAINING)
        return requester is not None and not requester.draining

    def _refuse(self, claim: Claim, reason: str) -> None:
        publish = claim.publish
        self._send(claim.requester, control.Refused(publish.key, reason, publish.request_id))

    def _ask_holder(self, claim: Claim, holder: Lease) -> None:
        publish = claim.publish
        self._last_contest_id += 1
        claim.holder, claim.contest_id = holder, self._last_contest_id
        claim.deadline = self._now + CONTEST_TIMEOUT_S
        self._send(claim.requester, control.Contested(publish.key, publish.request_id))
        self._send(holder.owner, control.Contest(publish.key, publish.replace, claim.contest_id))

    def _contest_reply(self, worker_id: str, reply: control.ContestReply) -> None:
        claim = self._claims.get(reply.key)
        if claim is None or claim.holder is None:
            return
        if (claim.contest_id, claim.holder.owner) == (reply.request_id, worker_id):
            self._resolve(claim, reply.yielded)

    def _resolve(self, claim: Claim, yielded: bool) -> None:
        """The holder has answered, or is gone. One that yielded to nobody unpublishes by itself."""
        requester = self._workers.get(claim.requester)
        if requester is not None and not yielded:
            self._refuse(claim, BUSY)
            self._conclude(claim)
        elif self._is_wanted(claim):
            self._ask_grants(claim)
        else:
            self._conclude(claim)

    def _overdue(self, claim: Claim) -> None:
        """A silent holder yields. If it is the grants that are silent, nobody is answered: the workers that
        wait will do without this router."""
        if claim.holder is not None:
            self._resolve(claim, yielded=True)
        else:
            self._pending.discard(claim)
            del self._claims[claim.publish.key]

    def _conclude(self, claim: Claim) -> None:
        """``claim`` is over: the publishers that waited for its end ask now."""
        del self._claims[claim.publish.key]
        for worker_id, publish in claim.waiting:
            if worker_id in self._workers:
                self._publish(worker_id, publish)

    def _announce(self, worker_id: str, announce: control.Announce) -> None:
        """If another lease stands, or the epoch is refused, the worker is told to close its publisher."""
        origins = self._workers[worker_id].origins
        is_ahead = announce.epoch > latest_epoch(self._wall_ms)
        if is_ahead or (len(origins) >= MAX_ORIGINS and announce.key not in origins):
            self._refusals.note("epoch_ahead" if is_ahead else "origin", worker_id)
            present = self._streams.get(announce.key)
            if present is not None and present.owner == worker_id:
                self._grants.release(present)
            self._send(worker_id, control.Revoked(announce.key, announce.epoch))
            return
        announced = Lease(announce.key, worker_id, announce.epoch)

        def answered(answer: Lease | Holder) -> None:
            if worker_id not in self._workers:
                self._grants.release(announced)
            elif isinstance(answer, Holder) and answer.lease.owner != worker_id:
                self._send(worker_id, control.Revoked(announced.key, announced.epoch))

        self._grants.adopt(announced, answered)

    def _unpublish(self, worker_id: str, unpublish: control.Unpublish) -> None:
        self._grants.release(Lease(unpublish.key, worker_id, unpublish.epoch))

    def _lease_changed(self, key: str, lease: Lease | None) -> None:
        """Another lease of ``key`` stands, or none: tell who lost it, and who watches."""
        claim = self._claims.get(key)
        old = self._streams.pop(key, None)
        if old is not None and old.owner in self._workers:
            self._workers[old.owner].origins.discard(key)
        if lease is not None:
            self._streams[key] = lease
            if old is not None and old.owner != lease.owner:
                self._send(old.owner, control.Revoked(key, old.epoch))
            if lease.owner in self._workers:
                self._workers[lease.owner].origins.add(key)
            for watcher in self._watchers.of(key):
                self._tell_watcher(watcher, key)
            if claim is not None and claim.holder is not None:
                if claim.holder.owner == lease.owner:
                    claim.holder = lease
                else:  # whoever was asked is not the origin any more: ask the one who is
                    claim.waiting.appendleft((claim.requester, claim.publish))
                    self._conclude(claim)
        elif old is not None:
            for watcher in self._watchers.of(key):
                if watcher != old.owner:
                    self._send(watcher, control.StreamDown(key, old.epoch))
            if claim is not None and claim.holder is not None:
                self._resolve(claim, yielded=True)

    # ---- who wants to know -----------------------------------------------------------------------

    def _watch(self, worker_id: str, watch: control.Watch) -> None:
        if self._watchers.add(watch.key, worker_id, self._workers[worker_id]):
            self._tell_watcher(worker_id, watch.key)
        else:
            self._refusals.note("watch", worker_id)

    def _unwatch(self, worker_id: str, unwatch: control.Unwatch) -> None:
        self._watchers.discard(unwatch.key, worker_id, self._workers[worker_id])

    def _tell_watcher(self, worker_id: str, key: str) -> None:
        """An origin that watches its own stream is not told: its players read its own log."""
        stream = self._streams.get(key)
        if stream is not None and stream.owner != worker_id:
            self._send(worker_id, control.StreamUp(key, stream.epoch, stream.owner))
