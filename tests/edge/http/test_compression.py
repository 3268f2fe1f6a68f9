"""Playlists are compressed for those who take them so, once for all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from cluster.core.message import Message
from cluster.edge.http.answer import Answer
from cluster.edge.http.compression import fitted
from cluster.edge.http.request import Request
from support.h2_peer import H2Peer
from support.house import AAC_HEADER, AVC_HEADER, INTER, KEY, House, audio, stepped_loop, video
from support.http_peer import HttpPeer


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, audio_hold_ms=0.0)
        yield made
        made.close()


def request(accepts: bytes | None) -> Request:
    fields = {} if accepts is None else {b"accept-encoding": accepts}
    return Request("GET", "/live/x.m3u8", "", fields, stays=True, upgrades=False)


@pytest.mark.parametrize(
    ("accepts", "takes"),
    [
        (None, False), (b"", False), (b"br", False), (b"gzipped", False), (b"gzip", True),
        (b"gzip, deflate, br, zstd", True), (b"br;q=1.0, GZIP;q=0.8", True), (b"gzip;q=1", True),
        (b"gzip;q=0", False), (b"gzip; q=0.000", False),
    ],
)  # fmt: skip
def test_who_takes_it_compressed(accepts: bytes | None, takes: bool) -> None:
    assert request(accepts).takes_gzip is takes


def test_what_is_the_same_for_many_is_compressed_once() -> None:
    answer = Answer(200, "application/vnd.apple.mpegurl", "no-cache", [b"#EXTM3U\n" * 50], is_text=True)
    first, second = (fitted(answer, request(b"gzip")) for _ in range(2))
    assert first.body[0] is second.body[0]
    assert gzip.decompress(bytes(first.body[0])) == answer.body[0]
    assert first.size < answer.size
    assert fitted(answer, request(b"br")) is answer


def test_media_is_left_as_it_is() -> None:
    answer = Answer(200, "video/mp4", "no-cache", [b"media"])
    assert fitted(answer, request(b"gzip")) is answer


def test_both_versions_of_http_answer_with_it(house: House) -> None:
    publisher = house.publisher("x")
    headers = Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)
    house.send(publisher, *headers, video(0, KEY), audio(10))
    plain = HttpPeer(house).get("/live/x.m3u8")
    small = HttpPeer(house).get("/live/x.m3u8", "Accept-Encoding: gzip")
    over_h2 = H2Peer(house).ask("/live/x.m3u8", ("accept-encoding", "gzip, deflate"))
    h2_peer = house.peers[-1]
    assert isinstance(h2_peer, H2Peer)
    for each in range(1, 200):
        picture = video(40 * each, KEY if each % 25 == 0 else INTER)
        house.send(publisher, picture, audio(40 * each))
    house.advance(1)
    expected = plain.answer
    assert expected.status == 200
    assert expected.fields["vary"] == "Accept-Encoding"
    assert "content-encoding" not in expected.fields
    for fields, body in (
        (small.answer.fields, small.answer.body),
        (h2_peer.replies[over_h2].fields, h2_peer.replies[over_h2].body),
    ):
        assert fields["content-encoding"] == "gzip"
        assert fields["vary"] == "Accept-Encoding"
        assert fields["content-length"] == str(len(body))
        assert gzip.decompress(body) == expected.body
