"""Whatever a peer sends: it is answered or closed with a reason of its own, and nothing else happens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.message import Message
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, audio, stepped_loop, video
from support.http_peer import HttpPeer

_HOST = b"Host: e\r\n"
_UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_PIECES = st.sampled_from(
    [
        *(
            b"%s %s HTTP/1.1\r\n" % (method, path)
            for method in (b"GET", b"HEAD", b"OPTIONS", b"POST")
            for path in (b"/live/x.flv", b"/live/x.mp4", b"/live/x.m3u8", b"/live/x/media.m3u8?_HLS_msn=1")
        ),
        b"GET /live/x/1.m4s HTTP/1.1\r\n", b"GET /live/x/1.1.m4s HTTP/1.1\r\n", b"GET /%ff HTTP/1.1\r\n",
        _HOST, _HOST + b"\r\n", _HOST + _UPGRADE + b"\r\n", b"\r\n", b"Connection: close\r\n",
        b"\x89\x80\x00\x00\x00\x00", b"\x88\x80\x00\x00\x00\x00", b"\x82\x81\x00\x00\x00\x00a",
    ]
)  # fmt: skip
#: What ends a connection for something that the peer did; above all, no bug of ours does.
_PEERS_OWN = {"peer_closed", "answered", "bad_request", "too_much_work", "peer_reset"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_PIECES, st.binary(max_size=30)), max_size=12))
def test_any_bytes(pieces: list[bytes]) -> None:
    with stepped_loop() as loop:
        house = House(loop, audio_hold_ms=0.0)
        try:
            headers = Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)
            publisher = house.publisher("x")
            house.send(publisher, *headers, video(0, KEY), audio(10))
            peer = HttpPeer(house)
            for piece in pieces:
                peer.say(piece)
                house.send(publisher, audio(20))
            house.leave(peer)
            house.advance(3)
            assert house.counters.http_closes.keys() <= _PEERS_OWN
            assert len(house.http) == 0
            assert not any(house.counters.http_players.values())
        finally:
            house.close()
