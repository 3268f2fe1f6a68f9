"""FLV files written from messages: valid at any moment, complete at the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from cluster.client.flv_sink import FlvSink
from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue, EcmaArray
from cluster.core.errors import EnvironmentFault, MisuseError
from cluster.core.limits import Limits
from cluster.core.media.flv import FlvReader
from cluster.core.media.metadata import MAX_METADATA_VALUES
from cluster.core.media.timeline import RESTART_GAP_MS
from cluster.core.message import Message, MessageType
from support.scripted_server import AUDIO_HEADER, SEQUENCE_HEADER, audio_frame, inter_frame, key_frame

VIDEO, AUDIO, DATA = MessageType.VIDEO, MessageType.AUDIO, MessageType.DATA_AMF0

#: Of a recording of hours: none of it is true of another file.
INDEX = [float(second) for second in range(20_000)]


def metadata(**members: AmfValue) -> bytes:
    return amf0.encode("onMetaData", EcmaArray(members))


STREAM = [
    Message(DATA, 0, amf0.encode("|RtmpSampleAccess", True, True), 1),
    Message(DATA, 0, metadata(duration=99.0, width=640.0, filesize=1.0, keyframes={"times": INDEX}), 1),
    Message(VIDEO, 0, SEQUENCE_HEADER, 1),
    Message(AUDIO, 0, AUDIO_HEADER, 1),
    Message(VIDEO, 5000, key_frame(1), 1),
    Message(AUDIO, 5010, audio_frame(1), 1),
    Message(DATA, 5020, amf0.encode("onCue", 1), 1),
    Message(VIDEO, 5040, inter_frame(2), 1),
    Message(DATA, 0, amf0.encode("onCue", 2), 1),
]


def read(path: Path) -> tuple[FlvReader, list[Message]]:
    reader = FlvReader()
    messages = reader.feed(path.read_bytes())
    reader.finish()
    return reader, messages


def described(message: Message) -> dict[str, AmfValue]:
    name, members = amf0.decode_all(message.payload)
    assert name == "onMetaData"
    assert isinstance(members, dict)
    return members


def test_a_stream_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "out.flv"
    with FlvSink(path) as sink:
        for message in STREAM:
            sink.write(message)
    reader, tags = read(path)
    assert reader.header == (True, True)
    assert described(tags[0]) == {
        "duration": 0.04, "lasttimestamp": 0.04, "filesize": float(path.stat().st_size), "width": 640.0,
    }  # fmt: skip
    assert [(tag.type_id, bytes(tag.payload)) for tag in tags[1:]] == [
        (message.type_id, bytes(message.payload)) for message in STREAM[2:]
    ]
    assert [tag.timestamp for tag in tags] == [0, 0, 0, 0, 10, 20, 40, 40]
    assert (sink.tags, sink.bytes_written, sink.duration_ms) == (8, path.stat().st_size, 40)


@pytest.mark.parametrize("count", range(len(STREAM) + 1))
def test_it_can_be_read_whenever_the_writer_dies(tmp_path: Path, count: int) -> None:
    path = tmp_path / "out.flv"
    sink = FlvSink(path)
    for message in STREAM[:count]:
        sink.write(message)
    if count > 1:
        _, tags = read(path)
        assert described(tags[0])["duration"] == 0
        # The first are held until there is audio and video to begin with.
        assert len(tags) == (count - 1 if count >= 6 else 1)
    sink.close()
    assert described(read(path)[1][0])["duration"] == sink.duration_ms / 1000


def test_media_first_gets_metadata_of_our_own_and_later_ones_lose_what_is_not_true(tmp_path: Path) -> None:
    path = tmp_path / "out.flv"
    with FlvSink(path) as sink:
        sink.write(Message(AUDIO, 70, audio_frame()))
        sink.write(Message(DATA, 70, amf0.encode("@setDataFrame") + metadata(duration=5.0, height=3.0)))
    reader, tags = read(path)
    assert reader.header == (True, False)  # no video came
    assert set(described(tags[0])) == {"duration", "lasttimestamp", "filesize"}
    assert described(tags[2]) == {"height": 3.0}


@pytest.mark.parametrize("values", [9_995, 10_000, MAX_METADATA_VALUES, MAX_METADATA_VALUES + 1])
@pytest.mark.parametrize("first", [True, False])
def test_metadata_of_very_many_values(values: int, first: bool, tmp_path: Path) -> None:
    nulls = b"\x05" * (values - 2)  # beside the object and the array
    array = b"\x0a" + len(nulls).to_bytes(4, "big") + nulls
    payload = amf0.encode("onMetaData") + b"\x08\0\0\0\1\x00\x05marks" + array + b"\0\0\x09"
    path = tmp_path / "out.flv"
    with FlvSink(path) as sink:
        for message in [Message(DATA, 0, payload), Message(AUDIO, 0, audio_frame())][:: 1 if first else -1]:
            sink.write(message)
    payloads = [bytes(tag.payload) for tag in read(path)[1] if tag.type_id == DATA]
    unbounded = Limits(max_amf_values=10**6)
    written: list[Any] = [amf0.decode_all(each, limits=unbounded)[1] for each in payloads]
    assert written[0].keys() >= {"duration", "filesize"}
    assert sum(len(members.get("marks", ())) for members in written) == len(nulls)
    assert len(written) == (1 if first and values <= MAX_METADATA_VALUES else 2)
    assert (payload in payloads) is (not first or values > MAX_METADATA_VALUES)  # as it came


def test_times_past_32_bits_and_restarts_go_on(tmp_path: Path) -> None:
    path = tmp_path / "out.flv"
    with FlvSink(path) as sink:
        for at in (2**32 - 30, 10, 50, 0):  # past the wrap; the last is a little back, and stands still
            sink.write(Message(VIDEO, at, inter_frame(at)))
        sink.write(Message(VIDEO, 100_000, inter_frame(7)))
        sink.write(Message(VIDEO, 0, key_frame(8)))  # the publisher's clock started anew
    times = [0, 40, 80, 80, 100_030, 100_030 + RESTART_GAP_MS]
    assert [tag.timestamp for tag in read(path)[1][1:]] == times


def test_what_is_not_part_of_a_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "out.flv"
    with FlvSink(path) as sink:
        sink.write(Message(MessageType.COMMAND_AMF0, 0, b"\x02"))
    reader, tags = read(path)
    assert reader.header == (False, False)
    assert len(tags) == 1


def test_a_pipe_cannot_be_patched_and_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with FlvSink(path) as sink:
        sink.write(Message(AUDIO, 0, audio_frame()))
    reader.join(5)
    flv = FlvReader()
    assert len(flv.feed(got[0])) == 2


def test_faults_of_the_host_are_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="No such file or directory"):
        FlvSink(tmp_path / "nowhere" / "out.flv")
    sink = FlvSink(Path("/dev/full"))
    with pytest.raises(EnvironmentFault, match="No space left"):
        sink.write(Message(AUDIO, 0, audio_frame()))
    with pytest.raises(EnvironmentFault, match="No space left"):
        sink.close()
    sink.close()
    with pytest.raises(MisuseError, match="is closed"):
        sink.write(Message(AUDIO, 0, audio_frame()))
