"""What a worker tells of the way of a stream, from the parts that have it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.core.bus.trace import RouterWay, TraceRow
from cluster.core.message import Message, MessageType
from cluster.edge.node.tracing import Tracing
from cluster.edge.rtmp.encoding import encoding_for
from cluster.edge.streams.streams import Streams
from support.house import SteppedLoop
from support.streams import FakePublisher, FakeSink

KEY = "live/a"
FRAME = Message(MessageType.VIDEO, 0, bytes.fromhex("1701000000") + bytes(100))


def peer(name: str, *, is_live: bool = True, wall_offset_s: float | None = None) -> Any:
    return SimpleNamespace(name=name, is_live=is_live, round_trip_s=0.0015, wall_offset_s=wall_offset_s)


class Link:
    """One router of the cluster, from which everything comes, and the node's own."""

    def __init__(self) -> None:
        cluster, own = peer("tcp://r1:1936", wall_offset_s=-0.25), peer("ipc:///r", is_live=False)
        self.routers = SimpleNamespace(own=own, all=lambda: [cluster, own])
        self.watches = SimpleNamespace(feed=lambda key: cluster)
        self.output = SimpleNamespace(dropped=lambda name: 3 if name == cluster.name else 0)


WAYS = (
    RouterWay("tcp://r1:1936", False, True, round_trip_ms=1.5, clock_offset_ms=-250, dropped=3),
    RouterWay("ipc:///r", True, False, round_trip_ms=1.5),
)  # fmt: skip


def row(streams: Streams) -> TraceRow:
    return Tracing(streams, Link()).row(KEY)  # type: ignore[arg-type]


def test_of_what_nobody_publishes_there_is_nothing_to_say(streams: Streams) -> None:
    assert row(streams) == TraceRow()
    streams.play(KEY, FakeSink(), encoding_for(1))
    assert row(streams) == TraceRow()


def test_at_the_origin(loop: SteppedLoop, streams: Streams) -> None:
    streams.play(KEY, FakeSink(), encoding_for(1))
    publisher = FakePublisher("10.0.0.7:50312")
    publisher.unread_s, publisher.round_trip_s = 0.02, 0.004
    loop.run_until_complete(streams.publishing.request(KEY, publisher))
    for _ in range(4):
        publisher.feed.append(FRAME)
        streams.turn.end()
        streams.sweep()
    told = row(streams)
    assert (told.is_known, told.is_origin, told.epoch, told.players, told.ways) == (True, True, 1, 1, WAYS)
    assert (told.peer, told.peer_round_trip_ms, told.peer_dropped) == ("10.0.0.7:50312", 4.0, 0)
    assert (told.looks, told.origin_ms, told.bus_ms) == (2, pytest.approx(20, abs=1), 0.0)
    assert told.router == ""
    publisher.feed.end()
    assert row(streams) == TraceRow()


def test_elsewhere(streams: Streams) -> None:
    streams.play(KEY, FakeSink(), encoding_for(1))
    stream = streams.by_key[KEY]
    streams.tell_return(stream)
    stream.begin(7, is_local=False)
    stream.lost_messages = 5
    stream.append(FRAME)
    streams.remote.stamp_received(KEY, 0.001, 0.05)
    streams.turn.end()
    told = row(streams)
    assert (told.is_known, told.is_origin, told.epoch, told.lost) == (True, False, 7, 5)
    assert (told.looks, told.origin_ms, told.bus_ms) == (1, 1.0, 50.0)
    assert (told.peer, told.router, told.players_behind) == ("", "tcp://r1:1936", 0)
