"""What a worker knows of the topics that others subscribe to, and keeps of the beginning of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from cluster.core.bus.bounds import EARLY_BYTES
from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import decode, topic
from cluster.core.bus.splice import HELD_ITEM_BYTES
from cluster.core.bus.stamps import is_stamped, unstamped
from cluster.core.message import Message
from cluster.edge.link import output as output_module
from cluster.edge.link.early import EarlyMessages
from cluster.edge.link.output import LinkOutput
from cluster.edge.streams.counters import Counters
from support.routers import KEY, media

OTHER = "live/b"


class Outlet:
    """The way to a router that takes everything."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.untold = 0
        self.sent: list[bytes] = []
        self.reader = self

    def send(self, envelope: bytes) -> bool:
        self.sent.append(envelope)
        return True

    def service(self) -> None: ...

    def close(self) -> None: ...


class Scene:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.demands: list[tuple[str, bool]] = []
        self.counters = Counters()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        #: How far each router's clock is ahead.
        self.clocks: dict[str, int | None] = {}
        self.output = LinkOutput(
            context, loop, "us/0/1", self._changed, self.counters, None, lambda name: self.clocks.get(name)
        )
        context.term()
        self.near, self.far = Outlet("near"), Outlet("far")
        self.output._outlets: Any = {"near": self.near, "far": self.far}

    def _changed(self, key: str, wanted: bool) -> None:
        self.demands.append((key, wanted))

    def hears(self, outlet: Outlet, key: str, *, subscribed: bool = True) -> None:
        event = (b"\1" if subscribed else b"\0") + topic(key)
        self.output._demand_received(outlet, event)  # type: ignore[arg-type]

    def publish(self, key: str, seq: int = 0, epoch: int = 7, *, more: bool = False) -> None:
        self.output.publish(key, epoch, seq, [media(seq)], more=more)


@pytest.fixture
def scene() -> Iterator[Scene]:
    loop = asyncio.new_event_loop()
    yield Scene(loop)
    loop.close()


def test_a_key_is_wanted_where_its_topic_is_subscribed_to(scene: Scene) -> None:
    scene.hears(scene.near, KEY)
    assert scene.output.wanted(KEY)
    assert not scene.output.wanted(OTHER)
    scene.output.add_key(KEY, 7, None)
    scene.publish(KEY)
    assert [decode(each).key for each in scene.near.sent] == [KEY]
    assert scene.far.sent == []
    scene.hears(scene.far, KEY)
    scene.hears(scene.near, KEY, subscribed=False)
    scene.publish(KEY)
    assert (len(scene.near.sent), len(scene.far.sent)) == (1, 1)
    scene.hears(scene.far, KEY, subscribed=False)
    assert scene.demands == [(KEY, False)]
    assert not scene.output.wanted(KEY)


def test_what_is_no_topic_is_no_demand(scene: Scene) -> None:
    scene.output.add_key(KEY, 7, None)
    for event in (b"\1", b"\1" + topic(KEY)[:-1], b"\1" + topic(KEY) + b"\0", b"\1" + KEY.encode() + b"\0"):
        scene.output._demand_received(scene.near, event)  # type: ignore[arg-type]
    assert not scene.output.wanted(KEY)


def test_beyond_so_many_topics_everything_may_be_wanted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "MAX_TOPICS", 10)
    scene.output.add_key(KEY, 7, None)
    for number in range(10):
        scene.hears(scene.near, f"other/{number}")
    assert (scene.output.wanted(KEY), scene.counters.bus_topics_untold) == (False, 0)  # at the limit
    scene.hears(scene.near, "other/10")
    scene.hears(scene.far, "other/11")
    assert (scene.output.wanted(KEY), scene.counters.bus_topics_untold) == (True, 2)
    scene.publish(KEY)
    assert (len(scene.near.sent), len(scene.far.sent)) == (1, 1)  # libzmq knows who wants it
    scene.hears(scene.near, KEY)  # one that is published here is remembered all the same
    assert scene.demands == [(KEY, True)]
    scene.hears(scene.near, "other/10", subscribed=False)
    scene.output.remove_router("far")
    scene.hears(scene.near, KEY, subscribed=False)
    assert not scene.output.wanted(KEY)


def test_a_stream_that_others_wait_for_is_wanted_before_they_subscribe(scene: Scene) -> None:
    scene.output.add_key(KEY, 7, 2.0)
    assert scene.output.wanted(KEY)
    assert not scene.output.is_subscribed(KEY)
    for seq in range(3):
        scene.publish(KEY, seq)
    scene.publish(KEY, 3, epoch=6)  # of the publisher before
    assert scene.near.sent == []
    late = Snapshot(KEY, 7, 5, [], [media(3), media(4)])
    assert scene.output.with_early(late).messages == [media(seq) for seq in range(5)]
    assert scene.output.with_early(Snapshot(KEY, 7, 2, [], [])).messages == [media(0), media(1)]
    for other in (Snapshot(KEY, 8, 2, [], []), Snapshot(KEY, 7, 9, [], []), Snapshot(OTHER, 7, 2, [], [])):
        assert scene.output.with_early(other) == other
    scene.output.tick(1.9)
    assert scene.output.wanted(KEY)
    scene.output.tick(2.0)
    assert scene.output.with_early(late) == late
    assert scene.demands == [(KEY, False)]
    assert not scene.output.wanted(KEY)


def numbers(outlet: Outlet) -> list[int]:
    return [decode(frame).first_seq for frame in outlet.sent]


def test_envelopes_of_one_turn_leave_together(scene: Scene) -> None:
    scene.output.add_key(KEY, 7, None)
    scene.output.add_key(OTHER, 7, None)
    scene.hears(scene.near, KEY)
    scene.hears(scene.near, OTHER)
    scene.hears(scene.far, OTHER)
    scene.publish(KEY, 0, more=True)
    scene.publish(OTHER, 1, more=True)
    assert scene.counters.bus_envelopes_sent == len(scene.near.sent) == 0
    scene.publish(KEY, 2)
    assert (numbers(scene.near), numbers(scene.far)) == ([0, 1, 2], [1])
    assert scene.counters.bus_envelopes_sent == scene.counters.bus_messages_sent == 4
    assert scene.counters.bus_bytes_sent == sum(map(len, scene.near.sent + scene.far.sent))


def test_an_envelope_waits_no_longer_than_for_its_turn_and_not_for_many(scene: Scene) -> None:
    scene.output.add_key(KEY, 7, None)
    scene.hears(scene.near, KEY)
    for seq in range(output_module.ENVELOPES_TOGETHER + 1):
        scene.publish(KEY, seq, more=True)
    assert numbers(scene.near) == list(range(output_module.ENVELOPES_TOGETHER))
    scene.loop.run_until_complete(asyncio.sleep(0))
    assert numbers(scene.near) == list(range(output_module.ENVELOPES_TOGETHER + 1))


def test_what_waits_leaves_before_a_router_is_given_up(scene: Scene) -> None:
    scene.output.add_key(KEY, 7, None)
    scene.hears(scene.near, KEY)
    scene.publish(KEY, more=True)
    scene.output.remove_router("near")
    assert numbers(scene.near) == [0]
    scene.hears(scene.far, KEY)
    scene.publish(KEY, 1, more=True)
    scene.output.close()
    assert numbers(scene.far) == [1]
    scene.loop.run_until_complete(asyncio.sleep(0))
    assert numbers(scene.far) == [1]


def test_the_beginning_of_a_stream_is_kept_up_to_a_number_of_bytes() -> None:
    """A last message that just fits, and one byte more."""
    for more in (0, 1):
        early = EarlyMessages(7)
        early.add(7, 10, [Message(8, 0, bytes(EARLY_BYTES // 2 - HELD_ITEM_BYTES))])
        early.add(7, 11, [Message(8, 0, bytes(EARLY_BYTES // 2 - HELD_ITEM_BYTES + more))])
        early.add(7, 12, [Message(8, 0, b"")])
        assert len(early.before(Snapshot(KEY, 7, 12, [], [])).messages) == (0 if more else 2)
        assert len(early.before(Snapshot(KEY, 7, 11, [], [])).messages) == 1


def test_a_stamp_is_on_the_clock_of_the_router_that_it_goes_through(scene: Scene) -> None:
    scene.hears(scene.near, KEY)
    scene.hears(scene.far, KEY)
    scene.output.add_key(KEY, 7, None)
    scene.clocks = {"near": 0, "far": 5_000_000}
    scene.output.publish(KEY, 7, 0, [media(0)], waited_s=0.25)
    (near, near_stamp), (far, far_stamp) = (unstamped(each.sent[0]) for each in (scene.near, scene.far))
    assert near == far
    assert decode(near).messages == [media(0)]
    assert near_stamp.waited_us == far_stamp.waited_us == 250_000
    assert 5_000_000 <= far_stamp.flushed_us - near_stamp.flushed_us < 5_500_000


def test_a_router_whose_clock_is_not_known_gets_no_stamp(scene: Scene) -> None:
    scene.hears(scene.near, KEY)
    scene.output.add_key(KEY, 7, None)
    scene.output.publish(KEY, 7, 0, [media(0)], waited_s=0.25)
    assert not is_stamped(scene.near.sent[0])


def test_stamped_envelopes_of_a_turn_wait_for_each_other_too(scene: Scene) -> None:
    scene.hears(scene.near, KEY)
    scene.hears(scene.far, KEY)
    scene.output.add_key(KEY, 7, None)
    scene.output.publish(KEY, 7, 0, [media(0)], more=True, waited_s=0.25)
    assert scene.near.sent == []
    scene.loop.call_soon(scene.loop.stop)
    scene.loop.run_forever()
    assert len(scene.near.sent) == len(scene.far.sent) == 1
