"""What a media message means to the stream log (Enhanced RTMP v2; FLV 10.1, annex E)."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.media.classify import (
    MediaFlags,
    data_handler_name,
    enhanced_header,
    flags_of,
    is_coded,
    strip_set_data_frame,
    track_ids,
)
from cluster.core.media.ex_header import MAX_MOD_EX, MAX_TRACKS, parse_ex_header
from cluster.core.media.headers import HeaderKey, header_key, header_order, is_empty_header
from cluster.core.message import Message
from support.media_examples import AUDIO, EMPTY, EXAMPLES, MALFORMED, VIDEO, named

DATA = 18
DATA_AMF3 = 15
COMMAND = 20
AGGREGATE = 22

ON_META_DATA = b"\x02\x00\x0aonMetaData"
SET_DATA_FRAME = b"\x02\x00\x0d@setDataFrame"
ECMA_ARRAY = bytes.fromhex("08 00000002 0005 7769647468 00 4094000000000000 0001 78 06 000009")
CACHED = MediaFlags.SEQUENCE_HEADER | MediaFlags.METADATA | MediaFlags.CONFIG


@pytest.mark.parametrize("example", EXAMPLES + MALFORMED + EMPTY, ids=named(EXAMPLES + MALFORMED + EMPTY))
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_flags_of_written_out_messages(example, wrap):
    assert MediaFlags(flags_of(example.type_id, wrap(example.payload))) == example.flags


#: To a message of many tracks, more bytes are another track; to an empty one, all there is.
OPEN_ENDED = [
    example
    for example in EXAMPLES
    if example.payload and not (example.payload[0] & 15 in (5, 6) and example.payload[1] >> 4 in (1, 2))
]


@pytest.mark.parametrize("example", OPEN_ENDED, ids=named(OPEN_ENDED))
def test_more_body_changes_no_flags(example):
    """Short messages are parsed and long ones looked up: both ways must agree."""
    assert MediaFlags(flags_of(example.type_id, example.payload + bytes(20))) == example.flags


@pytest.mark.parametrize("example", EXAMPLES, ids=named(EXAMPLES))
def test_cut_anywhere_it_is_never_more_than_it_was(example):
    media = example.flags & (MediaFlags.VIDEO | MediaFlags.AUDIO)
    seen = set()
    for cut in range(len(example.payload)):
        payload = example.payload[:cut]
        flags = MediaFlags(flags_of(example.type_id, payload))
        allowed = example.flags | MediaFlags.MALFORMED | MediaFlags.EMPTY
        assert flags | allowed == allowed, payload.hex()
        if flags & (MediaFlags.MALFORMED | MediaFlags.EMPTY):
            assert flags in (media | MediaFlags.MALFORMED, media | MediaFlags.EMPTY)
            assert header_key(example.type_id, payload) is None
        seen.add(flags)
    assert not example.payload or media | MediaFlags.EMPTY in seen


def test_every_first_byte_is_classified_by_the_table_as_the_format_says():
    for first, second in itertools.product(range(256), (0, 1, 2, 3)):
        flags = flags_of(VIDEO, bytes((first, second)) + b"vc1\0\0\0\0\0\0\0\0")
        frame_type, low = first >> 4 & 7, first & 15
        if first & 0x80:
            if low in (6, 7):
                continue
            key = frame_type in (1, 4) and low in (1, 3)
            command = frame_type == 5 and low != 4
            header = low in (0, 5) and not command
        else:
            avc_like = low in (7, 12, 13)
            key = frame_type in (1, 4) and (second == 1 or not avc_like)
            command = frame_type == 5
            header = avc_like and second == 0 and not command
        assert bool(flags & MediaFlags.KEYFRAME) == key, hex(first)
        assert bool(flags & MediaFlags.COMMAND) == command, hex(first)
        assert bool(flags & MediaFlags.SEQUENCE_HEADER) == header, hex(first)
        assert not flags & MediaFlags.MALFORMED, hex(first)


def test_data_messages():
    assert flags_of(DATA, ON_META_DATA + ECMA_ARRAY) == MediaFlags.DATA | MediaFlags.METADATA
    assert flags_of(DATA, memoryview(ON_META_DATA + ECMA_ARRAY)) == MediaFlags.DATA | MediaFlags.METADATA
    assert flags_of(DATA, b"\x02\x00\x0bonMetaDataX") == MediaFlags.DATA
    assert flags_of(DATA, ON_META_DATA[:-1]) == MediaFlags.DATA
    assert flags_of(DATA, SET_DATA_FRAME + ON_META_DATA) == MediaFlags.DATA
    assert flags_of(DATA, b"") == MediaFlags.DATA | MediaFlags.EMPTY
    assert flags_of(DATA_AMF3, b"\x00" + ON_META_DATA) == MediaFlags.DATA


@pytest.mark.parametrize("type_id", [0, 1, COMMAND, AGGREGATE, 255])
def test_what_is_not_media_has_no_flags(type_id):
    assert flags_of(type_id, b"\x17\x01\0\0\0\0\0\0") == 0
    assert flags_of(type_id, b"") == 0
    assert header_key(type_id, b"\x17\x00\0\0\0\0\0\0") is None
    assert not is_empty_header(type_id, b"\x17\x00\0\0\0")


def many_tracks(packet_type, bodies, first=0x90, four_cc=b"hvc1"):
    """A ManyTracks video message with ``bodies`` by track id."""
    tracks = b"".join(bytes((t,)) + len(body).to_bytes(3, "big") + body for t, body in bodies)
    return bytes((first | 6, 0x10 | packet_type)) + four_cc + tracks


def test_as_many_tracks_as_there_are_ids_and_not_one_more():
    ids = list(range(MAX_TRACKS))
    payload = many_tracks(3, [(track, b"x") for track in ids])
    assert flags_of(VIDEO, payload) == MediaFlags.VIDEO | MediaFlags.MULTITRACK | MediaFlags.KEYFRAME
    assert track_ids(VIDEO, payload) == tuple(ids)
    one_more = many_tracks(3, [(track, b"x") for track in [*ids, 0]])
    assert flags_of(VIDEO, one_more) == MediaFlags.VIDEO | MediaFlags.MALFORMED


def test_as_many_mod_ex_as_allowed_and_not_one_more():
    def payload(count):
        return b"\x97" + b"\x00\xee\x17" * (count - 1) + b"\x00\xee\x11" + b"av01\x12\x00"

    assert flags_of(VIDEO, payload(MAX_MOD_EX)) == MediaFlags.VIDEO | MediaFlags.KEYFRAME
    assert flags_of(VIDEO, payload(MAX_MOD_EX + 1)) == MediaFlags.VIDEO | MediaFlags.MALFORMED


@pytest.mark.parametrize("data_bytes", [255, 256, 257, 65_536])
def test_mod_ex_sizes_around_the_escape(data_bytes):
    size = bytes((data_bytes - 1,)) if data_bytes < 256 else b"\xff" + (data_bytes - 1).to_bytes(2, "big")
    payload = b"\x97" + size + bytes(data_bytes) + b"\x01av01\x12\x00"
    assert flags_of(VIDEO, payload) == MediaFlags.VIDEO | MediaFlags.KEYFRAME
    assert flags_of(VIDEO, payload[: -len(b"1\x12\x00")]) == MediaFlags.VIDEO | MediaFlags.MALFORMED


def header(text):
    return bytes.fromhex(text)


@pytest.mark.parametrize(
    ("type_id", "payload", "key"),
    [
        (DATA, ON_META_DATA + ECMA_ARRAY, ("data", (), "metadata")),
        (VIDEO, header("17 00 000000 0164"), ("video", (0,), "sequence_header")),
        (VIDEO, header("90 68766331 0101"), ("video", (0,), "sequence_header")),
        (VIDEO, header("95 61763031 80048100"), ("video", (0,), "sequence_header")),
        (VIDEO, header("96 00 68766331 02 0101"), ("video", (2,), "sequence_header")),
        (
            VIDEO,
            header("96 10 68766331 01 000002 0102 00 000002 0101"),
            ("video", (0, 1), "sequence_header"),
        ),
        (VIDEO, header("96 10 68766331 02 000002 0102"), ("video", (2,), "sequence_header")),
        (VIDEO, header("D4 68766331 06"), ("video", (0,), "metadata")),
        (VIDEO, header("96 04 68766331 01 06"), ("video", (1,), "metadata")),
        (VIDEO, header("97 00 EE 00 68766331 0101"), ("video", (0,), "sequence_header")),
        (AUDIO, header("AF 00 1190"), ("audio", (0,), "sequence_header")),
        (AUDIO, header("95 00 6D703461 01 1190"), ("audio", (1,), "sequence_header")),
        (AUDIO, header("94 4F707573 01 02 00000003"), ("audio", (0,), "multichannel_config")),
        (AUDIO, header("95 04 4F707573 03 00 06"), ("audio", (3,), "multichannel_config")),
    ],
)
def test_header_keys(type_id, payload, key):
    assert header_key(type_id, payload) == key
    assert header_key(type_id, memoryview(payload)) == HeaderKey(*key)


@pytest.mark.parametrize("example", EXAMPLES + MALFORMED, ids=named(EXAMPLES + MALFORMED))
def test_what_is_no_header_has_no_key(example):
    assert (header_key(example.type_id, example.payload) is not None) == bool(example.flags & CACHED)


def test_headers_are_replayed_metadata_first_and_multichannel_last():
    keys = [
        header_key(DATA, ON_META_DATA),
        header_key(VIDEO, header("84 68766331 06")),
        header_key(VIDEO, header("90 68766331 0101")),
        header_key(AUDIO, header("90 4F707573 4F707573")),
        header_key(AUDIO, header("94 4F707573 01 02 00000003")),
    ]
    orders = [header_order(key) for key in keys]
    assert orders == sorted(set(orders))
    assert header_order(HeaderKey("video", (1, 7), "sequence_header")) == orders[2]


@pytest.mark.parametrize("example", EXAMPLES, ids=named(EXAMPLES))
def test_every_key_has_a_place_in_the_replay(example):
    key = header_key(example.type_id, example.payload)
    assert key is None or 0 <= header_order(key) <= 4


@pytest.mark.parametrize(
    ("type_id", "text", "empty"),
    [
        (VIDEO, "90 61763031", True),
        (VIDEO, "90 61763031 81", False),
        (VIDEO, "97 00 EE 00 61763031", True),
        (VIDEO, "96 00 61763031 01", True),
        (VIDEO, "96 10 68766331 00 000000 01 000002 0102", True),
        (VIDEO, "96 10 68766331 00 000001 01 01 000002 0102", False),
        (VIDEO, "17 00 000000", True),
        (VIDEO, "17 00 000000 01", False),
        (VIDEO, "91 61763031", False),
        (VIDEO, "A2 61763031", False),
        (VIDEO, "84 61763031", False),
        (VIDEO, "", False),
        (AUDIO, "90 4F707573", True),
        (AUDIO, "90 4F707573 4F", False),
        (AUDIO, "AF 00", True),
        (AUDIO, "AF 00 11", False),
        (AUDIO, "", False),
        (DATA, "02 000A 6F6E4D65746144617461", False),
    ],
)
def test_empty_headers(type_id, text, empty):
    assert is_empty_header(type_id, header(text)) is empty


@pytest.mark.parametrize("four_cc", [b".mp3", b"ac-3", b"ec-3"])
def test_codecs_without_a_header_body_have_no_empty_header(four_cc):
    """Else the header of the codec before would stay for joiners when one of these follows it."""
    assert not is_empty_header(AUDIO, b"\x90" + four_cc)


def test_set_data_frame_is_stripped_and_the_value_kept_verbatim():
    stripped = strip_set_data_frame(SET_DATA_FRAME + ON_META_DATA + ECMA_ARRAY)
    assert stripped == ON_META_DATA + ECMA_ARRAY
    view = strip_set_data_frame(memoryview(SET_DATA_FRAME + ON_META_DATA + ECMA_ARRAY))
    assert isinstance(view, memoryview)
    assert view == ON_META_DATA + ECMA_ARRAY
    assert strip_set_data_frame(SET_DATA_FRAME) == b""


@pytest.mark.parametrize("cut", range(len(SET_DATA_FRAME)))
def test_nothing_else_is_stripped(cut):
    payload = SET_DATA_FRAME[:cut]
    assert strip_set_data_frame(payload) is payload
    assert strip_set_data_frame(payload + b"?" + SET_DATA_FRAME[cut + 1 :] + ECMA_ARRAY).startswith(payload)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (ON_META_DATA + ECMA_ARRAY, "onMetaData"),
        (SET_DATA_FRAME + ON_META_DATA, "@setDataFrame"),
        (b"\x02\x00\x00", ""),
        (b"\x02\x00\x01\xff", "\udcff"),
        (b"\x02\x00\x02x", None),
        (b"\x02\x00", None),
        (b"\x00\x00\x01x", None),
        (b"", None),
    ],
)
def test_data_handler_names(payload, name):
    assert data_handler_name(payload) == name
    assert data_handler_name(memoryview(payload)) == name


@given(type_id=st.sampled_from((8, 9, 15, 18, 20)), payload=st.binary(max_size=64))
@settings(deadline=None, max_examples=300)
def test_no_payload_makes_anything_raise(type_id, payload):
    flags = flags_of(type_id, payload)
    key = header_key(type_id, payload)
    assert (key is None) == (not flags & CACHED)
    if is_empty_header(type_id, payload):
        assert flags & MediaFlags.SEQUENCE_HEADER
    if flags & (MediaFlags.MALFORMED | MediaFlags.EMPTY):
        assert not flags & (CACHED | MediaFlags.KEYFRAME)
    data_handler_name(payload)


@given(
    type_id=st.sampled_from((8, 9)),
    first=st.integers(0x80, 0xFF),
    layout=st.integers(0, 0x2F),
    tail=st.binary(max_size=40),
)
@settings(deadline=None, max_examples=300)
def test_the_short_way_for_one_track_agrees_with_the_parser(type_id, first, layout, tail):
    first = first & 0xF0 | 6 if type_id == VIDEO else 0x95
    payload = bytes((first, layout)) + tail
    flags = flags_of(type_id, payload)
    parsed = parse_ex_header(payload, video=type_id == VIDEO)
    assert bool(flags & MediaFlags.MALFORMED) == parsed.malformed
    coded = parsed.packet_type in ((1, 3) if type_id == VIDEO else (1,))
    empty = coded and all(track.start == track.end for track in parsed.tracks) and bool(parsed.tracks)
    assert bool(flags & MediaFlags.EMPTY) == empty
    if empty:
        return
    has_track_0 = any(track.track_id == 0 for track in parsed.tracks)
    key = type_id == VIDEO and has_track_0 and first >> 4 & 7 in (1, 4) and parsed.packet_type in (1, 3)
    assert bool(flags & MediaFlags.KEYFRAME) == key
    is_key = type_id == VIDEO and first >> 4 & 7 in (1, 4) and parsed.packet_type in (1, 3)
    others_key = is_key and bool(parsed.tracks) and not has_track_0
    assert bool(flags & MediaFlags.OTHER_KEYFRAME) == others_key
    assert bool(flags & MediaFlags.MULTITRACK) == (bool(parsed.tracks) and parsed.command is None)
    if parsed.tracks:
        assert track_ids(type_id, payload) == tuple(sorted({track.track_id for track in parsed.tracks}))


@pytest.mark.parametrize(
    ("type_id", "text", "tracks"),
    [
        (VIDEO, "", (0,)), (VIDEO, "17 01 000000", (0,)), (VIDEO, "91 68766331 000000 05 06", (0,)),
        (VIDEO, "96 01 61766331 02 000000", (2,)), (VIDEO, "97 02 000FA0 06 01 61766331 03 000000", (3,)),
        (VIDEO, "96 11 68766331 05", (0,)), (VIDEO, "96 13 68766331 04 000001 01 02 000001 02", (2, 4)),
        (AUDIO, "AF 01 00 00 00 00 07", (0,)), (AUDIO, "95 01 6D703461 01 2110", (1,)),
    ],
)  # fmt: skip
def test_the_tracks_of_a_message(type_id, text, tracks):
    assert track_ids(type_id, header(text)) == tracks


def test_only_enhanced_audio_and_video_have_an_enhanced_header():
    assert enhanced_header(VIDEO, header("A2 68766331")) is not None
    assert enhanced_header(AUDIO, header("92 4F707573")) is not None
    others = ((VIDEO, ""), (AUDIO, ""), (VIDEO, "17 02"), (AUDIO, "AF 00"), (18, "90 68766331"))
    for type_id, text in others:
        assert enhanced_header(type_id, header(text)) is None


@pytest.mark.parametrize("example", EXAMPLES, ids=named(EXAMPLES))
def test_what_a_decoder_is_given_is_coded(example):
    """All that says something about the media instead, or nothing, is not."""
    says = CACHED | MediaFlags.END_OF_SEQUENCE | MediaFlags.COMMAND | MediaFlags.EMPTY
    is_media = example.type_id in (AUDIO, VIDEO)
    assert is_coded(Message(example.type_id, 0, example.payload)) == (is_media and not example.flags & says)


@pytest.mark.parametrize("example", MALFORMED + EMPTY, ids=named(MALFORMED + EMPTY))
def test_what_cannot_be_decoded_is_not_coded(example):
    """It must not move a clock, begin a join, or count as a frame."""
    assert not is_coded(Message(example.type_id, 0, example.payload))
