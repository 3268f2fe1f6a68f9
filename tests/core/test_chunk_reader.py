"""The chunk reader against bytes built by hand: whole, byte by byte, and cut in two at each offset."""

import pytest
from chunk_support import (
    assert_reads,
    assert_refuses,
    basic,
    chunk,
    control,
    every_cut,
    read_all,
    read_pieces,
)

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp.chunk_reader import ChunkReader


def body(length: int, seed: int = 1) -> bytes:
    return bytes((seed + 7 * i) & 0xFF for i in range(length))


def in_chunks(csid: int, payload: bytes, size: int, *, extended: bytes = b"", **header: int) -> bytes:
    """A message beginning with format 0, its continuations with ``extended`` repeated."""
    out = chunk(0, csid, payload[:size], length=len(payload), **header)
    for start in range(size, len(payload), size):
        out += chunk(3, csid, payload[start : start + size], extended=extended)
    return out


# --- worked examples of the chunk format


def test_set_chunk_size_example() -> None:
    data = bytes.fromhex("02 000000 000004 01 00000000 00001000")
    assert_reads(data, [Message(1, 0, bytes.fromhex("00001000"), 0)])


def test_window_ack_size_and_peer_bandwidth_examples() -> None:
    data = bytes.fromhex("02 000000 000004 05 00000000 002625A0 02 000000 000005 06 00000000 002625A0 02")
    assert_reads(
        data,
        [Message(5, 0, bytes.fromhex("002625A0"), 0), Message(6, 0, bytes.fromhex("002625A002"), 0)],
    )


def test_extended_timestamp_example_repeats_it_in_the_continuation() -> None:
    payload = body(160)
    data = bytes.fromhex("06 FFFFFF 0000A0 09 01000000 01000000") + payload[:128]
    data += bytes.fromhex("C6 01000000") + payload[128:]
    assert_reads(data, [Message(9, 0x01000000, payload, 1)])


def test_extended_delta_example() -> None:
    data = chunk(0, 6, b"\x17", field=5) + bytes.fromhex("46 FFFFFF 000001 09 01000000 17")
    assert_reads(data, [Message(9, 5, b"\x17", 1), Message(9, 5 + 16_777_216, b"\x17", 1)])


@pytest.mark.parametrize(
    ("header", "csid"),
    [
        ("01 00 01", 320),
        ("00 00", 64),
        ("00 FF", 319),
        ("01 FF FF", 65599),
        ("01 00 00", 64),
        ("01 FF 00", 319),
    ],
)
def test_basic_header_forms(header: str, csid: int) -> None:
    data = bytes.fromhex(header) + chunk(0, 3, b"abc", field=9)[1:]
    again = basic(2, csid) + bytes([0, 0, 1]) + b"def"
    assert_reads(data + again, [Message(9, 9, b"abc", 1), Message(9, 10, b"def", 1)])


# --- faults that other implementations have, by number


def test_fault_5_a_three_byte_id_is_little_endian_and_any_form_is_the_same_stream() -> None:
    payload = body(300)
    data = chunk(0, 300, payload[:128], length=300, form=3)
    data += chunk(3, 300, payload[128:256], form=2) + chunk(3, 300, payload[256:], form=3)
    assert_reads(data, [Message(9, 0, payload, 1)])


def test_fault_5_continuations_of_an_id_of_64_or_more() -> None:
    payload = body(300)
    assert_reads(in_chunks(68, payload, 128), [Message(9, 0, payload, 1)])
    assert_reads(in_chunks(1000, payload, 128), [Message(9, 0, payload, 1)])


@pytest.mark.parametrize("timestamp", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_fault_6_an_extended_timestamp_is_absolute_in_format_0(timestamp: int) -> None:
    assert_reads(chunk(0, 6, b"abc", field=timestamp), [Message(9, timestamp, b"abc", 1)])


def test_fault_6_an_extended_timestamp_of_zero_is_repeated_too() -> None:
    """Presence, not value, says that continuations carry it."""
    payload = body(200)
    head = bytes.fromhex("06 FFFFFF 0000C8 09 01000000 00000000")
    data = head + payload[:128] + b"\xc6" + bytes(4) + payload[128:]
    assert_reads(data, [Message(9, 0, payload, 1)])


def test_fault_6_old_senders_leave_the_extended_timestamp_out_of_continuations() -> None:
    payload = body(400)
    data = in_chunks(6, payload, 128, field=0x1234567) + chunk(0, 6, b"next", field=3)
    assert_reads(data, [Message(9, 0x1234567, payload, 1), Message(9, 3, b"next", 1)])


def test_fault_6_a_last_chunk_shorter_than_the_extended_timestamp_needs_no_further_bytes() -> None:
    """With the extended timestamp left out, two payload bytes that differ from it decide at once."""
    payload = body(128) + b"\x55\x66"
    assert_reads(in_chunks(6, payload, 128, field=0x1234567), [Message(9, 0x1234567, payload, 1)])


def test_fault_6_payload_that_begins_like_the_extended_timestamp_is_told_apart_by_its_fourth_byte() -> None:
    payload = body(128) + bytes.fromhex("01234566 0102")
    assert_reads(in_chunks(6, payload, 128, field=0x1234567), [Message(9, 0x1234567, payload, 1)])


def test_fault_6_a_later_header_without_it_ends_the_extended_timestamp() -> None:
    payload = body(200)
    data = in_chunks(6, payload, 128, field=0x1000000, extended=bytes.fromhex("01000000"))
    data += chunk(1, 6, payload[:128], field=40, length=200) + chunk(3, 6, payload[128:])
    assert_reads(data, [Message(9, 0x1000000, payload, 1), Message(9, 0x1000028, payload, 1)])


def test_fault_7_an_extended_delta_is_repeated_and_added_once() -> None:
    payload = body(300)
    extended = (0x1000005).to_bytes(4, "big")
    data = chunk(0, 6, b"a", field=10)
    data += chunk(1, 6, payload[:128], field=0x1000005, length=300)
    data += chunk(3, 6, payload[128:256], extended=extended) + chunk(3, 6, payload[256:], extended=extended)
    assert_reads(data, [Message(9, 10, b"a", 1), Message(9, 0x100000F, payload, 1)])


def test_fault_8_format_3_that_starts_a_message_adds_the_last_delta() -> None:
    data = chunk(0, 4, b"aa", field=100, type_id=8) + chunk(2, 4, b"bb", field=23) + chunk(3, 4, b"cc")
    data += chunk(1, 4, b"ddd", field=7, type_id=9) + chunk(3, 4, b"eee")
    assert_reads(
        data,
        [
            Message(8, 100, b"aa", 1),
            Message(8, 123, b"bb", 1),
            Message(8, 146, b"cc", 1),
            Message(9, 153, b"ddd", 1),
            Message(9, 160, b"eee", 1),
        ],
    )


def test_fault_8_after_format_0_the_delta_is_that_timestamp() -> None:
    data = chunk(0, 4, b"aa", field=100) + chunk(3, 4, b"bb") + chunk(3, 4, b"cc")
    assert [message.timestamp for message in read_all(data)] == [100, 200, 300]


def test_fault_8_format_3_starts_repeat_an_extended_delta() -> None:
    data = chunk(0, 4, b"aa", field=0x1000000) + chunk(3, 4, b"bb", extended=bytes.fromhex("01000000"))
    assert_reads(data, [Message(9, 0x1000000, b"aa", 1), Message(9, 0x2000000, b"bb", 1)])


def test_fault_9_format_1_may_begin_a_chunk_stream() -> None:
    """librtmp begins chunk stream 2 so: timestamp base 0, message stream 0."""
    data = bytes.fromhex("42 000005 000004 05 002625A0")
    assert_reads(data, [Message(5, 5, bytes.fromhex("002625A0"), 0)])


@pytest.mark.parametrize("fmt", [2, 3])
def test_fault_9_formats_2_and_3_may_not_begin_a_chunk_stream(fmt: int) -> None:
    before = chunk(0, 4, b"ok")
    assert_refuses(before + chunk(fmt, 5, b"x"), CloseReason.BAD_CHUNK, [Message(9, 0, b"ok", 1)])


@pytest.mark.parametrize("fmt", [0, 1, 2])
def test_fault_9_a_header_in_the_middle_of_a_message_discards_it_and_counts(fmt: int) -> None:
    full = body(200)
    again = chunk(fmt, 6, full[:128], field=3, length=200) + chunk(3, 6, full[128:])
    data = chunk(0, 6, body(128, seed=9), length=200) + again
    assert_reads(data, [Message(9, 3, full, 1)])
    reader = ChunkReader(Limits())
    reader.feed(data)
    assert reader.discarded_partials == 1
    assert reader.partial_bytes == 0


def test_fault_11_chunk_size_0_is_refused() -> None:
    assert_refuses(control(1, 0), CloseReason.BAD_CHUNK_SIZE)


@pytest.mark.parametrize("value", [0x80000000, 0x80001000, 0xFFFFFFFF])
def test_fault_11_a_chunk_size_with_the_top_bit_is_refused(value: int) -> None:
    assert_refuses(control(1, value), CloseReason.BAD_CHUNK_SIZE)


@pytest.mark.parametrize(
    ("value", "size"), [(1, 1), (0xFFFFFF, 0xFFFFFF), (0x1000000, 0xFFFFFF), (0x7FFFFFFF, 0xFFFFFF)]
)
def test_fault_11_chunk_sizes_from_1_are_taken_and_no_message_can_need_more(value: int, size: int) -> None:
    reader = ChunkReader(Limits())
    assert len(reader.feed(control(1, value))) == 1
    assert reader.chunk_size == size


def test_chunk_size_1_reads_byte_by_byte_chunks() -> None:
    payload = body(20)
    data = control(1, 1) + chunk(0, 6, payload[:1], length=20)
    data += b"".join(chunk(3, 6, payload[i : i + 1]) for i in range(1, 20))
    assert_reads(data, [Message(1, 0, bytes([0, 0, 0, 1]), 0), Message(9, 0, payload, 1)])


def test_chunk_size_applies_from_the_next_chunk_in_the_middle_of_other_messages() -> None:
    video = body(400)
    data = chunk(0, 6, video[:128], length=400) + control(1, 50)
    data += b"".join(chunk(3, 6, video[i : i + 50]) for i in range(128, 400, 50))
    assert_reads(data, [Message(1, 0, bytes([0, 0, 0, 50]), 0), Message(9, 0, video, 1)])


def test_fault_15_two_chunk_sizes_in_a_row_apply_in_order() -> None:
    payload = body(30)
    data = control(1, 3) + chunk(0, 2, b"\0\0\0", length=4, type_id=1, msid=0) + chunk(3, 2, b"\x14")
    data += chunk(0, 6, payload[:20], length=30) + chunk(3, 6, payload[20:])
    sizes = [Message(1, 0, bytes([0, 0, 0, 3]), 0), Message(1, 0, bytes([0, 0, 0, 20]), 0)]
    assert_reads(data, [*sizes, Message(9, 0, payload, 1)])


def test_set_chunk_size_counts_by_type_on_any_chunk_stream() -> None:
    reader = ChunkReader(Limits())
    reader.feed(chunk(0, 7, (4096).to_bytes(4, "big"), type_id=1, msid=1))
    assert reader.chunk_size == 4096


@pytest.mark.parametrize("type_id", [1, 2])
@pytest.mark.parametrize("size", [0, 3])
def test_a_short_control_message_is_refused(type_id: int, size: int) -> None:
    assert_refuses(control(type_id, 1 if size else 0, size), CloseReason.BAD_CONTROL)


def test_fault_12_abort_drops_the_unfinished_message_and_keeps_the_header() -> None:
    data = chunk(0, 6, body(128), field=10, length=200) + control(2, 6)
    data += chunk(2, 6, body(128), field=5) + chunk(3, 6, body(200)[128:])
    assert_reads(data, [Message(2, 0, bytes([0, 0, 0, 6]), 0), Message(9, 15, body(200), 1)])
    reader = ChunkReader(Limits())
    reader.feed(data)
    assert (reader.partial_bytes, reader.discarded_partials) == (0, 0)


def test_fault_12_after_an_abort_format_3_starts_a_message() -> None:
    data = chunk(0, 6, body(128), field=10, length=130) + control(2, 6)
    data += chunk(3, 6, body(128)) + chunk(3, 6, body(130)[128:])
    assert_reads(data, [Message(2, 0, bytes([0, 0, 0, 6]), 0), Message(9, 20, body(130), 1)])


@pytest.mark.parametrize("csid", [5, 2, 70_000, 0xFFFFFFFF])
def test_fault_12_abort_of_a_chunk_stream_without_an_unfinished_message_is_ignored(csid: int) -> None:
    data = control(2, csid) + chunk(0, 6, b"abc")
    assert_reads(data, [Message(2, 0, csid.to_bytes(4, "big"), 0), Message(9, 0, b"abc", 1)])


def test_fault_28_payloads_are_bytes_of_their_own() -> None:
    """Also those of messages that came in one chunk, in a run of chunks, and over several feeds."""
    data = chunk(0, 6, b"whole") + in_chunks(6, body(500), 128)
    for pieces in every_cut(data):
        messages, _ = read_pieces(pieces)
        assert [type(message.payload) for message in messages] == [bytes, bytes]
        assert [message.payload for message in messages] == [b"whole", body(500)]


# --- messages


def test_zero_length_messages_are_complete_at_their_header() -> None:
    data = chunk(0, 4, type_id=8, field=7) + chunk(2, 4, field=3) + chunk(3, 4)
    data += chunk(0, 4, type_id=8, field=0x1000000)
    assert_reads(data, [Message(8, timestamp, b"", 1) for timestamp in (7, 10, 13, 0x1000000)])


def test_timestamps_wrap_at_2_to_the_32() -> None:
    data = chunk(0, 4, b"a", field=0xFFFFFFF0) + chunk(2, 4, b"b", field=0x20) + chunk(3, 4, b"c")
    expected = [Message(9, 0xFFFFFFF0, b"a", 1), Message(9, 0x10, b"b", 1), Message(9, 0x30, b"c", 1)]
    assert_reads(data, expected)


def test_the_message_stream_id_is_little_endian() -> None:
    assert read_all(chunk(0, 4, b"a", msid=0x01020304))[0].stream_id == 0x01020304


@pytest.mark.parametrize("length", [127, 128, 129, 255, 256, 257, 384, 1000])
def test_lengths_around_the_chunk_size(length: int) -> None:
    data = in_chunks(6, body(length), 128, field=1) + in_chunks(4, b"next", 128, type_id=8)
    assert_reads(data, [Message(9, 1, body(length), 1), Message(8, 0, b"next", 1)])


def test_a_message_of_more_chunks_than_one_run_takes() -> None:
    payload = body(2000)
    data = control(1, 3) + in_chunks(6, payload, 3) + in_chunks(6, b"end", 3)
    expected = [Message(1, 0, bytes([0, 0, 0, 3]), 0), Message(9, 0, payload, 1), Message(9, 0, b"end", 1)]
    assert read_pieces([data]) == (expected, None)
    for step in (1, 2, 3, 4, 5, 7, 100, 1021, 1025):
        pieces = [data[i : i + step] for i in range(0, len(data), step)]
        assert read_pieces(pieces) == (expected, None)


def test_chunks_of_other_streams_between_the_chunks_of_a_message() -> None:
    video, audio = body(700), body(300, seed=5)
    data = chunk(0, 6, video[:128], length=700) + chunk(0, 4, audio[:128], length=300, type_id=8)
    data += chunk(3, 6, video[128:256]) + chunk(3, 6, video[256:384]) + control(3, 77)
    data += chunk(3, 4, audio[128:256]) + chunk(3, 6, video[384:512]) + chunk(3, 4, audio[256:])
    data += chunk(3, 6, video[512:640]) + chunk(3, 6, video[640:])
    acknowledgement = Message(3, 0, bytes([0, 0, 0, 77]), 0)
    assert_reads(data, [acknowledgement, Message(8, 0, audio, 1), Message(9, 0, video, 1)])


def test_payload_full_of_continuation_headers_is_payload() -> None:
    payload = b"\xc6" * 1000
    data = in_chunks(6, payload, 128) + chunk(0, 6, b"\xc6\xc6")
    assert_reads(data, [Message(9, 0, payload, 1), Message(9, 0, b"\xc6\xc6", 1)])


def test_a_message_that_follows_without_a_cut_is_not_taken_into_the_run() -> None:
    """Format 3 may start the next message: its header looks like one more continuation."""
    data = in_chunks(6, body(256), 128, field=5) + chunk(3, 6, body(128)) + chunk(3, 6, body(256)[128:])
    assert_reads(data, [Message(9, 5, body(256), 1), Message(9, 10, body(256), 1)])


def test_feeding_nothing_gives_nothing() -> None:
    reader = ChunkReader(Limits())
    assert reader.feed(b"") == []
    assert reader.feed(memoryview(b"")) == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_may_be_fed(kind: type) -> None:
    data = in_chunks(6, body(500), 128)
    assert ChunkReader(Limits()).feed(kind(data)) == [Message(9, 0, body(500), 1)]


# --- violations and limits


def test_messages_before_a_violation_are_returned_and_the_next_feed_raises() -> None:
    reader = ChunkReader(Limits())
    assert reader.feed(chunk(0, 4, b"ok") + chunk(3, 5, b"x")) == [Message(9, 0, b"ok", 1)]
    for _ in range(2):
        with pytest.raises(PeerViolation) as caught:
            reader.feed(b"")
        assert caught.value.reason is CloseReason.BAD_CHUNK


def test_a_violation_alone_is_raised_at_once_and_again() -> None:
    reader = ChunkReader(Limits())
    for data in (chunk(3, 5, b"x"), chunk(0, 4, b"ok")):
        with pytest.raises(PeerViolation):
            reader.feed(data)


def test_a_violation_does_not_keep_the_receive_buffer() -> None:
    buffer = bytearray(chunk(0, 4, b"ok") + chunk(3, 5, b"x"))
    reader = ChunkReader(Limits())
    reader.feed(buffer)
    buffer.clear()  # BufferError while a view of it is alive
    assert reader.partial_bytes == 0


def test_limit_max_message_bytes() -> None:
    limits = Limits(max_message_bytes=200)
    assert_reads(in_chunks(6, body(200), 128), [Message(9, 0, body(200), 1)], limits)
    header_only = chunk(0, 6, length=201)
    assert_refuses(header_only, CloseReason.MESSAGE_TOO_LARGE, limits=limits)
    assert_refuses(chunk(1, 6, length=0xFFFFFF), CloseReason.MESSAGE_TOO_LARGE, limits=limits)


def test_limit_max_chunk_streams() -> None:
    limits = Limits(max_chunk_streams=3)
    data = b"".join(chunk(0, csid, b"a") for csid in (2, 100, 1000, 2, 100, 1000))
    expected = [Message(9, 0, b"a", 1)] * 6
    assert_reads(data, expected, limits)
    assert_refuses(data + chunk(0, 5, b"a"), CloseReason.TOO_MANY_CHUNK_STREAMS, expected, limits)


def test_limit_max_partial_bytes() -> None:
    limits = Limits(max_partial_bytes=300)
    at_limit = b"".join(chunk(0, csid, body(100), length=101) for csid in (4, 5, 6))
    set_size = control(1, 100)
    size = [Message(1, 0, bytes([0, 0, 0, 100]), 0)]
    assert_reads(set_size + at_limit, size, limits)
    assert_refuses(
        set_size + at_limit + chunk(0, 7, b"x", length=101),
        CloseReason.PARTIAL_MESSAGES_TOO_LARGE,
        size,
        limits,
    )


def test_partial_bytes_are_released_with_their_message() -> None:
    reader = ChunkReader(Limits(max_partial_bytes=400))
    for _ in range(10):
        reader.feed(chunk(0, 6, body(128), length=300))
        assert reader.partial_bytes == 128
        reader.feed(chunk(3, 6, body(300)[128:256]) + chunk(3, 6, body(300)[256:280]))
        assert reader.partial_bytes == 280
        assert reader.feed(body(300)[280:]) == [Message(9, 0, body(300), 1)]
        assert reader.partial_bytes == 0


def test_what_is_lacking_never_exceeds_what_must_come() -> None:
    """However a message of several chunks is cut: so many bytes more, or it is not complete."""
    data = in_chunks(6, body(500), 128)
    for cut in range(len(data) + 1):
        reader = ChunkReader(Limits())
        reader.feed(data[:cut])
        assert reader.lacking_bytes <= len(data) - cut
        assert bool(reader.lacking_bytes) == (0 < cut < len(data))


def test_in_the_middle_of_a_chunk_the_rest_of_its_message_is_lacking() -> None:
    reader = ChunkReader(Limits())
    reader.feed(in_chunks(6, body(500), 128)[: 12 + 100])
    assert reader.lacking_bytes == 400
    reader.feed(b"\0" * 28)  # the end of the chunk: the next header may be of any message
    assert reader.lacking_bytes == 1


def test_a_declared_length_costs_nothing() -> None:
    limits = Limits(max_message_bytes=0xFFFFFF)
    reader = ChunkReader(limits)
    reader.feed(control(1, 0x7FFFFFFF))
    reader.feed(b"".join(chunk(0, csid, length=0xFFFFFF) for csid in range(3, 40)))
    # The first chunk claims all the rest of the bytes: they are its payload.
    assert reader.partial_bytes == 36 * 12
