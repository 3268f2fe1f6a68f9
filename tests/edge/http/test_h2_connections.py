"""HTTP/2 connections: how the requests on them are answered, how long they may stay, how they end."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from h2.connection import H2Connection as Protocol

from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.edge.http.h2_connection import MAX_PLAYERS, H2Connection
from cluster.edge.http.h2_frames import MAX_FIELDS_BYTES, MAX_FRAME_BYTES, MAX_FRAMES_PER_S, FrameReader
from cluster.edge.http.h2_sender import MAX_STREAMS
from cluster.edge.http.h2_stream import H2Stream
from cluster.edge.http.http_socket import ANSWER_S, MAX_REQUESTS_PER_S
from cluster.edge.http.player import Player
from cluster.edge.peers.join_rates import JoinRates
from cluster.net.outbox import LINGER_S
from support.h2_peer import H2Peer
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, Peer, audio, stepped_loop, video

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


def publish(house: House, name: str = "x") -> Peer:
    publisher = house.publisher(name)
    headers = Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)
    house.send(publisher, *headers, video(0, KEY), audio(10))
    return publisher


def test_requests_are_answered_as_over_http_1(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    page = peer.get("/live/x")
    assert page.status == 200
    assert page.fields["content-type"] == "text/html; charset=utf-8"
    assert page.fields["content-length"] == str(len(page.body))
    assert page.fields["access-control-allow-origin"] == "*"
    assert page.ended
    head = peer.get("/live/x", method="HEAD")
    assert (head.status, head.body, head.ended) == (200, b"", True)
    assert head.fields["content-length"] == page.fields["content-length"]
    assert peer.get("/live/../x").status == 404
    options = peer.get("/live/x.m3u8", method="OPTIONS")
    assert options.status == 204
    assert options.fields["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert house.counters.http_requests == {"200": 2, "404": 1, "204": 1}
    assert not peer.closed


def test_the_head_of_what_has_no_end(houses: Houses) -> None:
    reply = H2Peer(houses()).get("/live/x.flv", method="HEAD")
    assert (reply.status, reply.body, reply.ended) == (200, b"", True)
    assert reply.fields["content-type"] == "video/x-flv"
    assert "content-length" not in reply.fields


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/live/x", 405), ("GET", "/" + "x" * 8192, 414), ("GET", "x", 400)],
)
def test_a_bad_request_ends_no_more_than_its_stream(
    houses: Houses, method: str, path: str, status: int
) -> None:
    peer = H2Peer(houses())
    reply = peer.get(path, method=method)
    assert reply.status == status
    assert reply.ended
    assert peer.get("/live/x").status == 200


def test_a_request_with_a_body_is_refused_and_no_more_of_it_wanted(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    number = peer.ask("/live/x", ends=False)
    house.settle()
    assert peer.replies[number].status == 413
    assert peer.replies[number].reset == 0
    assert peer.get("/live/x").status == 200


def test_what_waits_holds_up_nothing_else(houses: Houses) -> None:
    house = houses(play_wait_s=3.0)
    peer = H2Peer(house)
    waiting = peer.ask("/live/x.m3u8")
    assert peer.get("/live/x").status == 200
    assert peer.replies[waiting].status == 0
    house.advance(3.1)
    assert peer.replies[waiting].status == 404


def test_who_goes_does_not_wait(houses: Houses) -> None:
    house = houses(play_wait_s=30.0)
    peer = H2Peer(house)
    number = peer.ask("/live/x.m3u8")
    house.settle()
    peer.protocol.reset_stream(number)
    house.settle()
    house.advance(31)
    assert peer.get("/live/x").status == 200
    assert house.counters.http_requests == {"200": 1}


def test_many_requests_at_once(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    numbers = [peer.ask("/live/x") for _ in range(MAX_STREAMS)]
    house.settle()
    assert {peer.replies[each].status for each in numbers} == {200}
    assert len({peer.replies[each].body for each in numbers}) == 1


def test_more_requests_in_a_second_are_read_in_the_next(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    answered = 0
    for _ in range(MAX_REQUESTS_PER_S + 5):
        answered += peer.get("/live/x", method="HEAD").status == 200
    assert answered == MAX_REQUESTS_PER_S + 1
    assert house.counters.reads_paced == 1
    house.advance(1.0)
    assert all(reply.status == 200 for reply in peer.replies.values())


def test_a_window_that_stays_closed(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house, acknowledges=False)
    replies = [peer.get("/live/x") for _ in range(5)]
    assert [reply.ended for reply in replies] == [True, False, False, False, False]
    house.advance(ANSWER_S - 1)
    assert not peer.closed
    house.advance(1)
    assert peer.closed
    assert house.counters.http_closes == {"slow_peer": 1}


def test_idle_ones_are_told_and_closed(houses: Houses) -> None:
    house = houses(idle_timeout_s=30.0)
    peer = H2Peer(house)
    peer.get("/live/x")
    house.advance(29)
    assert not peer.closed
    house.advance(1)
    assert peer.goaway is not None
    assert peer.closed
    assert house.counters.http_closes == {"idle_timeout": 1}


def test_one_that_asks_for_nothing(houses: Houses) -> None:
    house = houses(handshake_timeout_s=5.0)
    peer = H2Peer(house)
    house.advance(5)
    assert peer.closed
    assert house.counters.http_closes == {"handshake_timeout": 1}


def test_a_drain_lets_what_waits_be_answered(houses: Houses) -> None:
    house = houses(play_wait_s=3.0)
    peer, idle = H2Peer(house), H2Peer(house)
    number = peer.ask("/live/x.m3u8")
    house.settle()
    house.http.drain()
    house.settle()
    assert idle.closed
    assert idle.goaway is not None
    assert peer.goaway is not None
    assert not peer.closed
    house.advance(3.1)
    assert peer.replies[number].status == 404
    house.settle()
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"drained": 2}
    assert len(house.http) == 0


def test_what_is_left_after_the_drain_is_told(houses: Houses) -> None:
    house = houses(play_wait_s=30.0)
    publish(house)
    peer = H2Peer(house)
    waiting, playing, unopened = (peer.ask(path) for path in ("/live/y.m3u8", "/live/x.flv", "/live/y.flv"))
    house.settle()
    house.http.end_all(CloseReason.DRAINED)
    house.settle()
    assert peer.replies[waiting].status == peer.replies[unopened].status == 503
    assert peer.replies[playing].ended
    assert peer.closed
    assert house.counters.http_players == {"flv": 0}


# ---- who makes work ----------------------------------------------------------------------------


def frame(kind: int, flags: int, number: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4) + body


PING, SETTINGS, PRIORITY, RESET = frame(6, 0, 0, bytes(8)), frame(4, 0, 0), frame(2, 0, 99, bytes(5)), 3


@pytest.mark.parametrize("one", [PING, SETTINGS, PRIORITY, frame(0xAA, 0, 0)])
def test_frames_without_end_that_ask_for_nothing(houses: Houses, one: bytes) -> None:
    house = houses()
    peer = H2Peer(house)
    for _ in range(2):
        peer.say(one * (MAX_FRAMES_PER_S // 2))
        house.advance(1)
    assert not peer.closed
    peer.say(one * (MAX_FRAMES_PER_S + 1))
    assert peer.goaway is not None
    assert peer.goaway.error_code == 11  # ENHANCE_YOUR_CALM
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"too_much_work": 1}


def test_requests_that_are_taken_back_at_once(houses: Houses) -> None:
    """CVE-2023-44487: no more of them are begun in a second than of others."""
    house = houses(play_wait_s=30.0)
    peer = H2Peer(house)
    for _ in range(3 * MAX_REQUESTS_PER_S):
        peer.protocol.reset_stream(peer.ask("/live/x.m3u8"))
    house.settle()
    [connection] = house.http._connections
    assert isinstance(connection, H2Connection)
    assert connection._asked == MAX_REQUESTS_PER_S + 1
    assert len(connection._streams) <= 1
    house.advance(1)
    assert connection._asked <= MAX_REQUESTS_PER_S + 1
    house.leave(peer)
    house.advance(1)
    assert len(house.http) == 0


def test_a_peer_that_is_sent_much_may_open_its_window_as_often(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    for _ in range(30):
        peer.get("/live/x")
    peer.say(frame(8, 0, 0, (1).to_bytes(4)) * (MAX_FRAMES_PER_S + 30))
    assert not peer.closed


def test_the_fields_of_a_request_that_go_on_without_end(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    peer.say(frame(1, 1, 1, b"\x00" * 100))
    peer.say(frame(9, 0, 1, bytes(MAX_FIELDS_BYTES - 109)))
    assert not peer.closed
    peer.say(frame(9, 0, 1, b"\x00"))
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}


def test_fields_that_unpack_to_very_much(houses: Houses) -> None:
    """A field of 3,000 bytes that is named again and again by its number in the table."""
    house = houses()
    peer = H2Peer(house)
    head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"e"), (b":path", b"/")]
    block = peer.protocol.encoder.encode([*head, (b"x", b"y" * 3000)])
    peer.say(frame(1, 5, 1, block + b"\xbe" * 4000))
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}


@pytest.mark.parametrize(("resizes", "answered"), [(2, 1), (3, 0), (2000, 0)])
def test_fields_that_change_the_table_first(houses: Houses, resizes: int, answered: int) -> None:
    house = houses()
    peer = H2Peer(house)
    peer.reading = False
    head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"e"), (b":path", b"/live/x")]
    block = peer.protocol.encoder.encode(head)
    peer.say(frame(1, 0x2D, 1, b"\x00" + bytes(5) + b"\x3f\xe1\x1f" * resizes + block))
    assert house.counters.http_requests.get("200", 0) == answered
    assert house.counters.http_closes.get("bad_request", 0) == 1 - answered


def test_large_fields_have_turns_of_their_own(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    for _ in range(3):
        peer.ask("/live/x", ("cookie", "c" * 4000), method="HEAD")
    house.settle()
    assert [reply.status for reply in peer.replies.values()] == [200] * 3
    assert house.counters.reads_paced == 0
    for _ in range(3):
        peer.ask("/live/x", ("cookie", "d" * 6000), method="HEAD")
    house.settle()
    assert [reply.status for reply in peer.replies.values()].count(200) < 6
    assert house.counters.reads_paced == 1
    house.advance(1)
    assert [reply.status for reply in peer.replies.values()] == [200] * 6


def test_a_frame_that_is_too_large(houses: Houses) -> None:
    house = houses()
    peer = H2Peer(house)
    peer.say((MAX_FRAME_BYTES + 1).to_bytes(3) + bytes(6))
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}


@pytest.mark.parametrize(
    "data",
    [
        frame(0, 0, 7, b"x"), frame(9, 4, 1), frame(5, 4, 1, bytes(8)), frame(8, 0, 0, bytes(4)),
        frame(1, 5, 2),
    ],
)  # fmt: skip
def test_what_is_no_http_2(houses: Houses, data: bytes) -> None:
    house = houses()
    peer = H2Peer(house)
    peer.say(data)
    assert peer.closed
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"bad_request": 1}


def test_more_streams_than_may_be(houses: Houses) -> None:
    house = houses(play_wait_s=30.0)
    peer = H2Peer(house)
    peer.protocol.remote_settings[3] = 1000
    peer.protocol.remote_settings.acknowledge()
    for _ in range(MAX_STREAMS):
        peer.ask("/live/x.m3u8")
    house.settle()
    assert not peer.closed
    peer.ask("/live/x.m3u8")
    house.settle()
    house.advance(1)
    assert peer.closed


def test_one_that_does_not_read(houses: Houses) -> None:
    """Its windows are open, and its socket is full: all that is kept waits on its streams."""
    house = houses()
    peer = H2Peer(house)
    peer.reading = False
    peer.protocol.increment_flow_control_window(1 << 30)
    for _ in range(MAX_STREAMS):
        peer.ask("/live/x")
    house.settle()
    [connection] = house.http._connections
    assert sum(map(len, connection.pending)) < 300_000
    house.advance(ANSWER_S)
    house.advance(1)
    assert house.counters.http_closes == {"slow_peer": 1}


# ---- players -----------------------------------------------------------------------------------


def test_a_player_beside_requests(houses: Houses) -> None:
    house = houses()
    publisher = publish(house)
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv")
    assert reply.status == 200
    assert reply.fields["content-type"] == "video/x-flv"
    assert "content-length" not in reply.fields
    assert house.counters.http_players == {"flv": 1}
    assert peer.get("/live/x").ended
    for number in range(1, 50):
        house.send(publisher, video(40 * number))
    house.settle()
    times = [each.timestamp for each in reply.flv() if each.type_id == 9]
    assert times == [0, *range(0, 40 * 49 + 1, 40)]
    assert not reply.ended


def test_two_players_of_a_stream_on_one_connection(houses: Houses) -> None:
    house = houses()
    publisher = publish(house)
    peer = H2Peer(house)
    replies = [peer.get("/live/x.flv"), peer.get("/live/x.flv"), peer.get("/live/x.mp4")]
    for number in range(1, 50):
        house.send(publisher, video(40 * number, size=30_000))
    house.settle()
    assert replies[0].body == replies[1].body
    assert len(replies[0].body) > 1_400_000
    assert len(replies[2].body) > 1_000_000


def test_a_player_whose_window_is_closed_goes_on_where_it_was(houses: Houses) -> None:
    house = houses()
    publisher = publish(house)
    peer = H2Peer(house, acknowledges=False)
    reply, other = peer.get("/live/x.flv"), H2Peer(house).get("/live/x.flv")
    for number in range(1, 20):
        house.send(publisher, video(40 * number, size=10_000))
    assert len(reply.body) == 65_535
    number = next(iter(peer.replies))
    peer.protocol.increment_flow_control_window(1 << 20)
    peer.protocol.increment_flow_control_window(1 << 20, number)
    house.settle()
    assert reply.body == other.body
    for later in range(20, 30):
        house.send(publisher, video(40 * later, size=10_000))
    assert reply.body == other.body


def test_a_slow_player_ends_alone(houses: Houses) -> None:
    house = houses(slow_close_s=5.0)
    publisher = publish(house)
    peer = H2Peer(house, acknowledges=False)
    peer.protocol.increment_flow_control_window(1 << 24)
    slow = peer.get("/live/x.flv")
    for number in range(1, 12):
        house.send(publisher, video(1000 * number, size=20_000))
        house.advance(1)
    assert slow.reset == 8  # CANCEL
    assert house.counters.http_players == {"flv": 0}
    assert house.counters.http_closes == {"slow_player": 1}
    assert not peer.closed
    assert peer.get("/live/x", method="HEAD").ended


def test_the_end_of_a_stream_is_the_end_of_the_answer(houses: Houses) -> None:
    house = houses()
    publisher = publish(house)
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv")
    house.advance(1)
    house.leave(publisher)
    house.advance(house.config.publish_grace_s - 1)
    assert not reply.ended
    house.advance(1.1)
    assert reply.ended
    assert not peer.closed
    assert peer.get("/live/x").status == 200


def test_a_player_of_what_nobody_publishes(houses: Houses) -> None:
    house = houses(play_wait_s=2.0)
    peer = H2Peer(house)
    reply = peer.get("/live/x.flv")
    house.advance(2.5)
    assert (reply.status, reply.ended) == (404, True)
    assert house.counters.http_players == {"flv": 0}


def test_more_players_than_one_connection_may_have(houses: Houses) -> None:
    house = houses()
    publish(house)
    peer = H2Peer(house)
    for _ in range(MAX_PLAYERS):
        assert peer.get("/live/x.flv").status == 200
        house.advance(1)
    assert peer.get("/live/x.flv").status == 503


def test_as_many_players_as_one_connection_may_have_after_a_wait(
    houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an address that asks too often wait, all with room at first."""
    house = houses()
    publish(house)
    monkeypatch.setattr(JoinRates, "wait_s", lambda rates, peer, now: 0.1)
    peer = H2Peer(house)
    numbers = [peer.ask("/live/x.flv") for _ in range(MAX_PLAYERS + 1)]
    house.settle()
    house.advance(1)
    statuses = sorted(peer.replies[number].status for number in numbers)
    assert statuses == [200] * MAX_PLAYERS + [503]


def test_a_player_that_leaves(houses: Houses) -> None:
    house = houses()
    publisher = publish(house)
    peer, other = H2Peer(house), H2Peer(house)
    number = peer.ask("/live/x.flv")
    other.get("/live/x.flv")
    house.settle()
    peer.protocol.reset_stream(number)
    house.settle()
    assert house.counters.http_players == {"flv": 1}
    house.leave(other)
    house.send(publisher, video(40))
    house.advance(1)
    assert house.counters.http_players == {"flv": 0}


def test_what_ends_is_freed_at_once(houses: Houses) -> None:
    house = houses(play_wait_s=30.0)
    publish(house)
    gc.collect()
    gc.disable()
    try:
        for path in ("/live/x.flv", "/live/none.flv", "/live/none.m3u8", "/live/x", "/%ff"):
            peer = H2Peer(house)
            peer.ask(path)
            peer.ask("/live/x.mp4")
            house.settle()
            house.leave(peer)
            house.peers.pop()
            house.advance(1)
        peer = H2Peer(house)
        peer.say(b"no frame at all")
        assert peer.closed
        house.advance(3)
        kinds = (H2Connection, H2Stream, FrameReader, Player)
        assert [each for each in gc.get_objects() if isinstance(each, kinds)] == []
        servers = [each for each in gc.get_objects() if isinstance(each, Protocol)]
        assert [each for each in servers if not each.config.client_side] == []
    finally:
        gc.enable()
