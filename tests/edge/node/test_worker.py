"""A whole worker in this process, on the loop that workers use, with no router to be reached."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.core.bus.identity import WorkerIdentity
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp import events
from cluster.core.rtmp.status import Code
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.status_pipe import Beat, Ready, StatusPipe, StatusReader
from cluster.edge.node.worker import Worker
from cluster.net.addresses import BindAddress
from cluster.net.latency_budget import parse_budget
from cluster.net.listener import bound_socket
from support.house import AAC_HEADER, AVC_HEADER, KEY, audio, video
from support.sockets import on_asyncio, on_uvloop, until
from support.tcp_peer import TcpPeer

LOCALHOST = "127.0.0.1"
HEADERS = (Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1))


@pytest.fixture(autouse=True)
def same_garbage_collection() -> Iterator[None]:
    """A worker tunes the collector of its process, which is ours here."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


class RunningWorker:
    """A worker and the supervisor's end of its status pipe."""

    def __init__(self, socket_path: Path, **options: Any) -> None:
        options.setdefault("binds", (BindAddress(LOCALHOST, 0), BindAddress(LOCALHOST, 0)))
        config = EdgeConfig(routers=(f"ipc://{socket_path}",), **options)
        reading, self._writing = os.pipe()
        self._reader = StatusReader(reading)
        self.ready: Ready | None = None
        self.beats: list[Beat] = []
        identity = WorkerIdentity("test-node", "0a", 0, 1)
        bound = [bound_socket(*address) for address in (*config.binds, *config.tls_binds)]
        self.worker = Worker(config, identity, StatusPipe(self._writing), None, bound, NodeShared())
        self.task = asyncio.get_running_loop().create_task(self.worker.run())

    @property
    def ports(self) -> list[int]:
        assert self.ready is not None
        return [int(address.rpartition(":")[2]) for address in self.ready.addresses]

    @property
    def closes(self) -> dict[str, int]:
        return self.worker.counters.closes

    async def booted(self) -> None:
        await until(lambda: self.read_status() or self.ready or self.task.done(), "the worker to be ready")
        if self.task.done():
            self.task.result()

    def read_status(self) -> None:
        for said in self._reader.read():
            if isinstance(said, Ready):
                self.ready = said
            else:
                self.beats.append(said)

    async def ended(self) -> None:
        """It returns by itself, and without an error."""
        await until(self.task.done, "the worker to end")
        self.task.result()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self._reader.close()
        os.close(self._writing)


class Scene:
    """Workers and peers that are gone with the test."""

    def __init__(self, tmp_path: Path) -> None:
        self._socket_path = tmp_path / "nobody-serves-this"
        self.stack = contextlib.AsyncExitStack()

    async def worker(self, **options: Any) -> RunningWorker:
        running = RunningWorker(self._socket_path, **options)
        self.stack.push_async_callback(running.close)
        await running.booted()
        return running

    async def peer(self, running: RunningWorker, bind: int = 0) -> TcpPeer:
        """A peer that has connected to one of the worker's addresses."""
        peer = TcpPeer(*await asyncio.open_connection(LOCALHOST, running.ports[bind]))
        self.stack.push_async_callback(peer.close)
        await peer.until_connected()
        return peer


@contextlib.asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    async with made.stack:
        yield made


def drain() -> None:
    signal.raise_signal(signal.SIGTERM)


# ---- serving ---------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [on_uvloop, on_asyncio])
@pytest.mark.parametrize("budget", ["0", "40", "auto"])
def test_publish_and_play_end_to_end(run: Callable[..., None], tmp_path: Path, budget: str) -> None:
    sent = [audio(0), video(0, KEY, 90_000), video(33), audio(34), video(66, KEY), video(99, size=200_000)]

    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(latency_budget=parse_budget(budget))
            early = await here.peer(running)
            await early.play("a")
            publisher = await here.peer(running, bind=1)
            await publisher.publish("a")  # no router answers: the worker grants by itself
            publisher.send(*HEADERS, *sent)
            expected = [(m.type_id, m.timestamp, bytes(m.payload)) for m in (*HEADERS, *sent)]
            await until(lambda: len(early.media) == len(expected), "everything at the player")
            assert early.media == expected
            late = await here.peer(running, bind=1)
            await late.play("a")
            publisher.send(video(132))
            await until(lambda: len(late.media) == 5, "headers, the latest GOP and what is live")
            assert [timestamp for _, timestamp, _ in late.media] == [66, 34, 66, 99, 132]
            assert running.closes == {}

    run(main())


def test_the_supervisor_hears_the_addresses_and_then_beats_with_the_numbers(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker()
            assert len(set(running.ports)) == 2
            publisher = await here.peer(running)
            await publisher.publish("a")
            running.beats.clear()

            def counted() -> bool:
                running.read_status()
                return any(beat.numbers["streams"] == 1 for beat in running.beats)

            await until(counted, "a beat that knows of the stream")
            numbers = running.beats[-1].numbers
            assert (numbers["connections"], numbers["publishers"], numbers["players"]) == (1, 1, 0)

    on_uvloop(main())


def test_a_second_publisher_is_refused_without_a_router_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker()
            first, second = await here.peer(running), await here.peer(running)
            await first.publish("a")
            second.session.publish("a")
            second.flush()
            await second.until_code(Code.PUBLISH_BAD_NAME)
            await second.until_closed()
            assert running.worker.counters.publishers == 1
            assert not first.closed

    on_uvloop(main())


def test_two_publishers_at_once_without_a_router_leave_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker()
            peers = [await here.peer(running), await here.peer(running)]
            for peer in peers:
                peer.session.publish("a")
                peer.flush()
            await until(lambda: any(peer.closed for peer in peers), "one of them to be refused")
            (left,) = [peer for peer in peers if not peer.closed]
            assert Code.PUBLISH_START in left.codes
            assert running.worker.counters.publishers == 1

    on_uvloop(main())


def test_under_replace_the_newer_publisher_has_the_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(on_duplicate="replace")
            player = await here.peer(running)
            await player.play("a")
            first, second = await here.peer(running), await here.peer(running)
            await first.publish("a")
            await second.publish("a")
            await first.until_closed()
            assert first.codes[-1] == Code.PUBLISH_BAD_NAME
            second.send(*HEADERS, video(0, KEY))
            await until(lambda: len(player.media) == 3, "the newer publisher's media")
            assert running.closes[CloseReason.PUBLISHER_REPLACED] == 1

    on_uvloop(main())


def test_what_happens_by_time_alone_happens(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(play_wait_s=0.3)
            player = await here.peer(running)
            await player.play("nobody-publishes-this")
            await player.until_code(Code.PLAY_STREAM_NOT_FOUND)
            await player.until_closed()
            assert running.closes == {CloseReason.STREAM_NOT_FOUND: 1}

    on_uvloop(main())


# ---- ending ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_empty_worker_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(drain_timeout_s=3600.0)
            signal.raise_signal(number)
            await running.ended()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOCALHOST, running.ports[0])

    on_uvloop(main())


def test_a_drain_lets_sessions_go_on_and_ends_with_the_last(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(drain_timeout_s=3600.0)
            publisher, player, late = [await here.peer(running) for _ in range(3)]
            await publisher.publish("a")
            await player.play("a")
            drain()
            await until(
                lambda: any(isinstance(each, events.ReconnectRequested) for each in player.received),
                "the player to be asked to reconnect",
            )
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(LOCALHOST, running.ports[1])
            late.session.publish("b")
            late.flush()
            await late.until_code(Code.PUBLISH_DENIED)
            publisher.send(*HEADERS, video(0, KEY))
            await until(lambda: len(player.media) == 3, "media during the drain")
            assert not running.task.done()
            for peer in (publisher, player, late):
                await peer.close()
            await running.ended()
            assert running.closes == {CloseReason.PEER_CLOSED: 2, CloseReason.PUBLISH_REFUSED: 1}

    on_uvloop(main())


def test_after_the_drain_timeout_those_left_are_told_and_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(drain_timeout_s=0.2)
            publisher, player = await here.peer(running), await here.peer(running)
            await publisher.publish("a")
            await player.play("a")
            drain()
            await running.ended()
            for peer in (publisher, player):
                await peer.until_code(Code.CONNECT_APP_SHUTDOWN)
                await peer.until_closed()
            assert running.closes == {CloseReason.DRAINED: 2}
            counters = running.worker.counters
            assert (counters.connections, counters.publishers, counters.players) == (0, 0, 0)

    on_uvloop(main())


def test_a_publish_that_waits_for_its_grant_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await here.worker(drain_timeout_s=0.0)
            publisher = await here.peer(running)
            publisher.session.publish("a")
            publisher.flush()
            drain()
            await running.ended()
            await publisher.until_closed()

    on_uvloop(main())


def test_an_address_that_cannot_be_had_ends_the_worker_with_the_error(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            taken = here.stack.enter_context(socket.create_server((LOCALHOST, 0)))
            with pytest.raises(OSError, match="in use"):
                await here.worker(binds=(BindAddress(LOCALHOST, taken.getsockname()[1]),))

    on_uvloop(main())
