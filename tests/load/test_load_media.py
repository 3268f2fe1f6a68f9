"""Synthetic media: it decodes, has the size asked for, and carries its stamps through a chunk reader."""

from __future__ import annotations

import io
from pathlib import Path

import av
import pytest

from cluster.core.errors import EnvironmentFault
from cluster.core.limits import Limits
from cluster.core.media.flv import FlvError, encode_header, encode_tag
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.load import media, synthetic
from cluster.load.media import MAGIC_AT, Script, ShapeError, StreamShape, file_script, synthetic_script

VIDEO, AUDIO = int(MessageType.VIDEO), int(MessageType.AUDIO)
SHAPES = [
    StreamShape(),
    StreamShape(64_000),
    StreamShape(500_000, frames_per_second=1, gop_s=1),
    StreamShape(30_000_000, frames_per_second=60, gop_s=0.5),
]


def flv_of(messages: list[tuple[int, int, bytes]]) -> bytes:
    tags = [
        (VIDEO, 0, synthetic.VIDEO_HEADER), (AUDIO, 0, synthetic.AUDIO_HEADER),
        *((type_id, offset_ns // 1_000_000, payload) for offset_ns, type_id, payload in messages),
    ]  # fmt: skip
    return encode_header(True, True) + b"".join(b"".join(encode_tag(*tag)) for tag in tags)


def chunks_of(script: Script, count: int) -> list[Message]:
    """What a server reads of the first messages of a script, sent a millisecond apart."""
    reader = ChunkReader(Limits())
    reader.chunk_size = 4096
    sent = bytes(script.preamble)
    for sequence, template in enumerate(script.templates[:count]):
        sent += template.stamped(sequence, sequence, 1_000_000 * sequence)
    return reader.feed(sent)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_frame_decodes(shape: StreamShape) -> None:
    two_groups = shape.messages() + [
        (offset_ns + shape.period_ns, type_id, payload) for offset_ns, type_id, payload in shape.messages()
    ]
    with av.open(io.BytesIO(flv_of(two_groups)), format="flv") as container:
        container.streams.video[0].codec_context.options = {"err_detect": "explode"}
        frames = list(container.decode(video=0))
    with av.open(io.BytesIO(flv_of(two_groups)), format="flv") as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert len(frames) == 2 * round(shape.frames_per_second * shape.gop_s)
    assert {(frame.width, frame.height) for frame in frames} == {(synthetic.WIDTH, synthetic.HEIGHT)}
    assert samples == 1024 * sum(type_id == AUDIO for _, type_id, _ in two_groups)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_group_has_the_bits_asked_for(shape: StreamShape) -> None:
    messages = shape.messages()
    bits = 8 * sum(len(payload) for _, _, payload in messages)
    assert bits == pytest.approx(shape.bits_per_second * shape.gop_s, abs=8)
    offsets = [offset_ns for offset_ns, _, _ in messages]
    assert offsets == sorted(offsets)
    assert offsets[-1] < shape.period_ns


def test_stamps_arrive_in_every_message() -> None:
    got = chunks_of(synthetic_script(StreamShape(), chunk_size=4096, stream_id=7), 100)
    assert [bytes(message.payload) for message in got[:2]] == [
        synthetic.VIDEO_HEADER, synthetic.AUDIO_HEADER,
    ]  # fmt: skip
    for sequence, message in enumerate(got[2:]):
        assert (message.timestamp, message.stream_id) == (sequence, 7)
        stamp = synthetic.read_stamp(message.payload, MAGIC_AT[message.type_id])
        assert stamp == (sequence, 1_000_000 * sequence)


@pytest.mark.parametrize("type_id", [VIDEO, AUDIO])
def test_what_is_no_stamp_is_none(type_id: int) -> None:
    at = MAGIC_AT[type_id]
    whole = b"\x27" * at + synthetic.MAGIC + synthetic.stamp(3, 4)
    assert synthetic.read_stamp(whole, at) == (3, 4)
    in_front = [b"", b"x", b"\x00\x00\x00\x02\x09\x10" * 9, bytes(synthetic.STAMP_SEARCH_BYTES - at - 16)]
    for extra in in_front:
        assert synthetic.read_stamp(extra + whole, at) == (3, 4)
        assert synthetic.read_stamp(memoryview(extra + whole), at) == (3, 4)
    assert synthetic.read_stamp(in_front[-1] + b"x" + whole, at) is None
    for end in range(len(whole) - 16):
        assert synthetic.read_stamp(whole[:end], at) is None
    assert synthetic.read_stamp(whole[:-24] + b"not hexadecimal digits!!", at) is None
    assert synthetic.read_stamp(b"\x27" * len(whole), at) is None


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((20_000, 30, 2), "too few"),
        ((2_500_000, 1, 0.4), "0 in a group"),
        ((2_500_000, 240, 137), "at most 32767"),
    ],
)
def test_streams_that_cannot_be_made(shape: tuple[int, int, float], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        StreamShape(*shape)


def test_a_file_is_sent_as_it_is_with_its_metadata_as_a_publisher_says_it(tmp_path: Path) -> None:
    described = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09"
    path = tmp_path / "clip.flv"
    frame, end_of_sequence = b"\x17\x01\0\0\0frame", b"\x17\x02\0\0\0"
    path.write_bytes(
        flv_of([
            (0, VIDEO, frame), (1_000_000_000, MessageType.DATA_AMF0, described),
            (1_000_000_000, VIDEO, frame), (2_000_000_000, VIDEO, end_of_sequence),
        ])
    )  # fmt: skip
    script = file_script(path, chunk_size=4096, stream_id=1)
    got = chunks_of(script, 10)
    assert [message.type_id for message in got] == [VIDEO, AUDIO, VIDEO, MessageType.DATA_AMF0, VIDEO]
    assert bytes(got[0].payload) == synthetic.VIDEO_HEADER
    assert bytes(got[3].payload) == b"\x02\x00\x0d@setDataFrame" + described
    assert script.period_ns == 1_040_000_000


@pytest.mark.parametrize("skew_ms", [1500, 60_000, -1500])
def test_media_apart_are_sent_when_they_come_and_stamped_as_they_are(tmp_path: Path, skew_ms: int) -> None:
    path = tmp_path / "clip.flv"
    frame, sound = b"\x17\x01\0\0\0frame", b"\xaf\x01sound"
    tags = [
        tag
        for at in range(60_000, 62_000, 40)
        for tag in ((at * 1_000_000, VIDEO, frame), ((at + skew_ms) * 1_000_000, AUDIO, sound))
    ]
    path.write_bytes(flv_of(tags))
    script = file_script(path, chunk_size=4096, stream_id=1)
    frames = [each for each in script.templates if each.magic_at == 0][2:]
    video, audio = ([each for each in frames if each.type_id == kind] for kind in (VIDEO, AUDIO))
    base_ms = 60_000 + min(0, skew_ms)
    assert [each.timestamp_ms + base_ms for each in video] == list(range(60_000, 62_000, 40))
    assert [each.timestamp_ms + base_ms - skew_ms for each in audio] == list(range(60_000, 62_000, 40))
    assert [each.offset_ns for each in frames] == sorted(each.offset_ns for each in frames)
    assert frames[-1].offset_ns == 1_960_000_000
    assert script.ahead_ns[AUDIO] - script.ahead_ns[VIDEO] == skew_ms * 1_000_000
    assert script.period_ns == 2_000_000_000


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.flv"
    with pytest.raises(EnvironmentFault, match="cannot read"):
        file_script(path, chunk_size=128, stream_id=1)
    path.write_text("not a film")
    with pytest.raises(FlvError, match="not_flv"):
        file_script(path, chunk_size=128, stream_id=1)
    path.write_bytes(encode_header(True, True))
    with pytest.raises(FlvError, match="no audio and no video"):
        file_script(path, chunk_size=128, stream_id=1)
    monkeypatch.setattr(media, "MAX_FILE_BYTES", 12)
    with pytest.raises(EnvironmentFault, match="13 bytes, at most 12"):
        file_script(path, chunk_size=128, stream_id=1)
