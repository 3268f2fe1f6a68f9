"""Who waits for a stream before it is published gets it from its first message, on whichever worker.

Audio alone has no keyframe to begin from; and much of it may come at once, as from a relay that has looked
at its source for some seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_process import Edge, StartEdge
from ffmpeg_tools import FfmpegProcess, Packets
from polling import wait_until
from rtmp_peer import LivePlayer

from cluster.core.message import Message, MessageType

#: A publisher comes to either worker, and what is wrong need not show each time.
STREAMS = 8


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
    start_edge: StartEdge, players: list[AudioPlayer], clip: Path, source: Packets, tmp_path: Path
) -> None:
    edge = start_edge("--workers", "2")
    names = [f"audio-{number}" for number in range(STREAMS)]
    for name in names:
        players += [AudioPlayer(edge, name, worker=worker) for worker in edge.workers().values()]
    wait_until(lambda: all(player.accepted for player in players), "the players to wait")
    _publish_at_once(clip, [edge.url(name) for name in names], tmp_path)

    def complete() -> bool:
        return all(player.messages == len(source.audio) for player in players)

    try:
        wait_until(complete, "the whole clip at every player", 5)
    except AssertionError as error:
        got = {f"{player.name} on worker {player.worker}": player.messages for player in players}
        raise AssertionError(f"{error}; of {len(source.audio)} messages came {got}") from None


def _publish_at_once(clip: Path, urls: list[str], directory: Path) -> None:
    """The clip's audio to all of them, as fast as the server takes it."""
    publishers = [
        FfmpegProcess(["-i", str(clip), "-vn", "-c", "copy", "-f", "flv", url], directory / f"log-{number}")
        for number, url in enumerate(urls)
    ]
    try:
        for publisher in publishers:
            assert publisher.wait(20) == 0, publisher.log_text()
    finally:
        for publisher in publishers:
            publisher.end()
