"""HTTP-FLV over WebSocket: the handshake, frames, pings, the goodbye."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.events import (
    Message as WsMessage,
)

from cluster.core.errors import CloseReason
from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from cluster.edge.http.websocket import frame
from cluster.net.outbox import LINGER_S
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, House, audio, stepped_loop, video
from support.http_peer import HttpPeer
from support.media_clips import make_flv, messages_of, packets_of

HEADERS = (Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1))


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, audio_hold_ms=0.0)
        yield made
        made.close()


class WsPeer:
    """A player over WebSocket."""

    def __init__(self, house: House, path: str = "/live/x.flv?raw=1") -> None:
        self.http = HttpPeer(house)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.say(Request(host="edge", target=path))
        self._read = 0

    def say(self, event: Event) -> None:
        self.http.say(self._protocol.send(event))

    def events(self) -> list[Event]:
        """What has come since the last call."""
        data = self.http.received[self._read :]
        self._read += len(data)
        if data:
            self._protocol.receive_data(data)
        return list(self._protocol.events())


def bodies(events: list[Event]) -> bytes:
    messages = [each for each in events if isinstance(each, WsMessage)]
    assert all(isinstance(each, BytesMessage) for each in messages)
    return b"".join(bytes(each.data) for each in messages)


def test_a_player_is_sent_the_bytes_that_others_are(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    plain, player = HttpPeer(house).get("/live/x.flv?raw=1"), WsPeer(house)
    first, *others = player.events()
    assert isinstance(first, AcceptConnection)
    house.send(publisher, video(40, INTER, 300), video(80, INTER, 70_000))
    received = bodies(others + player.events())
    assert received == plain.answer.body
    assert len(FlvReader().feed(received)) == 6
    assert house.counters.http_players == {"flv": 1, "ws_flv": 1}
    assert house.counters.http_requests == {"200": 1, "101": 1}


def test_mp4_is_the_same_over_both(house: House) -> None:
    messages = [each._replace(stream_id=1) for each in messages_of(make_flv("avc1", "mp4a"))]
    publisher = house.publisher("x")
    house.send(publisher, *messages[:20])
    plain, player = HttpPeer(house).get("/live/x.mp4"), WsPeer(house, "/live/x.mp4")
    house.send(publisher, *messages[20:])
    received = bodies(player.events())
    assert received == plain.answer.body
    assert packets_of(received).keys() == {"video", "audio"}


def test_all_players_share_their_bytes(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    players = [WsPeer(house) for _ in range(3)]
    writes = house.counters.writes
    house.send(publisher, video(40, INTER))
    assert house.counters.writes == writes + 3
    assert len({bodies(player.events()) for player in players}) == 1


def test_a_player_that_reads_slowly_gets_whole_messages(house: House) -> None:
    publisher = house.publisher("x")
    house.send(publisher, *HEADERS, video(0, KEY), audio(10))
    slow, other = WsPeer(house), WsPeer(house)
    begun = slow.events()
    slow.http.reading = False
    for number in range(1, 30):
        house.send(publisher, video(40 * number, INTER, 40_000))
        if number % 5 == 0:
            slow.say(Ping(b"still here?"))
    slow.http.reading = True
    house.settle()
    events = begun + slow.events()
    assert bodies(events) == bodies(other.events())
    assert sum(isinstance(each, Pong) for each in events) == 5


def test_pings_are_answered_and_what_else_is_said_is_not_heard(house: House) -> None:
    house.send(house.publisher("x"), *HEADERS, video(0, KEY), audio(10))
    player = WsPeer(house)
    player.events()
    player.say(Ping(b"12"))
    player.say(TextMessage("hello"))
    (pong,) = player.events()
    assert isinstance(pong, Pong)
    assert pong.payload == b"12"


def test_of_many_pings_the_last_is_answered(house: House) -> None:
    house.send(house.publisher("x"), *HEADERS, video(0, KEY), audio(10))
    player = WsPeer(house)
    player.events()
    protocol = player._protocol
    player.http.say(b"".join(protocol.send(Ping(b"%d" % number)) for number in range(300)))
    pongs = player.events()
    assert [each.payload for each in pongs if isinstance(each, Pong)] == [b"299"]
    assert len(pongs) == 1


def test_a_goodbye_is_returned(house: House) -> None:
    house.send(house.publisher("x"), *HEADERS, video(0, KEY), audio(10))
    player = WsPeer(house)
    player.events()
    player.say(CloseConnection(1000, "enough"))
    (goodbye,) = player.events()
    assert isinstance(goodbye, CloseConnection)
    assert goodbye.code == 1000
    house.advance(LINGER_S)
    assert house.counters.http_closes == {"peer_closed": 1}


@pytest.mark.parametrize("data", [b"\x82\x05hello", b"\xf2\x80", b"\x8f\xff\xff"])
def test_frames_that_are_none_end_it(house: House, data: bytes) -> None:
    player = WsPeer(house)
    player.http.say(data)
    assert player.http.closed


def test_why_it_ends_is_told(house: House) -> None:
    player = WsPeer(house)
    accepted, *_ = player.events()
    assert isinstance(accepted, AcceptConnection)
    house.advance(house.config.play_wait_s + 0.1)
    house.advance(1)
    (goodbye,) = player.events()
    assert isinstance(goodbye, CloseConnection)
    assert (goodbye.code, goodbye.reason) == (4404, "nobody has published live/x within 30 s")
    drained = WsPeer(house)
    house.http.end_all(CloseReason.DRAINED)
    house.settle()
    assert drained.events()[-1].code == 1001  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "fields",
    [
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"],
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a"],
        ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    ],
)
def test_a_handshake_that_is_none_is_refused(house: House, fields: list[str]) -> None:
    peer = HttpPeer(house).get("/live/x.flv", *fields)
    assert peer.answer.status == 400
    assert peer.closed


def test_another_upgrade_is_not_made(house: House) -> None:
    peer = HttpPeer(house).get("/live/x", "Upgrade: h2c", "Connection: Upgrade", "HTTP2-Settings: AA")
    assert peer.answer.status == 200
    assert peer.closed


@pytest.mark.parametrize("size", [1, 125, 126, 127, 0xFFFF, 0x10000, 70_000])
def test_frames_of_any_size(size: int) -> None:
    protocol = WSConnection(ConnectionType.CLIENT)
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(protocol.send(Request(host="e", target="/")))
    list(server.events())
    protocol.receive_data(server.send(AcceptConnection()))
    list(protocol.events())
    protocol.receive_data(b"".join(frame([bytes(size - 1), b"x"])))
    assert bodies(list(protocol.events())) == bytes(size - 1) + b"x"


def test_nothing_is_no_message() -> None:
    assert frame([]) == []


@pytest.mark.parametrize(
    ("http_origin", "origin", "status"),
    [
        ("*", "https://b.example", 101), ("https://a.example", "https://a.example", 101),
        ("https://a.example", "https://b.example", 403), ("https://a.example", "null", 403),
        ("https://a.example", "http://edge.example", 101),  # the page of this server
        ("https://a.example", None, 101),  # no browser
    ],
)  # fmt: skip
def test_pages_of_other_sites(http_origin: str, origin: str | None, status: int) -> None:
    with stepped_loop() as loop:
        house = House(loop, audio_hold_ms=0.0, http_origin=http_origin)
        fields = [] if origin is None else [f"Origin: {origin}"]
        upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        peer = HttpPeer(house).get(
            "/live/x.flv", *upgrade, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", *fields
        )
        assert peer.received.startswith(b"HTTP/1.1 %d " % status)
        assert peer.closed is (status == 403)
        house.close()
