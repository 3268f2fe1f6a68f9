"""What less common peers ask of a worker: part of a stream, playlists, shared objects, ``close``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from cluster.core.amf import amf0
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp.events import SharedObjectReceived
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage
from cluster.core.rtmp.status import Code
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, House, Peer, audio, stepped_loop, video


def play_status(code: str) -> bytes:
    return amf0.encode("onPlayStatus", {"level": "status", "code": code, "description": ""})


COMPLETE, SWITCH = play_status("NetStream.Play.Complete"), play_status("NetStream.Play.Switch")


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def live(house: House, name: str = "a") -> Peer:
    """A publisher with headers and a keyframe at 0."""
    publisher = house.publisher(name)
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1), video(0, KEY))
    return publisher


def play(house: House, name: str, **options: object) -> Peer:
    player = house.peer()
    player.session.play(name, **options)  # type: ignore[arg-type]
    house.settle()
    return player


def data(player: Peer) -> list[bytes]:
    return [bytes(message.payload) for message in player.media if message.type_id == 18]


class TestDuration:
    def test_as_much_as_was_asked_for_and_not_one_frame_more(self, house: House) -> None:
        publisher = live(house)
        player = play(house, "a", duration=0.1)
        house.send(publisher, *(video(ms) for ms in (40, 80, 99, 100, 120)))
        assert player.times() == [0, 40, 80, 99]
        assert player.codes[-1] == Code.PLAY_STOP
        assert COMPLETE in data(player)
        assert house.counters.players == 0
        assert not player.closed

    def test_zero_is_all(self, house: House) -> None:
        """xiu asks for 0 and means all of it."""
        publisher = live(house)
        player = play(house, "a", duration=0)
        house.send(publisher, video(40), video(80))
        assert player.times() == [0, 40, 80]
        assert player.codes[-1] == Code.PLAY_START

    def test_time_counts_from_the_first_frame(self, house: House) -> None:
        publisher = live(house)
        house.send(publisher, video(5000, KEY), video(5040))
        player = play(house, "a", duration=0.1)
        house.send(publisher, video(5080), video(5120))
        assert player.times() == [5000, 5040, 5080]

    def test_waiting_for_the_publisher_does_not_count(self, house: House) -> None:
        player = play(house, "a", duration=1)
        house.advance(5)
        publisher = live(house)
        house.send(publisher, video(500), video(1000))
        assert player.times() == [0, 500]

    def test_what_it_is_not_sent_does_not_count(self, house: House) -> None:
        """Neither the publisher's absence nor a pause of its own."""
        publisher = live(house)
        player = play(house, "a", duration=0.1)
        house.send(publisher, video(40))
        house.advance(0)
        house.leave(publisher)
        house.advance(5)
        publisher = live(house)
        player.session.pause(1, True)
        house.settle()
        house.send(publisher, *(video(ms) for ms in range(40, 4000, 40)), video(4000, KEY))
        player.session.pause(1, False)
        house.settle()
        assert Code.PLAY_STOP not in player.codes
        house.send(publisher, video(4040), video(4080))
        assert player.codes[-1] == Code.PLAY_STOP
        assert len(player.times()) == 5  # two before, one after the return, two after the pause

    def test_data_is_no_first_frame(self, house: House) -> None:
        publisher = live(house)
        house.leave(publisher)
        player = play(house, "a", duration=0.1)
        publisher = live(house)
        house.send(publisher, video(60))
        assert Code.PLAY_STOP not in player.codes

    @pytest.mark.parametrize("duration", [1e308, 1e9])
    def test_a_year_is_no_end(self, house: House, duration: float) -> None:
        publisher = live(house)
        player = play(house, "a", duration=duration)
        house.send(publisher, video(40))
        assert player.times() == [0, 40]

    def test_the_other_player_goes_on(self, house: House) -> None:
        publisher = live(house)
        short, whole = play(house, "a", duration=0.05), house.player()
        house.send(publisher, *(video(ms) for ms in (40, 80, 120)))
        assert (short.times(), whole.times()) == ([0, 40], [0, 40, 80, 120])

    def test_a_player_that_leaves_as_it_ends_harms_nothing(self, house: House) -> None:
        publisher = live(house)
        player = play(house, "a", duration=0.05)
        player.session.delete_stream(1)
        publisher.send(video(40), video(80))
        house.settle()
        assert house.counters.players == 0

    @pytest.mark.parametrize("start", [0.0, 5.0, -1.0])
    def test_a_start_on_a_live_name_plays_live(self, house: House, start: float) -> None:
        live(house)
        assert play(house, "a", start=start).times() == [0]


class TestPlaylist:
    def test_the_next_begins_when_one_is_complete(self, house: House) -> None:
        first, second = live(house, "a"), live(house, "b")
        player = play(house, "a", duration=0.05)
        player.session.play("b", duration=0.05, reset=False, stream_id=1)
        house.settle()
        assert player.times() == [0]
        house.send(first, video(40), video(80))
        house.send(second, video(40), video(60))
        assert player.times() == [0, 40, 0, 40]
        assert data(player).index(SWITCH) < data(player).index(COMPLETE)
        assert player.codes.count(Code.PLAY_START) == 2
        assert player.codes.count(Code.PLAY_RESET) == 1
        assert player.codes[-1] == Code.PLAY_STOP

    def test_the_next_begins_when_the_publisher_has_left_for_good(self, house: House) -> None:
        first = live(house, "a")
        live(house, "b")
        player = play(house, "a")
        player.session.play("b", reset=False, stream_id=1)
        house.advance(1)
        house.leave(first)
        assert player.times() == [0]
        house.advance(house.config.publish_grace_s)
        assert player.times() == [0, 0]
        assert Code.PLAY_UNPUBLISH_NOTIFY not in player.codes
        assert house.counters.players == 1

    def test_a_play_that_resets_clears_it(self, house: House) -> None:
        first = live(house, "a")
        live(house, "b")
        third = live(house, "c")
        player = play(house, "a")
        player.session.play("b", reset=False, stream_id=1)
        player.session.play("c", reset=True, stream_id=1)
        house.advance(1)
        house.leave(first)
        house.advance(house.config.publish_grace_s)
        assert player.codes.count(Code.PLAY_START) == 2
        house.send(third, video(40))
        assert player.times()[-1] == 40


USE = SharedEvent(SharedEventType.USE)


def chat(*events: SharedEvent) -> SharedObjectMessage:
    return SharedObjectMessage("chat", 0, False, events)


def told(peer: Peer) -> list[SharedEvent]:
    return [event for each in peer.events(SharedObjectReceived) for event in each.shared.events]


class TestSharedObjects:
    @staticmethod
    def user(house: House, app: str = "live", *, amf3: bool = False) -> Peer:
        peer = house.peer(app=app)
        peer.session.send_shared_object(dataclasses.replace(chat(USE), amf3=amf3))
        house.settle()
        return peer

    def test_peers_of_one_app_share(self, house: House) -> None:
        first, second, stranger = self.user(house), self.user(house, amf3=True), self.user(house, "other")
        change = SharedEvent(SharedEventType.REQUEST_CHANGE, "topic", ("news",))
        shout = SharedEvent(SharedEventType.SEND_MESSAGE, "shout", ("hello",))
        first.session.send_shared_object(chat(change, shout))
        house.settle()
        joined = [SharedEvent(SharedEventType.USE_SUCCESS), SharedEvent(SharedEventType.CLEAR)]
        changed = SharedEvent(SharedEventType.CHANGE, "topic", ("news",))
        assert told(first) == [*joined, SharedEvent(SharedEventType.SUCCESS, "topic"), shout]
        assert told(second) == [*joined, changed, shout]
        assert all(event.shared.amf3 for event in second.events(SharedObjectReceived))
        assert told(stranger) == joined
        assert told(self.user(house)) == [*joined, changed]

    def test_who_uses_one_is_not_idle_and_who_left_is(self, house: House) -> None:
        peer = self.user(house)
        house.advance(100)
        house.advance(100)
        assert not peer.closed
        peer.session.send_shared_object(chat(SharedEvent(SharedEventType.RELEASE)))
        house.advance(1)
        house.advance(100)
        assert peer.closed
        assert house.counters.closes == {CloseReason.IDLE_TIMEOUT: 1}

    def test_who_is_gone_is_told_nothing(self, house: House) -> None:
        first, second = self.user(house), self.user(house)
        house.leave(second)
        first.session.send_shared_object(chat(SharedEvent(SharedEventType.SEND_MESSAGE, "m")))
        house.settle()
        assert told(first)[-1].type_id == SharedEventType.SEND_MESSAGE


    def test_who_does_not_read_is_closed_and_the_others_hear_on(self, house: House) -> None:
        first, deaf = self.user(house), self.user(house)
        deaf.reading = False
        shout = SharedEvent(SharedEventType.SEND_MESSAGE, "shout", ("x" * 60_000,))
        for _ in range(20):
            first.session.send_shared_object(chat(shout))
            house.advance(2)  # changes of 60 KB: one in two seconds is what one peer may make
        assert house.counters.closes == {CloseReason.SLOW_PEER: 1}
        assert told(first).count(shout) == 20


def test_the_close_command_closes(house: House) -> None:
    peer = house.player()
    peer.session.send_command("close")
    house.settle()
    assert peer.closed
    house.leave(peer)
    assert house.counters.closes == {CloseReason.PEER_CLOSED: 1}


def test_truncated_aggregates_are_counted_and_their_whole_parts_played(house: House) -> None:
    publisher = live(house)
    player = house.player()
    body = bytes.fromhex("09 000006 000028 00 000000") + INTER + b"\0" + bytes(4) + b"\x09\x00"
    house.send(publisher, Message(22, 40, body, 1))
    assert player.times() == [0, 40]
    house.leave(publisher)
    assert house.counters.aggregates_truncated == 1


# ---- multitrack ------------------------------------------------------------------------------

MANY_HEADERS = Message(9, 0, bytes.fromhex("96 10 68766331 00 000002 0101 01 000002 0102"), 1)
MANY_KEYS = Message(9, 0, bytes.fromhex("96 13 68766331 00 000002 2601 01 000002 2601"), 1)
MANY_FRAMES = Message(9, 40, bytes.fromhex("A6 13 68766331 00 000002 0201 01 000002 0201"), 1)
MIXED_HEADERS = Message(9, 0, bytes.fromhex("96 20 61763031 02 000002 8104 61766331 03 000002 0164"), 1)
SOUND_HEADERS = Message(8, 0, bytes.fromhex("95 10 4F707573 00 000002 4F70 01 000002 4F71"), 1)
ONE_TRACK = Message(9, 0, bytes.fromhex("96 00 61766331 07 0164"), 1)


def test_a_joiner_of_many_tracks_gets_the_headers_of_all(house: House) -> None:
    publisher = house.publisher()
    headers = [MANY_HEADERS, MIXED_HEADERS, ONE_TRACK, SOUND_HEADERS]
    house.send(publisher, *headers, MANY_KEYS, MANY_FRAMES, audio(41))
    joiner = house.player()
    got = [message.payload for message in joiner.media if message.type_id != 18]
    assert got[:4] == [message.payload for message in headers]
    assert got[4:6] == [MANY_KEYS.payload, MANY_FRAMES.payload]


def test_a_new_header_of_one_set_of_tracks_leaves_the_others(house: House) -> None:
    publisher = house.publisher()
    changed = MANY_HEADERS._replace(payload=MANY_HEADERS.payload[:-1] + b"\x09")
    house.send(publisher, MANY_HEADERS, ONE_TRACK, MANY_KEYS, changed, MANY_KEYS._replace(timestamp=80))
    got = [message.payload for message in house.player().media if message.type_id == 9]
    assert got == [ONE_TRACK.payload, changed.payload, MANY_KEYS.payload]
