"""Answering requests for snapshots, with a router and a worker that stand still."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.core.bus.bounds import MAX_SNAPSHOT_MESSAGES
from cluster.core.bus.control import NoStream, Snapshot, SnapshotRequest
from cluster.core.message import Message
from cluster.edge.link.snapshots import SnapshotAnswers
from cluster.edge.streams.counters import Counters

KEY = "live/a"
HEADER = Message(9, 0, b"header")
SNAPSHOT = Snapshot(KEY, 7, 0, [], [])
REQUEST = SnapshotRequest(KEY, 5, "node/0/1")


class FakePeer:
    def __init__(self) -> None:
        self.is_live = True
        self.sent: list[Any] = []

    def send(self, message: Any) -> bool:
        assert self.is_live
        self.sent.append(message)
        return True


class FakeWorker:
    """Has the stream once ``begun``."""

    def __init__(self) -> None:
        self.begun = False
        self.snapshot = SNAPSHOT

    def snapshot_requested(self, key: str) -> Snapshot | None:
        return self.snapshot if self.begun else None


class FakeOutput:
    """Whoever asks is subscribed already, and nobody waited."""

    def is_subscribed(self, key: str) -> bool:
        return True

    def with_early(self, snapshot: Snapshot) -> Snapshot:
        return snapshot


class Scene:
    def __init__(self, *origins: str) -> None:
        self.peer, self.worker = FakePeer(), FakeWorker()
        self.answers = SnapshotAnswers(
            asyncio.get_running_loop(), self.worker, "us/0/1", FakeOutput(), origins, Counters()
        )  # type: ignore[arg-type]

    def request(self) -> None:
        self.answers.requested(self.peer, REQUEST)  # type: ignore[arg-type]


def test_a_request_that_comes_with_the_grant_is_answered_once_the_publisher_has_begun() -> None:
    async def main() -> None:
        scene = Scene(KEY)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def publish() -> None:
            await granted
            scene.worker.begun = True

        publishing = asyncio.create_task(publish())
        await asyncio.sleep(0)
        granted.set_result(None)  # read from the same socket, one after the other
        scene.request()
        assert scene.peer.sent == []
        await publishing
        await asyncio.sleep(0)
        (answer,) = scene.peer.sent
        assert (answer.key, answer.request_id, answer.requester) == (KEY, 5, "node/0/1")
        assert isinstance(answer, Snapshot)

    asyncio.run(main())


@pytest.mark.parametrize("origins", [(), (KEY,)])
def test_a_stream_that_does_not_begin_is_said_not_to_be_there(origins: tuple[str, ...]) -> None:
    async def main() -> None:
        scene = Scene(*origins)
        scene.request()
        for _ in range(3):
            await asyncio.sleep(0)
        assert scene.peer.sent == [NoStream(KEY, 5, "node/0/1")]

    asyncio.run(main())


def test_a_router_that_is_gone_meanwhile_is_told_nothing() -> None:
    async def main() -> None:
        scene = Scene(KEY)
        scene.request()
        scene.peer.is_live = False
        await asyncio.sleep(0)
        assert scene.peer.sent == []

    asyncio.run(main())


@pytest.mark.parametrize("more", [0, 1])
def test_a_log_of_too_many_messages_is_joined_at_its_next_keyframe(more: int) -> None:
    async def main() -> None:
        scene = Scene(KEY)
        log = [Message(8, 0, b"")] * (MAX_SNAPSHOT_MESSAGES - 1 + more)
        scene.worker.begun = True
        scene.worker.snapshot = Snapshot(KEY, 7, len(log), [HEADER], log)
        scene.request()
        (answer,) = scene.peer.sent
        assert (answer.next_seq, answer.headers) == (len(log), [HEADER])
        assert answer.messages == ([] if more else log)

    asyncio.run(main())
