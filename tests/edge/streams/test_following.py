"""Followers: who is given the messages of a stream as they are, here and on other workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.core.bus.control import Snapshot
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Message, MessageType
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, audio, stepped_loop, video

STREAM = "live/a"
MARK = int(MessageType.MARK)


def headers() -> list[Message]:
    return [Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)]


class Recorder:
    """A follower that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.entries: list[LogEntry] = []
        self.headers: list[LogEntry] = []

    def began(self, headers: list[LogEntry], entries: list[LogEntry], *, at_origin: bool) -> None:
        self.told.append("began here" if at_origin else "began elsewhere")
        self.headers = headers
        self.entries = list(entries)

    def flushed(self, entries: list[LogEntry]) -> None:
        self.entries += entries

    def left(self) -> None:
        self.told.append("left")

    def media(self, *, at_origin: bool) -> list[tuple[int, int]]:
        """Type and the origin's time of what is no header."""
        return [
            (entry.type_id, entry.timestamp if at_origin else entry.wire_ms)
            for entry in self.entries
            if entry.type_id != MARK and entry.payload[1:2] != b"\0"
        ]

    def marks(self) -> list[bytes]:
        return [bytes(entry.payload) for entry in self.entries if entry.type_id == MARK]


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def test_a_follower_begins_at_the_latest_keyframe_with_its_headers_and_its_mark(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY), video(40), video(2000, KEY), video(2040))
    follower = Recorder()
    house.streams.follow(STREAM, follower)
    assert follower.told == ["began here"]
    assert [entry.type_id for entry in follower.headers] == [9, 8]
    assert [entry.type_id for entry in follower.entries] == [MARK, 9, 9]
    house.send(publisher, video(2080))
    assert follower.media(at_origin=True) == [(9, 2000), (9, 2040), (9, 2080)]


def test_a_follower_that_misses_messages_begins_anew(house: House) -> None:
    """More came at once than the log keeps: nothing is to be taken to follow on what was before."""
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY), video(40))
    follower = Recorder()
    house.streams.follow(STREAM, follower)
    stream = house.streams.by_key[STREAM]
    for ms in (80, 120, 160):
        stream.append(video(ms))
    stream.log.shrink(0)
    stream.flush()
    assert follower.told == ["began here", "began here"]
    assert follower.media(at_origin=True) == []
    house.send(publisher, video(2000, KEY), video(2040))
    assert follower.media(at_origin=True) == [(9, 2000), (9, 2040)]


def test_a_follower_alone_makes_a_stream_heard_and_keeps_it(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    follower = Recorder()
    following = house.streams.follow(STREAM, follower)
    assert house.streams.by_key[STREAM].is_heard
    house.leave(publisher)
    assert follower.told == ["began here", "left"]
    assert following.offline_since is not None
    assert house.link.count("watch", STREAM) == 1
    house.streams.sweep()
    assert STREAM in house.streams.by_key
    following.leave()
    following.leave()
    house.streams.sweep()
    assert STREAM not in house.streams.by_key


def test_one_that_waits_is_told_when_a_publisher_comes_and_comes_back(house: House) -> None:
    follower = Recorder()
    house.streams.follow(STREAM, follower)
    assert follower.told == []
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY), audio(10))
    assert follower.told == ["began here"]
    assert follower.media(at_origin=True) == [(9, 0), (8, 10)]
    house.leave(publisher)
    house.send(house.publisher(), *headers(), video(7, KEY))
    assert follower.told == ["began here", "left", "began here"]
    assert len(follower.marks()) == 1


def test_players_are_sent_no_mark(house: House) -> None:
    publisher = house.publisher()
    player = house.player()
    house.send(publisher, *headers(), video(0, KEY), video(3000, KEY))
    assert {message.type_id for message in player.media} <= {8, 9, 18}
    assert player.times() == [0, 3000]


def test_two_workers_are_given_the_same_marks_and_the_same_times() -> None:
    with stepped_loop() as here_loop, stepped_loop() as there_loop:
        here, there = House(here_loop), House(there_loop)
        near, far = Recorder(), Recorder()
        here.streams.follow(STREAM, near)
        there.streams.follow(STREAM, far)
        here.link.wanted_keys.add(STREAM)
        first = here.publisher()
        here.send(first, *headers(), video(5000, KEY), audio(5010), video(7000, KEY))
        here.leave(first)
        here_loop.advance(3.0)
        second = here.publisher()  # its clock begins anew; each worker bridges that by its own clock
        here.send(second, *headers(), video(0, KEY), audio(5), video(2000, KEY))
        origin = here.link.published[0].sender_id
        for epoch in sorted({envelope.epoch for envelope in here.link.published}):
            of_epoch = [envelope for envelope in here.link.published if envelope.epoch == epoch]
            there.streams.remote.stream_up(STREAM, epoch, origin)
            empty = Snapshot(STREAM, epoch, of_epoch[0].first_seq, [], [], origin)
            there.streams.remote.snapshot_received(empty)
            for envelope in of_epoch:
                there.streams.remote.envelope_received(envelope)
            there.settle()
            there_loop.advance(1.0)
        assert far.told == ["began elsewhere"] * 2
        assert near.marks() == far.marks()
        assert len(near.marks()) == 2
        assert near.media(at_origin=True) == far.media(at_origin=False)
        placed_there = [entry.timestamp for entry in far.entries if entry.type_id == 9]
        placed_here = [entry.timestamp for entry in near.entries if entry.type_id == 9]
        assert placed_there != placed_here  # what makes wire_ms worth keeping
        here.close()
        there.close()
