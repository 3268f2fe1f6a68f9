"""onMetaData as values: large keyframe indexes, and what is wrong in ways that do not matter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.errors import AmfError, MisuseError
from cluster.core.limits import Limits
from cluster.core.media.metadata import (
    MAX_METADATA_VALUES,
    encode_metadata,
    read_metadata,
    without_media,
)
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command

DATA = MessageType.DATA_AMF0
NAME = amf0.encode("onMetaData")
MEMBERS = {"width": 640.0, "title": "x"}
NULL = b"\x05"


def with_values(count: int) -> bytes:
    """onMetaData of so many values: the object, its width, an array, and what stands in the array."""
    nulls = NULL * (count - 3)
    index = b"\x0a" + len(nulls).to_bytes(4, "big") + nulls
    return NAME + b"\x08\x00\x00\x00\x02\x00\x05width" + amf0.encode(640.0) + b"\x00\x05index" + index


@pytest.mark.parametrize(
    ("payload", "members"),
    [
        (NAME + amf0.encode(EcmaArray(MEMBERS)), MEMBERS),
        (NAME + amf0.encode(MEMBERS), MEMBERS),
        (amf0.encode("@setDataFrame") + NAME + amf0.encode(EcmaArray(MEMBERS)), MEMBERS),
        (NAME + b"\x08\xff\xff\xff\xff" + amf0.encode(EcmaArray(MEMBERS))[5:], MEMBERS),
        (NAME + b"\x08\0\0\0\0" + amf0.encode(EcmaArray(MEMBERS))[5:], MEMBERS),
        (NAME + amf0.encode(EcmaArray(MEMBERS))[:-3], MEMBERS),
        (NAME + amf0.encode(MEMBERS)[:-3], MEMBERS),
        (NAME + amf0.encode(EcmaArray(MEMBERS)) + b"\xff garbage", MEMBERS),
        (NAME + amf0.encode(MEMBERS, "another value"), MEMBERS),
        (NAME + amf0.encode(None), None),
        (NAME, None),
        (NAME + b"\x99", None),
        (amf0.encode("onCuePoint", MEMBERS), None),
        (b"", None),
    ],
)
def test_reads(payload: bytes, members: dict[str, Any] | None) -> None:
    assert read_metadata(DATA, payload) == members
    assert read_metadata(DATA, memoryview(payload)) == members
    assert read_metadata(MessageType.DATA_AMF3, payload) is None
    assert read_metadata(MessageType.VIDEO, payload) is None


def test_cut_anywhere_it_is_the_first_members_or_none() -> None:
    payload = encode_metadata(MEMBERS)
    for cut in range(len(payload)):
        read = read_metadata(DATA, payload[:cut])
        assert read is None or list(read.items()) == list(MEMBERS.items())[: len(read)]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80))
def test_nothing_is_raised(noise: bytes) -> None:
    read_metadata(DATA, noise)
    read_metadata(DATA, NAME + noise)


@pytest.mark.parametrize("count", [10_000, 10_001, MAX_METADATA_VALUES, MAX_METADATA_VALUES + 1])
def test_values_at_the_limit_and_past_it(count: int) -> None:
    read = read_metadata(DATA, with_values(count))
    assert (read is not None) == (count <= MAX_METADATA_VALUES)
    assert read is None or read["width"] == 640.0


def test_an_index_of_objects_is_read_and_written_again() -> None:
    frames = [{"time": float(n), "position": float(n)} for n in range(20_000)]
    members = {**MEMBERS, "frames": frames}
    payload = encode_metadata(members)
    assert read_metadata(DATA, payload) == members


def test_what_was_read_at_the_limit_can_be_written_with_members_of_ones_own() -> None:
    members = read_metadata(DATA, with_values(MAX_METADATA_VALUES))
    assert members is not None
    encode_metadata({"duration": 0.0, "lasttimestamp": 0.0, "filesize": 0.0, **members})
    with pytest.raises(MisuseError):
        encode_metadata({"index": [None] * (MAX_METADATA_VALUES + 64)})


def test_a_strangers_command_stays_bounded() -> None:
    limit = Limits().max_amf_values
    for count, fits in ((limit - 2, True), (limit - 1, False)):
        array = b"\x0a" + count.to_bytes(4, "big") + NULL * count
        payload = amf0.encode("connect", 1.0) + b"\x03\x00\x01a" + array + b"\x00\x00\x09"
        message = Message(MessageType.COMMAND_AMF0, 0, payload)
        if fits:
            assert command.decode(message, Limits()).name == "connect"
        else:
            with pytest.raises(AmfError):
                command.decode(message, Limits())


def test_what_holds_itself_is_left_out_rather_than_written() -> None:
    """A member that refers to the object it stands in: AMF0 can say it, and nothing can write it again."""
    payload = b"\x02\x00\x0aonMetaData\x03\x00\x04self\x07\x00\x00\x00\x00\x09"
    members = read_metadata(MessageType.DATA_AMF0, payload)
    assert members is not None
    assert members["self"] is members
    assert without_media(payload, [MessageType.VIDEO]) is None
    assert without_media(b"nonsense", [MessageType.VIDEO]) is None
