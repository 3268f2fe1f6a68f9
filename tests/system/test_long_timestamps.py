"""A stream that has run for 4.66 hours, and one that has run for 49.7 days, play on without a jump.

Timestamps take more than 24 bits after 16,777,215 ms (RTMP 1.0, section 5.3.1.3) and begin at 0 again after
2^32 ms. A publisher of our own starts its clock just before those points.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from support.cluster_process import Edge
from support.ffmpeg import Ffmpegs, Packet, Packets, Player
from support.polling import wait_until
from support.rtmp_peer import RtmpPeer

#: How long the clip is published before its timestamps reach the point.
LEAD_MS = 3_000
#: The clip, told faster: what is looked at is the timestamps, not the pace.
PACE = 2.0
POINTS = {"24 bits": 0xFFFFFF, "31 bits": 0x7FFFFFFF, "32 bits": 1 << 32}
_WAIT_S = 60.0


class ShiftedPublisher(RtmpPeer):
    """Publishes a clip once, its clock shifted by ``shift_ms``."""

    publishes = True

    def __init__(self, edge: Edge, name: str, clip: Path, shift_ms: int) -> None:
        super().__init__(edge, name)
        self.sent_ms = 0
        self._messages = FlvReader().feed(clip.read_bytes())
        self._shift_ms = shift_ms
        self._began_at: float | None = None
        self.start()

    def _on_connected(self) -> None:
        self._session.publish(self.name)

    def _turn(self) -> None:
        if "NetStream.Publish.Start" not in self.codes:
            self._receive()
            return
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = now
        due_ms = (now - self._began_at) * 1000 * PACE
        while self._messages and self._messages[0].timestamp <= due_ms:
            self._send(self._messages.pop(0))
        self._receive()

    def _send(self, message: Message) -> None:
        self.sent_ms = message.timestamp
        timestamp = (message.timestamp + self._shift_ms) & 0xFFFFFFFF
        self._session.send(message._replace(timestamp=timestamp, stream_id=self._stream_id))
        self._send_session()


@dataclass(frozen=True, slots=True)
class Played:
    """The players of one stream: two that were there before the point, and one that joined behind it."""

    early: list[Player]
    late: Player


@pytest.fixture(scope="module")
def played(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Played]]:
    """A stream past each point, all at the same time: it takes as long as the clip."""
    directory = tmp_path_factory.mktemp("long")
    edge = Edge(["--workers", "2"], directory / "edge.log")
    ffmpegs = Ffmpegs(directory)
    publishers: dict[int, ShiftedPublisher] = {}
    try:
        edge.wait_ready()
        names = {point_ms: f"past-{point_ms}" for point_ms in POINTS.values()}
        early = {at: [ffmpegs.play(edge.url(name)) for _ in range(2)] for at, name in names.items()}
        wait_until(lambda: edge.metrics().total("players") == 2 * len(early), "the players that came first")
        for point_ms, name in names.items():
            publishers[point_ms] = ShiftedPublisher(edge, name, clip, point_ms - LEAD_MS)
        late = {}
        for point_ms, publisher in publishers.items():
            wait_until(lambda p=publisher: p.sent_ms > LEAD_MS * 1.5, "the point to be passed", _WAIT_S)
            late[point_ms] = ffmpegs.play(edge.url(names[point_ms]))
        yield {point_ms: Played(early[point_ms], late[point_ms]) for point_ms in names}
        for publisher in publishers.values():
            publisher.close()
        ffmpegs.end()
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        for publisher in publishers.values():
            publisher.close()
        ffmpegs.end()
        edge.kill()


@pytest.mark.parametrize("point_ms", POINTS.values(), ids=POINTS.keys())
def test_a_long_stream_plays_on_in_ffmpeg_without_a_jump(
    point_ms: int, source: Packets, played: dict[int, Played]
) -> None:
    players = played[point_ms]
    for player in players.early:
        _check(player, source, whole=True, past_ms=point_ms % (1 << 32))
    _check(players.late, source, whole=False, past_ms=point_ms % (1 << 32))


def _check(player: Player, source: Packets, *, whole: bool, past_ms: int) -> None:
    got = player.wait_for_last(source, _WAIT_S)
    for seen, sent in ((got.video, source.video), (got.audio, source.audio)):
        assert len(seen) == len(sent) if whole else 0 < len(seen) < len(sent)
        expected = sent[-len(seen) :]
        assert [packet.digest for packet in seen] == [packet.digest for packet in expected]
        assert _steps(seen) == _steps(expected)
        assert seen[0].dts < seen[-1].dts
    if not whole:
        assert got.video[0].dts >= past_ms, "the joiner's clock is the stream's, not one from 0"


def _steps(packets: list[Packet]) -> list[int]:
    """Milliseconds from each packet to the next."""
    return [after.dts - before.dts for before, after in itertools.pairwise(packets)]
