"""The registry: which worker is the origin of which stream key, and who wants to know.

A pure state machine: it is given control messages, the monotonic time and the wall clock, and returns
the messages to send. ``Registry`` is what a router needs of any registry; ``MemoryRegistry`` keeps it
all in memory, which is soft state: the workers tell a router that restarts everything again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from cluster.core.bus import control
from cluster.core.bus.bounds import CONTEST_TIMEOUT_S, MAX_WAITING_PUBLISHERS, WORKER_TIMEOUT_S
from cluster.core.bus.cluster_status import StreamStatus, WorkerStatus
from cluster.core.bus.control import BUSY, DRAINING, ControlMessage
from cluster.core.bus.epochs import EpochBook
from cluster.core.bus.identity import WorkerIdentity
from cluster.router.facts import FactsBook
from cluster.router.shared_names import SharedNames

#: A control message and the id of the worker it goes to.
Delivery: TypeAlias = tuple[str, ControlMessage]


class Registry(Protocol):
    """Grants, epochs, watches and membership. ``now`` is monotonic seconds, ``wall_ms`` Unix time."""

    def receive(self, worker_id: str, message: ControlMessage, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` sent ``message``."""

    def tick(self, now: float, wall_ms: int) -> list[Delivery]:
        """Time has passed: drop silent workers, end contests that nobody answered, tell nodes that share
        a name."""

    def drop_worker(self, worker_id: str, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` cannot be reached: its streams end."""

    def sizes(self) -> dict[str, int]:
        """How many workers, streams and watched keys there are."""

    def loads(self) -> dict[str, dict[str, float]]:
        """What each worker last said of its load."""


@dataclass(slots=True)
class _Worker:
    """``received`` and ``sent`` count messages since its Hello and our Welcome: see Heartbeat."""

    identity: WorkerIdentity
    known_since: float
    heard_at: float
    draining: bool
    load: dict[str, float]
    origins: set[str] = field(default_factory=set)
    watches: set[str] = field(default_factory=set)
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class _Stream:
    epoch: int
    origin: str


@dataclass(slots=True)
class _Contest:
    """``origin`` was asked whether it yields ``key`` to ``requester``; more publishers may wait."""

    contest_id: int
    origin: str
    requester: str
    publish: control.Publish
    deadline: float
    waiting: deque[tuple[str, control.Publish]] = field(default_factory=deque)


class MemoryRegistry:
    """The registry of one router."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}
        self._streams: dict[str, _Stream] = {}
        self._watchers: dict[str, dict[str, None]] = {}
        self._contests: dict[str, _Contest] = {}
        self._facts = FactsBook()
        self._shared_names = SharedNames()
        self._epochs = EpochBook()
        self._last_contest_id = 0
        self._now = 0.0
        self._wall_ms = 0
        self._out: list[Delivery] = []
        self._handlers: dict[type, Callable[[str, Any], None]] = {
            control.Heartbeat: self._heartbeat,
            control.Goodbye: self._goodbye,
            control.Publish: self._publish,
            control.Announce: self._announce,
            control.Unpublish: self._unpublish,
            control.Watch: self._watch,
            control.Unwatch: self._unwatch,
            control.ContestReply: self._contest_reply,
            control.SnapshotRequest: self._snapshot_request,
            control.Snapshot: self._pass_to_requester,
            control.Report: self._report,
            control.NoStream: self._pass_to_requester,
        }

    # ---- what a router calls ---------------------------------------------------------------------

    def receive(self, worker_id: str, message: ControlMessage, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` sent ``message``: what to send to whom now.

        A worker that has not said hello is asked to; messages only a router sends are ignored.
        """
        self._now, self._wall_ms = now, wall_ms
        if isinstance(message, control.Hello):
            self._hello(worker_id, message)
        elif isinstance(message, control.StatusRequest):
            self._out.append((worker_id, self._status()))
        elif worker_id not in self._workers:
            if not isinstance(message, control.Goodbye):
                self._send(worker_id, control.HelloWanted())
        else:
            self._workers[worker_id].heard_at = now
            handler = self._handlers.get(type(message))
            if handler is not None:
                handler(worker_id, message)
            if worker_id in self._workers:
                self._workers[worker_id].received += 1
        return self._take()

    def tick(self, now: float, wall_ms: int) -> list[Delivery]:
        """Drop workers silent for WORKER_TIMEOUT_S; contests unanswered for CONTEST_TIMEOUT_S are won;
        nodes that share a name are told so now and then."""
        self._now, self._wall_ms = now, wall_ms
        for worker_id, worker in list(self._workers.items()):
            if now - worker.heard_at > WORKER_TIMEOUT_S:
                self._drop(worker_id)
        for key, contest in list(self._contests.items()):
            if now >= contest.deadline:
                self._resolve(key, yielded=True)
        staying = [
            (worker.identity, worker.known_since)
            for worker in self._workers.values() if not worker.draining
        ]  # fmt: skip
        for worker_id, shared in self._shared_names.look(staying, now):
            self._send(worker_id, shared)
        return self._take()

    def drop_worker(self, worker_id: str, now: float, wall_ms: int) -> list[Delivery]:
        """``worker_id`` cannot be reached: its streams end and watchers are told."""
        self._now, self._wall_ms = now, wall_ms
        self._drop(worker_id)
        return self._take()

    def sizes(self) -> dict[str, int]:
        """How many workers, streams and watched keys there are."""
        return {
            "workers": len(self._workers),
            "streams": len(self._streams),
            "watched_keys": len(self._watchers),
        }

    def loads(self) -> dict[str, dict[str, float]]:
        """What each worker last said of its load."""
        return {worker_id: dict(worker.load) for worker_id, worker in self._workers.items()}

    def _send(self, worker_id: str, message: ControlMessage) -> None:
        self._out.append((worker_id, message))
        if worker_id in self._workers:
            self._workers[worker_id].sent += 1

    def _take(self) -> list[Delivery]:
        out, self._out = self._out, []
        return out

    # ---- membership ------------------------------------------------------------------------------

    def _hello(self, worker_id: str, hello: control.Hello) -> None:
        identity = WorkerIdentity(hello.node, hello.instance, hello.slot, hello.incarnation)
        if identity.worker_id != worker_id:
            return
        for other_id, other in list(self._workers.items()):
            if other.identity.place == identity.place and other_id != worker_id:
                self._drop(other_id)  # a slot holds one process: the other one is dead
        worker = self._workers.get(worker_id)
        if worker is None:
            worker = self._workers[worker_id] = _Worker(
                identity, self._now, self._now, hello.draining, dict(hello.load)
            )
        worker.heard_at, worker.draining, worker.load = self._now, hello.draining, dict(hello.load)
        self._send(worker_id, control.Welcome())
        worker.received = worker.sent = 0
        for key in worker.origins - {key for key, _ in hello.origins}:
            self._end_stream(key)
        for key, epoch in hello.origins:
            self._announce(worker_id, control.Announce(key, epoch))
        for key in worker.watches - set(hello.watches):
            self._unwatch(worker_id, control.Unwatch(key))
        for key in hello.watches:
            self._watch(worker_id, control.Watch(key))

    def _heartbeat(self, worker_id: str, heartbeat: control.Heartbeat) -> None:
        worker = self._workers[worker_id]
        worker.load, worker.draining = dict(heartbeat.load), heartbeat.draining
        if heartbeat.messages != worker.received:
            self._send(worker_id, control.HelloWanted())
        self._send(worker_id, control.Heartbeat(messages=worker.sent))

    def _goodbye(self, worker_id: str, _: control.Goodbye) -> None:
        self._drop(worker_id)

    def _drop(self, worker_id: str) -> None:
        worker = self._workers.pop(worker_id, None)
        if worker is None:
            return
        self._facts.forget(worker_id)
        for key in worker.watches:
            self._forget_watcher(key, worker_id)
        for key in list(worker.origins):
            self._end_stream(key)

    # ---- who publishes ---------------------------------------------------------------------------

    def _publish(self, worker_id: str, publish: control.Publish) -> None:
        key = publish.key
        contest = self._contests.get(key)
        stream = self._streams.get(key)
        if self._workers[worker_id].draining:
            self._send(worker_id, control.Refused(key, DRAINING, publish.request_id))
        elif contest is not None:
            if len(contest.waiting) >= MAX_WAITING_PUBLISHERS:
                self._send(worker_id, control.Refused(key, BUSY, publish.request_id))
            else:
                contest.waiting.append((worker_id, publish))
                self._send(worker_id, control.Contested(key, publish.request_id))
        elif stream is None:
            self._grant(worker_id, publish)
        else:
            self._last_contest_id += 1
            self._contests[key] = _Contest(
                self._last_contest_id, stream.origin, worker_id, publish, self._now + CONTEST_TIMEOUT_S
            )
            self._send(worker_id, control.Contested(key, publish.request_id))
            self._send(stream.origin, control.Contest(key, publish.replace, self._last_contest_id))

    def _contest_reply(self, worker_id: str, reply: control.ContestReply) -> None:
        contest = self._contests.get(reply.key)
        if contest is not None and (contest.contest_id, contest.origin) == (reply.request_id, worker_id):
            self._resolve(reply.key, reply.yielded)

    def _resolve(self, key: str, yielded: bool) -> None:
        """The origin has answered, or is gone: grant or refuse, then see to those who waited."""
        contest = self._contests.pop(key)
        requester = self._workers.get(contest.requester)
        if requester is not None:
            if not yielded:
                self._send(contest.requester, control.Refused(key, BUSY, contest.publish.request_id))
            elif requester.draining:
                self._send(contest.requester, control.Refused(key, DRAINING, contest.publish.request_id))
            else:
                self._grant(contest.requester, contest.publish)
        # An origin that yielded to nobody unpublishes by itself.
        for worker_id, publish in contest.waiting:
            if worker_id in self._workers:
                self._publish(worker_id, publish)

    def _grant(self, worker_id: str, publish: control.Publish) -> None:
        epoch = self._epochs.next(publish.key, self._wall_ms)
        self._set_origin(publish.key, epoch, worker_id)
        self._send(worker_id, control.Granted(publish.key, epoch, publish.request_id))

    def _announce(self, worker_id: str, announce: control.Announce) -> None:
        """The higher (epoch, worker id) wins; the loser is told to close its publisher."""
        key, epoch = announce.key, announce.epoch
        stream = self._streams.get(key)
        if stream is None or (epoch, worker_id) > (stream.epoch, stream.origin):
            self._set_origin(key, epoch, worker_id)
        elif stream.origin != worker_id:
            self._send(worker_id, control.Revoked(key, epoch))

    def _unpublish(self, worker_id: str, unpublish: control.Unpublish) -> None:
        stream = self._streams.get(unpublish.key)
        if stream is not None and (stream.origin, stream.epoch) == (worker_id, unpublish.epoch):
            self._end_stream(unpublish.key)

    def _set_origin(self, key: str, epoch: int, worker_id: str) -> None:
        old = self._streams.get(key)
        if old is not None and old.origin != worker_id:
            self._send(old.origin, control.Revoked(key, old.epoch))
            self._workers[old.origin].origins.discard(key)
        self._epochs.note(key, epoch)
        self._streams[key] = _Stream(epoch, worker_id)
        self._workers[worker_id].origins.add(key)
        for watcher in self._watchers.get(key, ()):
            self._tell_watcher(watcher, key)
        contest = self._contests.get(key)
        if contest is not None and contest.origin != worker_id:
            # Whoever was asked is not the origin any more: ask the one who is.
            del self._contests[key]
            for waiting, publish in ((contest.requester, contest.publish), *contest.waiting):
                if waiting in self._workers:
                    self._publish(waiting, publish)

    def _end_stream(self, key: str) -> None:
        stream = self._streams.pop(key, None)
        if stream is None:
            return
        origin = self._workers.get(stream.origin)
        if origin is not None:
            origin.origins.discard(key)
        for watcher in self._watchers.get(key, ()):
            if watcher != stream.origin:
                self._send(watcher, control.StreamDown(key, stream.epoch))
        if key in self._contests:
            self._resolve(key, yielded=True)

    # ---- who wants to know -----------------------------------------------------------------------

    def _watch(self, worker_id: str, watch: control.Watch) -> None:
        self._workers[worker_id].watches.add(watch.key)
        self._watchers.setdefault(watch.key, {})[worker_id] = None
        self._tell_watcher(worker_id, watch.key)

    def _unwatch(self, worker_id: str, unwatch: control.Unwatch) -> None:
        self._workers[worker_id].watches.discard(unwatch.key)
        self._forget_watcher(unwatch.key, worker_id)

    def _forget_watcher(self, key: str, worker_id: str) -> None:
        watchers = self._watchers.get(key)
        if watchers is not None:
            watchers.pop(worker_id, None)
            if not watchers:
                del self._watchers[key]

    def _tell_watcher(self, worker_id: str, key: str) -> None:
        """An origin that watches its own stream is not told: its players read its own log."""
        stream = self._streams.get(key)
        if stream is not None and stream.origin != worker_id:
            self._send(worker_id, control.StreamUp(key, stream.epoch, stream.origin))

    # ---- status ----------------------------------------------------------------------------------

    def _report(self, worker_id: str, report: control.Report) -> None:
        self._facts.report(worker_id, report.streams)

    def _status(self) -> control.ClusterStatus:
        players = self._facts.players()
        workers = [
            WorkerStatus(worker_id, worker.draining, _ms(self._now - worker.heard_at), worker.load)
            for worker_id, worker in self._workers.items()
        ]
        streams = []
        for key, stream in self._streams.items():
            facts = self._facts.of(key, stream.origin)
            # Epochs are the wall clock of the grant: see EpochBook.
            age_ms = max(0, self._wall_ms - stream.epoch)
            row = (key, stream.epoch, stream.origin, age_ms, facts.codecs, facts.bits_per_second)
            streams.append(StreamStatus(*row, players.get(key, {})))
        return control.ClusterStatus(workers, streams)

    # ---- snapshots -------------------------------------------------------------------------------

    def _snapshot_request(self, worker_id: str, request: control.SnapshotRequest) -> None:
        stream = self._streams.get(request.key)
        if stream is None or stream.origin == worker_id:
            self._send(worker_id, control.NoStream(request.key, request.request_id, worker_id))
        else:
            forwarded = control.SnapshotRequest(request.key, request.request_id, worker_id)
            self._send(stream.origin, forwarded)

    def _pass_to_requester(self, _: str, reply: control.Snapshot | control.NoStream) -> None:
        if reply.requester in self._workers:
            self._send(reply.requester, reply)


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
