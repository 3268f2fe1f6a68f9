"""What the events of a session mean for the worker: names, limits, pauses, timeouts, the end of a drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.core.keys import MAX_KEY_BYTES, NO_STREAM
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import capabilities
from cluster.core.rtmp.events import CallSucceeded, ReconnectRequested, StatusReceived
from cluster.core.rtmp.status import Code
from cluster.edge.rtmp import sessions as sessions_module
from cluster.edge.rtmp.sessions import TICKS_PER_BUSY_SESSION
from cluster.edge.streams.readers import REJOIN_S
from cluster.process.stranger_lines import LINES_PER_SECOND, SUM_EVERY_S
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, Peer, audio, stepped_loop, video

STREAM = "live/a"
LONGEST_NAME = "n" * (MAX_KEY_BYTES - len("live/"))
BAD_NAMES = ["a\x01b", "a\nb", LONGEST_NAME + "n", "n" * 4096]


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def closes(house: House) -> dict[str, int]:
    return house.counters.closes


def last_status(peer: Peer) -> tuple[str, str]:
    status = peer.events(StatusReceived)[-1]
    return status.level, status.code


def live(house: House, name: str = "a") -> Peer:
    """A publisher with headers and a keyframe."""
    publisher = house.publisher(name)
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1), video(0, KEY))
    return publisher


# ---- stream names ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_publish_of_a_bad_name_is_denied(house: House, name: str) -> None:
    publisher = house.publisher(name)
    assert last_status(publisher) == ("error", Code.PUBLISH_DENIED)
    assert publisher.closed
    house.leave(publisher)
    assert closes(house) == {CloseReason.PUBLISH_REFUSED: 1}
    assert house.link.calls == []


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_play_of_a_bad_name_fails(house: House, name: str) -> None:
    player = house.player(name)
    assert last_status(player) == ("error", Code.PLAY_FAILED)
    assert player.closed
    house.leave(player)
    assert closes(house) == {CloseReason.STREAM_NOT_FOUND: 1}
    assert house.streams.by_key == {}


def test_the_longest_name_is_taken(house: House) -> None:
    publisher, player = live(house, LONGEST_NAME), house.player(LONGEST_NAME)
    assert player.times() == [0]
    assert not publisher.closed


def test_who_names_no_stream_is_told_what_to_type(house: House) -> None:
    publisher, player = house.peer(app=""), house.peer(app="/?token=1")
    publisher.session.publish("")
    player.session.play("//?token=1")
    house.settle()
    assert last_status(publisher) == ("error", Code.PUBLISH_DENIED)
    assert last_status(player) == ("error", Code.PLAY_FAILED)
    for peer in (publisher, player):
        assert peer.events(StatusReceived)[-1].description.startswith(f"{NO_STREAM} (in OBS: ")
    assert house.streams.by_key == {}


def test_a_query_does_not_belong_to_the_key(house: House) -> None:
    player = house.player("a?token=1")
    live(house, "a?key=2")
    assert list(house.streams.by_key) == [STREAM]
    assert player.times() == [0]


# ---- limits ----------------------------------------------------------------------------------


def test_one_connection_past_the_limit_is_refused() -> None:
    with stepped_loop() as loop:
        house = House(loop, max_connections=2)
        first, second = house.publisher("a"), house.publisher("b")
        assert first.connected
        assert second.connected
        third = house.peer()
        assert third.closed
        assert not third.connected
        assert closes(house) == {CloseReason.TOO_MANY_CONNECTIONS: 1}
        assert house.counters.connections == len(house.sessions) == 2
        assert house.counters.connections_accepted == 3
        house.leave(first)
        assert house.peer().connected
        house.close()


def test_a_connection_that_lingers_still_counts(house: House) -> None:
    player = house.player("a\nb")
    assert player.closed  # it has read our last word, and keeps its end open
    assert house.counters.connections == 1
    house.advance(2)
    assert house.counters.connections == 0


def test_gauges_return_to_zero_when_all_have_left(house: House) -> None:
    peers = [live(house), house.player(), house.player("b"), house.publisher("c"), house.peer()]
    house.advance(0.25)
    counters = house.counters
    assert (counters.connections, counters.publishers, counters.players, counters.streams) == (5, 2, 2, 3)
    for peer in peers:
        house.leave(peer)
    house.advance(0.25)
    assert (counters.connections, counters.publishers, counters.players, counters.streams) == (0, 0, 0, 0)
    assert closes(house) == {CloseReason.PEER_CLOSED: 5}
    assert house.streams.by_key == {}


def test_a_stream_that_nobody_needs_any_more_is_forgotten(house: House) -> None:
    player = house.player()
    house.advance(0.25)
    assert house.counters.streams == 1
    player.session.delete_stream(1)
    house.settle()
    assert house.counters.players == 0
    house.advance(0.25)
    assert house.counters.streams == 0
    assert house.streams.by_key == {}


# ---- playing on --------------------------------------------------------------------------------


def test_a_paused_player_gets_nothing_and_goes_on_at_the_latest_keyframe(house: House) -> None:
    publisher, player = live(house), house.player()
    player.session.pause(1, True)
    house.settle()
    house.send(publisher, video(33), video(66, KEY), video(99))
    assert player.times() == [0]
    house.advance(REJOIN_S)
    player.session.pause(1, False)
    house.settle()
    assert player.times() == [0, 66, 99]
    assert player.codes[-2:] == [Code.PAUSE_NOTIFY, Code.UNPAUSE_NOTIFY]


def test_a_player_that_resumes_again_and_again_is_sent_the_past_once_a_second(house: House) -> None:
    publisher, player = live(house), house.player()
    house.advance(REJOIN_S)
    house.send(publisher, video(66, KEY), video(99))
    for _ in range(20):
        player.session.pause(1, True)
        player.session.pause(1, False)
        house.settle()
    assert player.times().count(66) <= 2, "once live, and once again"
    house.send(publisher, video(120), video(150, KEY), video(180))
    assert player.times()[-2:] == [150, 180], "its video goes on at the next keyframe"


def test_headers_come_again_after_a_pause_only_if_they_have_changed(house: House) -> None:
    publisher, player = live(house), house.player()

    def headers_after_pauses() -> int:
        before = sum(each.payload == AVC_HEADER for each in player.media)
        for _ in range(10):
            player.session.pause(1, True)
            player.session.pause(1, False)
            player.session.receive_audio(1, False)
            player.session.receive_audio(1, True)
            house.settle()
        return sum(each.payload == AVC_HEADER for each in player.media) - before

    assert headers_after_pauses() == 0
    player.session.pause(1, True)
    house.settle()
    other = AVC_HEADER[:-1] + b"\x20"
    house.send(publisher, Message(9, 40, other, 1), video(40, KEY))
    player.session.pause(1, False)
    house.settle()
    assert [each.payload for each in player.media].count(other) == 1
    house.send(publisher, video(80, KEY))
    assert player.times()[-1] == 80


def test_a_player_that_plays_again_and_again_is_sent_the_past_once_a_second(house: House) -> None:
    publisher, player = live(house), house.player()
    for _ in range(5):
        player.session.close_stream(1)
        house.settle()
        player.session.play("a", stream_id=1)
        house.settle()
    assert player.times() == [0]
    house.send(publisher, video(150, KEY))
    assert player.times() == [0, 150]
    player.session.close_stream(1)
    house.advance(REJOIN_S)
    player.session.play("a", stream_id=1)
    house.settle()
    assert player.times() == [0, 150, 150]


@pytest.mark.parametrize("medium", ["audio", "video"])
def test_other_media_do_not_end_a_pause(house: House, medium: str) -> None:
    publisher, player = live(house), house.player()
    player.session.pause(1, True)
    switch = player.session.receive_audio if medium == "audio" else player.session.receive_video
    for on in (False, True):
        switch(1, on)
        house.settle()
        house.send(publisher, video(33), audio(34))
    assert player.times() == [0]
    player.session.pause(1, False)
    house.settle()
    house.send(publisher, video(66, KEY))
    assert player.times()[-1] == 66


def test_receive_video_off_and_on(house: House) -> None:
    publisher, player = live(house), house.player()
    player.session.receive_video(1, False)
    house.settle()
    house.send(publisher, video(33), audio(34))
    assert player.times() == [0]
    assert 34 in [m.timestamp for m in player.media if m.type_id == 8]
    player.session.receive_video(1, True)
    house.send(publisher, video(66, KEY))
    assert player.times()[-1] == 66


def test_receive_audio_off_and_on(house: House) -> None:
    publisher, player = live(house), house.player()
    player.session.receive_audio(1, False)
    house.settle()
    house.send(publisher, video(33), audio(34))
    assert 34 not in [m.timestamp for m in player.media if m.type_id == 8]
    assert player.times()[-1] == 33
    player.session.receive_audio(1, True)
    house.send(publisher, audio(67), video(70))
    assert 67 in [m.timestamp for m in player.media if m.type_id == 8]


def test_what_is_asked_for_twice_does_not_start_the_stream_again(house: House) -> None:
    _, player = live(house), house.player()
    before = len(player.media)
    player.session.receive_video(1, True)
    player.session.receive_audio(1, True)
    house.settle()
    assert len(player.media) == before


def test_seeking_fails_and_the_stream_goes_on(house: House) -> None:
    publisher, player = live(house), house.player()
    player.session.seek(1, 5000)
    house.send(publisher, video(33))
    assert player.codes[-1] == Code.SEEK_FAILED
    assert player.times() == [0, 33]


def test_events_about_streams_that_do_not_play_mean_nothing(house: House) -> None:
    peer = house.peer()
    peer.session.create_stream()
    house.settle()
    peer.session.receive_audio(1, False)
    peer.session.pause(1, True)
    peer.session.delete_stream(1)
    house.settle()
    assert not peer.closed


def test_another_play_on_the_same_stream_replaces_the_first(house: House) -> None:
    live(house, "a")
    b = live(house, "b")
    player = house.player("a")
    player.session.play("b", stream_id=1)
    house.settle()
    house.send(b, video(33))
    assert house.counters.players == 1
    assert player.times() == [0, 0, 33]


def test_commands_that_only_want_an_answer_get_one(house: House) -> None:
    peer = house.peer()
    peer.session.call("FCPublish", "a")
    house.settle()
    assert peer.events(CallSucceeded)


# ---- timeouts --------------------------------------------------------------------------------


def test_a_peer_that_never_shakes_hands_is_closed(house: House) -> None:
    accepted, silent = socket.socketpair()
    accepted.setblocking(False)
    with silent:
        house.sessions.accept(accepted, ("192.0.2.7", 40_000))
        house.advance(Limits().handshake_timeout_s - 0.1)
        assert closes(house) == {}
        house.advance(0.1)
        assert closes(house) == {CloseReason.HANDSHAKE_TIMEOUT: 1}
        house.advance(2)
    assert house.counters.connections == 0


def test_a_peer_that_neither_publishes_nor_plays_is_closed(house: House) -> None:
    idle, player = house.peer(), house.player()
    publisher = live(house)
    for _ in range(5):
        house.advance((Limits().idle_timeout_s + 1) / 5)
        house.send(publisher, video(0))
    assert closes(house) == {CloseReason.IDLE_TIMEOUT: 1}
    assert idle.closed
    assert not player.closed
    assert not publisher.closed


def test_every_session_is_pinged_busy_or_not(house: House) -> None:
    for _ in range(3 * TICKS_PER_BUSY_SESSION):
        house.player()
    house.loop.advance(Limits().ping_interval_s)
    for _ in range(TICKS_PER_BUSY_SESSION):
        assert any(connection.session.rtt_ms is None for connection in house.sessions._connections)
        house.advance(1)
    assert all(connection.session.rtt_ms is not None for connection in house.sessions._connections)


def test_a_player_that_has_answered_pings_and_falls_silent_is_closed(house: House) -> None:
    publisher = live(house)
    player = house.player()
    while not all(connection.session.rtt_ms is not None for connection in house.sessions._connections):
        house.advance(1)
    player.reading = False  # its kernel still takes what we send
    waited_s = 0
    while not closes(house):
        house.advance(1)
        waited_s += 1
        house.send(publisher, audio(waited_s * 1000))
        assert waited_s < 200
    assert closes(house) == {CloseReason.PING_TIMEOUT: 1}
    assert waited_s >= Limits().ping_timeout_s


# ---- how it is logged ------------------------------------------------------------------------


def test_each_end_is_logged_once_with_the_word_of_the_metrics(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    peer = house.peer()
    house.loop.now += 12.5
    with caplog.at_level(logging.INFO):
        house.leave(peer)
    ended = [record for record in caplog.records if getattr(record, "event", "") == "connection_closed"]
    (record,) = [vars(each) for each in ended]
    assert record["args"] == {"reason": "peer_closed"}
    assert record["peer"] == "192.0.2.7:40000"
    assert record["age_s"] == 12.5
    assert record["bytes_received"] > 3000


def test_an_ipv6_peer_is_written_in_brackets(house: House, caplog: pytest.LogCaptureFixture) -> None:
    accepted, peer = socket.socketpair()
    accepted.setblocking(False)
    house.sessions.accept(accepted, ("2001:db8::1", 5))
    with caplog.at_level(logging.INFO):
        peer.send(b"\x03")
        peer.close()
        house.settle()
    assert [vars(record)["peer"] for record in caplog.records] == ["[2001:db8::1]:5"]


def knock(house: House, host: str, count: int) -> None:
    """So many peers that connect from ``host``, send a byte and leave."""
    for _ in range(count):
        accepted, peer = socket.socketpair()
        accepted.setblocking(False)
        peer.send(b"\x03")
        house.sessions.accept(accepted, (host, 5))
        peer.close()
    house.settle()


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [vars(each) for each in caplog.records if getattr(each, "event", "") == event]


def test_of_many_strangers_a_few_have_lines_and_the_others_a_sum(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    knock(house, "192.0.2.7", 90)
    knock(house, "2001:db8::7", 30)
    assert len(logged(caplog, "connection_closed")) == LINES_PER_SECOND
    assert logged(caplog, "strangers_summed") == []
    assert closes(house) == {CloseReason.PEER_CLOSED: 120}
    house.advance(SUM_EVERY_S)
    (told,) = logged(caplog, "strangers_summed")
    assert told["args"]["reasons"] == {"peer_closed": 120 - LINES_PER_SECOND}
    assert told["args"]["networks"] == {"192.0.2.0/24": 90 - LINES_PER_SECOND, "2001:db8::/64": 30}


def test_refusals_are_summed_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with stepped_loop() as loop:
        house = House(loop, max_connections=1)
        house.publisher()  # one that is half-open would make room
        knock(house, "192.0.2.7", LINES_PER_SECOND + 3)
        line = "refused: too_many_connections (--max-connections), 1 are open"
        assert [each for each in caplog.messages if "refused: " in each] == [line] * LINES_PER_SECOND
        house.sessions.close_all(CloseReason.DRAINED)
        (told,) = logged(caplog, "strangers_summed")
        assert told["args"]["reasons"] == {"too_many_connections": 3}
        assert told["levelno"] == logging.WARNING
        assert closes(house) == {
            CloseReason.TOO_MANY_CONNECTIONS: LINES_PER_SECOND + 3, CloseReason.DRAINED: 1,
        }  # fmt: skip
        house.close()


def test_who_has_published_or_played_has_a_line_of_its_own(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    publisher, player, was_player = live(house), house.player(), house.player()
    was_player.session.delete_stream(1)
    house.settle()
    caplog.set_level(logging.INFO)
    knock(house, "192.0.2.9", LINES_PER_SECOND + 1)
    for peer in (publisher, player, was_player):
        house.leave(peer)
    assert len(logged(caplog, "connection_closed")) == LINES_PER_SECOND + 3


# ---- draining --------------------------------------------------------------------------------


def test_a_drain_refuses_publishers_and_serves_on(house: House) -> None:
    publisher, player = live(house), house.player()
    house.sessions.ask_to_reconnect()
    late = house.publisher("b")
    assert last_status(late) == ("error", Code.PUBLISH_DENIED)
    house.send(publisher, video(33))
    assert player.times() == [0, 33]


def test_a_drain_asks_those_to_reconnect_who_understand_it(house: House) -> None:
    able = house.peer()
    unable = house.peer(declared=capabilities.LEGACY)
    house.sessions.ask_to_reconnect()
    house.settle()
    assert [event.tc_url for event in able.events(ReconnectRequested)] == [""]
    assert unable.connected
    assert not unable.events(ReconnectRequested)


def test_who_is_left_after_a_drain_is_told_and_closed(house: House) -> None:
    peers = [live(house), house.player(), house.peer()]
    house.sessions.end_all(CloseReason.DRAINED)
    house.settle()
    for peer in peers:
        assert last_status(peer) == ("error", Code.CONNECT_APP_SHUTDOWN)
        assert peer.closed
        house.leave(peer)
    assert closes(house) == {CloseReason.DRAINED: 3}


def test_close_all_closes_without_a_word(house: House) -> None:
    peer = house.peer()
    house.sessions.close_all(CloseReason.DRAINED)
    house.settle()
    assert peer.closed
    assert peer.codes == []
    assert closes(house) == {CloseReason.DRAINED: 1}
    assert house.counters.connections == 0


def test_waiting_until_empty(house: House) -> None:
    def waiting() -> asyncio.Task[Any]:
        task = house.loop.create_task(house.sessions.wait_until_empty(10))
        house.settle()
        return task

    assert waiting().done()  # nobody is there
    first, second = house.peer(), house.peer()
    for_all = waiting()
    house.leave(first)
    assert not for_all.done()
    house.leave(second)
    assert for_all.done()
    house.peer()
    until_timeout = waiting()
    house.loop.advance(9.9)
    assert not until_timeout.done()
    house.loop.advance(0.1)
    house.settle()
    assert until_timeout.done()
    until_timeout.result()


def test_publishers_that_nobody_plays_are_counted_as_long_as_they_are(house: House) -> None:
    counters = house.counters
    heard, unheard = house.publisher("a"), house.publisher("b")
    assert counters.publishers_unheard == 2
    player = house.player("a")
    assert counters.publishers_unheard == 1
    house.leave(unheard)
    house.advance(1)
    assert counters.publishers_unheard == 0
    house.leave(player)
    assert counters.publishers_unheard == 1
    house.leave(heard)
    house.advance(1)
    assert (counters.publishers, counters.publishers_unheard) == (0, 0)


# ---- messages without an end -----------------------------------------------------------------


@pytest.mark.parametrize("extra", [0, 1])
def test_unfinished_messages_of_strangers_at_the_limit_and_one_past(
    extra: int, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (1_000, 30_000 + extra, 2_000)
    monkeypatch.setattr(sessions_module, "MAX_UNFINISHED_BYTES", 33_000)
    for size in sizes:
        head = bytes([6, 0, 0, 0]) + (40_000).to_bytes(3, "big") + bytes([20, 0, 0, 0, 0])
        peer = house.peer()
        peer._unsent += bytes.fromhex("02 000000 000004 01 00000000 00ffffff") + head + bytes(size)
    house.settle()
    held = [each.session.unfinished_bytes for each in house.sessions._connections]
    assert sorted(held) == sorted(sizes)
    house.advance(1)
    assert house.counters.closes == ({CloseReason.WORKER_MEMORY: 1} if extra else {})
    held = [each.session.unfinished_bytes for each in house.sessions._connections]
    assert sorted(held) == ([1_000, 2_000] if extra else sorted(sizes)), "the largest is ended"


def test_what_publishers_have_not_finished_does_not_count_here(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_UNFINISHED_BYTES", 1_000)
    publisher = live(house)
    head = bytes([6, 0, 0, 0]) + (40_000).to_bytes(3, "big") + bytes([9, 1, 0, 0, 0])
    publisher._unsent += head + bytes(30_000)
    house.settle()
    for _ in range(6):
        house.advance(1)
    assert house.counters.closes == {}
