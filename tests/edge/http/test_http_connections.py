"""HTTP connections: how requests are answered, how long a connection may stay, and what it ends with."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.edge.http import sessions as sessions_module
from cluster.edge.http.connection import MAX_PIPELINED, MAX_UNASKED_BYTES_PER_S
from cluster.edge.http.http_socket import ANSWER_S, MAX_REQUESTS_PER_S
from cluster.edge.peers.join_rates import JoinRates
from cluster.net.outbox import LINGER_S
from support.house import (
    AAC_HEADER,
    AVC_HEADER,
    KEY,
    House,
    audio,
    run_until,
    stepped_loop,
    tcp_pair,
    video,
)
from support.http_peer import HttpPeer

Houses = Callable[..., House]


@pytest.fixture
def houses() -> Iterator[Houses]:
    made: list[House] = []
    with stepped_loop() as loop:

        def make(**options: Any) -> House:
            made.append(House(loop, **{"audio_hold_ms": 0.0, **options}))
            return made[-1]

        yield make
        for house in made:
            house.close()


def publish(house: House, name: str = "x") -> None:
    publisher = house.publisher(name)
    headers = Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)
    house.send(publisher, *headers, video(0, KEY), audio(10))


def test_every_answer_may_be_read_by_pages_of_other_sites(houses: Houses) -> None:
    house = houses()
    for path in ("/live/x", "/.flv", "/live/x/media.m3u8?_HLS_part=1"):
        assert HttpPeer(house).get(path).answer.fields["access-control-allow-origin"] == "*"
    house = houses(http_origin="https://a.example")
    fields = HttpPeer(house).get("/live/x").answer.fields
    assert fields["access-control-allow-origin"] == "https://a.example"
    assert fields["vary"] == "Origin"


def test_errors_are_one_line_of_text(houses: Houses) -> None:
    answer = HttpPeer(houses()).get("/live/../x").answer
    assert answer.status == 404
    assert answer.fields["content-type"] == "text/plain; charset=utf-8"
    assert answer.fields["cache-control"] == "no-store"
    assert answer.body.endswith(b"\n")
    assert answer.body.count(b"\n") == 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("POST / HTTP/1.1\r\nHost: e\r\n\r\n", 405), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 505), ("\x03nothing of the kind", 400),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_so_and_closed(houses: Houses, data: str, status: int) -> None:
    house = houses()
    peer = HttpPeer(house).say(data)
    assert peer.answer.status == status
    assert peer.answer.fields["connection"] == "close"
    assert peer.answer.fields["access-control-allow-origin"] == "*"
    assert ("allow" in peer.answer.fields) is (status == 405)
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}
    assert house.counters.http_requests == {str(status): 1}
    assert len(house.http) == 0


def test_a_connection_stays_for_further_requests(houses: Houses) -> None:
    house = houses(idle_timeout_s=30.0)
    peer = HttpPeer(house)
    for _ in range(3):
        peer.get("/live/x")
        house.advance(29)
    assert [each.status for each in peer.answers()] == [200] * 3
    assert not peer.closed
    house.advance(1)
    assert peer.closed
    assert house.counters.http_closes == {"idle_timeout": 1}


def test_one_that_asks_to_be_closed_is(houses: Houses) -> None:
    house = houses()
    peer = HttpPeer(house).get("/live/x", "Connection: close")
    assert peer.answer.status == 200
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"answered": 1}


def test_head_is_answered_with_the_head_alone(houses: Houses) -> None:
    house = houses()
    whole = HttpPeer(house).get("/live/x").answer
    peer = HttpPeer(house).get("/live/x", method="HEAD")
    head, _, rest = peer.received.partition(b"\r\n\r\n")
    assert rest == b""
    assert f"Content-Length: {len(whole.body)}".encode() in head
    peer = HttpPeer(house).get("/live/x.flv", method="HEAD")
    assert peer.received.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert peer.received.endswith(b"\r\n\r\n")
    assert peer.closed
    assert house.counters.players == 0


def test_a_page_of_another_site_may_ask_what_it_may(houses: Houses) -> None:
    peer = HttpPeer(houses()).get("/live/x.m3u8", "Access-Control-Request-Headers: range", method="OPTIONS")
    answer = peer.answer
    assert answer.status == 204
    assert "Range" in answer.fields["access-control-allow-headers"]
    assert answer.fields["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert not peer.closed


def test_a_range_is_answered_with_the_whole(houses: Houses) -> None:
    peer = HttpPeer(houses()).get("/live/x", "Range: bytes=5-9")
    assert peer.answer.status == 200
    assert peer.answer.body.startswith(b"<!DOCTYPE html>")


def test_requests_sent_ahead_are_answered_in_order_up_to_a_bound(houses: Houses) -> None:
    house = houses()
    request = "GET {} HTTP/1.1\r\nHost: e\r\n\r\n"
    paths = ["/.flv", "/a", "/live/.flv"] * 5
    peer = HttpPeer(house).say("".join(map(request.format, paths)))
    assert [each.status for each in peer.answers()] == [404, 200, 404] * 5
    waiting = HttpPeer(house).get("/live/none.flv")
    waiting.say(request.format("/a") * 100)  # a request for media is the last of its connection
    assert not waiting.closed
    peer = HttpPeer(house).say(request.format("/a") * (MAX_PIPELINED + 1))
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}


def test_too_many_requests_in_a_second_are_read_in_the_next(houses: Houses) -> None:
    house = houses()
    peer = HttpPeer(house)
    for _ in range(MAX_REQUESTS_PER_S + 1):
        peer.get("/.flv")
    assert house.counters.reads_paced == 1
    peer.get("/.flv")
    assert len(peer.answers()) == MAX_REQUESTS_PER_S + 1
    house.advance(1)
    assert len(peer.answers()) == MAX_REQUESTS_PER_S + 2


@pytest.mark.parametrize("said", ["", "GET /live/x HTTP/1.1\r\nHost:"])
def test_a_request_that_does_not_come_in_time_ends_the_connection(houses: Houses, said: str) -> None:
    house = houses(handshake_timeout_s=5.0)
    peer = HttpPeer(house).say(said)
    house.advance(4.9)
    assert not peer.closed
    house.advance(0.2)
    assert peer.closed
    assert house.counters.http_closes == {"handshake_timeout": 1}


def test_a_request_that_drips_ends_the_connection_too(houses: Houses) -> None:
    house = houses(handshake_timeout_s=5.0)
    peer = HttpPeer(house).get("/live/x")
    for letter in "GET / HT":
        peer.say(letter)
        house.advance(1)
    assert peer.closed
    assert house.counters.http_closes == {"handshake_timeout": 1}


def test_who_says_nothing_is_half_open_and_makes_room(houses: Houses) -> None:
    house = houses(max_half_open=4)
    peers = [HttpPeer(house) for _ in range(2)]
    assert house.counters.connections_half_open == 2
    house.settle()
    HttpPeer(house)
    house.settle()
    assert [peer.closed for peer in peers] == [True, False]
    assert house.counters.http_closes == {"half_open_evicted": 1}


def test_places_are_those_of_the_worker(houses: Houses) -> None:
    house = houses(max_connections=3, publisher_reserve=40)
    publish(house)
    players = [HttpPeer(house, f"192.0.2.{number}").get("/live/x.flv") for number in range(2)]
    assert [each.answer.status for each in players] == [200, 200]
    assert len(house.places) == 3
    refused = HttpPeer(house, "192.0.2.77")
    house.settle()
    assert refused.closed
    assert house.counters.http_closes == {"too_many_connections": 1}


def test_a_player_more_than_there_is_room_for_is_told_so(houses: Houses) -> None:
    house = houses(max_connections=10, publisher_reserve=90)
    publish(house)
    assert HttpPeer(house).get("/live/x.flv").answer.status == 200
    refused = HttpPeer(house).get("/live/x.flv")
    assert refused.answer.status == 503
    assert not refused.closed


def test_who_does_not_take_an_answer_is_closed(houses: Houses) -> None:
    house = houses()
    peer = HttpPeer(house)
    peer.reading = False
    for _ in range(400):
        peer.get("/live/x")
        if next(iter(house.http._connections)).pending:
            break
        house.advance(0.02)
    else:
        pytest.fail("the socket is never full")
    house.advance(ANSWER_S)
    assert house.counters.http_closes == {"slow_peer": 1}


def test_a_player_that_talks_without_end_is_closed(houses: Houses) -> None:
    house = houses()
    publish(house)
    peer = HttpPeer(house).get("/live/x.flv")
    for _ in range(3):
        peer.say(bytes(MAX_UNASKED_BYTES_PER_S))
        house.advance(1)
    assert not peer.closed
    peer.say(bytes(MAX_UNASKED_BYTES_PER_S + 1))
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"too_much_work": 1}


def test_a_drain_lets_players_go_on_and_the_idle_go(houses: Houses) -> None:
    house = houses()
    publish(house)
    idle, player, waiting = HttpPeer(house), HttpPeer(house), HttpPeer(house)
    idle.get("/live/x")
    player.get("/live/x.flv")
    waiting.get("/live/none.flv")
    late = HttpPeer(house).say("GET /live/x.flv HTTP/1.1\r\n")
    house.http.drain()
    house.settle()
    assert idle.closed
    assert not player.closed
    assert not waiting.closed
    assert late.say("Host: e\r\n\r\n").answer.status == 503
    assert late.closed
    house.http.end_all(CloseReason.DRAINED)
    house.settle()
    assert waiting.answer.status == 503
    assert player.closed
    assert waiting.closed
    house.advance(LINGER_S)
    assert len(house.http) == 0
    assert house.counters.http_closes == {"drained": 2, "answered": 2}


def test_requests_without_end_take_no_more_than_they_may_together(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_UNFINISHED_BYTES", 10_000)
    house = houses()
    large, small = HttpPeer(house), HttpPeer(house)
    large.say("GET /" + "a" * 6_000)
    small.say("GET /" + "a" * 3_000)
    house.advance(1)
    assert not large.closed
    waiting = HttpPeer(house).get("/live/none.m3u8")
    waiting.get("/" + "b" * 2_000)
    house.advance(1)
    assert [large.closed, small.closed, waiting.closed] == [True, False, False]
    assert house.counters.http_closes == {"worker_memory": 1}


def test_too_many_viewers_of_hls_of_one_address_wait(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first request on a connection does: it may have a stream followed that nobody asked for."""
    house = houses()
    publisher = house.publisher("x")
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), video(0, KEY))
    monkeypatch.setattr(JoinRates, "wait_s", lambda *_: 2.0)
    viewer, leaver = HttpPeer(house).get("/live/x.m3u8"), HttpPeer(house).get("/live/x.m3u8")
    assert house.counters.joins_paced == 2
    house.leave(leaver)
    house.advance(1.9)
    assert viewer.received == b""
    house.advance(0.2)
    for second in range(3, 8):
        house.send(publisher, video(second * 1000, KEY))
        house.advance(1)
    assert viewer.answer.status == 200
    viewer.get("/live/x/media.m3u8")
    assert [each.status for each in viewer.answers()] == [200, 200], "the next request does not wait"


def test_too_many_plays_of_one_address_wait(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    house = houses()
    publish(house)
    monkeypatch.setattr(JoinRates, "wait_s", lambda *_: 2.0)
    player, leaver, drained = (HttpPeer(house).get("/live/x.flv") for _ in range(3))
    assert house.counters.joins_paced == 3
    house.leave(leaver)
    house.advance(1.9)
    assert player.received == b""
    assert house.counters.http_players == {}
    house.http.end_all(CloseReason.DRAINED)
    house.settle()
    assert drained.answer.status == 503
    house.advance(LINGER_S)
    assert house.counters.http_players == {}
    late = HttpPeer(house).get("/live/x.flv")
    house.advance(2.1)
    assert late.answer.status == 200
    assert house.counters.http_players == {"flv": 1}


def test_a_line_says_of_a_player_who_it_was(houses: Houses, caplog: pytest.LogCaptureFixture) -> None:
    house = houses()
    publish(house)
    player = HttpPeer(house).get("/live/x.flv", "User-Agent: VLC/3.0.18 LibVLC/3.0.18")
    caplog.set_level("INFO")
    house.leave(player)
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "connection_closed"]
    said = {name: getattr(record, name) for name in ("protocol", "role", "stream", "agent", "peer")}
    assert said == {
        "protocol": "http", "role": "player", "stream": "live/x", "agent": "VLC/3.0.18 LibVLC/3.0.18",
        "peer": "192.0.2.9:40000",
    }  # fmt: skip
    assert record.getMessage() == "closed: peer_closed"
    assert getattr(record, "bytes_received", 0) > 0


def test_a_reset_is_told_from_a_leave_only_of_those_who_play(houses: Houses) -> None:
    house = houses()
    publish(house)
    for path, reason in (("/live/x.flv", "peer_reset"), ("/live/x", "peer_closed")):
        accepted, peer = tcp_pair()
        house.http.accept(accepted, ("192.0.2.10", 40_000))
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: e\r\n\r\n".encode())
        run_until(house.loop, lambda: house.counters.http_requests, "an answer")
        assert peer.recv(8) == b"HTTP/1.1"
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        run_until(house.loop, lambda: house.counters.http_closes, "the end")
        assert house.counters.http_closes == {reason: 1}
        house.counters.http_closes.clear()
        house.counters.http_requests.clear()
