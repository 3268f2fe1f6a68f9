"""The full parse of media messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.media.describe import ChannelLayout, MediaKind, describe
from support.media_examples import AUDIO, EXAMPLES, MALFORMED, VIDEO, named


def video(text):
    return describe(VIDEO, bytes.fromhex(text))


def audio(text):
    return describe(AUDIO, bytes.fromhex(text))


def bodies(text):
    payload = bytes.fromhex(text)
    tracks = describe(VIDEO, payload).tracks
    return {track.track_id: payload[track.body_start : track.body_end] for track in tracks}


@pytest.mark.parametrize(
    ("text", "kind", "codec", "cts_ms"),
    [
        ("90 68766331 0101", MediaKind.SEQUENCE_HEADER, "hvc1", 0),
        ("91 68766331 000021 00000002 2601", MediaKind.FRAMES, "hvc1", 33),
        ("91 68766331 FFFFFF 00000002 2601", MediaKind.FRAMES, "hvc1", -1),
        ("91 76766331 7FFFFF 00", MediaKind.FRAMES, "vvc1", 0x7FFFFF),
        ("A3 68766331 00000002 0201", MediaKind.FRAMES, "hvc1", 0),
        ("A2 68766331", MediaKind.END_OF_SEQUENCE, "hvc1", 0),
        ("84 68766331 02 0009 636F6C6F72496E666F 06", MediaKind.METADATA, "hvc1", 0),
        ("D4 68766331 02 0009 636F6C6F72496E666F 06", MediaKind.METADATA, "hvc1", 0),
        ("91 76703039 FFFFFF", MediaKind.FRAMES, "vp09", 0),
        ("93 61763031 FFFFFF", MediaKind.FRAMES, "av01", 0),
        ("91 00FF4142 00", MediaKind.FRAMES, "\x00\\xffAB", 0),
        ("98 61763031 00", MediaKind.UNKNOWN, "av01", 0),
        ("96 31 61763031 00", MediaKind.UNKNOWN, None, 0),
        ("17 00 000021 0164", MediaKind.SEQUENCE_HEADER, "avc1", 0),
        ("27 01 000021 00000001 41", MediaKind.FRAMES, "avc1", 33),
        ("27 01 FFFFDF 00000001 41", MediaKind.FRAMES, "avc1", -33),
        ("17 02 000000", MediaKind.END_OF_SEQUENCE, "avc1", 0),
        ("17 03 000000", MediaKind.UNKNOWN, "avc1", 0),
        ("1C 01 000000 00", MediaKind.FRAMES, "hvc1", 0),
        ("1D 01 000000 00", MediaKind.FRAMES, "av01", 0),
        ("24 00 84", MediaKind.FRAMES, "vp6", 0),
        ("2F 00 84", MediaKind.FRAMES, None, 0),
        ("", MediaKind.EMPTY, None, 0),
        ("17", MediaKind.MALFORMED, None, 0),
        ("91 6876", MediaKind.MALFORMED, None, 0),
    ],
)
def test_video(text, kind, codec, cts_ms):
    info = video(text)
    assert (info.kind, info.codec, info.cts_ms) == (kind, codec, cts_ms)


@pytest.mark.parametrize(
    ("text", "kind", "codec"),
    [
        ("AF 00 1190", MediaKind.SEQUENCE_HEADER, "mp4a"),
        ("AF 01 2110", MediaKind.FRAMES, "mp4a"),
        ("2F FFFB", MediaKind.FRAMES, ".mp3"),
        ("DF F8", MediaKind.FRAMES, "Opus"),
        ("CF 00", MediaKind.FRAMES, None),
        ("7E 00", MediaKind.FRAMES, "alaw"),
        ("90 4F707573 4F707573", MediaKind.SEQUENCE_HEADER, "Opus"),
        ("91 664C6143 FFF8", MediaKind.FRAMES, "fLaC"),
        ("92 4F707573", MediaKind.END_OF_SEQUENCE, "Opus"),
        ("93 4F707573", MediaKind.UNKNOWN, "Opus"),
        ("", MediaKind.EMPTY, None),
        ("AF", MediaKind.MALFORMED, None),
    ],
)
def test_audio(text, kind, codec):
    info = audio(text)
    assert (info.kind, info.codec) == (kind, codec)


def test_nanosecond_offsets():
    assert video("97 02 0F423F 01 68766331 000000 00").nano_offset_ns == 999_999
    assert audio("97 02 000FA0 01 4F707573 F8").nano_offset_ns == 4000
    assert audio("97 02 000FA0 11 4F707573 F8").nano_offset_ns == 0, "another extension's data"
    assert audio("97 00 FF 01 4F707573 F8").nano_offset_ns == 0, "too short to be one"
    assert video("97 FF 00FF" + "000007" + "AB" * 253 + "01 61763031 00").nano_offset_ns == 7


def test_commands():
    assert video("D1 01").command == 1
    assert video("57 00").command == 0
    assert video("57 00").kind is MediaKind.COMMAND


def test_one_track():
    info = video("96 01 61766331 02 000021 00000001 65")
    (track,) = info.tracks
    assert (track.track_id, track.codec, track.keyframe, track.cts_ms) == (2, "avc1", True, 33)
    assert not info.flags & MediaFlags.KEYFRAME, "a keyframe, but not of track 0"


def test_many_tracks_with_their_own_codecs():
    text = "A6 21 61763031 00 000003 120032 61766331 01 000007 000021 00000001"
    info = video(text)
    assert [(track.track_id, track.codec, track.cts_ms) for track in info.tracks] == [
        (0, "av01", 0), (1, "avc1", 33),
    ]  # fmt: skip
    assert bodies(text) == {0: bytes.fromhex("120032"), 1: bytes.fromhex("00000001")}


def test_many_tracks_of_one_codec():
    text = "96 10 68766331 00 000002 0101 01 000002 0102"
    assert video(text).kind is MediaKind.SEQUENCE_HEADER
    assert bodies(text) == {0: b"\x01\x01", 1: b"\x01\x02"}


def test_bodies_of_single_tracks():
    assert bodies("91 68766331 000021 AABB") == {0: b"\xaa\xbb"}
    assert bodies("17 00 000000 AABB") == {0: b"\xaa\xbb"}
    assert bodies("17 02") == {0: b""}
    assert bodies("12 AABB") == {0: b"\xaa\xbb"}
    assert describe(AUDIO, b"\xaf\x01\xaa").tracks[0].body_start == 2
    assert describe(AUDIO, b"\x2f\xaa").tracks[0].body_start == 1


def test_channel_layouts():
    assert audio("94 4F707573 01 02 00000003").layout == ChannelLayout(1, 2, mask=3)
    assert audio("94 4F707573 02 03 0001FF").layout == ChannelLayout(2, 3, channels=(0, 1, 0xFF))
    assert audio("94 4F707573 00 06").layout == ChannelLayout(0, 6)
    assert audio("91 4F707573 00 06").layout is None


def test_data():
    info = describe(18, b"\x02\x00\x0aonMetaData\x05")
    assert (info.kind, info.handler_name) == (MediaKind.METADATA, "onMetaData")
    info = describe(18, b"\x02\x00\x06onText\x05")
    assert (info.kind, info.handler_name) == (MediaKind.DATA, "onText")
    assert describe(15, b"\x00\x02\x00\x06onText").handler_name is None


def test_what_is_not_media():
    assert describe(20, b"\x17\x00").kind is MediaKind.UNKNOWN


@pytest.mark.parametrize("example", EXAMPLES + MALFORMED, ids=named(EXAMPLES + MALFORMED))
def test_cut_anywhere_it_tells_what_flags_of_tells(example):
    for cut in range(len(example.payload) + 1):
        payload = example.payload[:cut]
        info = describe(example.type_id, payload)
        assert info.flags == flags_of(example.type_id, payload)
        assert (info.kind is MediaKind.MALFORMED) == bool(info.flags & MediaFlags.MALFORMED)
        assert info == describe(example.type_id, memoryview(payload))


@given(type_id=st.sampled_from((8, 9, 15, 18)), first=st.integers(0, 255), tail=st.binary(max_size=64))
@settings(deadline=None, max_examples=300)
def test_no_payload_makes_it_raise_or_point_outside(type_id, first, tail):
    payload = bytes((first,)) + tail
    for track in describe(type_id, payload).tracks:
        assert 0 <= track.body_start <= track.body_end <= len(payload)
