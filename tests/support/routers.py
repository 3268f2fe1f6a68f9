"""A worker reduced to its link, and a router reduced to what a test makes it say."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence

import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import control, control_coding
from cluster.core.bus.control import ControlMessage, Granted, Snapshot
from cluster.core.bus.endpoints import endpoints
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.identity import WorkerIdentity
from cluster.core.bus.splice import Splice, SpliceOutput
from cluster.core.message import Message
from cluster.edge.link.link import Link
from cluster.edge.streams.counters import Counters
from cluster.router.repeater import Repeaters
from cluster.router.router import Router
from support.sockets import until

KEY = "live/a"
ANY_PORT = "tcp://127.0.0.1:0"

HEADER = Message(9, 0, b"sequence header")


def media(seq: int) -> Message:
    """The message of number ``seq`` of a test stream."""
    return Message(9, 40 * seq, b"payload %d" % seq)


class LinkedWorker:
    """Implements LinkHandler. ``played`` holds the payloads of each stream as a player would see them."""

    def __init__(
        self,
        routers: Sequence[str],
        slot: int,
        *,
        incarnation: int = 1,
        key: ClusterKey | None = None,
        node: str = "test-node",
        instance: str = "0a",
        own_router: str | None = None,
    ) -> None:
        identity = WorkerIdentity(node, instance, slot, incarnation)
        self.worker_id = identity.worker_id
        self.counters = Counters()
        self.link = Link(routers, identity, self, self.counters, key=key, own_router=own_router)
        self.events: list[tuple[object, ...]] = []
        self.envelopes: list[Envelope] = []
        self.stamps: list[tuple[str, float, float]] = []
        self.splices: dict[str, Splice] = {}
        self.played: dict[str, list[bytes]] = {}
        self.restarts = 0
        self.gaps = 0
        self.epochs: dict[str, int] = {}
        self.logs: dict[str, list[Message]] = {}
        self.yields = False
        self.snapshot_messages = 50

    async def publish(self, key: str, *, replace: bool = False) -> Granted:
        granted = await self.link.request_publish(key, replace=replace)
        assert isinstance(granted, Granted), granted
        self.epochs[key] = granted.epoch
        self.logs.setdefault(key, [])
        return granted

    def append(self, key: str, count: int = 1) -> None:
        """``count`` more messages of a stream published here, one envelope each if it is wanted."""
        log = self.logs[key]
        for _ in range(count):
            message = media(len(log))
            log.append(message)
            if self.link.wanted(key):
                self.link.publish(key, self.epochs[key], len(log) - 1, [message])

    def play(self, key: str) -> None:
        self.splices[key] = Splice()
        self.played[key] = []
        self.link.watch(key)

    def saw(self, *event: object) -> bool:
        return event in self.events

    # ---- LinkHandler -------------------------------------------------------------------------

    def stream_up(self, key: str, epoch: int, origin: str) -> None:
        self.events.append(("up", key, epoch, origin))
        if key in self.splices:
            self._apply(key, self.splices[key].stream_up(epoch, origin))

    def stream_down(self, key: str, epoch: int) -> None:
        self.events.append(("down", key, epoch))
        if key in self.splices:
            self.splices[key].stream_down()

    def next_received(self, frame: bytes) -> int:
        """All of them are decoded here, to be seen."""
        return 0

    def envelope_received(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)
        if envelope.key in self.splices:
            self._apply(envelope.key, self.splices[envelope.key].envelope(envelope))

    def stamp_received(self, key: str, waited_s: float, crossed_s: float) -> None:
        self.stamps.append((key, waited_s, crossed_s))

    def snapshot_received(self, snapshot: Snapshot) -> None:
        self.events.append(("snapshot", snapshot.key, snapshot.next_seq))
        if snapshot.key in self.splices:
            self._apply(snapshot.key, self.splices[snapshot.key].snapshot(snapshot))

    def snapshot_requested(self, key: str) -> Snapshot | None:
        log = self.logs.get(key)
        if log is None or key not in self.epochs:
            return None
        messages = log[max(0, len(log) - self.snapshot_messages) :]
        return Snapshot(key, self.epochs[key], len(log), [HEADER], messages)

    def contest(self, key: str, replace: bool) -> bool:
        self.events.append(("contest", key, replace))
        return replace or self.yields

    def revoked(self, key: str, epoch: int) -> None:
        self.events.append(("revoked", key, epoch))

    def demand_changed(self, key: str, wanted: bool) -> None:
        self.events.append(("demand", key, wanted))

    def _apply(self, key: str, output: SpliceOutput) -> None:
        self.gaps += bool(output.lost_messages)
        self.restarts += output.restarted
        self.played[key] += [bytes(message.payload) for message in output.messages]
        if output.snapshot_needed:
            self.link.request_snapshot(key)


@contextlib.contextmanager
def node_of(routers: Sequence[str], key: ClusterKey | None = None) -> Iterator[Router]:
    """What a node has beside its workers: the router of its own that this yields, and repeaters."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Router(f"ipc://{directory}/r") as own,
        Repeaters(routers, own.endpoint, key, own.node_reports),
    ):
        yield own


@contextlib.asynccontextmanager
async def linked(
    routers: list[str], count: int = 2, *, nodes: str | None = None, key: ClusterKey | None = None,
) -> AsyncIterator[list[LinkedWorker]]:
    """``count`` workers whose links know every router in ``routers``. They belong to no node and go to
    the routers themselves, or each to the one that its letter in ``nodes`` names."""
    with contextlib.ExitStack() as stack:
        if nodes is None:
            workers = [LinkedWorker(routers, slot, key=key) for slot in range(count)]
        else:
            own = {name: stack.enter_context(node_of(routers, key)) for name in dict.fromkeys(nodes)}
            workers = [
                LinkedWorker(routers, slot, key=key, node=name, own_router=own[name].endpoint)
                for slot, name in enumerate(nodes)
            ]
        for worker in workers:
            await worker.link.start()
        try:
            for worker in workers:
                await until(lambda w=worker: _is_linked(w.link, len(routers)), "every router answers")
            yield workers
        finally:
            for worker in workers:
                await worker.link.close()


def _is_linked(link: Link, routers: int) -> bool:
    return len(link.live_routers) == routers and all(peer.is_live for peer in link.routers.all())


async def live_pair(origin: LinkedWorker, player: LinkedWorker, key: str = KEY) -> None:
    """``origin`` publishes ``key`` and ``player`` plays it, as far as the first snapshot."""
    await origin.publish(key)
    player.play(key)
    await until(lambda: player.restarts, "the first snapshot")
    await until(lambda: origin.link.wanted(key), "demand at the origin")


async def flowing(origin: LinkedWorker, *players: LinkedWorker, key: str = KEY) -> None:
    """Until what ``origin`` appends comes to all of these, who have had their snapshots. A subscription may
    take longer than a snapshot, and of several players at one router the origin sees one."""
    first = len(origin.logs[key])

    def comes() -> bool:
        origin.append(key)
        return all(_last(player, key) >= first for player in players)

    await until(comes, "the stream to come to each player")
    last = len(origin.logs[key]) - 1
    await until(lambda: all(_last(player, key) == last for player in players), "the last of it")


def _last(player: LinkedWorker, key: str) -> int:
    """The number of the last message that it has played."""
    return int(player.played[key][-1].split()[1]) if player.played[key] else -1


class RunningPublisher:
    """Appends a message every two milliseconds until stopped."""

    def __init__(self, worker: LinkedWorker, key: str) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(worker, key))

    async def _run(self, worker: LinkedWorker, key: str) -> None:
        while True:
            worker.append(key)
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class ScriptedRouter:
    """The control side of a router that keeps workers alive and otherwise only says what a test tells it.

    ``received``: what the workers sent, except hellos and heartbeats.
    """

    def __init__(self, base: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(endpoints(base).control)
        self._sent = 0
        self._worker = b""
        self.received: list[ControlMessage] = []
        self._task = asyncio.get_running_loop().create_task(self._run())

    def say(self, message: ControlMessage) -> None:
        """Send ``message`` to the worker heard of last."""
        self._socket.send_multipart([self._worker, *control_coding.encode(message)])
        self._sent += 1

    def heard(self, kind: type[ControlMessage]) -> list[ControlMessage]:
        return [message for message in self.received if isinstance(message, kind)]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._context.destroy(0)

    async def _run(self) -> None:
        while True:
            while self._socket.poll(0):
                self._worker, *frames = self._socket.recv_multipart()
                message = control_coding.decode(frames)
                if isinstance(message, control.Hello):
                    self.say(control.Welcome())
                    self._sent = 0
                elif isinstance(message, control.Heartbeat):
                    self.say(control.Heartbeat(messages=self._sent))
                else:
                    self.received.append(message)
            await asyncio.sleep(0.002)
