"""Events over a receiver that fails: each arrives, in order within its stream, once by its id.

EVENTS_FULL=1 (make events) tells 10,000 through all of this, and the receiver is down for a minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.client import ConnectionClosed, RtmpError, connect
from cluster.edge.events.delivery import MAX_ON_THE_WAY
from support.cluster_process import Edge, StartEdge, kill_worker
from support.polling import wait_until
from support.rtmp_peer import Peers
from support.webhook_receiver import SECRET_TEXT, Arrived, WebhookReceiver, half_fail

IS_FULL = os.environ.get("EVENTS_FULL") == "1"
EVENTS = 10_000 if IS_FULL else 1_200
DOWN_S = 60.0 if IS_FULL else 4.0
#: Each on a key of its own, twice a second: a publisher that nobody plays is read so often.
PUBLISHERS = 100
PASSWORD = "MARKED-PASSWORD"
#: After the last session: what failed is tried again after half a minute at most.
ALL_THERE_S = 300.0 if IS_FULL else 150.0


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path, receiver: WebhookReceiver) -> Path:
    """A file that says that ``receiver`` is to be told."""
    path = tmp_path / "edge.toml"
    path.write_text(f'[hooks]\nevents = "{receiver.url}"\nevents_secret = "{SECRET_TEXT}"\n')
    return path


@pytest.fixture
def tell(start_edge: StartEdge, config: Path) -> Callable[..., Edge]:
    """Starts an edge that tells the receiver."""
    return lambda *arguments: start_edge("--config", str(config), *arguments)


def pid_of_events(edge: Edge) -> int:
    return int(edge.events("events_started")[-1]["pid"])


def counted(edge: Edge, name: str) -> float:
    return edge.metrics().total(name)


def assert_in_order(arrived: list[Arrived]) -> None:
    """Each stream's numbers rise by one, from 1 on, in the order of arrival."""
    by_key: dict[str, list[int]] = {}
    for each in arrived:
        by_key.setdefault(each.key, []).append(each.data["sequence"])
    for key, numbers in by_key.items():
        assert numbers == list(range(1, len(numbers) + 1)), key


def has_all(receiver: WebhookReceiver, publishes: int) -> bool:
    """Each publish that was granted, and possibly some of which the grant was lost, and the end of each."""
    types = Counter(each.type for each in receiver.first())
    ends = types["stream.unpublished"], types["play.stopped"]
    return types["stream.published"] >= publishes and ends == (types["stream.published"], 1)


async def publish_often(edge: Edge, publisher: int, times: int, done: list[int]) -> None:
    """Short publishes, one after the other, on a connection that is made again when it is lost."""
    left = times
    while left:
        try:
            async with connect(edge.url("x"), publisher=True, timeout_s=60) as connection:
                while left:
                    publication = await connection.publish(f"k{publisher}")
                    left -= 1
                    done.append(publisher)
                    await publication.close()
        except (ConnectionClosed, RtmpError, OSError):
            await asyncio.sleep(0.2)  # its worker was killed


async def publish_all(edge: Edge, done: list[int]) -> None:
    times = EVENTS // 2 // PUBLISHERS
    await asyncio.gather(*[publish_often(edge, each, times, done) for each in range(PUBLISHERS)])


async def disturb(edge: Edge, receiver: WebhookReceiver, done: list[int]) -> None:
    """Kill a worker, the process that delivers, and the receiver for a while, as the events go on."""
    kills: list[Callable[[], None]] = [
        lambda: kill_worker(edge.workers()[0]),
        lambda: os.kill(pid_of_events(edge), signal.SIGKILL),
        receiver.stop,
    ]
    for number, kill in enumerate(kills, 1):
        while len(done) < EVENTS // 2 * number // (len(kills) + 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        kill()
    await asyncio.sleep(DOWN_S)
    receiver.start()


def test_each_event_arrives_in_order_and_once_whatever_fails(
    tell: Callable[..., Edge], receiver: WebhookReceiver, peers: Peers
) -> None:
    receiver.answer = half_fail
    edge = tell("--workers", "2")
    worker = edge.workers()[0]
    victim = peers.publish(edge, "victim", worker=worker)
    watcher = peers.play(edge, "victim", worker=worker)
    watcher.wait_for_frames(3)
    done: list[int] = []

    async def all_of_it() -> None:
        async with asyncio.timeout(ALL_THERE_S * 2):
            await asyncio.gather(publish_all(edge, done), disturb(edge, receiver, done))

    began = time.monotonic()
    asyncio.run(all_of_it())
    published_s = time.monotonic() - began
    wait_until(lambda: has_all(receiver, len(done) + 1), "every event to arrive", ALL_THERE_S)
    told_s = time.monotonic() - began
    wait_until(lambda: counted(edge, "events_waiting") == 0, "nothing to wait")

    arrived = receiver.first()
    attempts, twice = sum(receiver.attempts.values()), len(receiver.arrived) - len(arrived)
    print(
        f"{len(done)} publishes in {published_s:.0f} s; {len(arrived)} events arrived after {told_s:.0f} s "
        f"by {attempts} attempts; {twice} were taken twice"
    )
    types = Counter(each.type for each in arrived)
    assert types["play.started"] == types["play.stopped"] == 1
    assert_in_order(arrived)
    assert receiver.faults == []
    lost = [each for each in arrived if each.data.get("reason") == "worker_lost"]
    owed = {each.type for each in lost if each.key == "live/victim"}
    assert owed == {"stream.unpublished", "play.stopped"}
    assert twice <= 2 * MAX_ON_THE_WAY, "only what was on its way as the process or the receiver was killed"
    assert attempts > 1.5 * len(arrived)
    assert counted(edge, "events_lost") == counted(edge, "events_dead") == 0
    assert "MARKED-SECRET" not in edge.log_text()
    wait_until(lambda: victim.closed, "the publisher of the worker that was killed to see it")


def test_events_wait_in_a_file_for_the_next_start(
    tell: Callable[..., Edge], receiver: WebhookReceiver, peers: Peers, tmp_path: Path
) -> None:
    queue = tmp_path / "events.queue"
    receiver.stop()
    edge = tell("--workers", "1", "--events-queue", str(queue))
    peers.publish(edge, "a").close()
    wait_until(lambda: counted(edge, "events_waiting") == 2, "two events to wait")
    left = peers.publish(edge, "b")
    assert edge.stop() == 0
    assert edge.events("events_left"), edge.log_text()
    wait_until(lambda: left.closed, "its publisher to be told")

    receiver.start()
    tell("--workers", "1", "--events-queue", str(queue))
    wait_until(lambda: len(receiver.first()) == 4, "what was left to arrive")
    types = Counter(each.type for each in receiver.first())
    assert types == {"stream.published": 2, "stream.unpublished": 2}
    reasons = {each.key: each.data["reason"] for each in receiver.first() if "reason" in each.data}
    assert reasons == {"live/a": "peer_closed", "live/b": "drained"}


def test_who_publishes_and_plays_is_told_with_what_they_are(
    tell: Callable[..., Edge], receiver: WebhookReceiver, peers: Peers, config: Path
) -> None:
    with config.open("a") as rules:
        rules.write('[[rule]]\nmatch = "*"\npublish = { users = ["studio"] }\nplay = "allow"\n')
        rules.write(f'[users.studio]\npassword = "{PASSWORD}"\n')
    edge = tell("--workers", "2", "--http", "127.0.0.1:0")
    publisher = peers.publish(edge, f"cam?user=studio&pass={PASSWORD}")
    for worker in edge.workers().values():  # one knows the stream from the other: it is told once
        player = peers.play(edge, "cam", worker=worker)
        player.wait_for_frames(1)
        player.close()
    with urllib.request.urlopen(f"http://127.0.0.1:{edge.http_port}/live/cam.flv", timeout=30) as viewer:
        assert viewer.read(3) == b"FLV"
    publisher.close()
    wait_until(lambda: len(receiver.first()) == 8, "the events")
    published, *_, unpublished = [each for each in receiver.first() if each.type.startswith("stream.")]
    assert (published.type, unpublished.type) == ("stream.published", "stream.unpublished")
    who = {"session", "peer", "protocol", "agent"}
    expected = {"key", "epoch", "node", "worker", "instance", "sequence", "user"} | who
    assert set(published.data) == expected
    assert (published.data["protocol"], published.data["user"]) == ("rtmp", "studio")
    assert set(unpublished.data) == expected | {"reason", "seconds", "bytes"}
    assert unpublished.data["bytes"] > 0
    assert unpublished.data["session"] == published.data["session"]
    players = [each for each in receiver.first() if each.type == "play.started"]
    # Of two workers, each with a line of its own.
    assert sorted(each.data["protocol"] for each in players) == ["http", "rtmp", "rtmp"]
    assert {each.data["worker"] for each in players} == {0, 1}
    assert len({each.data["session"] for each in players}) == 3
    told = json.dumps([each.data for each in receiver.arrived])
    for secret in ("MARKED-SECRET", PASSWORD, SECRET_TEXT):
        assert secret not in told + edge.log_text()
    for worker in edge.workers().values():
        loaded = {Path(each.path).name for each in psutil.Process(worker).memory_maps()}
        assert not [name for name in loaded if name.startswith(("_sqlite3", "_http_parser"))]
