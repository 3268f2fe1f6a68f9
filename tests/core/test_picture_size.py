"""The size of a picture, by the configurations of real encoders, and with fields that those leave out."""

from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.bits import Bits, EndOfBitsError
from cluster.core.media.picture_size import UNKNOWN_SIZE, picture_size
from support.bit_writer import BitWriter as Writer

# ---- H.264 -----------------------------------------------------------------------------------------


def avcc(sps: bytes) -> bytes:
    escaped = sps.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")
    return bytes((1, *escaped[1:4], 0xFF, 0xE1)) + len(escaped).to_bytes(2, "big") + escaped


def avc_sps(profile: int = 66) -> Writer:
    return Writer().u(8, 0x67).u(8, profile).u(16, 0x001E).ue(0)


def with_size(writer: Writer, columns: int = 40, rows: int = 30, *, frames: int = 1) -> Writer:
    """From the number of reference frames up to the cropping."""
    writer.ue(1).u(1).ue(columns - 1, rows - 1).u(1, frames)
    if not frames:
        writer.u(1, 1)
    return writer.u(1, 1)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le"])
@pytest.mark.parametrize(
    "options", [{}, {"x264-params": "interlaced=1"}, {"x264-params": "cqm=jvt:bframes=0"}]
)
def test_x264(pixels: str, options: dict[str, str]) -> None:
    with av.open(io.BytesIO(), "w", format="flv") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 150, 108, pixels
        container.start_encoding()
        record = stream.codec_context.extradata
    assert record is not None
    start = record.index(b"\0\0\1\x67") + 3
    sps = record[start : record.index(b"\0\0\1", start)].rstrip(b"\0")
    size = bytes((1, *sps[1:4], 0xFF, 0xE1)) + len(sps).to_bytes(2, "big") + sps
    assert picture_size("avc1", size) == (150, 108)


@pytest.mark.parametrize("crop", [(0, 0, 0, 0), (0, 4, 0, 5)])
@pytest.mark.parametrize(
    "order", [Writer().ue(0, 4), Writer().ue(1).u(1).se(-2, 3).ue(3).se(1, -1, 0), Writer().ue(2)]
)
def test_h264_picture_orders(order: Writer, crop: tuple[int, ...]) -> None:
    writer = avc_sps().ue(0)
    writer.bits += order.bits
    with_size(writer)
    writer = writer.u(1, 1).ue(*crop) if any(crop) else writer.u(1)
    assert picture_size("avc1", avcc(writer.bytes())) == (640 - 2 * crop[1], 480 - 2 * crop[3])


@pytest.mark.parametrize(
    ("chroma", "frames", "unit"),
    [((0,), 1, (1, 1)), ((1,), 1, (2, 2)), ((2,), 1, (2, 1)), ((3, 0), 1, (1, 1)), ((3, 1), 1, (1, 1)),
     ((1,), 0, (2, 4)), ((2,), 0, (2, 2))],
)  # fmt: skip
@pytest.mark.parametrize("lists", [False, True])
def test_h264_chroma_and_scaling_lists(
    chroma: tuple[int, ...], frames: int, unit: tuple[int, int], lists: bool
) -> None:
    writer = avc_sps(244).ue(chroma[0])
    if chroma[0] == 3:
        writer.u(1, chroma[1])
    writer.ue(0, 0).u(1).u(1, lists)
    if lists:
        # One whole, one that ends at once, and none of the rest.
        writer.u(1, 1).se(*(1,) * 16).u(1, 1).se(-8).u(10 if chroma[0] == 3 else 6)
    with_size(writer.ue(0, 0, 0), frames=frames).u(1, 1).ue(1, 2, 3, 4)
    width, height = 640 - 3 * unit[0], (1 if frames else 2) * 480 - 7 * unit[1]
    assert picture_size("avc1", avcc(writer.bytes())) == (width, height)


def test_h264_with_no_parameter_set_or_another_unit() -> None:
    good = avcc(with_size(avc_sps().ue(0, 0, 0)).u(1).bytes())
    assert picture_size("avc1", good) == (640, 480)
    assert picture_size("avc1", good[:5] + b"\xe0" + good[6:]) == UNKNOWN_SIZE
    assert picture_size("avc1", good[:8] + b"\x68" + good[9:]) == UNKNOWN_SIZE


def test_sizes_that_mp4_cannot_say() -> None:
    for columns, rows, cropped in ((4096, 30, 0), (40, 4096, 0), (40, 30, 320)):
        writer = with_size(avc_sps().ue(0, 0, 0), columns, rows).u(1, 1).ue(0, cropped, 0, 0)
        assert picture_size("avc1", avcc(writer.bytes())) == UNKNOWN_SIZE
    writer = with_size(avc_sps().ue(0, 0, 0), 4095, 30).u(1)
    assert picture_size("avc1", avcc(writer.bytes())) == (65520, 480)


# ---- H.265 -----------------------------------------------------------------------------------------


def hvcc(*arrays: tuple[int, list[bytes]]) -> bytes:
    record = bytes((1,)) + bytes(21) + bytes((len(arrays),))
    for unit_type, units in arrays:
        record += bytes((0x80 | unit_type,)) + len(units).to_bytes(2, "big")
        for unit in units:
            record += len(unit).to_bytes(2, "big") + unit
    return record


def hevc_sps(sub_layers: tuple[tuple[int, int], ...] = (), chroma: tuple[int, ...] = (1,)) -> Writer:
    """``sub_layers``: whether each has a profile and a level of its own."""
    ones = (1 << 95) - 1  # nothing in it to be taken for a start code
    writer = Writer().u(16, 33 << 9 | 1).u(4).u(3, len(sub_layers)).u(1, 1).u(96, ones)
    for has_profile, has_level in sub_layers:
        writer.u(1, has_profile).u(1, has_level)
    if sub_layers:
        writer.u(2 * (8 - len(sub_layers)))
    for has_profile, has_level in sub_layers:
        writer.u(88 * has_profile, ones >> 7).u(8 * has_level, 93)
    writer.ue(0, chroma[0])
    if chroma[0] == 3:
        writer.u(1, chroma[1])
    return writer.ue(640, 480)


@pytest.mark.parametrize("sub_layers", [(), ((1, 1),), ((0, 1), (1, 0)), ((0, 0),) * 6])
def test_h265_sub_layers(sub_layers: tuple[tuple[int, int], ...]) -> None:
    record = hvcc((32, [b"\x40\1vps"]), (33, [hevc_sps(sub_layers).u(1).bytes()]))
    assert picture_size("hvc1", record) == (640, 480)


@pytest.mark.parametrize(
    ("chroma", "unit"),
    [((0,), (1, 1)), ((1,), (2, 2)), ((2,), (2, 1)), ((3, 0), (1, 1)), ((3, 1), (1, 1))],
)
def test_h265_chroma(chroma: tuple[int, ...], unit: tuple[int, int]) -> None:
    sps = hevc_sps(chroma=chroma).u(1, 1).ue(1, 2, 3, 4).bytes()
    assert picture_size("hvc1", hvcc((33, [sps]))) == (640 - 3 * unit[0], 480 - 7 * unit[1])


def test_h265_without_a_parameter_set() -> None:
    assert picture_size("hvc1", hvcc()) == UNKNOWN_SIZE
    assert picture_size("hvc1", hvcc((32, [b"\x40\1vps"]), (33, []))) == UNKNOWN_SIZE


# ---- AV1 -------------------------------------------------------------------------------------------


def av1c(header: Writer, *, has_size: bool = True, extended: bool = False, before: bytes = b"") -> bytes:
    data = header.u(4, 9).u(4, 8).u(10, 639).u(9, 479).bytes()
    first = bytes((1 << 3 | has_size << 1 | extended << 2,)) + (b"\0" if extended else b"")
    # A size may be longer than it need be (section 4.10.5).
    size = bytes((len(data) | 0x80, 0x80, 0)) if has_size else b""
    return b"\x81\x08\x0c\0" + before + first + size + data


#: Timing information with an equal picture interval, a decoder model, delays, and a level that has a tier.
_TIMED = Writer().u(4).u(1).u(1, 1).u(64, 1 << 40 | 1).u(1, 1).ue(6).u(1, 1).u(5, 9).u(42, 1)
_TIMED = _TIMED.u(1, 1).u(5, 1)
_TIMED = _TIMED.u(12).u(5, 8).u(1).u(1, 1).u(10).u(10).u(1).u(1, 1).u(4)
_TIMED = _TIMED.u(12).u(5, 7).u(1, 0).u(1, 0)

AV1_HEADERS = {
    "plain": Writer().u(3).u(2).u(1).u(1).u(5).u(12).u(5, 8).u(1),
    "reduced": Writer().u(3).u(1, 1).u(1, 1).u(5, 8),
    "timed": _TIMED,
    "interval": Writer().u(4).u(1).u(1, 1).u(64, 1).u(1).u(1).u(1).u(5).u(12).u(5, 4),
}


@pytest.mark.parametrize("name", AV1_HEADERS)
def test_av1(name: str) -> None:
    header = AV1_HEADERS[name]
    record = av1c(Writer().u(len(header.bits), int(header.bits, 2)))
    assert picture_size("av01", record) == (640, 480)


@pytest.mark.parametrize(
    ("has_size", "extended", "before"),
    [
        (True, False, b""),
        (False, False, b""),
        (True, True, b""),
        (True, False, b"\x12\0"),
        (True, False, b"\x2a\3abc"),
    ],
)
def test_how_an_av1_header_is_wrapped(has_size: bool, extended: bool, before: bytes) -> None:
    header = AV1_HEADERS["reduced"]
    writer = Writer().u(len(header.bits), int(header.bits, 2))
    assert picture_size("av01", av1c(writer, has_size=has_size, extended=extended, before=before)) == (
        640,
        480,
    )


def test_av1_without_a_header() -> None:
    assert picture_size("av01", b"\x81\x08\x0c\0") == UNKNOWN_SIZE
    assert picture_size("av01", b"\x81\x08\x0c\0\x2a" + b"\xff" * 40) == UNKNOWN_SIZE


# ---- anything --------------------------------------------------------------------------------------


def test_other_codecs() -> None:
    assert picture_size("vp09", bytes(20)) == UNKNOWN_SIZE


@given(st.sampled_from(("avc1", "hvc1", "av01")), st.binary(max_size=120))
def test_no_bytes_raise(codec: str, record: bytes) -> None:
    width, height = picture_size(codec, record)
    assert 0 <= width <= 0xFFFF
    assert 0 <= height <= 0xFFFF


def test_no_record_cut_anywhere_raises() -> None:
    plain = AV1_HEADERS["plain"]
    for codec, record in (
        ("avc1", avcc(with_size(avc_sps(244).ue(1, 0, 0).u(2).ue(0, 0, 0)).u(1).bytes())),
        ("hvc1", hvcc((33, [hevc_sps(((1, 1),)).u(1).bytes()]))),
        ("av01", av1c(Writer().u(len(plain.bits), int(plain.bits, 2)))),
    ):
        assert picture_size(codec, record) == (640, 480)
        for cut in range(len(record)):
            assert picture_size(codec, record[:cut]) in ((640, 480), UNKNOWN_SIZE)


def test_bits() -> None:
    bits = Bits(Writer().u(3, 5).ue(0, 1, 7, 254).se(0, 1, -1, 2, -2).bytes())
    assert bits.read(3) == 5
    assert [bits.read_ue() for _ in range(4)] == [0, 1, 7, 254]
    assert [bits.read_se() for _ in range(5)] == [0, 1, -1, 2, -2]


def test_where_bits_end() -> None:
    bits = Bits(b"\x80")
    assert bits.read(8) == 0x80
    with pytest.raises(EndOfBitsError):
        bits.read(1)
    assert Bits(bytes(3) + b"\x01" + bytes(4)).read_ue() == (1 << 31) - 1
    with pytest.raises(EndOfBitsError):
        Bits(bytes(4) + b"\x80" + bytes(8)).read_ue()
    assert Bits(bytes(1024) + b"\xff").read(8 * 1024) == 0
    with pytest.raises(EndOfBitsError):
        Bits(bytes(1024) + b"\xff").read(8 * 1024 + 1)
