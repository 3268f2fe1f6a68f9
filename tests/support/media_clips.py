"""Short clips of every codec, as FLV that FFmpeg (PyAV's) made: legacy and enhanced bodies."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message

WIDTH, HEIGHT = 144, 106  # neither is a multiple of 16: parameter sets crop
FRAMES_PER_SECOND = 25
SECONDS = 2

#: FourCC of each codec: PyAV's encoder, and its options.
VIDEO_ENCODERS = {
    "avc1": ("libx264", {"g": "25", "bf": "2", "x264-params": "b-adapt=0:scenecut=0"}),
    "hvc1": ("libx265", {"x265-params": "keyint=25:min-keyint=25:bframes=2:b-adapt=0:log-level=none"}),
    "av01": ("libsvtav1", {"g": "25", "preset": "12"}),
    "vp09": ("libvpx-vp9", {"g": "25", "deadline": "realtime", "cpu-used": "8"}),
}
#: FourCC of each codec: PyAV's encoder, and the sample rate.
AUDIO_ENCODERS = {
    "mp4a": ("aac", 44100),
    "Opus": ("libopus", 48000),
    ".mp3": ("libmp3lame", 44100),
    "fLaC": ("flac", 48000),
    "ac-3": ("ac3", 48000),
    "ec-3": ("eac3", 48000),
}


class SourcePacket(NamedTuple):
    """One packet of a clip; times are in seconds."""

    dts: Fraction
    pts: Fraction
    data: bytes
    is_key: bool


def make_flv(video: str | None = None, audio: str | None = None, *, seconds: int = SECONDS) -> bytes:
    """A clip of these codecs, by FourCC."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv") as container:
        streams: list[tuple[Any, Iterator[Any]]] = []
        if video is not None:
            streams.append((_video_stream(container, video), _pictures(seconds)))
        if audio is not None:
            stream = _audio_stream(container, audio)
            streams.append((stream, _sound(stream, seconds)))
        packets = [packet for stream, frames in streams for frame in (*frames, None) for packet in
                   stream.encode(frame)]  # fmt: skip
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            container.mux(packet)
    return file.getvalue()


def _video_stream(container: Any, codec: str) -> Any:
    encoder, options = VIDEO_ENCODERS[codec]
    stream = container.add_stream(encoder, rate=FRAMES_PER_SECOND, options=options)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    return stream


def _audio_stream(container: Any, codec: str) -> Any:
    encoder, rate = AUDIO_ENCODERS[codec]
    stream = container.add_stream(encoder, rate=rate, layout="stereo")
    stream.format = stream.codec.audio_formats[0]
    return stream


def _pictures(seconds: int) -> Iterator[av.VideoFrame]:
    for index in range(seconds * FRAMES_PER_SECOND):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes((index * 7 + row & 255) for row in range(plane.buffer_size)))
        frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
        yield frame


def _sound(stream: Any, seconds: int) -> Iterator[av.AudioFrame]:
    """A tone, cut as the encoder wants it."""
    context = stream.codec_context
    context.open(strict=False)
    samples = context.frame_size or 1024
    resampler = av.AudioResampler(stream.format, "stereo", context.sample_rate)
    for start in range(0, seconds * context.sample_rate - samples, samples):
        tone = b"".join(
            round(8000 * math.sin((start + index) / 17)).to_bytes(2, "little", signed=True) * 2
            for index in range(samples)
        )
        frame = av.AudioFrame("s16", "stereo", samples)
        frame.planes[0].update(tone + bytes(frame.planes[0].buffer_size - len(tone)))
        frame.sample_rate, frame.pts, frame.time_base = (
            context.sample_rate,
            start,
            Fraction(1, context.sample_rate),
        )
        yield from resampler.resample(frame)


def messages_of(flv: bytes) -> list[Message]:
    return FlvReader().feed(flv)


def packets_of(file: bytes, container_format: str | None = None) -> dict[str, list[SourcePacket]]:
    """The packets of a file, by "video" and "audio"."""
    with av.open(io.BytesIO(file), "r", format=container_format) as container:
        packets: dict[str, list[SourcePacket]] = {stream.type: [] for stream in container.streams}
        for packet in container.demux():
            if packet.size:
                base = packet.time_base
                assert base is not None
                assert packet.dts is not None
                assert packet.pts is not None
                packets[packet.stream.type].append(
                    SourcePacket(packet.dts * base, packet.pts * base, bytes(packet), packet.is_keyframe)
                )
    return packets
