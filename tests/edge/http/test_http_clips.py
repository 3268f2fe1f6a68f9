"""Real clips through a worker: what FFmpeg finds in the answers is what was published."""

from __future__ import annotations

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
        house.leave(player)  # type: ignore[arg-type]
    assert len(house.http._requests._encodings) == 0
