"""The streams of a worker from outside: any sink, any encoding, any publisher, any listener."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.client.flv_source import FlvSource
from cluster.core.bus.control import BUSY
from cluster.core.media.flv import FlvReader, encode_header, encode_tag
from cluster.core.message import Message
from cluster.edge.rtmp.encoding import SHARED
from cluster.edge.streams.async_reader import WAITING_BYTES, AsyncReader
from cluster.edge.streams.events import StreamEvents
from cluster.edge.streams.flv_encoding import FLV
from cluster.edge.streams.interfaces import EndOfRead, Refusal
from cluster.edge.streams.rules import YieldRule
from cluster.edge.streams.streams import Streams
from support.house import AAC_HEADER, AVC_HEADER, KEY, FakeLink, SteppedLoop, audio, stepped_loop, video
from support.streams import RULES, FakePublisher, FakeSink, make_streams

HEADERS = (Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER))


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


@pytest.fixture
def worker(loop: SteppedLoop) -> tuple[Streams, FakeLink]:
    return make_streams(loop)


def publish(loop: SteppedLoop, streams: Streams, key: str = "live/a", name: str = "p") -> FakePublisher:
    publisher = FakePublisher(name)
    loop.run_until_complete(streams.publishing.request(key, publisher))
    return publisher


def feed(streams: Streams, publisher: FakePublisher, *messages: Message) -> None:
    for message in messages:
        publisher.feed.append(message)
    streams.turn.end()


def frames(data: bytes) -> list[Message]:
    return FlvReader().feed(data)


def next_batch(loop: SteppedLoop, reader: AsyncReader) -> Any:
    async def take() -> Any:
        async with asyncio.timeout(1):
            return await anext(reader)

    return loop.run_until_complete(take())


# ---- twenty lines ----------------------------------------------------------------------------


def test_one_message_goes_from_a_publisher_to_a_sink(loop: SteppedLoop) -> None:
    streams, _ = make_streams(loop)
    publisher, sink = FakePublisher(), FakeSink()
    streams.play("live/a", sink, FLV)
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    publisher.feed.append(video(0, KEY))
    streams.turn.end()
    assert [message.payload for message in frames(sink.taken)] == [video(0, KEY).payload]
    loop.advance(1)
    streams.turn.begin()
    publisher.feed.end()
    loop.advance(RULES.publish_grace_s)
    streams.sweep()
    assert sink.ended is EndOfRead.ENDED
    assert (streams.counters.players, streams.counters.publishers) == (0, 0)


# ---- encodings -------------------------------------------------------------------------------


def test_two_encodings_share_the_log_and_each_encodes_once(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    flv, other_flv, rtmp = FakeSink(), FakeSink(), FakeSink()
    for sink, encoding in ((flv, FLV), (other_flv, FLV), (rtmp, SHARED)):
        streams.play("live/a", sink, encoding)
    publisher = publish(loop, streams)
    feed(streams, publisher, *HEADERS, video(0, KEY), audio(10), video(40))
    assert flv.taken == other_flv.taken
    assert [message.timestamp for message in frames(flv.taken)] == [0, 0, 0, 10, 40]
    assert rtmp.taken != flv.taken
    assert video(40).payload in rtmp.taken
    log = streams.by_key["live/a"].log
    last = log.read(log.next_seq - 1, log.next_seq)[0]
    assert last.tag is FLV.entry(last)
    assert last.chunks is SHARED.entry(last)


def test_flv_leaves_out_what_it_cannot_say(loop: SteppedLoop, worker: tuple[Streams, FakeLink]) -> None:
    streams, _ = worker
    sink = FakeSink()
    streams.play("live/a", sink, FLV)
    publisher = publish(loop, streams)
    feed(streams, publisher, *HEADERS, video(0, KEY, size=0xFFFFFF), video(40, KEY))
    assert [message.timestamp for message in frames(sink.taken) if message.type_id == 9] == [0, 40]


# ---- a reader for coroutines -----------------------------------------------------------------


def test_an_async_reader_joins_at_the_keyframe_headers_first(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    streams.play("live/a", FakeSink(), FLV)  # so that the log is kept
    feed(streams, publisher, *HEADERS, video(0, KEY), video(40), video(80, KEY), video(120))
    batch = next_batch(loop, streams.read("live/a", FLV))
    got = frames(b"".join(batch.data))
    assert [m.payload for m in got[:2]] == [AVC_HEADER, AAC_HEADER]
    assert [m.timestamp for m in got[2:]] == [80, 120]
    assert batch.skipped == 0


def test_an_async_reader_waits_and_is_woken(loop: SteppedLoop, worker: tuple[Streams, FakeLink]) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    reader = streams.read("live/a", FLV)
    feed(streams, publisher, *HEADERS, video(0, KEY))
    next_batch(loop, reader)
    waiting = loop.create_task(anext(reader))  # type: ignore[arg-type]
    loop.turn()
    assert not waiting.done()
    feed(streams, publisher, video(40))
    loop.turn()
    data = encode_header(True, True) + b"".join(waiting.result().data)
    assert [m.timestamp for m in frames(data)] == [40]


def test_a_slow_async_reader_is_moved_to_a_keyframe_and_told_of_the_gap(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    reader = streams.read("live/a", FLV)
    feed(streams, publisher, *HEADERS, video(0, KEY), video(10, size=WAITING_BYTES))
    for ms in range(1000, 12_000, 1000):
        feed(streams, publisher, video(ms, KEY if ms == 8000 else video(0).payload[:5]))
    loop.advance(1)
    streams.sweep()
    first = next_batch(loop, reader)
    assert first.skipped == 0
    second = next_batch(loop, reader)
    assert second.skipped == 6
    times = [m.timestamp for m in frames(encode_header(True, True) + b"".join(second.data))]
    assert times[-4:] == [8000, 9000, 10_000, 11_000]
    assert streams.counters.player_messages_dropped == 6


def test_an_async_reader_that_takes_nothing_is_ended(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    reader = streams.read("live/a", FLV)
    feed(streams, publisher, *HEADERS, video(0, KEY), video(10, size=WAITING_BYTES))
    feed(streams, publisher, video(20))
    loop.advance(RULES.slow.close_s + 1)
    streams.sweep()
    assert reader.end is EndOfRead.SLOW
    assert streams.counters.players == 0
    next_batch(loop, reader)  # what waited is given out still
    with pytest.raises(StopAsyncIteration):
        next_batch(loop, reader)


def test_a_paused_async_reader_gets_nothing_until_it_resumes(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    reader = streams.read("live/a", FLV)
    feed(streams, publisher, *HEADERS, video(0, KEY))
    next_batch(loop, reader)
    reader.reader.pause()
    feed(streams, publisher, video(40), video(80, KEY))
    waiting = loop.create_task(anext(reader))  # type: ignore[arg-type]
    loop.turn()
    assert not waiting.done()
    reader.reader.resume()
    loop.turn()
    data = encode_header(True, True) + b"".join(waiting.result().data)
    assert [m.timestamp for m in frames(data)][-1] == 80


# ---- publishers that are no connection -------------------------------------------------------


class FilePublisher(FakePublisher):
    """Publishes a FLV file."""

    async def run(self, path: Path) -> None:
        async for message in FlvSource(path, realtime=False):
            self.feed.append(message)


def test_a_file_publishes(loop: SteppedLoop, worker: tuple[Streams, FakeLink], tmp_path: Path) -> None:
    path = tmp_path / "clip.flv"
    sent = [*HEADERS, video(0, KEY), audio(20), video(40)]
    tags = [b"".join(encode_tag(m.type_id, m.timestamp, m.payload)) for m in sent]
    path.write_bytes(encode_header(True, True) + b"".join(tags))
    streams, _ = worker
    sink, publisher = FakeSink(), FilePublisher("clip.flv")
    streams.play("live/a", sink, FLV)
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    loop.run_until_complete(publisher.run(path))
    streams.turn.end()
    assert [(m.type_id, m.timestamp, m.payload) for m in frames(sink.taken)] == [
        (m.type_id, m.timestamp, m.payload) for m in sent
    ]
    assert publisher.told_of_audience == 0
    streams.by_key["live/a"].set_wanted(True)
    sink.reader.leave()
    streams.by_key["live/a"].set_wanted(False)
    assert publisher.told_of_audience == 1


@pytest.mark.parametrize("replaces", [False, True])
def test_a_publisher_of_any_kind_yields_when_it_must(loop: SteppedLoop, replaces: bool) -> None:
    streams, link = make_streams(loop, dataclasses.replace(RULES, contest=YieldRule(10, always=replaces)))
    first = publish(loop, streams, name="first")
    assert streams.remote.contest("live/a", replaces) is replaces
    assert bool(first.lost) is replaces
    assert streams.counters.publishers == (0 if replaces else 1)
    assert link.count("unpublish", "live/a", first.feed.epoch) == (1 if replaces else 0)


def test_a_silent_publisher_yields(loop: SteppedLoop, worker: tuple[Streams, FakeLink]) -> None:
    streams, _ = worker
    first = publish(loop, streams)
    loop.advance(RULES.contest.silent_s + 1)
    assert streams.remote.contest("live/a", False)
    assert first.lost == "live/a: another publisher took over"


def test_a_publisher_of_any_kind_is_revoked(loop: SteppedLoop, worker: tuple[Streams, FakeLink]) -> None:
    streams, _ = worker
    publisher = publish(loop, streams)
    streams.remote.revoked("live/a", publisher.feed.epoch + 1)
    assert not publisher.lost
    streams.remote.revoked("live/a", publisher.feed.epoch)
    assert publisher.lost == "live/a: another publisher has the stream"
    assert streams.counters.publishers == 0
    publisher.feed.end()  # what a publisher does that has lost its stream: without effect
    assert streams.counters.publishers == 0


def test_a_publisher_is_refused(loop: SteppedLoop, worker: tuple[Streams, FakeLink]) -> None:
    streams, link = worker
    link.refusal = BUSY
    publisher = publish(loop, streams)
    assert (publisher.refusal, publisher.feed) == (Refusal.BUSY, None)


def test_a_publisher_that_has_gone_meanwhile_leaves_nothing(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, link = worker
    publisher = FakePublisher()
    publisher.is_here = False
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    assert publisher.feed is None
    assert link.count("unpublish", "live/a", 1) == 1
    assert (streams.by_key, streams.counters.publishers) == ({}, 0)


# ---- listeners -------------------------------------------------------------------------------


class Diary(StreamEvents):
    def __init__(self, wants_messages: bool = False) -> None:
        self.wants_messages = wants_messages
        self.told: list[str] = []

    def publish_started(self, key: str, publisher: Any) -> None:
        self.told.append(f"publish {key} by {publisher.name}")

    def publish_ended(self, key: str, publisher: Any) -> None:
        self.told.append("unpublish")

    def play_started(self, key: str, reader: Any) -> None:
        self.told.append(f"play {key}")

    def play_ended(self, key: str, reader: Any) -> None:
        self.told.append("stop")

    def message(self, key: str, message: Message) -> None:
        self.told.append(f"message {message.timestamp}")


class Broken(StreamEvents):
    wants_messages = True

    def _fail(self, *args: object) -> None:
        raise RuntimeError("a listener's own fault")

    publish_started = publish_ended = play_started = play_ended = message = _fail


def test_listeners_are_told_and_a_broken_one_harms_nobody(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink], caplog: pytest.LogCaptureFixture
) -> None:
    streams, _ = worker
    diary, writer = Diary(), Diary(wants_messages=True)
    for listener in (diary, Broken(), writer):
        streams.listeners.add(listener)
    sink = FakeSink()
    with caplog.at_level(logging.ERROR):
        streams.play("live/a", sink, FLV)
        publisher = publish(loop, streams)
        feed(streams, publisher, video(0, KEY))
        sink.reader.leave()
        publisher.feed.end()
    assert diary.told == ["play live/a", "publish live/a by p", "stop", "unpublish"]
    assert writer.told == ["play live/a", "publish live/a by p", "message 0", "stop", "unpublish"]
    assert len(caplog.records) == 5
    assert frames(sink.taken)


def test_who_listens_to_messages_makes_a_stream_heard(
    loop: SteppedLoop, worker: tuple[Streams, FakeLink]
) -> None:
    streams, _ = worker
    assert not publish(loop, streams, "live/a").feed.is_heard
    streams.listeners.add(Diary(wants_messages=True))
    assert publish(loop, streams, "live/b").feed.is_heard
