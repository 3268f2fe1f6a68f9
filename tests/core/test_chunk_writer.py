"""The chunk writer and the shared encoding, byte for byte."""

import struct

import pytest
from chunk_support import basic, chunk, extended_bytes, read_all

from cluster.core.errors import MisuseError
from cluster.core.message import Buffer, Message
from cluster.core.rtmp.chunk_writer import ChunkStreamId, ChunkWriter, encode_shared


def set_chunk_size(size: int) -> Message:
    return Message(1, 0, struct.pack(">I", size))


def joined(buffers: list[Buffer]) -> bytes:
    return b"".join(buffers)


# --- the choice of the header


def test_the_first_message_of_a_chunk_stream_has_a_full_header() -> None:
    expected = chunk(0, 4, b"ab", field=5, type_id=8, msid=3)
    assert ChunkWriter().encode(Message(8, 5, b"ab", 3), 4) == expected


def test_another_length_or_type_takes_format_1_and_equal_ones_format_2() -> None:
    writer = ChunkWriter()
    writer.encode(Message(8, 5, b"ab", 1), 4)
    assert writer.encode(Message(8, 28, b"abc", 1), 4) == chunk(1, 4, b"abc", field=23, type_id=8)
    assert writer.encode(Message(9, 28, b"abc", 1), 4) == chunk(1, 4, b"abc", field=0, type_id=9)
    assert writer.encode(Message(9, 51, b"xyz", 1), 4) == chunk(2, 4, b"xyz", field=23)


def test_another_message_stream_takes_a_full_header() -> None:
    writer = ChunkWriter()
    writer.encode(Message(8, 5, b"ab", 1), 4)
    assert writer.encode(Message(8, 6, b"ab", 2), 4) == chunk(0, 4, b"ab", field=6, type_id=8, msid=2)


def test_chunk_streams_have_headers_of_their_own() -> None:
    writer = ChunkWriter()
    writer.encode(Message(8, 5, b"ab", 1), 4)
    assert writer.encode(Message(8, 6, b"ab", 1), 5)[0] >> 6 == 0


def test_fault_8_time_that_goes_back_takes_a_full_header() -> None:
    writer = ChunkWriter()
    writer.encode(Message(9, 1000, b"ab", 1), 6)
    assert writer.encode(Message(9, 999, b"ab", 1), 6) == chunk(0, 6, b"ab", field=999)


def test_fault_8_format_3_never_starts_a_message() -> None:
    writer = ChunkWriter()
    chunks = [writer.encode(Message(9, 40 * i, b"ab", 1), 6) for i in range(1, 6)]
    assert [encoded[0] >> 6 for encoded in chunks] == [0, 2, 2, 2, 2]
    assert [message.timestamp for message in read_all(b"".join(chunks))] == [40, 80, 120, 160, 200]


def test_a_wrap_of_the_clock_is_time_going_on() -> None:
    writer = ChunkWriter()
    writer.encode(Message(9, 0xFFFFFFF0, b"ab", 1), 6)
    assert writer.encode(Message(9, 0x10, b"ab", 1), 6) == chunk(2, 6, b"ab", field=0x20)


def test_fault_17_the_highest_timestamp_is_one_like_any_other() -> None:
    """0xFFFFFFFF stands for no marker, and what follows it is the wrap."""
    writer = ChunkWriter()
    messages = [Message(8, 0xFFFFFFFE, b"a", 1), Message(8, 0xFFFFFFFF, b"b", 1), Message(8, 4, b"c", 1)]
    assert read_all(b"".join(writer.encode(message, 4) for message in messages)) == messages
    assert read_all(joined(encode_shared(messages[1], 4, 128))) == [messages[1]]


@pytest.mark.parametrize(("delta", "fmt"), [(0x7FFFFFFF, 2), (0x80000000, 0)])
def test_half_the_circle_divides_forward_from_back(delta: int, fmt: int) -> None:
    writer = ChunkWriter()
    writer.encode(Message(9, 7, b"ab", 1), 6)
    assert writer.encode(Message(9, 7 + delta, b"ab", 1), 6)[0] >> 6 == fmt


def test_an_unwrapped_timestamp_is_written_modulo_2_to_the_32() -> None:
    message = Message(9, 2**32 + 5, b"ab", 1)
    assert ChunkWriter().encode(message, 6) == chunk(0, 6, b"ab", field=5)
    assert joined(encode_shared(message, 6, 128)) == chunk(0, 6, b"ab", field=5)


# --- extended timestamps


@pytest.mark.parametrize("timestamp", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_fault_7_each_continuation_repeats_the_extended_timestamp(timestamp: int) -> None:
    payload = bytes(300)
    again = basic(3, 6) + extended_bytes(timestamp)
    expected = chunk(0, 6, bytes(128), field=timestamp, length=300) + again + bytes(128) + again + bytes(44)
    message = Message(9, timestamp, payload, 1)
    assert ChunkWriter().encode(message, 6) == expected
    assert joined(encode_shared(message, 6, 128)) == expected


@pytest.mark.parametrize("delta", [0xFFFFFE, 0xFFFFFF, 0x1000000])
def test_fault_7_the_extended_timestamp_of_a_delta_header_is_the_delta(delta: int) -> None:
    writer = ChunkWriter()
    writer.encode(Message(9, 50, b"a", 1), 6)
    rest = basic(3, 6) + extended_bytes(delta) + bytes(2)
    expected = chunk(1, 6, bytes(128), field=delta, length=130) + rest
    assert writer.encode(Message(9, 50 + delta, bytes(130), 1), 6) == expected
    expected = chunk(2, 6, bytes(128), field=delta) + rest
    assert writer.encode(Message(9, 50 + 2 * delta, bytes(130), 1), 6) == expected


def test_example_of_an_extended_timestamp() -> None:
    payload = bytes(range(160))
    data = bytes.fromhex("06 FFFFFF 0000A0 09 01000000 01000000") + payload[:128]
    data += bytes.fromhex("C6 01000000") + payload[128:]
    assert ChunkWriter().encode(Message(9, 0x01000000, payload, 1), 6) == data
    assert joined(encode_shared(Message(9, 0x01000000, payload, 1), 6, 128)) == data


# --- chunk stream ids


@pytest.mark.parametrize(
    ("csid", "first", "continuation"),
    [
        (2, "02", "C2"),
        (63, "3F", "FF"),
        (64, "00 00", "C0 00"),
        (68, "00 04", "C0 04"),
        (319, "00 FF", "C0 FF"),
        (320, "01 00 01", "C1 00 01"),
        (1000, "01 A8 03", "C1 A8 03"),
        (65599, "01 FF FF", "C1 FF FF"),
    ],
)
def test_fault_5_ids_take_their_shortest_form_little_endian_in_every_chunk(
    csid: int, first: str, continuation: str
) -> None:
    rest_of_header = chunk(0, 2, length=130, field=9)[1:]
    expected = bytes.fromhex(first) + rest_of_header + bytes(128) + bytes.fromhex(continuation) + bytes(2)
    message = Message(9, 9, bytes(130), 1)
    assert ChunkWriter().encode(message, csid) == expected
    assert joined(encode_shared(message, csid, 128)) == expected


@pytest.mark.parametrize("csid", [64, 320])
def test_longer_ids_in_delta_headers(csid: int) -> None:
    writer = ChunkWriter()
    writer.encode(Message(9, 1, b"a", 1), csid)
    assert writer.encode(Message(9, 2, b"ab", 1), csid) == chunk(1, csid, b"ab", field=1)
    assert writer.encode(Message(9, 4, b"ab", 1), csid) == chunk(2, csid, b"ab", field=2)


@pytest.mark.parametrize("csid", [-1, 0, 1, 65600])
def test_ids_outside_2_to_65599_are_misuse(csid: int) -> None:
    with pytest.raises(MisuseError):
        ChunkWriter().encode(Message(9, 0, b"a", 1), csid)
    with pytest.raises(MisuseError):
        encode_shared(Message(9, 0, b"a", 1), csid, 128)


def test_our_chunk_streams_take_one_byte_and_are_distinct() -> None:
    assert sorted(ChunkStreamId) == [2, 3, 4, 5, 6, 8]


# --- payloads and the chunk size


def test_a_message_of_24_bits_is_written_and_one_more_byte_is_misuse() -> None:
    writer = ChunkWriter()
    writer.encode(set_chunk_size(0xFFFFFF), 2)
    largest = Message(9, 0, bytes(0xFFFFFF), 1)
    assert len(writer.encode(largest, 6)) == 12 + 0xFFFFFF
    assert sum(map(len, encode_shared(largest, 6, 0xFFFFFF))) == 12 + 0xFFFFFF
    too_large = Message(9, 0, bytes(0x1000000), 1)
    with pytest.raises(MisuseError):
        writer.encode(too_large, 6)
    for chunk_size in (65536, 0xFFFFFF, 0x7FFFFFFF):
        with pytest.raises(MisuseError):
            encode_shared(too_large, 6, chunk_size)


@pytest.mark.parametrize("type_id", [-1, 256])
def test_a_type_of_more_than_a_byte_is_misuse(type_id: int) -> None:
    with pytest.raises(MisuseError):
        ChunkWriter().encode(Message(type_id, 0, b""), 3)
    with pytest.raises(MisuseError):
        encode_shared(Message(type_id, 0, b""), 3, 128)


def test_an_empty_message_is_a_header() -> None:
    assert ChunkWriter().encode(Message(8, 3, b"", 1), 4) == chunk(0, 4, field=3, type_id=8)
    assert encode_shared(Message(8, 3, b"", 1), 4, 128) == [chunk(0, 4, field=3, type_id=8), b""]


def test_fault_15_a_chunk_size_holds_from_the_message_after_it() -> None:
    writer = ChunkWriter()
    assert writer.chunk_size == 128
    writer.encode(set_chunk_size(2), 2)
    assert writer.chunk_size == 2
    # The announcement of 4096 itself still goes out in chunks of 2.
    encoded = writer.encode(set_chunk_size(4096), 2)
    assert encoded == chunk(2, 2, b"\0\0") + chunk(3, 2, b"\x10\0")
    assert writer.encode(Message(9, 0, bytes(4096), 1), 6) == chunk(0, 6, bytes(4096))
    assert writer.encode(Message(9, 0, bytes(4097), 1), 6) == (
        chunk(1, 6, bytes(4096), length=4097) + chunk(3, 6, b"\0")
    )


def test_a_chunk_size_past_24_bits_means_24_bits() -> None:
    writer = ChunkWriter()
    writer.encode(set_chunk_size(0x7FFFFFFF), 2)
    assert writer.chunk_size == 0xFFFFFF


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", bytes(4), b"\x80\0\0\0", bytes(5)])
def test_a_bad_chunk_size_is_misuse_and_changes_nothing(payload: bytes) -> None:
    writer = ChunkWriter()
    with pytest.raises(MisuseError):
        writer.encode(Message(1, 0, payload), 2)
    assert writer.chunk_size == 128
    assert writer.encode(set_chunk_size(256), 2)[0] >> 6 == 0


# --- the shared encoding


@pytest.mark.parametrize("length", [0, 1, 127, 128])
def test_one_chunk_is_a_header_and_the_very_payload(length: int) -> None:
    payload = bytes(length)
    header, body = encode_shared(Message(9, 77, payload, 1), 6, 128)
    assert header == chunk(0, 6, field=77, length=length)
    assert body is payload


def test_more_chunks_are_views_of_the_very_payload() -> None:
    payload = bytes(range(256)) * 2
    buffers = encode_shared(Message(9, 77, payload, 1), 6, 200)
    assert [len(part) for part in buffers] == [12, 200, 1, 200, 1, 112]
    for part in buffers[1::2]:
        assert isinstance(part, memoryview)
        assert part.obj is payload


def test_a_shared_message_leans_on_nothing_before_it() -> None:
    first, second = Message(9, 10, bytes(300), 1), Message(9, 20, bytes(300), 1)
    together = joined(encode_shared(first, 6, 128)) + joined(encode_shared(second, 6, 128))
    assert read_all(together) == [first, second]
    assert read_all(joined(encode_shared(second, 6, 128))) == [second]


def test_a_memoryview_payload_is_encoded_like_its_bytes() -> None:
    payload = bytes(range(200))
    view = Message(9, 1, memoryview(payload), 1)
    assert joined(encode_shared(view, 6, 128)) == joined(encode_shared(Message(9, 1, payload, 1), 6, 128))
    assert ChunkWriter().encode(view, 6) == ChunkWriter().encode(Message(9, 1, payload, 1), 6)
