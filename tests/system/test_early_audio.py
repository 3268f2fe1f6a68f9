"""Who waits for a stream before it is published gets it from its first message, on whichever worker.

Audio alone has no keyframe to begin from; and much of it may come at once, as from a relay that has looked
at its source for some seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.client import connect
from cluster.core.media.classify import is_coded
from cluster.core.media.flv import FlvReader
from cluster.core.message import Message, MessageType
from support.cluster_process import Edge, StartEdge
from support.ffmpeg import FfmpegProcess
from support.polling import wait_until
from support.rtmp_peer import LivePlayer, Peers

#: A publisher comes to either worker, and what is wrong need not show each time.
STREAMS = 8

#: How often, and how many times, it is looked whether all has arrived: 30 s.
LOOK_EVERY_S = 0.05
MAX_LOOKS = 600


class AudioPlayer(LivePlayer):
    """Counts the audio messages, without their header."""

    def __init__(self, edge: Edge, name: str, *, worker: int) -> None:
        self.messages = 0
        super().__init__(edge, name, worker=worker)

    @property
    def accepted(self) -> bool:
        return "NetStream.Play.Start" in self.codes

    def _on_message(self, message: Message) -> None:
        payload = bytes(message.payload)
        if message.type_id == MessageType.AUDIO and payload[1] == 1:
            self.messages += 1


@pytest.fixture
def players() -> Iterator[list[AudioPlayer]]:
    """Players that end with the test."""
    players: list[AudioPlayer] = []
    yield players
    for player in players:
        player.stop()
    for player in players:
        player.close()


def test_players_that_wait_get_audio_from_its_first_message(
    start_edge: StartEdge, players: list[AudioPlayer], peers: Peers, clip: Path, tmp_path: Path
) -> None:
    edge = start_edge("--workers", "2")
    names = [f"audio-{number}" for number in range(STREAMS)]
    for name in names:
        players += [AudioPlayer(edge, name, worker=worker) for worker in edge.workers().values()]
    wait_until(lambda: all(player.accepted for player in players), "the players to wait")
    _wait_until_all_workers_know(edge, peers)
    messages = _audio_of(clip, tmp_path)
    frames = sum(is_coded(message) for message in messages)
    asyncio.run(_publish_at_once([edge.url(name) for name in names], messages, players, frames))
    got = {f"{player.name} on worker {player.worker}": player.messages for player in players}
    assert set(got.values()) == {frames}, got


def _wait_until_all_workers_know(edge: Edge, peers: Peers) -> None:
    """Who plays what. Workers tell each other in order, so a later stream that has crossed says so."""
    workers = edge.workers().values()
    later = [peers.play(edge, f"later-{origin}", worker=worker) for origin in workers for worker in workers]
    for origin in workers:
        peers.publish(edge, f"later-{origin}", worker=origin)
    for player in later:
        player.wait_for_frames(1)


def _audio_of(clip: Path, directory: Path) -> list[Message]:
    """The clip's audio as a publisher sends it."""
    path = directory / "audio.flv"
    ffmpeg = FfmpegProcess(["-i", str(clip), "-vn", "-c", "copy", str(path)], directory / "log")
    assert ffmpeg.wait(20) == 0, ffmpeg.log_text()
    return FlvReader().feed(path.read_bytes())


async def _publish_at_once(
    urls: list[str], messages: list[Message], players: list[AudioPlayer], frames: int
) -> None:
    """All of it as fast as the server takes it, to all of them; then stay until it has arrived."""
    async with contextlib.AsyncExitStack() as stack:
        for url in urls:
            connection = await stack.enter_async_context(connect(url))
            publication = await stack.enter_async_context(await connection.publish())
            for message in messages:
                await publication.send(message)
        for _ in range(MAX_LOOKS):
            if all(player.messages >= frames for player in players):
                return
            await asyncio.sleep(LOOK_EVERY_S)
