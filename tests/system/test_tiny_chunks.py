"""A peer that sends chunks of one byte as fast as it can: it is read, slowly, and others notice nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.cluster_process import StartEdge
from support.polling import wait_until
from support.rtmp_peer import FRAMES_PER_SECOND, LivePublisher, Peers, make_frame
from support.tls import make_certificate

pytestmark = pytest.mark.alone

FILLER = bytes(2_000)
WATCHED_S = 4.0
#: Between media of neighbours, that come every 40 ms, for 19 of 20: the machine has other work.
USUAL_PAUSE_S = 0.25
#: The budget is a fifth of a core at most; the rest is for its neighbours and a machine that is busy.
MOST_OF_A_CORE = 0.5


def tiny_chunks(stream_id: int) -> Iterator[bytes]:
    """Frames on two chunk streams, in chunks of one byte that take turns; two frames at a time."""
    yield bytes([42, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    sequence = 0
    while True:
        frames = [make_frame(sequence + index, FILLER) for index in range(2)]
        heads = [
            bytes([40 + index]) + ((sequence + index) * 40).to_bytes(3, "big")
            + len(frame).to_bytes(3, "big") + bytes([9]) + stream_id.to_bytes(4, "little")
            for index, frame in enumerate(frames)
        ]  # fmt: skip
        turns = bytearray(4 * (len(frames[0]) - 1))
        turns[0::4], turns[2::4] = b"\xe8" * (len(turns) // 4), b"\xe9" * (len(turns) // 4)
        turns[1::4], turns[3::4] = (frame[1:] for frame in frames)
        yield b"".join([heads[0], frames[0][:1], heads[1], frames[1][:1], turns])
        sequence += 2


class TinyChunks(LivePublisher):
    """Publishes so once it is granted."""

    _chunks: Iterator[bytes] | None = None
    _unsent = b""

    def _turn(self) -> None:
        if "NetStream.Publish.Start" not in self.codes:
            self._receive()
            return
        self._granted = True
        if self._chunks is None:
            self._chunks = tiny_chunks(self._stream_id)
        while len(self._unsent) < 65_536:
            self._unsent += next(self._chunks)
        try:
            sent = self._socket.send(self._unsent)
        except TimeoutError:
            return  # it is being paced
        self._unsent = self._unsent[sent:]
        self.sent += sent


@pytest.mark.parametrize("over_tls", [False, True], ids=["rtmp", "rtmps"])
def test_a_flood_of_tiny_chunks_is_paced_and_its_neighbours_are_served(
    start_edge: StartEdge, peers: Peers, tmp_path: Path, over_tls: bool
) -> None:
    options, tls = [], None
    if over_tls:
        files = make_certificate(tmp_path)
        options = ["--bind-tls", "127.0.0.1:0", *files.options]
        tls = files.client_context()
    edge = start_edge("--workers", "1", *options)
    [worker] = edge.workers().values()
    peers.publish(edge, "well")
    neighbour = peers.play(edge, "well")
    tiny = peers._keep(TinyChunks, edge, "tiny", tls=tls)
    assert isinstance(tiny, TinyChunks)
    tiny.wait_granted()
    player = peers.play(edge, "tiny")

    player.wait_for_frames(4)
    wait_until(lambda: edge.metrics().total("reads_paced_total"), "its reading is put off")
    first, began_at = len(neighbour.frames), time.monotonic()
    cpu_before = sum(psutil.Process(worker).cpu_times()[:2])
    neighbour.wait_for_frames(first + round(WATCHED_S * FRAMES_PER_SECOND), 3 * WATCHED_S)
    used_s = sum(psutil.Process(worker).cpu_times()[:2]) - cpu_before
    assert used_s < MOST_OF_A_CORE * (time.monotonic() - began_at)
    pauses = sorted(after.at - before.at for before, after in itertools.pairwise(neighbour.frames[first:]))
    assert pauses[len(pauses) * 95 // 100] < USUAL_PAUSE_S
    assert neighbour.gaps() == []

    frames = len(player.frames)
    player.wait_for_frames(frames + 10)
    assert player.gaps() == []
    assert not tiny.closed
    assert edge.metrics().by("reason", "closes_total") == {}
    assert len(edge.events("reads_paced")) == 1
