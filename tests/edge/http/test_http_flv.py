"""HTTP-FLV: what a player is sent, and when."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cluster.core.message import Message
from cluster.edge.http.connection import HttpConnection
from cluster.edge.http.opening import _Wait
from cluster.edge.http.player import Player
from cluster.edge.http.request import RequestReader
from cluster.net.outbox import LINGER_S
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, House, audio, stepped_loop, video
from support.http_peer import HttpPeer

HEADERS = (Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1))


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, audio_hold_ms=0.0)
        yield made
        made.close()


def test_a_stream_that_is_there_is_sent_from_its_keyframe(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10), video(40, INTER))
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    house.send(publisher, video(80, INTER))
    answer = player.answer
    assert answer.status == 200
    assert answer.fields["content-type"] == "video/x-flv"
    assert answer.fields["connection"] == "close"
    reader, messages = player.flv()
    assert reader.header is not None
    assert (reader.header.audio, reader.header.video) == (True, True)
    assert [(each.type_id, each.timestamp) for each in messages] == [
        (9, 0), (8, 10), (9, 0), (8, 10), (9, 40), (9, 80)
    ]
    assert not player.closed


def test_a_player_waits_for_the_publisher_and_for_both_media(house: House) -> None:
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    assert player.received == b""
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[0], video(0, KEY))
    assert player.received == b""
    house.send(publisher, HEADERS[1], audio(10), video(40, INTER))
    reader, messages = player.flv()
    assert reader.header is not None
    assert reader.header.audio
    assert [each.timestamp for each in messages if each.type_id == 9 and each.payload[1]] == [0, 40]


@pytest.mark.parametrize("form", ["flv", "flv?raw=1", "mp4"])
def test_an_empty_header_is_not_what_is_waited_for(house: House, form: str) -> None:
    """FFmpeg sends such of AC-3, which needs none: the track is known once there is a frame."""
    player = HttpPeer(house).get(f"/live/x.{form}")
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[0], Message(8, 0, b"\x90ac-3", 1), video(0, KEY), video(40, INTER))
    assert player.received == b""
    house.send(publisher, Message(8, 0, b"\x91ac-3" + bytes.fromhex("0b77e4b5144043"), 1), video(80, INTER))
    body = player.answer.body
    if form == "mp4":
        assert body.count(b"moov") == 1
        assert body.count(b"trak") == 2
    assert len(body) > 100


#: A frame of MPEG-1 Layer III: 44.1 kHz, stereo, 128 kbit/s.
MP3 = bytes.fromhex("2ffffb9044") + bytes(413)


@pytest.mark.parametrize("form", ["flv", "flv?raw=1", "mp4"])
@pytest.mark.parametrize("is_there", [True, False])
def test_audio_alone_whose_frames_alone_tell_of_it(house: House, form: str, is_there: bool) -> None:
    """It is waited for a second whether there is video too. Who was there first has missed nothing then."""
    publisher = house.publisher("x") if is_there else None
    if publisher is not None:
        house.send(publisher, *(Message(8, ms, MP3, 1) for ms in range(0, 2600, 26)))
    player = HttpPeer(house).get(f"/live/x.{form}")
    publisher = publisher or house.publisher("x")
    for ms in range(2600, 4160, 26):
        house.send(publisher, Message(8, ms, MP3, 1))
        house.advance(0.026)
    body = player.answer.body
    if form == "mp4":
        assert body[4:8] == b"ftyp"
        assert body.count(b"trak") == 1
        frames = body.count(b"moof")
    else:
        assert body[4] == 4
        frames = len(player.flv()[1])
    assert frames == 60 if not is_there else 20 <= frames < 30


def test_audio_of_the_publisher_before_does_not_tell(house: House) -> None:
    first = house.publisher("x")
    house.send(first, Message(8, 0, MP3, 1))
    house.leave(first)
    player = HttpPeer(house).get("/live/x.flv")
    house.send(house.publisher("x"), HEADERS[0])
    house.advance(1.5)
    assert player.answer.body[4] == 1


@pytest.mark.parametrize("form", ["flv", "flv?raw=1"])
@pytest.mark.parametrize("sound", [b"\x72", b"\x82", b"\xb2"], ids=["A-law", "mu-law", "Speex"])
def test_sound_that_browsers_are_not_sent_is_not_announced(house: House, form: str, sound: bytes) -> None:
    """mpegts.js waits for what is, and there is no picture until it comes."""
    publisher = house.publisher("x")
    frames = [Message(8, 10, sound + bytes(160), 1), video(40, INTER)]
    house.send(publisher, HEADERS[0], video(0, KEY), *frames)
    player = HttpPeer(house).get(f"/live/x.{form}")
    house.advance(1.1)
    house.send(publisher, video(1100, INTER))
    reader, messages = player.flv()
    is_raw = form != "flv"
    assert reader.header is not None
    assert (reader.header.audio, reader.header.video) == (is_raw, True)
    assert {each.type_id for each in messages} == ({8, 9} if is_raw else {9})


def test_a_header_of_another_track_tells_nothing(house: House) -> None:
    publisher = house.publisher("x")
    second = Message(9, 0, b"\x96\0vp09\1\1", 1)
    house.send(publisher, *HEADERS, second, video(0, KEY), audio(10))
    player = HttpPeer(house).get("/live/x.flv")
    assert player.answer.body[4] == 5


def test_a_medium_that_does_not_come_is_waited_for_a_second(house: House) -> None:
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[0], video(0, KEY))
    house.advance(0.9)
    house.send(publisher, video(900, INTER))
    assert player.received == b""
    house.advance(0.2)
    reader, messages = player.flv()
    assert reader.header is not None
    assert (reader.header.audio, reader.header.video) == (False, True)
    assert [each.timestamp for each in messages] == [0, 0, 900]


@pytest.mark.parametrize("is_audio", [True, False])
def test_who_waited_for_the_publisher_misses_nothing_of_one_medium(house: House, is_audio: bool) -> None:
    """That the other does not come is known a second later. Until then the log is kept for this player."""
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[1] if is_audio else HEADERS[0])
    for ms in range(0, 1200, 100):
        house.send(publisher, audio(ms) if is_audio else video(ms, INTER if ms % 400 else KEY))
        house.advance(0.1)
    reader, messages = player.flv()
    assert reader.header is not None
    assert (reader.header.audio, reader.header.video) == (is_audio, not is_audio)
    assert [each.timestamp for each in messages] == [0, *range(0, 1200, 100)]


@pytest.mark.parametrize("is_video", [True, False])
def test_who_waits_for_a_publisher_that_sends_nothing_is_not_slow(house: House, is_video: bool) -> None:
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    for _ in range(2):
        publisher = house.publisher("x")
        for _ in range(25):
            house.advance(1)
        house.leave(publisher)
        house.advance(1)
    publisher = house.publisher("x")
    assert not player.closed
    house.send(publisher, *HEADERS, *([video(0, KEY)] if is_video else []), audio(0))
    house.advance(1)
    house.advance(1)
    _, messages = player.flv()
    assert [each.timestamp for each in messages if each.payload[1]] == ([0, 0] if is_video else [0])


def test_who_waited_is_sent_nothing_of_a_publisher_that_left_at_once(house: House) -> None:
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    first = house.publisher("x")
    house.send(first, HEADERS[1], audio(0), audio(20))
    house.leave(first)
    house.advance(1)
    assert player.received == b""
    house.send(house.publisher("x"), *HEADERS, video(0, KEY), audio(0))
    _, messages = player.flv()
    assert [each.type_id for each in messages] == [9, 8, 9, 8]


def test_who_comes_later_does_not_wait_for_what_has_been_waited_for(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[0], video(0, KEY))
    first = HttpPeer(house).get("/live/x.flv")
    house.advance(1.1)
    house.send(publisher, video(1100, KEY))
    house.advance(1.1)
    assert first.received
    assert HttpPeer(house).get("/live/x.flv").received
    house.leave(publisher)
    house.advance(1)
    house.send(house.publisher("x"), HEADERS[0], video(0, KEY))
    assert HttpPeer(house).get("/live/x.flv").received == b"", "another publisher may send both"
    openings = house.http._requests._openings
    assert openings._settled_epochs
    for peer in house.peers[1:]:
        house.leave(peer)
    house.advance(house.config.publish_grace_s + 1)
    house.advance(1)
    house.advance(1)
    assert not openings._settled_epochs


def test_of_a_stream_that_has_run_for_a_second_nothing_is_waited_for(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, HEADERS[1], audio(0), audio(500), audio(1000))
    other = house.player("x")  # so that the log is kept
    house.send(publisher, *(audio(ms) for ms in range(1020, 2200, 20)))
    assert other.media
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    house.advance(1.1)
    house.send(publisher, audio(2220))
    reader, _ = player.flv()
    assert reader.header is not None
    assert (reader.header.audio, reader.header.video) == (True, False)


def test_nobody_publishes_within_the_play_wait(house: House) -> None:
    player = HttpPeer(house).get("/live/x.flv")
    house.advance(house.config.play_wait_s - 1)
    assert player.received == b""
    house.advance(1.1)
    house.advance(1.1)
    answer = player.answer
    assert answer.status == 404
    assert answer.body == b"nobody has published live/x within 30 s\n"
    assert not player.closed
    assert player.get("/live/x").answers()[1].status == 200
    assert (house.counters.players, house.counters.http_players) == (0, {"flv": 0})


def test_the_end_of_the_stream_is_the_end_of_the_connection(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    player = HttpPeer(house).get("/live/x.flv")
    assert house.counters.http_players == {"flv": 1}
    house.advance(1)
    house.leave(publisher)
    house.advance(house.config.publish_grace_s - 1)
    assert not player.closed
    house.advance(1.1)
    assert player.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"stream_ended": 1}
    assert house.counters.http_players == {"flv": 0}


def test_a_publisher_that_returns_in_the_grace_is_played_on(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    player = HttpPeer(house).get("/live/x.flv?raw=1")
    house.leave(publisher)
    house.advance(2)
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    _, messages = player.flv()
    times = [each.timestamp for each in messages if each.type_id == 9]
    assert times == sorted(times)
    assert len(times) == 4


def test_all_players_share_bytes_and_what_one_does_not_take_waits_in_the_log(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    players = [HttpPeer(house, f"192.0.2.{number}").get("/live/x.flv?raw=1") for number in range(3)]
    players[0].reading = False
    sent = [video(40 * number, INTER, 30_000) for number in range(1, 40)]
    for message in sent:
        house.send(publisher, message)
    players[0].reading = True
    house.settle()
    bodies = {player.answer.body for player in players}
    assert len(bodies) == 1
    assert house.counters.player_skips == 0


def test_a_player_that_does_not_read_is_closed_by_the_rule_for_slow_players(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    player = HttpPeer(house).get("/live/x.flv")
    player.reading = False
    for number in range(1, 60):
        house.send(publisher, video(40 * number, INTER, 30_000))
    house.advance(house.config.slow_close_s + 1)
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"slow_player": 1}
    assert house.counters.http_players == {"flv": 0}


def test_a_player_that_leaves_is_freed_at_once(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    gc.collect()
    gc.disable()
    try:
        bad = "/live/" + "x" * 9000, "/%ff"
        for path in ("/live/x.flv", "/live/none.flv", "/live/x", "/.flv", *bad):
            house.leave(HttpPeer(house).get(path))
            house.peers.pop()
            house.advance(1)
        kinds = (HttpConnection, Player, RequestReader, _Wait)
        left = [each for each in gc.get_objects() if isinstance(each, kinds)]
        assert left == []
    finally:
        gc.enable()


def test_how_a_viewer_is_listed(house: House) -> None:
    """One of HLS waits for its publisher, too; one that was kicked is what it was until it is closed."""
    viewers = {name: HttpPeer(house).get(f"/live/x{name}") for name in (".flv", "/media.m3u8")}

    def listed() -> list[tuple[str, str]]:
        rows = [session.row() for _, session in house.places.roster.above(0)]
        return [(row.kind, row.state) for row in rows if row.role == "player"]

    assert listed() == [("flv", "waiting"), ("hls", "waiting")]
    house.send(house.publisher("x"), *HEADERS, video(0, KEY), audio(0))
    assert listed() == [("flv", "playing"), ("hls", "playing")]
    viewers[".flv"].reading = False
    for _, session in list(house.places.roster.above(0)):
        if session.use[0] == "player":
            session.kick("because")
    assert {kind for kind, _ in listed()} == {"flv", "hls"}
    assert {state for _, state in listed()} == {"closing"}
