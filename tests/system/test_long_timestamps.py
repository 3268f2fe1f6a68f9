"""A stream that has run for 4.66 hours, and one that has run for 49.7 days, play on without a jump.

Timestamps take more than 24 bits after 16,777,215 ms (RTMP 1.0, section 5.3.1.3) and begin at 0 again after
2^32 ms. A publisher of our own starts its clock just before those points.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_process import Edge, StartEdge
from ffmpeg_tools import Ffmpegs, Packet, Packets, Player
from polling import wait_until
from rtmp_peer import RtmpPeer

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message

#: How long the clip is published before its timestamps reach the point.
LEAD_MS = 6_000
#: The clip, its 20 s told in a few: what is looked at is the timestamps, not the pace.
PACE = 4.0
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


@pytest.fixture
def publishers() -> Iterator[list[ShiftedPublisher]]:
    """Publishers put in here are closed with the test."""
    started: list[ShiftedPublisher] = []
    yield started
    for publisher in started:
        publisher.close()


@pytest.mark.parametrize("point_ms", POINTS.values(), ids=POINTS.keys())
def test_a_long_stream_plays_on_in_ffmpeg_without_a_jump(
    point_ms: int,
    clip: Path,
    source: Packets,
    start_edge: StartEdge,
    ffmpegs: Ffmpegs,
    publishers: list[ShiftedPublisher],
) -> None:
    """Two players that were there before it, and one that joins behind the point."""
    edge = start_edge("--workers", "2")
    early = [ffmpegs.play(edge.url("long")) for _ in range(2)]
    wait_until(lambda: edge.metrics().total("players") == len(early), "the players that came first")
    publisher = ShiftedPublisher(edge, "long", clip, point_ms - LEAD_MS)
    publishers.append(publisher)
    wait_until(lambda: publisher.sent_ms > LEAD_MS * 1.5, "the timestamps to pass the point", _WAIT_S)
    late = ffmpegs.play(edge.url("long"))
    for player in (*early, late):
        _check(player, source, whole=player is not late, past_ms=point_ms % (1 << 32))


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
