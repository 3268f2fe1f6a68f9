"""FFmpeg as PyAV carries it, as a program: publishes, plays, makes and hashes clips.

    pyav_peer.py make-hevc SECONDS FILE       make-multitrack CLIP FILE
    pyav_peer.py publish FILE URL             play URL HASHES              hash FILE HASHES
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

FRAMES_PER_SECOND = 25
GOP_FRAMES = 50
SAMPLE_RATE = 48_000
_SAMPLES = SAMPLE_RATE // 50
_OPEN_TIMEOUT_S = 60.0


def make_hevc(seconds: str, file: str) -> None:
    """HEVC and Opus in FLV, by Enhanced RTMP's own tags."""
    with av.open(file, "w", format="flv") as output:
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
        for _ in range(int(seconds)):
            for _ in range(FRAMES_PER_SECOND):
                output.mux(video.encode(next(pictures)))
            for _ in range(50):
                output.mux(audio.encode(next(sounds)))
        output.mux(video.encode(None))
        output.mux(audio.encode(None))


def make_multitrack(clip: str, file: str) -> None:
    """The clip's video twice and its audio twice: the second ones as tracks 1 (Enhanced RTMP v2)."""
    with av.open(clip) as source, av.open(file, "w", format="flv") as output:
        video, audio = source.streams.video[0], source.streams.audio[0]
        targets = {
            stream.index: [output.add_stream_from_template(stream) for _ in range(2)]
            for stream in (video, audio)
        }
        for packet in source.demux():
            if packet.dts is None:
                continue
            data, pts, dts, base = bytes(packet), packet.pts, packet.dts, packet.time_base
            for target in targets[packet.stream.index]:
                copy = av.Packet(data)
                copy.pts, copy.dts, copy.time_base = pts, dts, base
                copy.is_keyframe = packet.is_keyframe
                copy.stream = target
                output.mux(copy)


def publish(file: str, url: str) -> None:
    """Remux the file to ``url`` in real time, without touching a payload."""
    with av.open(file) as source, av.open(url, "w", format="flv") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        started = time.monotonic()
        for packet in source.demux():
            if packet.dts is None:
                continue
            time.sleep(max(0.0, started + float(packet.dts * packet.time_base) - time.monotonic()))
            packet.stream = streams[packet.stream.index]
            output.mux(packet)


def hash_packets(source: str, hashes: str, *, live: bool) -> None:
    """A line for each packet: the elementary stream, and the hash of the payload."""
    options = {"probesize": "200000"} if live else {}
    with (
        Path(hashes).open("w", buffering=1) as output,
        av.open(source, options=options, timeout=_OPEN_TIMEOUT_S) as container,
        contextlib.suppress(av.error.FFmpegError if live else ()),
    ):
        for packet in container.demux():
            if packet.size:
                same_kind = [each for each in container.streams if each.type == packet.stream.type]
                number = same_kind.index(packet.stream)
                print(f"{packet.stream.type}{number}", hashlib.md5(bytes(packet)).hexdigest(), file=output)


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
    number = 0
    while True:
        frame = av.AudioFrame(format="s16", layout="stereo", samples=_SAMPLES)
        data = b"".join(
            ((n * (97 + number % 997)) % 8192).to_bytes(2, "little") * 2 for n in range(_SAMPLES)
        )
        frame.planes[0].update(data.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate = SAMPLE_RATE
        frame.pts, frame.time_base = number * _SAMPLES, Fraction(1, SAMPLE_RATE)
        yield frame
        number += 1


def main(command: str, *arguments: str) -> None:
    if command == "make-hevc":
        make_hevc(*arguments)
    elif command == "make-multitrack":
        make_multitrack(*arguments)
    elif command == "publish":
        publish(*arguments)
    else:
        hash_packets(*arguments, live=command == "play")


if __name__ == "__main__":
    main(*sys.argv[1:])
