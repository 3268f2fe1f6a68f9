"""FLV, both ways (FLV 10.1, annex E)."""

import contextlib
import io
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.errors import ClusterError, MisuseError
from cluster.core.limits import Limits
from cluster.core.media.flv import (
    DEFAULT_MAX_TAG_BYTES,
    MAX_BODY_BYTES,
    FlvError,
    FlvFault,
    FlvHeader,
    FlvOddity,
    FlvReader,
    encode_header,
    encode_tag,
)
from cluster.core.message import Message

MESSAGES = [
    Message(18, 0, b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09"),
    Message(9, 0, bytes.fromhex("17 00 000000 0164001F")),
    Message(8, 0, bytes.fromhex("AF 00 1190")),
    Message(9, 0x00FFFFFF, bytes.fromhex("17 01 000000 00000001 65")),
    Message(8, 0x01000000, b""),
    Message(9, 0xFEDCBA98, bytes.fromhex("91 68766331 000021 00000002 2601")),
    Message(15, 0xFFFFFFFF, b"\x00\x02\x00\x01x"),
]


def encode(messages, *, audio=True, video=True):
    tags = b"".join(b"".join(encode_tag(m.type_id, m.timestamp, m.payload)) for m in messages)
    return encode_header(audio, video) + tags


STREAM = encode(MESSAGES)


def read(data, **options):
    reader = FlvReader(**options)
    messages = reader.feed(data)
    reader.finish()
    return messages


def fault_of(data, **options):
    reader = FlvReader(**options)
    try:
        reader.feed(data)
        reader.feed(b"")  # what comes before the fault is handed out first
    except FlvError as error:
        return error.fault
    return None


@pytest.mark.parametrize(
    ("audio", "video", "flags"), [(True, True, 5), (True, False, 4), (False, True, 1), (False, False, 0)]
)
def test_header(audio, video, flags):
    data = encode_header(audio, video)
    assert data == b"FLV\x01" + bytes((flags,)) + bytes.fromhex("00000009 00000000")
    reader = FlvReader()
    assert reader.header is None
    assert reader.feed(data) == []
    assert reader.header == FlvHeader(audio, video)


def test_tag_on_the_wire():
    parts = encode_tag(9, 0x12345678, b"\x17\x01")
    assert b"".join(parts) == bytes.fromhex("09 000002 345678 12 000000 1701 0000000D")


def test_the_payload_is_not_copied():
    payload = bytes(1000)
    assert encode_tag(8, 0, payload)[1] is payload


def test_an_unwrapped_timestamp_is_cut_to_32_bits():
    assert encode_tag(8, 2**32 + 5, b"") == encode_tag(8, 5, b"")


def test_the_largest_body_and_one_byte_more():
    head, _, tail = encode_tag(9, 0, bytes(MAX_BODY_BYTES))
    assert head[1:4] == b"\xff\xff\xff"
    assert int.from_bytes(tail, "big") == MAX_BODY_BYTES + 11
    with pytest.raises(MisuseError):
        encode_tag(9, 0, bytes(MAX_BODY_BYTES + 1))


@pytest.mark.parametrize("type_id", [0, 1, 20, 22, 31])
def test_what_is_no_tag_is_not_written(type_id):
    with pytest.raises(MisuseError):
        encode_tag(type_id, 0, b"")


def test_whole():
    assert read(STREAM) == MESSAGES
    assert read(memoryview(STREAM)) == MESSAGES


def test_byte_by_byte():
    reader = FlvReader()
    messages = [message for byte in STREAM for message in reader.feed(bytes((byte,)))]
    reader.finish()
    assert messages == MESSAGES


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_in_two_at_each_offset(cut):
    reader = FlvReader()
    assert reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:]) == MESSAGES
    reader.finish()


def test_an_end_between_tags_is_one_and_anything_else_is_a_truncated_stream():
    ends = {len(encode(MESSAGES[:count])) for count in range(len(MESSAGES) + 1)}
    for cut in range(len(STREAM)):
        reader = FlvReader()
        reader.feed(STREAM[:cut])
        # A missing or cut size behind the last tag loses nothing.
        if any(end - 4 <= cut <= end for end in ends):
            reader.finish()
        else:
            with pytest.raises(FlvError) as caught:
                reader.finish()
            assert caught.value.fault is FlvFault.TRUNCATED


def test_space_between_the_header_and_the_first_tag():
    data = b"FLV\x01\x05" + (20).to_bytes(4, "big") + bytes(11) + STREAM[9:]
    assert read(data) == MESSAGES
    for cut in range(len(data)):
        reader = FlvReader()
        assert reader.feed(data[:cut]) + reader.feed(data[cut:]) == MESSAGES


@pytest.mark.parametrize(("offset", "fault"), [(1024, None), (1025, 1), (9, None), (2**32 - 1, 1)])
def test_where_the_first_tag_may_begin(offset, fault):
    data = b"FLV\x01\x05" + offset.to_bytes(4, "big") + bytes(max(0, min(offset, 1025) - 9)) + STREAM[9:]
    if fault is None:
        assert read(data) == MESSAGES
    else:
        assert fault_of(data) is FlvFault.BAD_DATA_OFFSET


@pytest.mark.parametrize("data", [b"X", b"FLX", b"HTTP/1.1 200 OK", b"\x00\x00\x00\x18ftyp", b"flv\x01"])
def test_what_is_not_flv(data):
    assert fault_of(data) is FlvFault.NOT_FLV


def with_sizes(size_behind):
    """The stream, and behind each tag what ``size_behind`` makes of its size and of all sizes so far."""
    data, total = STREAM[:13], 0
    for message in MESSAGES:
        tag = b"".join(encode_tag(message.type_id, message.timestamp, message.payload))[:-4]
        total += len(tag)
        data += tag + size_behind(len(tag), total).to_bytes(4, "big")
    return data


def header(*, version=1, flags=5, data_offset=9, first_size=0):
    return b"FLV" + bytes((version, flags)) + data_offset.to_bytes(4, "big") + first_size.to_bytes(4, "big")


TAGS = STREAM[13:]
#: Of each tag: the type's reserved bits, and the stream id.
RESERVED = bytearray(STREAM)
for _start in [len(encode(MESSAGES[:count])) for count in range(len(MESSAGES))]:
    RESERVED[_start] |= 0xC0
    RESERVED[_start + 8 : _start + 11] = b"\x00\x01\x02"

FILTERED = bytearray(STREAM)
for _start in [len(encode(MESSAGES[:count])) for count in range(len(MESSAGES))]:
    FILTERED[_start] |= 0x20

SIZE = FlvOddity.PREVIOUS_TAG_SIZE
#: What is wrong in a field nothing depends on, and what is counted of it. The size behind the last tag is
#: followed by nothing, and not looked at.
ODD = {
    "sizes without the tag header": (with_sizes(lambda size, _: size - 11), {SIZE: 6}),
    "sizes one short": (with_sizes(lambda size, _: size - 1), {SIZE: 6}),
    "sizes as a running sum": (with_sizes(lambda _, total: total), {SIZE: 5}),
    "sizes of zero": (with_sizes(lambda *_: 0), {SIZE: 6}),
    "sizes of nonsense": (with_sizes(lambda size, _: size * 2654435761 % 2**32), {SIZE: 6}),
    "a size in front of the first tag": (header(first_size=7) + TAGS, {SIZE: 1}),
    "only the last size": (STREAM[:-4] + b"\xff\xff\xff\xff", {}),
    "version 0": (header(version=0) + TAGS, {FlvOddity.VERSION: 1}),
    "version 255": (header(version=255) + TAGS, {FlvOddity.VERSION: 1}),
    "a data offset of 0": (header(data_offset=0) + TAGS, {FlvOddity.DATA_OFFSET: 1}),
    "a data offset of 8": (header(data_offset=8) + TAGS, {FlvOddity.DATA_OFFSET: 1}),
    "flags that deny both media": (header(flags=0) + TAGS, {}),
    "every flag": (header(flags=0xFF) + TAGS, {}),
    "reserved bits and stream ids": (bytes(RESERVED), {}),
    "the filter bit": (bytes(FILTERED), {FlvOddity.FILTER_BIT: 7}),
    "all at once": (
        header(version=2, flags=2, data_offset=1, first_size=1) + with_sizes(lambda *_: 0)[13:],
        {FlvOddity.VERSION: 1, FlvOddity.DATA_OFFSET: 1, SIZE: 7},
    ),
}


@pytest.mark.parametrize(("data", "counted"), ODD.values(), ids=ODD)
def test_what_nothing_depends_on_is_counted_and_read_over(data, counted):
    for pieces in (
        [data],
        [bytes((byte,)) for byte in data],
        *([data[:cut], data[cut:]] for cut in range(len(data) + 1)),
    ):
        reader = FlvReader()
        assert [message for piece in pieces for message in reader.feed(piece)] == MESSAGES
        reader.finish()
        assert reader.oddities == counted


def test_what_is_right_is_not_counted():
    reader = FlvReader()
    reader.feed(STREAM)
    assert not reader.oddities


@pytest.mark.parametrize("data", [data for data, _ in ODD.values()], ids=ODD)
def test_what_is_odd_and_ends_too_early_is_still_truncated(data):
    reader = FlvReader()
    reader.feed(data[:-6])
    with pytest.raises(FlvError) as caught:
        reader.finish()
    assert caught.value.fault is FlvFault.TRUNCATED


def test_messages_before_a_fault_come_first_and_the_fault_stays():
    reader = FlvReader()
    assert reader.feed(STREAM + b"\xff" * 20) == MESSAGES
    for _ in range(2):
        with pytest.raises(FlvError) as caught:
            reader.feed(STREAM)
        assert caught.value.fault is FlvFault.TAG_TOO_LARGE
        with pytest.raises(FlvError):
            reader.finish()
    assert reader.buffered_bytes == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\x17\x01\x00\x00\x00\x01Encryption\x00\x00\x00\x11\x01" + bytes(30),
        b"\xaf\x01\x01SE\x00\x00\x00\x10" + bytes(30),
        b"\x01Encryption\x00",
    ],
)
def test_an_encrypted_tag(body):
    tag = b"".join(encode_tag(9, 0, body))
    data = STREAM + bytes((tag[0] | 0x20,)) + tag[1:]
    assert fault_of(data) is FlvFault.ENCRYPTED_TAG
    for cut in range(len(data)):
        reader = FlvReader()
        reader.feed(data[:cut])
        with contextlib.suppress(FlvError):
            reader.feed(data[cut:])
        with pytest.raises(FlvError) as caught:
            reader.finish()
        assert caught.value.fault is FlvFault.ENCRYPTED_TAG
    assert fault_of(STREAM + tag) is None, "the same bytes without the bit are a body like any other"


def test_tags_of_unknown_type_are_skipped_and_counted():
    strange = bytes.fromhex("0A 000003 000000 00 000000 AABBCC 0000000E")
    reader = FlvReader()
    assert reader.feed(STREAM[:13] + strange + STREAM[13:]) == MESSAGES
    assert reader.skipped_tags == 1


def test_a_tag_at_the_limit_and_one_byte_past_it():
    assert len(read(encode([Message(9, 0, bytes(100))]), max_tag_bytes=100)[0].payload) == 100
    assert fault_of(encode([Message(9, 0, bytes(101))]), max_tag_bytes=100) is FlvFault.TAG_TOO_LARGE
    assert Limits().max_message_bytes == DEFAULT_MAX_TAG_BYTES


def test_a_tag_too_large_is_refused_at_its_header():
    reader = FlvReader(max_tag_bytes=100)
    with pytest.raises(FlvError):
        reader.feed(encode_header(True, True) + bytes.fromhex("09 000065 000000 00 000000"))


def test_memory_is_bounded_by_one_tag():
    reader = FlvReader(max_tag_bytes=100)
    reader.feed(encode_header(True, True))
    tag = b"".join(encode_tag(9, 0, bytes(100)))
    highest = 0
    for index in range(0, len(tag) * 50, 7):
        reader.feed((tag * 50)[index : index + 7])
        highest = max(highest, reader.buffered_bytes)
    assert highest <= 100 + 11 + 4


def test_errors_are_the_clusters_own():
    assert issubclass(FlvError, ClusterError)
    error = FlvError(FlvFault.NOT_FLV, "begins with b'X'")
    assert (error.fault, error.detail, str(error)) == (
        "not_flv", "begins with b'X'", "not_flv: begins with b'X'",
    )  # fmt: skip


@given(
    st.lists(
        st.builds(
            Message,
            st.sampled_from((8, 9, 15, 18)),
            st.integers(0, 2**32 - 1),
            st.binary(max_size=50),
            st.just(0),
        ),
        max_size=8,
    ),
    st.integers(1, 40),
)
@settings(deadline=None, max_examples=100)
def test_what_is_written_is_read_in_any_pieces(messages, size):
    data = encode(messages)
    reader = FlvReader()
    assert [m for at in range(0, len(data), size) for m in reader.feed(data[at : at + size])] == messages
    reader.finish()


@given(st.binary(max_size=80), st.sampled_from((0, 5, 13, 24)))
@settings(deadline=None, max_examples=200)
def test_garbage_raises_nothing_but_its_own_error(garbage, kept):
    reader = FlvReader()
    with contextlib.suppress(FlvError):
        reader.feed(STREAM[:kept] + garbage)
        reader.feed(garbage)
        reader.finish()
    assert reader.buffered_bytes <= kept + 2 * len(garbage)


@pytest.fixture(scope="module")
def made_by_ffmpeg():
    """A second of FLV that FFmpeg's muxer wrote."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv", options={"flvflags": "no_duration_filesize"}) as container:
        video = container.add_stream("flv", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for index in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes((index * 20,)) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return file.getvalue()


def test_ffmpegs_file_is_read_and_written_back_byte_for_byte(made_by_ffmpeg):
    messages = read(made_by_ffmpeg)
    assert [m.type_id for m in messages] == [18] + [9] * 10
    assert [m.timestamp for m in messages[1:]] == [index * 100 for index in range(10)]
    assert encode(messages, audio=False) == made_by_ffmpeg


def test_ffmpeg_reads_what_is_written(made_by_ffmpeg):
    messages = [m for m in read(made_by_ffmpeg) if m.type_id == 9]
    shifted = [m._replace(timestamp=m.timestamp + 0x01000000) for m in messages]
    with av.open(io.BytesIO(encode(shifted, audio=False)), format="flv") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [bytes(packet) for packet in packets] == [m.payload[1:] for m in messages]
    assert [packet.dts for packet in packets] == [m.timestamp for m in shifted]
