"""What happens to the streams of a worker, as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.core.bus.identity import WorkerIdentity
from cluster.edge.events.teller import EventTeller
from cluster.edge.streams.flv_encoding import FLV
from cluster.edge.streams.streams import Streams
from support.house import KEY, SteppedLoop, run_until, stepped_loop, video
from support.streams import FakePublisher, FakeSink, make_streams

SHOWN = {"session": "ab12-3.1-9", "peer": "192.0.2.1:5", "agent": "OBS", "protocol": "rtmps"}
FACTS = {"id": "ab12-3.1-9", "worker": "n/3", **SHOWN, "x": "1"}
WHERE = {"node": "n", "worker": 3}


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


class Told:
    """A worker's streams, and what the process at the other end of its line has heard."""

    def __init__(self, loop: SteppedLoop, path: Path) -> None:
        self._loop = loop
        self.heard: list[dict[str, Any]] = []
        self.streams, _ = make_streams(loop)
        self._server = loop.run_until_complete(asyncio.start_unix_server(self._hear, path))
        identity = WorkerIdentity("n", "ab12", 3, 1)
        loop.call_soon(self._listen, path, identity)
        loop.turn()

    def _listen(self, path: Path, identity: WorkerIdentity) -> None:
        self.teller = EventTeller(str(path), self.streams, identity, self.streams.counters)
        self.streams.listeners.add(self.teller)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(said := json.loads(line))
            writer.write(json.dumps({"ack": said.get("n", 0)}).encode() + b"\n")
        writer.close()

    def events(self, count: int) -> list[dict[str, Any]]:
        def probe() -> list[dict[str, Any]]:
            found = [each for each in self.heard if "n" in each]
            return found if len(found) >= count else []

        return run_until(self._loop, probe, f"{count} events")  # type: ignore[no-any-return]

    def end(self) -> None:
        self._loop.run_until_complete(self.teller.close())
        self._server.close()
        self._loop.turn()


@pytest.fixture
def told(loop: SteppedLoop, tmp_path: Path) -> Iterator[Told]:
    made = Told(loop, tmp_path / "e")
    yield made
    made.end()


def publish(loop: SteppedLoop, streams: Streams, key: str = "live/a") -> FakePublisher:
    publisher = FakePublisher()
    publisher.facts = dict(FACTS)
    loop.run_until_complete(streams.publishing.request(key, publisher))
    return publisher


def test_a_publish_is_told_with_its_epoch_and_its_end_with_what_it_was(
    loop: SteppedLoop, told: Told
) -> None:
    publisher = publish(loop, told.streams)
    publisher.feed.append(video(0, KEY))
    told.streams.turn.end()
    loop.advance(2.5)
    told.streams.turn.begin()
    publisher.facts["reason"] = "peer_closed"
    publisher.feed.end()
    began, ended = told.events(2)
    assert (began["type"], began["key"], began["opens"]) == ("stream.published", "live/a", True)
    assert began["data"] == {"epoch": 1, **WHERE, **SHOWN}
    assert (ended["type"], ended["key"], ended["closes"]) == ("stream.unpublished", "live/a", began["n"])
    size = len(video(0, KEY).payload)
    assert ended["data"].pop("bytes") >= size
    assert ended["data"] == {**began["data"], "reason": "peer_closed", "seconds": 2.5}


def test_a_second_publisher_of_a_stream_is_charged_with_its_own_bytes(
    loop: SteppedLoop, told: Told
) -> None:
    first = publish(loop, told.streams)
    first.feed.append(video(0, KEY))
    first.feed.end()
    publish(loop, told.streams).feed.end()
    assert told.events(4)[3]["data"]["bytes"] == 0


def test_a_play_is_told_whoever_publishes(loop: SteppedLoop, told: Told) -> None:
    sink = FakeSink()
    sink.facts = dict(FACTS)
    told.streams.play("live/a", sink, FLV)
    loop.advance(1)
    told.streams.turn.begin()
    sink.reader.leave()
    started, stopped = told.events(2)
    assert (started["type"], started["data"]) == ("play.started", {**WHERE, **SHOWN})
    assert (stopped["type"], stopped["closes"]) == ("play.stopped", started["n"])
    assert stopped["data"] == {**started["data"], "reason": "stopped", "seconds": 1}


def test_the_sessions_that_are_open_are_known(loop: SteppedLoop, told: Told) -> None:
    sink = FakeSink()
    told.streams.play("live/a", sink, FLV)
    publisher = publish(loop, told.streams)
    assert told.teller._numbers() == [1, 2]
    publisher.feed.end()
    sink.reader.leave()
    assert told.teller._numbers() == []


def test_what_a_peer_calls_itself_is_text_for_any_receiver(loop: SteppedLoop, told: Told) -> None:
    """A lone surrogate and a NUL are JSON, and strict parsers and data bases refuse them."""
    sink = FakeSink()
    sink.facts = {**FACTS, "agent": "O\udcffB\0S\u2028é"}
    told.streams.play("live/a", sink, FLV)
    (started,) = told.events(1)
    assert started["data"]["agent"] == "O\ufffdB\ufffdS\ufffdé"
    sink.reader.leave()
