"""Real clips through a worker: what FFmpeg finds in the answers is what was published."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cluster.core.message import Message
from support.house import House, stepped_loop
from support.http_peer import HttpPeer
from support.media_clips import make_flv, messages_of, packets_of


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, audio_hold_ms=0.0)
        yield made
        made.close()


@pytest.fixture(scope="module")
def clip() -> bytes:
    return make_flv("avc1", "mp4a")


def published(clip: bytes) -> list[Message]:
    return [each._replace(stream_id=1) for each in messages_of(clip)]


@pytest.mark.parametrize("path", ["/live/x.flv", "/live/x.flv?raw=1", "/live/x.mp4"])
@pytest.mark.parametrize("waits", [True, False])
def test_what_is_played_is_what_was_published(house: House, clip: bytes, path: str, waits: bool) -> None:
    messages = published(clip)
    player = HttpPeer(house).get(path) if waits else None
    publisher = house.publisher("x")
    house.send(publisher, *messages[:20])
    if player is None:
        player = HttpPeer(house).get(path)
    for message in messages[20:]:
        house.send(publisher, message)
    found, sent = packets_of(player.answer.body), packets_of(clip)
    assert found.keys() == sent.keys()
    for kind, packets in sent.items():
        assert [each.data for each in found[kind]] == [each.data for each in packets]
    assert player.answer.fields["content-type"] == ("video/mp4" if "mp4" in path else "video/x-flv")


def test_those_who_join_later_share_the_bytes_of_those_who_came_before(house: House, clip: bytes) -> None:
    messages = published(clip)
    publisher = house.publisher("x")
    players = []
    for number, message in enumerate(messages):
        house.send(publisher, message)
        if number in (20, 40, 60):
            players.append(HttpPeer(house).get("/live/x.mp4"))
    first, *others = (player.answer.body for player in players)
    for body in others:
        assert first.endswith(body[-len(body) // 4 :])
    assert len(house.http._requests._encodings) == 1
    for player in players:
        house.leave(player)
    assert len(house.http._requests._encodings) == 0


def test_hls_on_one_connection(house: House) -> None:
    """Who asks before there is anything, and for what comes next, waits; the other requests do not."""
    messages = published(make_flv("avc1", "mp4a", seconds=6))
    viewer, other = HttpPeer(house).get("/live/x.m3u8"), HttpPeer(house)
    house.advance(1)
    assert viewer.received == b""
    publisher = house.publisher("x")
    for message in messages[: len(messages) * 5 // 6]:
        house.send(publisher, message)
    master = viewer.answer
    assert master.fields["content-type"] == "application/vnd.apple.mpegurl"
    assert b"x/media.m3u8" in master.body
    listed = viewer.get("/live/x/media.m3u8").answers()[-1].body.decode()
    segments = [line for line in listed.splitlines() if line.endswith(".m4s")]
    init = re.search(r'EXT-X-MAP:URI="([^"]+)"', listed)
    assert init is not None
    assert segments
    bodies = []
    for name in (init[1], segments[0]):
        answer = other.get(f"/live/x/{name}").answers()[-1]
        assert answer.status == 200
        assert "max-age" in answer.fields["cache-control"]
        bodies.append(answer.body)
    assert packets_of(b"".join(bodies)).keys() == {"video", "audio"}
    hint = re.search(r'EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"', listed)
    assert hint is not None
    waiting = HttpPeer(house).get(f"/live/x/{hint[1]}").get("/live/x")
    assert waiting.received == b""
    for message in messages[len(messages) * 5 // 6 :]:
        house.send(publisher, message)
    assert [each.status for each in waiting.answers()] == [200, 200]
    assert house.counters.connections_half_open == 0


def test_a_worker_that_lacks_a_segment_lets_the_next_request_reach_another(house: House) -> None:
    publisher = house.publisher("x")
    viewer = HttpPeer(house).get("/live/x.m3u8")
    for message in published(make_flv("avc1", "mp4a", seconds=5)):
        house.send(publisher, message)
    assert not viewer.closed
    viewer.get("/live/x/1.m4s")
    assert viewer.answers()[-1].status == 307
    assert viewer.answers()[-1].fields["location"] == "1.m4s?again=1"
    assert viewer.answers()[-1].fields["connection"] == "close"
    assert viewer.closed


def test_who_leaves_while_hls_waits_is_forgotten(house: House) -> None:
    viewer = HttpPeer(house).get("/live/x.m3u8")
    house.advance(1)
    assert house.counters.hls_waiting == 1
    house.leave(viewer)
    house.advance(1)
    assert house.counters.hls_waiting == 0


def test_a_segment_that_another_worker_may_have_is_asked_for_on_another_connection(
    house: House, clip: bytes
) -> None:
    publisher = house.publisher("x")
    HttpPeer(house).get("/live/x.m3u8")
    for message in published(clip):
        house.send(publisher, message)
    viewer = HttpPeer(house).get("/live/x/1.m4s").get("/live/x")
    assert viewer.answer.status == 307
    assert viewer.answer.fields["connection"] == "close"
    assert viewer.closed
