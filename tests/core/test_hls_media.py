"""HLS of media that FFmpeg made, opened by FFmpeg: each segment alone, behind its init file."""

from __future__ import annotations

import io
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import m3u8
import pytest

from cluster.core.media.describe import MediaKind, describe
from cluster.core.message import Message
from support.hls_checker import Checker, Parsed, parse
from support.hls_workers import Worker, Workers
from support.media_clips import FRAMES_PER_SECOND, HEIGHT, WIDTH, make_flv, messages_of

SECONDS = 7
_AV1_DELIMITER = b"\x12\x00"  # MP4 has none


def packets(data: bytes) -> list[tuple[str, Any]]:
    """What FFmpeg finds in a file: the medium and the packet, in order."""
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        return [(packet.stream.type, packet) for packet in container.demux() if packet.size]


def decoded(data: bytes) -> int:
    with av.open(io.BytesIO(data), "r", format="mp4") as container:
        return len(list(container.decode(video=0)))


def bodies(messages: list[Message], type_id: int) -> list[bytes]:
    """The frames of the source."""
    found = []
    for message in messages:
        info = describe(message.type_id, message.payload)
        if message.type_id == type_id and info.kind is MediaKind.FRAMES:
            track = info.tracks[0]
            found.append(
                bytes(message.payload[track.body_start : track.body_end]).removeprefix(_AV1_DELIMITER)
            )
    return found


def segments_of(worker: Worker) -> tuple[Parsed, list[bytes]]:
    """The last list, and each of its segments with its init file in front."""
    last = parse(worker.texts[-1])
    return last, [worker.files[each.init] + worker.files[each.uri] for each in last.segments]


@pytest.mark.parametrize(
    ("video", "audio"),
    [
        ("avc1", "mp4a"), ("hvc1", "Opus"), ("av01", "fLaC"), ("vp09", ".mp3"), ("avc1", "ac-3"),
        (None, "ec-3"), (None, ".mp3"), ("avc1", None),
    ],
)  # fmt: skip
def test_every_segment_opens_alone_and_nothing_is_lost(video: str | None, audio: str | None) -> None:
    messages = messages_of(make_flv(video, audio, seconds=SECONDS))
    workers = Workers(6)
    workers.publish()
    workers.send(*messages)
    workers.end()
    origin, other = workers.all
    checker = Checker()
    for text in origin.texts:
        checker.check(text)
    assert other.files.items() <= origin.files.items()
    assert other.texts[-1] == origin.texts[-1]
    last, files = segments_of(origin)
    assert len(files) >= 3
    got: dict[str, list[Any]] = {"video": [], "audio": []}
    for listed, data in zip(last.segments, files, strict=True):
        found = packets(data)
        assert {kind for kind, _ in found} == {k for k, v in (("video", video), ("audio", audio)) if v}
        if video is not None:
            assert decoded(data) == round(listed.duration * FRAMES_PER_SECOND)
        for kind, packet in found:
            got[kind].append((packet.dts * packet.time_base, bytes(packet)))
        parts = b"".join(origin.files[uri] for uri, *_ in listed.parts)
        assert data.endswith(parts)
    for kind, type_id in (("video", 9), ("audio", 8)):
        sent = bodies(messages, type_id)
        if video is None:  # until it is clear that there is none, no segment begins
            assert len(got[kind]) >= len(sent) // 2
            sent = sent[len(sent) - len(got[kind]) :]
        # Of audio, what stands before the first keyframe is in no segment.
        received = [body for _, body in got[kind]]
        assert received == sent[len(sent) - len(received) :]
        assert len(received) >= len(sent) - (kind == "audio")
        times = [time for time, _ in got[kind]]
        assert times == sorted(times)


def test_times_are_those_of_the_source_ten_seconds_on() -> None:
    messages = messages_of(make_flv("avc1", "mp4a", seconds=SECONDS))
    workers = Workers(1)
    workers.publish()
    workers.send(*messages)
    workers.end()
    _, files = segments_of(workers.origin)
    found = [(kind, packet) for data in files for kind, packet in packets(data)]
    video = [float(packet.dts * packet.time_base) for kind, packet in found if kind == "video"]
    audio = [float(packet.dts * packet.time_base) for kind, packet in found if kind == "audio"]
    sent = [
        message
        for message in messages
        if describe(message.type_id, message.payload).kind is MediaKind.FRAMES
    ]
    assert video == pytest.approx([10 + m.timestamp / 1000 for m in sent if m.type_id == 9], abs=1e-4)
    assert audio == pytest.approx([10 + m.timestamp / 1000 for m in sent if m.type_id == 8], abs=0.002)
    pts = sorted(float(packet.pts * packet.time_base) for kind, packet in found if kind == "video")
    steps = [round(after - before, 3) for before, after in pairwise(pts)]
    assert set(steps) == {0.04}


@pytest.mark.parametrize(
    ("video", "audio", "codecs"),
    [
        ("avc1", "mp4a", r"avc1\.[0-9a-f]{6},mp4a\.40\.2"),
        ("hvc1", "Opus", r"hvc1\.1\.6\.L\d+(\.\w+)*,opus"),
        ("av01", None, r"av01\.0\.\d\dM\.08"), (None, ".mp3", r"mp4a\.40\.34"),
    ],
)  # fmt: skip
def test_the_multivariant_list_says_what_there_is(
    video: str | None, audio: str | None, codecs: str
) -> None:
    workers = Workers(6)
    workers.publish()
    workers.send(*messages_of(make_flv(video, audio, seconds=SECONDS)))
    workers.end()
    parsed = m3u8.loads(workers.origin.muxer.master("a/media.m3u8").decode())
    assert parsed.is_variant
    (variant,) = parsed.playlists
    assert variant.uri == "a/media.m3u8"
    said = variant.stream_info
    assert re.fullmatch(codecs, said.codecs)
    assert said.resolution == ((WIDTH, HEIGHT) if video else None)
    last = parse(workers.origin.texts[-1])
    sizes = {each.uri: len(workers.origin.files[each.uri]) for each in last.segments}
    rates = [8 * sizes[each.uri] / each.duration for each in last.segments if each.duration > 1]
    assert max(rates) <= said.bandwidth <= 1.11 * max(rates)  # RFC 8216, 4.3.4.2
    assert said.average_bandwidth <= said.bandwidth


def test_ffmpeg_plays_a_list_to_its_end(tmp_path: Path) -> None:
    messages = messages_of(make_flv("avc1", "mp4a", seconds=SECONDS))
    workers = Workers()
    workers.publish()
    workers.send(*messages)
    workers.publish(gap_ms=2000)
    workers.send(*messages)
    workers.end()
    origin = workers.origin
    (tmp_path / "a").mkdir()
    (tmp_path / "a.m3u8").write_bytes(origin.muxer.master("a/media.m3u8"))
    (tmp_path / "a/media.m3u8").write_bytes(origin.muxer.playlist())
    for name, data in origin.files.items():
        (tmp_path / "a" / name).write_bytes(data)
    with av.open(str(tmp_path / "a.m3u8"), options={"live_start_index": "0"}) as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}
        played = [bytes(p) for p in container.demux() if p.size and p.stream.type == "video"]
    # FFmpeg puts parameter sets in front of keyframes itself, or leaves them: sizes tell enough.
    assert len(played) == 2 * len(bodies(messages, 9))
