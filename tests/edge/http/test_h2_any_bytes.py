"""Whatever a peer sends over HTTP/2: it is answered or closed with a reason of its own, and no more."""

from __future__ import annotations

from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.message import Message
from support.h2_peer import H2Peer
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, audio, stepped_loop, video


def frame(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3) + bytes([kind, flags]) + number.to_bytes(4) + body


def block(path: str, method: str = "GET") -> bytes:
    """Fields that need no memory of others."""
    fields = [(":method", method), (":scheme", "https"), (":authority", "e"), (":path", path)]
    return Encoder().encode([(name, value, True) for name, value in fields])


_PATHS = [
    "/live/x.flv", "/live/x.mp4", "/live/x.m3u8", "/live/x/media.m3u8?_HLS_msn=1", "/live/y.flv", "/%ff",
    "*",
]  # fmt: skip
_NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 7, 9])
_BODIES = st.one_of(
    st.sampled_from(
        [*map(block, _PATHS), block("/live/x.flv", "HEAD"), block("/live/x", "POST"), block("/", "OPTIONS")]
    ),
    st.sampled_from(
        [
            b"", bytes(4), bytes(8), b"\x00\x04\x00\x00\x00\x00", b"\x00\x04\x7f\xff\xff\xff",
            b"\x7f\xff\xff\xff",
        ]
    ),
    st.binary(max_size=30),
)  # fmt: skip
_REQUESTS = st.builds(
    lambda number, path: frame(1, 5, 2 * number + 1, block(path)),
    st.integers(0, 6), st.sampled_from(_PATHS),
)  # fmt: skip
_FLAGS = st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D])
_FRAMES = st.builds(frame, st.integers(0, 10), _FLAGS, _NUMBERS, _BODIES)
#: What ends a connection for something that the peer did; above all, no bug of ours does.
_PEERS_OWN = {"peer_closed", "bad_request", "too_much_work", "peer_reset", "stream_not_found"}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_REQUESTS, _FRAMES, st.binary(max_size=20)), max_size=14))
def test_any_frames(pieces: list[bytes]) -> None:
    with stepped_loop() as loop:
        house = House(loop, audio_hold_ms=0.0)
        try:
            headers = Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)
            publisher = house.publisher("x")
            house.send(publisher, *headers, video(0, KEY), audio(10))
            peer = H2Peer(house)
            peer.reading = False  # it understands only what it has asked for itself
            for piece in pieces:
                peer.say(piece)
                house.send(publisher, audio(20))
            house.leave(peer)
            house.advance(3)
            assert house.counters.http_closes.keys() <= _PEERS_OWN, house.counters.http_closes
            assert len(house.http) == 0
            assert not any(house.counters.http_players.values())
        finally:
            house.close()
