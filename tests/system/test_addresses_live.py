"""FFmpeg and our client publish to and play from addresses of one segment and of many, of one edge."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cluster.client import connect
from support.cluster_process import Edge, StartEdge
from support.ffmpeg import Ffmpegs, Packets
from support.polling import wait_until

#: As published, as played by FFmpeg, and the key.
FORMS = [
    ("one", "one", "one"),
    ("two?user=u&pass=p", "two", "two"),
    ("a/b/c", "a/b/c?token=1", "a/b/c"),
    ("a/b/c/d", "a/b/c/d", "a/b/c/d"),
    ("live//cam/", "live/cam", "live/cam"),
]
ENOUGH = 30


@pytest.fixture
def edge(start_edge: StartEdge) -> Edge:
    return start_edge("--workers", "2")


def test_ffmpeg_and_our_client_mean_the_same_stream(
    edge: Edge, ffmpegs: Ffmpegs, clip: Path, source: Packets
) -> None:
    def url(path: str) -> str:
        return f"rtmp://127.0.0.1:{edge.port}/{path}"

    players = [ffmpegs.play(url(played)) for _, played, _ in FORMS]
    publishers = [ffmpegs.publish(clip, url(published), loop=True) for published, _, _ in FORMS]
    wanted = [packet.digest for packet in source.video][:ENOUGH]
    for player, publisher, (published, _, _) in zip(players, publishers, FORMS, strict=True):
        wait_until(
            lambda player=player: len(player.packets().video) >= ENOUGH,  # type: ignore[misc]
            f"frames of {published}: {player.log_text()}, {publisher.log_text()}",
        )
        assert [packet.digest for packet in player.packets().video][:ENOUGH] == wanted, published

    async def first_message(path: str) -> None:
        async with (
            asyncio.timeout(30),
            connect(url(path)) as connection,
            await connection.play() as playback,
        ):
            await anext(playback)

    for published, played, key in FORMS:
        asyncio.run(first_message(published))
        asyncio.run(first_message(played))
        assert {each["stream"] for each in edge.events("publish")} >= {key}
