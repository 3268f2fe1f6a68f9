"""How long messages take through a worker, and players until their first frame."""

from __future__ import annotations

import pytest
from stream_support import AUDIO, INTER, KEY, FakeOwner, begin, join, publish, video

from cluster.core.media.stream_log import LogLimits
from cluster.core.message import Message, MessageType
from cluster.edge.rtmp.encoding import encoding_for
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.passage import BUS, ORIGIN, SOCKETS, Hops
from cluster.edge.streams.stream import Stream
from support.house import SteppedLoop
from support.streams import FakePublisher, FakeSink, make_streams


class Owner(FakeOwner):
    """Its clock goes on by a quarter of a second with each look."""

    def __init__(self):
        super().__init__()
        self.late_s = 0.0
        self.unread_s = 0.0
        self.waited = []

    def clock(self):
        self.late_s += 0.25
        return self.now + self.late_s

    def arrived_at(self, stream):
        return self.now - self.unread_s

    def publish_to_bus(self, stream, first_seq, entries):
        self.waited.append(stream.passage.origin_s if stream.passage.is_due else None)


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def stream(owner):
    return Stream("live/a", owner, LogLimits(), SlowRule(skip_ms=5000, close_s=30))


def count(owner, hop):
    return sum(owner.counters.hop_delay_seconds[hop].numbers[1:])


def test_at_the_origin_a_flush_after_every_second_sweep_is_looked_at(stream, owner):
    join(stream)
    stream.set_wanted(True)
    begin(stream)
    owner.unread_s = 1.0
    for ms in range(0, 320, 40):
        publish(stream, video(ms, KEY))
        owner.turn()
        stream.sweep(owner.now)
    assert [each is not None for each in owner.waited] == [False, True] * 4
    assert count(owner, ORIGIN) == count(owner, SOCKETS) == 4
    assert count(owner, BUS) == 0
    assert stream.passage.hops() == Hops(pytest.approx(1 + owner.late_s / 2, abs=0.26), 0.0, 0.25)


def test_nobody_hears_it_and_nothing_is_looked_at(stream, owner):
    begin(stream)
    for _ in range(4):
        publish(stream, video(0, KEY))
        owner.turn()
        stream.sweep(owner.now)
    assert stream.passage.hops() is None
    assert count(owner, ORIGIN) == 0


def test_elsewhere_what_a_stamp_came_with_is_looked_at(stream, owner):
    join(stream)
    stream.begin(1, is_local=False)
    for sweep in range(3):
        publish(stream, video(sweep * 40, KEY))
        if sweep == 1:
            stream.passage.came(0.5, 2.0)
        owner.turn()
        stream.sweep(owner.now)
    # From its arrival on, in three looks at the clock: the join is the second.
    assert stream.passage.hops() == Hops(0.5, 2.0, 0.75)
    assert (count(owner, ORIGIN), count(owner, BUS), count(owner, SOCKETS)) == (0, 1, 1)
    stream.begin(2, is_local=False)
    assert stream.passage.hops() is None


def test_a_clock_that_is_a_little_ahead_makes_no_negative_time(stream, owner):
    stream.passage.came(0.0, -0.001)
    assert owner.counters.hop_delay_seconds[BUS].numbers[0] == 0.0


def test_audio_that_was_held_is_not_looked_at(stream, owner):
    join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    stream.sweep(owner.now)
    stream.append_quietly(Message(MessageType.AUDIO, 40, AUDIO))
    stream.send_held()
    owner.turn()
    assert stream.passage.hops() is None


def test_the_stamp_says_how_long_the_kernel_had_it_too():
    loop = SteppedLoop()
    streams, link = make_streams(loop)
    link.wanted_keys.add("live/a")
    publisher = FakePublisher()
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    publisher.unread_s = 0.03
    for ms in range(0, 120, 40):
        publisher.feed.append(video(ms, KEY))
        streams.turn.end()
        streams.sweep()
    assert link.stamps == [pytest.approx(0.03)]
    streams.remote.stamp_received("live/a", 9.0, 9.0)  # of this worker's own stream: ignored
    assert streams.by_key["live/a"].passage.hops().bus_s == 0.0
    streams.remote.stamp_received("live/b", 9.0, 9.0)  # of one that is not known
    loop.close()


# ---- joins -----------------------------------------------------------------------------------


def joins(owner):
    return sum(owner.counters.join_seconds.numbers[1:])


def test_a_join_is_counted_once_at_its_first_frame(stream, owner):
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    join(stream)
    assert joins(owner) == 1
    publish(stream, video(40))
    owner.turn()
    assert joins(owner) == 1


def test_who_waits_for_a_publisher_begins_with_its_first_frame(stream, owner):
    join(stream)
    begin(stream)
    owner.turn()
    assert joins(owner) == 0  # headers are no frame
    publish(stream, video(0, KEY))
    owner.turn()
    assert joins(owner) == 1


def test_audio_is_no_beginning_while_a_keyframe_is_waited_for(stream, owner):
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    _, reader = join(stream)
    reader.leave()
    stream.log.shrink(0)
    publish(stream, video(40, INTER), Message(MessageType.AUDIO, 40, AUDIO))
    owner.turn()
    before = joins(owner)
    stream.add(reader, live=True)
    publish(stream, Message(MessageType.AUDIO, 80, AUDIO))
    owner.turn()
    assert joins(owner) == before
    publish(stream, video(80, KEY))
    owner.turn()
    assert joins(owner) == before + 1


def test_who_leaves_without_a_frame_has_not_joined(stream, owner):
    _, reader = join(stream)
    reader.leave()
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    assert joins(owner) == 0


def test_a_sink_that_takes_all_of_a_stream_joins_it(stream):
    loop = SteppedLoop()
    streams, _ = make_streams(loop)
    streams.play("live/a", FakeSink(), encoding_for(1))
    publisher = FakePublisher()
    loop.run_until_complete(streams.publishing.request("live/a", publisher))
    publisher.feed.append(video(0, KEY))
    streams.turn.end()
    assert sum(streams.counters.join_seconds.numbers[1:]) == 1
    loop.close()
