"""Keyframes told by the frame itself, where the frame type says nothing (0, 6 and 7 are reserved).

MediaMTX forwards all enhanced video with frame type 0.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.media.access_unit import MAX_UNITS, can_start
from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.media.describe import MediaKind, describe
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message

VIDEO = 9
KEY = MediaFlags.VIDEO | MediaFlags.KEYFRAME
INTER = MediaFlags.VIDEO
SILENT = (0, 6, 7)
LEGACY_IDS = {"avc1": 7, "hvc1": 12, "av01": 13}
WITH_CTS = ("avc1", "hvc1", "vvc1")
#: FourCC, PyAV's encoder, its options, and a container whose packets are as in RTMP.
ENCODERS = [
    ("avc1", "libx264", {"g": "5", "bf": "0", "aud": "1"}, "mp4"),
    ("hvc1", "libx265", {"x265-params": "keyint=5:min-keyint=5:bframes=0:aud=1:log-level=none"}, "mp4"),
    ("av01", "libsvtav1", {"g": "5", "preset": "12"}, "mp4"),
    ("vp08", "libvpx", {"g": "5", "deadline": "realtime"}, "webm"),
    ("vp09", "libvpx-vp9", {"g": "5", "deadline": "realtime", "lag-in-frames": "0"}, "mp4"),
]


#: A codec, and frames with whether each is a keyframe.
Encoded = tuple[str, list[tuple[bytes, bool]]]


@pytest.fixture(scope="module", params=ENCODERS, ids=[encoder[1] for encoder in ENCODERS])
def encoded(request: pytest.FixtureRequest) -> Encoded:
    """A codec, and frames of it that an encoder made, with whether each is a keyframe."""
    four_cc, encoder, options, container_format = request.param
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        video = container.add_stream(encoder, rate=25, options=options)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        for index in range(12):
            frame = av.VideoFrame(128, 96, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes((index * 20,)) * plane.buffer_size)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    file.seek(0)
    with av.open(file) as container:
        frames = [(bytes(packet), packet.is_keyframe) for packet in container.demux(video=0) if packet.size]
    assert 2 <= sum(is_key for _, is_key in frames) < len(frames)
    return four_cc, frames


def enhanced(four_cc: str, body: bytes, frame_type: int = 0, layout: str = "plain") -> bytes:
    first = 0x80 | frame_type << 4
    name, cts = four_cc.encode(), b"\x00\x00\x21" if four_cc in WITH_CTS else b""
    if layout == "no cts":
        return bytes((first | 3,)) + name + body
    body = cts + body
    size = len(body).to_bytes(3, "big")
    return {
        "plain": bytes((first | 1,)) + name + body,
        "behind ModEx": bytes((first | 7, 2, 0, 0, 1, 1)) + name + body,
        "one track": bytes((first | 6, 1)) + name + b"\x00" + body,
        "one track behind ModEx": bytes((first | 7, 2, 0, 0, 1, 6, 1)) + name + b"\x00" + body,
        "two tracks": bytes((first | 6, 0x11)) + name + b"\x01" + size + body + b"\x00" + size + body,
        "two codecs": bytes((first | 6, 0x21)) + name + b"\x00" + size + body
        + b"vp08\x01\x00\x00\x01\x01",
        "another track": bytes((first | 6, 1)) + name + b"\x01" + body,
    }[layout]  # fmt: skip


LAYOUTS = (
    "plain", "no cts", "behind ModEx", "one track", "one track behind ModEx", "two tracks", "two codecs",
)  # fmt: skip


def legacy(four_cc: str, body: bytes, frame_type: int = 0) -> bytes:
    return bytes((frame_type << 4 | LEGACY_IDS[four_cc], 1, 0, 0, 0)) + body


@pytest.mark.parametrize("frame_type", SILENT)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_what_encoders_make(
    encoded: Encoded, layout: str, frame_type: int, wrap: Callable[[bytes], bytes]
) -> None:
    four_cc, frames = encoded
    for body, is_key in frames:
        if layout == "plain" and four_cc in LEGACY_IDS:
            payload = wrap(legacy(four_cc, body, frame_type))
            assert MediaFlags(flags_of(VIDEO, payload)) == (KEY if is_key else INTER)
            assert describe(VIDEO, payload).tracks[0].keyframe is is_key
        payload = wrap(enhanced(four_cc, body, frame_type, layout))
        tracks = MediaFlags.MULTITRACK if "track" in layout or layout == "two codecs" else MediaFlags(0)
        assert MediaFlags(flags_of(VIDEO, payload)) == (KEY if is_key else INTER) | tracks
        info = describe(VIDEO, payload)
        assert info.kind is MediaKind.FRAMES
        assert next(track for track in info.tracks if track.track_id == 0).keyframe is is_key


def test_a_frame_cut_anywhere_is_no_other_keyframe(encoded: Encoded) -> None:
    four_cc, frames = encoded
    for body, is_key in frames[:7]:
        shown = {can_start(four_cc.encode(), body, 0, cut) for cut in range(len(body))}
        assert shown <= {False, is_key}
        for layout in LAYOUTS:
            payload = enhanced(four_cc, body[:40], 0, layout)
            for cut in range(len(payload)):
                flags = MediaFlags(flags_of(VIDEO, payload[:cut]))
                assert is_key or not flags & MediaFlags.KEYFRAME


def test_a_joiner_starts_at_the_keyframe(encoded: Encoded) -> None:
    four_cc, frames = encoded
    log = StreamLog()
    for index, (body, _) in enumerate(frames):
        log.append(Message(VIDEO, 40 * index, enhanced(four_cc, body)))
    last_key = max(index for index, (_, is_key) in enumerate(frames) if is_key)
    assert log.start_of_join() == last_key


def test_of_a_track_that_is_not_the_first_it_is_no_keyframe_to_start_at() -> None:
    idr = nal(b"\x65\x88")
    payload = enhanced("avc1", idr, 0, "another track")
    assert MediaFlags(flags_of(VIDEO, payload)) == INTER | MediaFlags.MULTITRACK | MediaFlags.OTHER_KEYFRAME
    assert describe(VIDEO, payload).tracks[0].keyframe


def nal(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def nal_unit(four_cc: str, unit_type: int) -> bytes:
    return nal({
        "avc1": bytes((0x60 | unit_type & 31, 0)), "hvc1": bytes((unit_type << 1, 1)),
        "vvc1": bytes((0, (unit_type & 31) << 3 | 1)),
    }[four_cc])  # fmt: skip


#: By codec: how many types there are, the slices, and those a decoder can start at.
NAL_TYPES = {
    "avc1": (32, range(1, 6), {5}),
    "hvc1": (64, range(32), set(range(16, 24))),
    "vvc1": (32, range(12), {7, 8, 9, 11}),
}


@pytest.mark.parametrize("four_cc", NAL_TYPES)
def test_the_first_slice_decides(four_cc: str) -> None:
    count, slices, starts = NAL_TYPES[four_cc]
    name = four_cc.encode()
    start, other = (nal_unit(four_cc, unit_type) for unit_type in (min(starts), 1))
    for unit_type in range(count):
        unit = nal_unit(four_cc, unit_type)
        assert can_start(name, unit, 0, len(unit)) is (unit_type in starts)
        for behind in (start, other):
            expected = unit_type in starts if unit_type in slices else behind is start
            assert can_start(name, unit + behind, 0, len(unit + behind)) is expected
    # What stands behind the end is another track's.
    assert not can_start(name, other + start, 0, len(other))
    assert can_start(name, other + start, len(other), len(other + start))


@pytest.mark.parametrize("four_cc", NAL_TYPES)
def test_lengths_that_are_wrong(four_cc: str) -> None:
    name = four_cc.encode()
    count, slices, _ = NAL_TYPES[four_cc]
    sei = next(unit_type for unit_type in range(1, count) if unit_type not in slices)
    start, empty = nal_unit(four_cc, min(NAL_TYPES[four_cc][2])), bytes(4)
    assert can_start(name, empty + start, 0, len(start) + 4), "an empty unit is passed over"
    too_long = b"\xff\xff\xff\xff" + nal_unit(four_cc, sei)[4:]
    assert not can_start(name, too_long + start, 0, len(too_long + start))
    assert can_start(name, b"\xff\xff\xff\xff" + start[4:], 0, len(start)), "its type is there all the same"


@pytest.mark.parametrize(("in_front", "found"), [(MAX_UNITS - 1, True), (MAX_UNITS, False)])
def test_so_many_units_are_looked_at_and_not_one_more(in_front: int, found: bool) -> None:
    units = nal(b"\x06\x80") * in_front + nal(b"\x65\x88")
    assert can_start(b"avc1", units, 0, len(units)) is found
    obus = b"\x7a\x00" * in_front + b"\x0a\x00"
    assert can_start(b"av01", obus, 0, len(obus)) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1200 0A0B", True), ("12 00 0A 00", True), ("0A 01 FF 32 00", True),
        ("1200 32 00 0A 00", False), ("1200 1A 00", False), ("12 00 3A 00", False), ("22 00", False),
        ("7A 03 AABBCC 0A 00", True), ("7A 83 00 AABBCC 0A 00", True), ("7E 10 01 AA 0A 00", True),
        ("7A 04 AABBCC 0A 00", False), ("78 0A 00", False), ("7A FF FF FF FF FF FF FF FF FF", False),
        ("7A 80 80 80 80 80 80 80 80 01 0A 00", False), ("", False), ("7A", False), ("08", True),
    ],
)  # fmt: skip
def test_units_of_av1(text: str, found: bool) -> None:
    body = bytes.fromhex(text)
    assert can_start(b"av01", body, 0, len(body)) is found


@pytest.mark.parametrize(
    ("four_cc", "first", "found"),
    [
        (b"vp08", 0x10, True), (b"vp08", 0x11, False),
        (b"vp09", 0x82, True), (b"vp09", 0x86, False), (b"vp09", 0x8A, False), (b"vp09", 0xA0, True),
        (b"vp09", 0xB1, True), (b"vp09", 0xB3, False), (b"vp09", 0xB5, False), (b"vp09", 0x42, False),
        (b"xxxx", 0x65, False),
    ],
)  # fmt: skip
def test_first_bytes(four_cc: bytes, first: int, found: bool) -> None:
    assert can_start(four_cc, bytes((first, 0)), 0, 2) is found
    assert not can_start(four_cc, bytes((first,)), 1, 1)


@pytest.mark.parametrize("frame_type", [1, 2, 3, 4])
def test_a_frame_type_that_says_something_is_believed(frame_type: int) -> None:
    idr, other = nal(b"\x65\x88"), nal(b"\x41\x88")
    for body in (idr, other):
        for payload in (enhanced("avc1", body, frame_type), legacy("avc1", body, frame_type)):
            assert bool(flags_of(VIDEO, payload) & MediaFlags.KEYFRAME) == (frame_type in (1, 4))


@pytest.mark.parametrize("frame_type", SILENT)
def test_headers_and_ends_are_what_they_are(frame_type: int) -> None:
    first = 0x80 | frame_type << 4
    header, end = bytes((first,)) + b"hvc1\x01\x01\x00\x00", bytes((first | 2,)) + b"hvc1"
    assert flags_of(VIDEO, header) == MediaFlags.VIDEO | MediaFlags.SEQUENCE_HEADER
    assert flags_of(VIDEO, end) == MediaFlags.VIDEO | MediaFlags.END_OF_SEQUENCE
    avc = bytes((frame_type << 4 | 7,))
    assert flags_of(VIDEO, avc + bytes(12)) == MediaFlags.VIDEO | MediaFlags.SEQUENCE_HEADER
    assert flags_of(VIDEO, avc + b"\x02\x00\x00\x00") == MediaFlags.VIDEO | MediaFlags.END_OF_SEQUENCE
    assert flags_of(VIDEO, avc + b"\x01\x00\x00") == MediaFlags.VIDEO | MediaFlags.MALFORMED
    assert flags_of(VIDEO, avc + b"\x01\x00\x00\x00") == MediaFlags.VIDEO | MediaFlags.EMPTY
    assert flags_of(VIDEO, bytes((frame_type << 4 | 2, 0, 0))) == INTER


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SILENT), st.sampled_from(sorted([*NAL_TYPES, "av01", "vp08", "vp09"])),
       st.sampled_from([*LAYOUTS, "another track"]), st.binary(max_size=60))  # fmt: skip
def test_nothing_is_raised(frame_type: int, four_cc: str, layout: str, noise: bytes) -> None:
    describe(VIDEO, enhanced(four_cc, noise, frame_type, layout))
    describe(VIDEO, bytes((0x80 | frame_type << 4,)) + noise)
    describe(VIDEO, bytes((frame_type << 4 | 7, 1)) + noise)
