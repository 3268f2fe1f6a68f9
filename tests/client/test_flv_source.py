"""An FLV file as a source: order, pace, passes, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from cluster.client import flv_source
from cluster.client.flv_source import DEFAULT_FRAME_MS, FlvSource
from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import EnvironmentFault
from cluster.core.media.flv import FlvError, FlvFault, FlvOddity, encode_header, encode_tag
from cluster.core.message import Message, MessageType
from support.scripted_server import (
    AUDIO_HEADER,
    SEQUENCE_HEADER,
    audio_frame,
    inter_frame,
    key_frame,
    until,
)

VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0
METADATA = amf0.encode("onMetaData", EcmaArray({"width": 2}))
END_OF_SEQUENCE = b"\x17\x02\x00\x00\x00"

CLIP = [
    (DATA, 0, METADATA), (VIDEO, 0, SEQUENCE_HEADER), (AUDIO, 0, AUDIO_HEADER),
    (VIDEO, 1000, key_frame(1)), (AUDIO, 1003, audio_frame(1)), (VIDEO, 1040, inter_frame(2)),
    (AUDIO, 1026, audio_frame(2)), (VIDEO, 1080, inter_frame(3)), (VIDEO, 1080, END_OF_SEQUENCE),
]  # fmt: skip


def write_flv(path: Path, tags: list[tuple[int, int, bytes]], *, cut: int = 0) -> Path:
    data = encode_header(True, True) + b"".join(b"".join(encode_tag(*tag)) for tag in tags)
    path.write_bytes(data[: len(data) - cut])
    return path


def read(source: FlvSource, count: int = 10_000) -> list[Message]:
    async def work() -> list[Message]:
        messages = []
        async for message in source:
            messages.append(message)
            if len(messages) == count:
                break
        return messages

    return asyncio.run(work())


def test_a_pass_is_the_file_with_its_clock_at_zero(tmp_path: Path) -> None:
    source = FlvSource(write_flv(tmp_path / "clip.flv", CLIP), realtime=False)
    messages = read(source)
    assert [(m.type_id, bytes(m.payload)) for m in messages] == [(tag[0], tag[2]) for tag in CLIP]
    assert [m.timestamp for m in messages] == [0, 0, 0, 0, 3, 40, 26, 80, 80]
    assert source.passes == 1
    assert not source.truncated


def test_passes_run_on_without_a_step_back_and_without_what_is_known(tmp_path: Path) -> None:
    source = FlvSource(write_flv(tmp_path / "clip.flv", CLIP), loop=True, realtime=False)
    messages = read(source, 8 + 5 + 5)
    payloads = [bytes(m.payload) for m in messages]
    assert END_OF_SEQUENCE not in payloads
    assert [payloads.count(header) for header in (METADATA, SEQUENCE_HEADER, AUDIO_HEADER)] == [1, 1, 1]
    video = [m.timestamp for m in messages if m.type_id == VIDEO][1:]
    assert video == [0, 40, 80, 120, 160, 200, 240, 280, 320]
    first_of_pass_2 = 8
    assert min(m.timestamp for m in messages[first_of_pass_2:]) >= max(m.timestamp for m in messages[:8])


def test_a_header_that_changes_in_the_file_comes_again_in_each_pass(tmp_path: Path) -> None:
    other = SEQUENCE_HEADER[:-1] + b"\x81"
    tags = [
        (VIDEO, 0, SEQUENCE_HEADER), (VIDEO, 0, key_frame(1)),
        (VIDEO, 40, other), (VIDEO, 40, key_frame(2)),
    ]  # fmt: skip
    messages = read(FlvSource(write_flv(tmp_path / "clip.flv", tags), loop=True, realtime=False), 8)
    assert [bytes(m.payload) for m in messages] == [tag[2] for tag in tags] * 2


def test_a_file_of_one_frame_loops_at_a_frame_rate(tmp_path: Path) -> None:
    path = write_flv(tmp_path / "one.flv", [(AUDIO, 7, audio_frame())])
    source = FlvSource(path, loop=True, realtime=False)
    assert [m.timestamp for m in read(source, 3)] == [0, DEFAULT_FRAME_MS, 2 * DEFAULT_FRAME_MS]


def test_timestamps_pass_the_32_bit_wrap(tmp_path: Path) -> None:
    tags = [(VIDEO, 2**32 - 40, key_frame(1)), (VIDEO, 0, inter_frame(2)), (VIDEO, 40, inter_frame(3))]
    source = FlvSource(write_flv(tmp_path / "clip.flv", tags), realtime=False)
    assert [m.timestamp for m in read(source)] == [0, 40, 80]


def test_nothing_to_repeat_is_an_error_and_not_an_endless_loop(tmp_path: Path) -> None:
    source = FlvSource(write_flv(tmp_path / "empty.flv", CLIP[:3]), loop=True, realtime=False)
    with pytest.raises(FlvError, match="no audio and no video"):
        read(source)


def test_a_file_that_ends_within_a_tag_ends_before_it(tmp_path: Path) -> None:
    source = FlvSource(write_flv(tmp_path / "cut.flv", CLIP[:5], cut=9), realtime=False)
    assert len(read(source)) == 4
    assert source.truncated


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", FlvFault.TRUNCATED),
        (b"FLV\x01", FlvFault.TRUNCATED),
        (b"RIFF....", FlvFault.NOT_FLV),
    ],
)
def test_what_is_not_flv(tmp_path: Path, data: bytes, fault: FlvFault) -> None:
    (tmp_path / "bad.flv").write_bytes(data)
    for loop in (False, True):
        with pytest.raises(FlvError) as caught:
            read(FlvSource(tmp_path / "bad.flv", loop=loop, realtime=False))
        assert caught.value.fault == fault


def test_sizes_behind_the_tags_that_are_wrong_change_nothing(tmp_path: Path) -> None:
    path = write_flv(tmp_path / "clip.flv", CLIP)
    right = read(FlvSource(path, realtime=False))
    tags = b"".join(b"".join(encode_tag(*tag))[:-4] + b"\xff\xff\xff\xff" for tag in CLIP)
    path.write_bytes(encode_header(True, True) + tags)
    source = FlvSource(path, loop=True, realtime=False)
    assert read(source, len(right) - 1) == right[:-1]  # a loop has no end of sequence
    assert source.oddities == {FlvOddity.PREVIOUS_TAG_SIZE}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="No such file"):
        read(FlvSource(tmp_path / "none.flv"))


def test_real_time_is_real_time(tmp_path: Path) -> None:
    tags = [(VIDEO, at, inter_frame(at)) for at in (0, 50, 100, 150)]
    began = time.monotonic()
    read(FlvSource(write_flv(tmp_path / "clip.flv", tags)))
    assert 0.145 <= time.monotonic() - began < 20


def test_a_consumer_that_was_held_up_does_not_make_it_rush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flv_source, "MAX_LATE_S", 0.05)
    tags = [(VIDEO, at, inter_frame(at)) for at in (0, 50, 100)]

    async def work() -> float:
        source = FlvSource(write_flv(tmp_path / "clip.flv", tags))
        loop, stamps = asyncio.get_running_loop(), []
        async for _ in source:
            stamps.append(loop.time())
            if len(stamps) == 1:
                await until(lambda: loop.time() > stamps[0] + 0.2, "both others to be long due")
        return stamps[2] - stamps[1]

    assert asyncio.run(work()) >= 0.045  # and not at once, although it was due long ago
