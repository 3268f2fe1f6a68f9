"""Aggregate messages taken apart."""

from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.message import Message
from cluster.core.rtmp import aggregate as module
from cluster.core.rtmp.aggregate import MAX_SUB_MESSAGES, join


def split(message: Message) -> list[Message]:
    return module.split(message).messages


def sub(type_id: int, timestamp: int, payload: bytes, msid: int = 0) -> bytes:
    header = bytes([type_id]) + len(payload).to_bytes(3, "big")
    header += (timestamp & 0xFFFFFF).to_bytes(3, "big") + bytes([timestamp >> 24]) + msid.to_bytes(3, "big")
    return header + payload + (11 + len(payload)).to_bytes(4, "big")


def aggregate(body: bytes, timestamp: int = 5000) -> Message:
    return Message(22, timestamp, body, 1)


def test_example() -> None:
    body = bytes.fromhex("08 000002 0003E8 00 000000 AF01 0000000D 09 000001 0003FF 00 000000 27 0000000C")
    assert split(aggregate(body)) == [Message(8, 5000, b"\xaf\x01", 1), Message(9, 5023, b"\x27", 1)]


def test_fault_19_sub_timestamps_are_moved_to_the_aggregates() -> None:
    body = sub(8, 70, b"a") + sub(9, 50, b"b") + sub(9, 90, b"c")
    assert [message.timestamp for message in split(aggregate(body))] == [5000, 4980, 5020]


def test_fault_19_timestamps_use_their_high_byte_and_wrap() -> None:
    body = sub(8, 0x12000000, b"a") + sub(9, 0x12000020, b"b")
    assert [message.timestamp for message in split(aggregate(body, 0xFFFFFFF0))] == [0xFFFFFFF0, 0x10]


@pytest.mark.parametrize("type_id", [0, 1, 2, 3, 4, 5, 6, 16, 17, 19, 20, 22, 255])
def test_fault_19_control_commands_and_aggregates_inside_are_ignored(type_id: int) -> None:
    body = sub(type_id, 10, sub(8, 0, b"nested")) + sub(9, 30, b"b")
    assert split(aggregate(body)) == [Message(9, 5020, b"b", 1)]


@pytest.mark.parametrize("type_id", [8, 9, 15, 18])
def test_media_and_data_are_taken_with_the_aggregates_stream(type_id: int) -> None:
    assert split(aggregate(sub(type_id, 0, b"payload", msid=9))) == [Message(type_id, 5000, b"payload", 1)]


def test_cut_at_every_offset_keeps_the_whole_sub_messages_before() -> None:
    """The last back pointer may be missing, whole or in part."""
    parts = [sub(8, 10, b"audio"), sub(9, 20, b""), sub(18, 30, b"data")]
    body = b"".join(parts)
    whole = split(aggregate(body))
    assert len(whole) == 3
    needed = [len(parts[0]) - 4, len(parts[0] + parts[1]) - 4, len(body) - 4]
    wholes = {0, *(end + pointer for end in needed for pointer in range(5))}
    for cut in range(len(body) + 1):
        messages, truncated = module.split(aggregate(body[:cut]))
        assert messages == whole[: sum(cut >= end for end in needed)]
        assert truncated is (cut not in wholes)


def test_a_declared_size_past_the_end_is_dropped() -> None:
    assert split(aggregate(sub(8, 0, b"a") + bytes.fromhex("09 FFFFFF 000000 00 000000") + bytes(100))) == [
        Message(8, 5000, b"a", 1)
    ]


def test_payloads_are_bytes_of_their_own() -> None:
    buffer = bytearray(sub(8, 0, b"a"))
    messages = split(Message(22, 0, memoryview(buffer), 1))
    buffer.clear()
    assert messages == [Message(8, 0, b"a", 1)]
    assert type(messages[0].payload) is bytes


def test_limit_max_sub_messages() -> None:
    full = sub(8, 0, b"") * MAX_SUB_MESSAGES
    assert len(split(aggregate(full))) == MAX_SUB_MESSAGES
    with pytest.raises(PeerViolation) as caught:
        split(aggregate(full + sub(8, 0, b"")))
    assert caught.value.reason is CloseReason.MESSAGE_TOO_LARGE


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_noise_gives_no_more_than_it_holds(noise: bytes) -> None:
    assert sum(len(message.payload) for message in split(aggregate(noise))) <= len(noise)


class TestJoin:
    MESSAGES: ClassVar = [
        Message(8, 0xFFFFFFF0, b"audio", 3), Message(9, 0x05, b"", 3), Message(18, 0x01000010, b"data", 3),
    ]  # fmt: skip

    def test_it_comes_apart_again(self) -> None:
        joined = join(self.MESSAGES)
        assert (joined.type_id, joined.timestamp, joined.stream_id) == (22, 0xFFFFFFF0, 3)
        assert module.split(joined) == (self.MESSAGES, False)

    def test_the_bytes(self) -> None:
        joined = join([Message(8, 1000, b"\xaf\x01", 1), Message(9, 1023, b"\x27", 1)])
        assert joined.payload == bytes.fromhex(
            "08 000002 0003E8 00 000000 AF01 0000000D 09 000001 0003FF 00 000000 27 0000000C"
        )

    @pytest.mark.parametrize(
        "messages",
        [
            [],
            [Message(20, 0, b"command", 1)],
            [Message(22, 0, b"aggregate", 1)],
            [Message(8, 0, b"", 1), Message(8, 0, b"", 2)],
            [Message(8, 0, b"", 1)] * (MAX_SUB_MESSAGES + 1),
            [Message(9, 0, bytes(0xFFFFFF - 15), 1), Message(9, 0, b"", 1)],
        ],
        ids=["none", "a command", "an aggregate", "two streams", "too many", "too long"],
    )
    def test_what_does_not_fit_is_misuse(self, messages: list[Message]) -> None:
        with pytest.raises(MisuseError):
            join(messages)

    def test_as_many_and_as_long_as_fit(self) -> None:
        assert len(split(join([Message(8, 0, b"", 1)] * MAX_SUB_MESSAGES))) == MAX_SUB_MESSAGES
        assert len(join([Message(9, 0, bytes(0xFFFFFF - 15), 1)]).payload) == 0xFFFFFF
