"""HEVC and Opus by Enhanced RTMP pass through unchanged and start on a keyframe.

PyAV's bundled FFmpeg publishes and plays them; Debian's FFmpeg cannot.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from support.cluster_process import StartEdge
from support.polling import wait_until

av = pytest.importorskip("av")

CLIP_S = 6
FRAMES_PER_SECOND = 25
GOP_FRAMES = 50
SAMPLE_RATE = 48_000
_WAIT_S = CLIP_S + 30.0


class Packet(NamedTuple):
    kind: str
    keyframe: bool
    digest: str


@pytest.fixture(scope="module")
def hevc_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HEVC and Opus in FLV, by Enhanced RTMP's own tags."""
    path = tmp_path_factory.mktemp("hevc") / "clip.flv"
    with av.open(str(path), "w", format="flv") as output:
        video = output.add_stream("libx265", rate=FRAMES_PER_SECOND)
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        video.bit_rate = 300_000
        video.options = {
            "preset": "ultrafast", "forced-idr": "1",
            "x265-params": f"keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:open-gop=0"
            ":log-level=none",
        }  # fmt: skip
        audio = output.add_stream("libopus", rate=SAMPLE_RATE)
        audio.layout = "stereo"
        audio.bit_rate = 64_000
        pictures, sounds = _pictures(), _sounds()
        for _ in range(CLIP_S):
            for _ in range(FRAMES_PER_SECOND):
                output.mux(video.encode(next(pictures)))
            for _ in range(50):
                output.mux(audio.encode(next(sounds)))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))
    return path


def test_hevc_and_opus_pass_through_and_start_on_a_keyframe(
    hevc_clip: Path, start_edge: StartEdge
) -> None:
    edge = start_edge("--workers", "2", "--publish-grace", "0")
    url = edge.url("hevc")
    source = _packets(hevc_clip)
    publisher = threading.Thread(target=_publish, args=(hevc_clip, url), daemon=True)
    early = [_Reader(url) for _ in range(2)]
    wait_until(lambda: edge.metrics().total("players") == len(early), "the players that came first")
    publisher.start()
    enough = GOP_FRAMES * 3 // 2
    wait_until(lambda: len(early[0].of("video")) > enough, "the second group of pictures", _WAIT_S)
    late = [_Reader(url) for _ in range(4)]
    publisher.join(_WAIT_S)
    assert not publisher.is_alive()

    for reader in (*early, *late):
        for kind in ("video", "audio"):
            sent = [packet for packet in source if packet.kind == kind]
            what = f"the end of {kind} at a player {reader.error}"
            wait_until(lambda r=reader, k=kind, s=sent: r.has_last(k, s), what)
            got = reader.of(kind)
            assert got == sent[-len(got) :], f"{kind} differs from the source"
            assert len(got) == len(sent) or reader in late, f"{kind} at a player that was there first"
        assert reader.of("video")[0].keyframe, "the first video packet"
        assert reader in early or len(reader.of("video")) < len([p for p in source if p.kind == "video"])


class _Reader:
    """A PyAV player in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.packets: list[Packet] = []
        self.error = ""
        self._url = url
        threading.Thread(target=self._run, daemon=True).start()

    def of(self, kind: str) -> list[Packet]:
        return [packet for packet in self.packets if packet.kind == kind]

    def has_last(self, kind: str, source: list[Packet]) -> bool:
        got = self.of(kind)
        return bool(got) and got[-1] == source[-1]

    def _run(self) -> None:
        try:
            with av.open(self._url, options={"probesize": "200000"}, timeout=_WAIT_S) as container:
                for packet in container.demux():
                    if packet.size:
                        self.packets.append(_packet(packet))
        except av.error.FFmpegError as error:
            self.error = str(error)


def _publish(clip: Path, url: str) -> None:
    """Remux the clip to ``url`` in real time, without touching a payload."""
    with av.open(str(clip)) as source, av.open(url, "w", format="flv") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        started = time.monotonic()
        for packet in source.demux():
            if packet.dts is None:
                continue
            due = started + float(packet.dts * packet.time_base)
            wait_until(lambda due=due: time.monotonic() >= due, "a packet's time to come", _WAIT_S)
            packet.stream = streams[packet.stream.index]
            output.mux(packet)


def _packets(clip: Path) -> list[Packet]:
    with av.open(str(clip)) as container:
        return [_packet(packet) for packet in container.demux() if packet.size]


def _packet(packet: av.Packet) -> Packet:
    return Packet(packet.stream.type, packet.is_keyframe, hashlib.md5(bytes(packet)).hexdigest())


def _pictures() -> Iterator[av.VideoFrame]:
    """Moving bars: no two pictures alike."""
    number = 0
    while True:
        frame = av.VideoFrame(320, 180, "yuv420p")
        for plane, value in zip(frame.planes, (number * 5, number * 3, 128), strict=True):
            row = bytes((value + n) & 0xFF for n in range(256)) * 2
            plane.update((row * plane.height)[: plane.buffer_size].ljust(plane.buffer_size, b"\0"))
        frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
        yield frame
        number += 1


def _sounds() -> Iterator[av.AudioFrame]:
    """A sawtooth in frames of 20 ms."""
    samples = SAMPLE_RATE // 50
    number = 0
    while True:
        frame = av.AudioFrame(format="s16", layout="stereo", samples=samples)
        data = b"".join(
            ((n * (97 + number % 997)) % 8192).to_bytes(2, "little") * 2 for n in range(samples)
        )
        frame.planes[0].update(data.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = number * samples, Fraction(1, SAMPLE_RATE)
        yield frame
        number += 1
