"""Streams published elsewhere: snapshot and envelopes become one stream that players cannot tell from a
local one. And the other side of it: what a worker tells those that play its streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.splice import Splice
from cluster.core.media.marks import decode_mark
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.status import Code
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, Peer, audio, bring, stepped_loop, video

GRACE_S = 15.0
PLAY_WAIT_S = 30.0
STREAM = "live/a"
ORIGIN = "other-node/0/1"
HEADERS = [Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER)]


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def frame(seq: int) -> Message:
    """Message ``seq`` of the origin's log: a frame each 100 ms, a keyframe each ten."""
    return video(seq * 100, KEY, stream_id=0) if seq % 10 == 0 else video(seq * 100, stream_id=0)


def frames(first: int, end: int) -> list[Message]:
    return [frame(seq) for seq in range(first, end)]


def milliseconds(first: int, end: int) -> list[int]:
    return [seq * 100 for seq in range(first, end)]


class Origin:
    """The worker that publishes ``live/a``, as the link would speak for it."""

    def __init__(self, house: House, epoch: int = 5) -> None:
        self._house = house
        self._epoch = epoch

    def up(self) -> None:
        self._house.streams.remote.stream_up(STREAM, self._epoch, ORIGIN)
        self._house.settle()

    def down(self) -> None:
        self._house.streams.remote.stream_down(STREAM, self._epoch)
        self._house.settle()

    def envelope(self, first: int, end: int) -> None:
        bring(self._house.streams.remote, self.make_envelope(first, end))
        self._house.settle()

    def make_envelope(self, first: int, end: int) -> Envelope:
        return Envelope(STREAM, self._epoch, first, ORIGIN, frames(first, end))

    def snapshot(self, first: int, end: int) -> None:
        at_ms = frame(first).timestamp  # an origin stamps headers like what follows them
        headers = [header._replace(timestamp=at_ms) for header in HEADERS]
        snapshot = Snapshot(STREAM, self._epoch, end, headers, frames(first, end), ORIGIN)
        self._house.streams.remote.snapshot_received(snapshot)
        self._house.settle()

    def joined(self, at: int = 10, end: int = 15) -> None:
        """Announced, with a snapshot from the keyframe ``at``."""
        self.up()
        self.snapshot(at, end)


@pytest.fixture
def origin(house: House) -> Origin:
    return Origin(house)


def snapshots_asked(house: House) -> int:
    return house.link.count("request_snapshot", STREAM)


# ---- joining ---------------------------------------------------------------------------------


def test_a_player_gets_the_snapshot_and_then_the_live_envelopes(house: House, origin: Origin) -> None:
    player = house.player()
    origin.up()
    assert snapshots_asked(house) == 1
    assert player.times() == []
    origin.snapshot(10, 15)
    origin.envelope(15, 17)
    origin.envelope(17, 18)
    assert player.times() == milliseconds(10, 18)
    first = [m for m in player.media if m.type_id in (8, 9)][:3]
    assert [m.payload for m in first] == [AVC_HEADER, AAC_HEADER, frame(10).payload]
    assert {m.timestamp for m in first} == {1000}  # headers carry the time of what follows


def test_envelopes_before_and_within_the_snapshot_are_neither_lost_nor_doubled(
    house: House, origin: Origin
) -> None:
    player = house.player()
    origin.up()
    for seq in range(8, 18):
        origin.envelope(seq, seq + 1)
    assert player.times() == []
    origin.snapshot(10, 15)
    origin.envelope(18, 19)
    assert player.times() == milliseconds(10, 19)
    assert house.counters.bus_gaps == 0


def test_what_comes_before_the_announcement_is_in_the_snapshot(house: House, origin: Origin) -> None:
    player = house.player()
    origin.envelope(14, 16)
    assert snapshots_asked(house) == 0
    origin.up()
    origin.snapshot(10, 16)
    assert player.times() == milliseconds(10, 16)


def test_a_publisher_elsewhere_of_a_lower_epoch_follows_one_that_has_ended(
    house: House, origin: Origin
) -> None:
    """The clock that the last one had its epoch from was wrong."""
    player = house.player()
    ahead = Origin(house, epoch=6)
    ahead.joined(0, 2)
    house.advance(1)
    origin.up()
    origin.snapshot(0, 3)
    assert len(player.times()) == 2  # it has not ended
    ahead.down()
    origin.up()
    origin.snapshot(0, 3)
    assert len(player.times()) == 5


def test_a_second_player_needs_nothing_from_the_origin(house: House, origin: Origin) -> None:
    first = house.player()
    origin.joined()
    origin.envelope(15, 23)
    second = house.player()
    origin.envelope(23, 25)
    assert first.times() == milliseconds(10, 25)
    assert second.times() == milliseconds(20, 25)
    payloads = [m.payload for m in second.media if m.type_id in (8, 9)]
    assert payloads[:3] == [AVC_HEADER, AAC_HEADER, frame(20).payload]
    assert house.link.count("watch", STREAM) == 1
    assert snapshots_asked(house) == 1


def test_what_comes_in_one_iteration_of_the_loop_is_one_write(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    before = house.counters.writes
    for seq in range(15, 20):
        bring(house.streams.remote, origin.make_envelope(seq, seq + 1))
    house.settle()
    assert player.times() == milliseconds(10, 20)
    assert house.counters.writes - before == 1


def test_what_nobody_plays_here_is_ignored(house: House, origin: Origin) -> None:
    origin.joined()
    origin.envelope(15, 16)
    origin.down()
    assert house.streams.by_key == {}
    assert house.link.calls == []


def test_a_publisher_here_ends_the_remote_feed(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    publisher = house.publisher()
    origin.envelope(15, 17)
    house.send(publisher, video(0, KEY))
    assert len(player.times()) == len(milliseconds(10, 15)) + 1
    assert house.streams.by_key[STREAM].is_local


# ---- losses ----------------------------------------------------------------------------------


def test_a_gap_is_counted_and_filled_from_a_snapshot(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    origin.envelope(17, 18)  # 15 and 16 were lost
    assert house.counters.bus_gaps == 1
    assert snapshots_asked(house) == 2
    assert player.times() == milliseconds(10, 15)
    origin.envelope(18, 19)
    origin.snapshot(10, 18)
    origin.envelope(19, 20)
    assert player.times() == milliseconds(10, 20)  # nothing lost, nothing twice
    assert house.counters.bus_gaps == 1


def test_a_gap_that_cannot_be_filled_goes_on_at_the_keyframe_on_the_same_clock(
    house: House, origin: Origin
) -> None:
    player = house.player()
    origin.joined()
    house.loop.advance(3)
    origin.envelope(42, 43)
    origin.snapshot(40, 45)  # what is missing before its keyframe is not to be had any more
    origin.envelope(45, 47)
    assert player.times() == milliseconds(10, 15) + milliseconds(40, 47)
    second = [m for m in player.media if m.payload == AVC_HEADER]
    assert len(second) == 2  # the headers come again: they may have changed in the gap


def test_a_player_that_joins_while_a_gap_is_open_loses_nothing_after_it(
    house: House, origin: Origin
) -> None:
    house.player()
    origin.joined()
    origin.envelope(17, 18)
    player = house.player()
    origin.snapshot(10, 18)
    origin.envelope(18, 19)
    assert player.times() == milliseconds(10, 19)


# ---- another publisher -----------------------------------------------------------------------


def test_a_new_epoch_moves_the_clock_on(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined(10, 15)
    house.advance(0.25)  # a sweep sees that it sends
    house.loop.advance(2)
    newer = Origin(house, epoch=6)
    newer.joined(0, 2)
    newer.envelope(2, 4)
    moved = 1400 + 2000
    assert player.times() == [*milliseconds(10, 15), moved, moved + 100, moved + 200, moved + 300]
    origin.envelope(15, 17)  # of the epoch before
    assert len(player.times()) == 9


def test_a_first_epoch_keeps_the_origins_clock(house: House, origin: Origin) -> None:
    player = house.player()
    house.loop.advance(7)
    origin.joined(500, 502)
    assert player.times() == milliseconds(500, 502)


def test_the_publisher_elsewhere_leaves_and_the_grace_period_begins(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    house.loop.advance(5)  # a quiet stream: nothing but the registry wakes the worker
    origin.down()
    house.advance(GRACE_S - 0.1)
    assert Code.PLAY_STOP not in player.codes
    house.advance(0.1)
    assert player.codes[-2:] == [Code.PLAY_UNPUBLISH_NOTIFY, Code.PLAY_STOP]
    house.leave(player)
    house.advance(0.25)
    assert house.link.calls[-1] == ("unwatch", STREAM)


def test_the_publisher_elsewhere_returns_within_the_grace_period(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    house.advance(0.25)
    origin.down()
    house.advance(GRACE_S - 1)
    newer = Origin(house, epoch=6)
    newer.joined(0, 2)
    house.advance(2)
    newer.envelope(2, 3)
    assert len(player.times()) == len(milliseconds(10, 15)) + 3
    assert player.times() == sorted(player.times())
    assert Code.PLAY_STOP not in player.codes


def test_the_publisher_moves_here_from_elsewhere(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    house.advance(0.25)
    origin.down()
    house.loop.advance(2)
    publisher = house.publisher()
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), video(0, KEY), video(100))
    moved = 1400 + 2000
    assert player.times() == [*milliseconds(10, 15), moved, moved + 100]


def test_an_older_epoch_that_ends_means_nothing(house: House, origin: Origin) -> None:
    player = house.player()
    Origin(house, epoch=6).joined()
    house.advance(1)
    origin.down()
    house.advance(GRACE_S + 1)
    assert Code.PLAY_STOP not in player.codes


def test_a_publisher_that_the_registry_lost_and_found_goes_on(house: House, origin: Origin) -> None:
    player = house.player()
    origin.joined()
    house.advance(1)
    origin.down()
    house.advance(GRACE_S - 1)
    origin.up()
    house.advance(2)
    origin.envelope(15, 17)
    assert player.times() == milliseconds(10, 17)
    assert snapshots_asked(house) == 1
    assert Code.PLAY_STOP not in player.codes


def test_an_announced_stream_ends_the_play_wait(house: House, origin: Origin) -> None:
    player = house.player()
    house.advance(PLAY_WAIT_S - 1)
    origin.joined()
    house.advance(2)
    assert not player.closed
    assert player.times() == milliseconds(10, 15)


# ---- the origin's side -----------------------------------------------------------------------


def _publishing(house: House, *messages: Message) -> Peer:
    publisher = house.publisher()
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1), *messages)
    return publisher


def test_a_snapshot_has_the_headers_and_everything_since_the_keyframe(house: House) -> None:
    _publishing(house, video(0, KEY), video(33), video(66, KEY), audio(70), video(99))
    snapshot = house.streams.remote.snapshot_requested(STREAM)
    assert snapshot is not None
    assert [m.payload for m in snapshot.headers] == [AVC_HEADER, AAC_HEADER]
    assert [m.timestamp for m in snapshot.messages] == [66, 70, 99]
    assert snapshot.epoch == house.streams.by_key[STREAM].epoch
    assert snapshot.next_seq == 8  # with the mark before the first keyframe


def test_a_snapshot_begins_with_the_mark_of_its_keyframe(house: House) -> None:
    _publishing(house, video(0, KEY), video(3000, KEY), video(3033))
    snapshot = house.streams.remote.snapshot_requested(STREAM)
    assert snapshot is not None
    mark, *frames = snapshot.messages
    assert mark.type_id == MessageType.MARK
    assert decode_mark(mark.payload).follows
    assert [m.timestamp for m in frames] == [3000, 3033]


@pytest.mark.parametrize("unflushed", [0, 1, 3])
def test_an_envelope_after_a_snapshot_goes_on_where_it_ended(house: House, unflushed: int) -> None:
    _publishing(house, video(0, KEY))
    house.streams.remote.demand_changed(STREAM, True)
    stream = house.streams.by_key[STREAM]
    for number in range(unflushed):  # read in this turn, and not sent yet
        stream.append(video(33 + number))
    snapshot = house.streams.remote.snapshot_requested(STREAM)
    assert snapshot is not None
    stream.append(video(1000))
    house.streams.turn.end()
    assert house.link.published[-1].first_seq == snapshot.next_seq
    assert [m.timestamp for m in house.link.published[-1].messages] == [1000]


def test_before_the_first_keyframe_a_snapshot_has_headers_only(house: House) -> None:
    _publishing(house)
    snapshot = house.streams.remote.snapshot_requested(STREAM)
    assert snapshot is not None
    assert len(snapshot.headers) == 2
    assert snapshot.messages == []
    assert snapshot.next_seq == 2


def test_the_next_envelopes_of_a_live_stream_go_the_short_way(house: House, origin: Origin) -> None:
    player = house.player()
    remote = house.streams.remote
    origin.joined(10, 15)
    ways = [bring(remote, origin.make_envelope(seq, seq + 2)) for seq in (15, 17, 19, 23, 21, 25)]
    assert ways == [0, 2, 2, 0, 0, 0]  # the first is looked at, and then a gap is to be filled
    origin.snapshot(20, 27)
    assert bring(remote, origin.make_envelope(27, 28)) == 1
    house.settle()
    assert player.times() == milliseconds(10, 28)


def test_only_the_present_source_goes_the_short_way(house: House, origin: Origin) -> None:
    house.player()
    remote = house.streams.remote
    origin.joined(10, 15)
    assert [bring(remote, origin.make_envelope(seq, seq + 1)) for seq in (15, 16)] == [0, 1]
    later = Origin(house, epoch=6)
    later.joined(10, 17)
    assert [bring(remote, source.make_envelope(17, 18)) for source in (origin, later)] == [0, 0]
    assert bring(remote, origin.make_envelope(18, 19)) == 0
    assert bring(remote, later.make_envelope(18, 19)) == 1
    remote.unwatch(STREAM)
    assert bring(remote, later.make_envelope(19, 20)) == 0


def test_there_is_no_snapshot_of_what_is_not_published_here(house: House, origin: Origin) -> None:
    assert house.streams.remote.snapshot_requested(STREAM) is None
    house.player()
    assert house.streams.remote.snapshot_requested(STREAM) is None
    origin.joined()
    assert house.streams.remote.snapshot_requested(STREAM) is None
    publisher = _publishing(house)
    assert house.streams.remote.snapshot_requested(STREAM) is not None
    house.leave(publisher)
    assert house.streams.remote.snapshot_requested(STREAM) is None


def test_players_elsewhere_get_what_players_here_get() -> None:
    """Two workers: everything one hands to its link goes to the other, a snapshot in the middle."""
    with stepped_loop() as here_loop, stepped_loop() as there_loop:
        here, there = House(here_loop), House(there_loop)
        local, remote = here.player(), there.player()
        publisher = _publishing(here, video(5000, KEY), video(5033))
        here.streams.remote.demand_changed(STREAM, True)
        here.send(publisher, video(5066), audio(5070))
        snapshot = here.streams.remote.snapshot_requested(STREAM)
        assert snapshot is not None
        here.send(publisher, video(5099), video(5132, KEY), video(5165))
        origin = here.link.published[0].sender_id
        there.streams.remote.stream_up(STREAM, snapshot.epoch, origin)
        for envelope in here.link.published:
            bring(there.streams.remote, envelope)
        there.streams.remote.snapshot_received(_from(snapshot, origin))
        there.settle()
        here.settle()
        assert remote.times() == local.times() == [5000, 5033, 5066, 5099, 5132, 5165]
        assert [m.payload for m in remote.media] == [m.payload for m in local.media]
        here.close()
        there.close()


def test_a_splice_of_every_snapshot_with_the_envelopes_is_whole(house: House) -> None:
    """A snapshot may be taken at any point of the stream: with what follows it is the same stream."""
    publisher = _publishing(house, video(0, KEY))
    house.streams.remote.demand_changed(STREAM, True)
    snapshots = []
    for number in range(1, 12):
        house.send(publisher, video(number * 100, KEY) if number % 4 == 0 else video(number * 100))
        snapshots.append(house.streams.remote.snapshot_requested(STREAM))
    for snapshot in snapshots:
        assert snapshot is not None
        splice = Splice()
        splice.stream_up(snapshot.epoch, "test-node/0/1")
        for envelope in house.link.published:
            splice.envelope(envelope)
        output = splice.snapshot(_from(snapshot, "test-node/0/1"))
        # What the bus carried from 100 on leads up to a snapshot that begins later.
        frames = [m.timestamp for m in output.messages if m.type_id != MessageType.MARK]
        first = next(m.timestamp for m in snapshot.messages if m.type_id != MessageType.MARK)
        assert frames == list(range(min(100, first), 1200, 100))
        assert not output.lost_messages


def _from(snapshot: Snapshot, origin: str) -> Snapshot:
    """The snapshot as the origin's link completes it."""
    return Snapshot(
        snapshot.key, snapshot.epoch, snapshot.next_seq, snapshot.headers, snapshot.messages, origin
    )


def test_the_last_messages_of_a_publisher_reach_the_bus_before_its_stream_is_given_up(house: House) -> None:
    _publishing(house, video(0, KEY))
    house.streams.remote.demand_changed(STREAM, True)
    stream, feed = house.streams.by_key[STREAM], house.streams.publishing._feeds[STREAM]
    stream.append(video(33))  # read in this turn, and not sent yet
    feed.end()
    assert [m.timestamp for m in house.link.published[-1].messages] == [33]
    assert house.link.published_at_unpublish == len(house.link.published)
