"""What frames and configurations of audio say that FFmpeg's encoders do not make, written by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media import audio_formats
from cluster.core.media.audio_formats import (
    aac_format,
    ac3_format,
    eac3_format,
    eac3_samples,
    flac_format,
    flac_samples,
    is_mpeg_1,
    mpeg_audio_format,
    opus_samples,
)
from cluster.core.media.codec_strings import audio_codec_string, video_codec_string
from support.bit_writer import BitWriter


def eac3_frame(
    *, stream_type: int = 0, rate: int = 0, half: int = 0, blocks: int = 3, acmod: int = 7, lfe: int = 1,
    bsid: int = 16, channel_map: int | None = None, words: int = 63,
) -> bytes:  # fmt: skip
    writer = BitWriter().u(16, 0x0B77).u(2, stream_type).u(3).u(11, words).u(2, rate)
    writer.u(2, half if rate == 3 else blocks).u(3, acmod).u(1, lfe).u(5, bsid).u(5, 20)
    writer.u(1, 1).u(8)
    if not acmod:
        writer.u(5).u(1)
    if stream_type == 1:
        writer.u(1, channel_map is not None)
        if channel_map is not None:
            writer.u(16, channel_map)
    return writer.bytes().ljust(2 * words + 2, b"\0")


def test_eac3() -> None:
    """3/2 with LFE; 128 bytes a frame of 1,536 samples are 32 kbit/s."""
    audio = eac3_format(eac3_frame())
    assert audio is not None
    assert audio[:3] == (48000, 6, 0)
    assert audio.specific == bytes.fromhex("0100 200F00")


@pytest.mark.parametrize(
    ("frame", "samples"),
    [
        (eac3_frame(blocks=0), 256),
        (eac3_frame(blocks=1), 512),
        (eac3_frame(blocks=2), 768),
        (eac3_frame(blocks=0) * 6, 1536),
        (eac3_frame() + eac3_frame(stream_type=1), 1536),
        (eac3_frame() + eac3_frame()[:3], 1536),
        (eac3_frame() + b"nonsense that is no frame", 1536),
        (b"", 0),
        (b"\x0b\x77", 0),
    ],
)
def test_samples_of_eac3(frame: bytes, samples: int) -> None:
    assert eac3_samples(frame) == samples


def test_eac3_of_other_rates_and_channels() -> None:
    for rate, half, wanted in ((1, 0, 44100), (2, 0, 32000), (3, 0, 24000), (3, 1, 22050), (3, 2, 16000)):
        audio = eac3_format(eac3_frame(rate=rate, half=half, acmod=0, lfe=0))
        assert audio is not None
        assert audio[:2] == (wanted, 2)
    assert eac3_format(eac3_frame(rate=3, half=3)) is None
    assert eac3_format(eac3_frame(bsid=17)) is None
    assert eac3_format(eac3_frame(bsid=10)) is None
    assert eac3_format(eac3_frame(stream_type=1)) is None


@pytest.mark.parametrize(("channel_map", "places"), [(1 << 9 | 1 << 5, 0b10001), (None, 7)])
def test_eac3_with_more_channels_on_top(channel_map: int | None, places: int) -> None:
    """7.1 is 5.1 and a substream that depends on it."""
    frames = eac3_frame() + eac3_frame(stream_type=1, channel_map=channel_map)
    audio = eac3_format(frames)
    assert audio is not None
    assert audio.specific == bytes.fromhex("0200 200F02") + bytes((places,))


def ac3_frame(rate: int = 0, bsid: int = 8, acmod: int = 2, size_code: int = 20) -> bytes:
    writer = BitWriter().u(32, 0x0B770000).u(2, rate).u(6, size_code).u(5, bsid).u(3).u(3, acmod)
    mixed = (acmod & 1 and acmod != 1, acmod & 4, acmod == 2)
    return writer.u(2 * sum(map(bool, mixed))).u(1, 1).u(40).bytes()


@pytest.mark.parametrize("acmod", range(8))
def test_channels_of_ac3(acmod: int) -> None:
    audio = ac3_format(ac3_frame(acmod=acmod))
    assert audio is not None
    assert audio[:3] == (48000, (2, 1, 2, 3, 3, 4, 4, 5)[acmod] + 1, 1536)
    assert audio.specific == (8 << 17 | acmod << 11 | 1 << 10 | 10 << 5).to_bytes(3, "big")


def test_rates_of_ac3() -> None:
    found = [ac3_format(ac3_frame(rate, bsid)) for rate, bsid in ((1, 8), (2, 6), (0, 9), (0, 10))]
    assert [audio and audio.sample_rate for audio in found] == [44100, 32000, 24000, 12000]
    assert ac3_format(ac3_frame(rate=3)) is None
    assert ac3_format(ac3_frame(bsid=11)) is None
    assert ac3_format(b"\x0b\x78" + bytes(20)) is None


@pytest.mark.parametrize(
    ("frame", "samples"),
    [
        ("FFF8 1088 00", 192),
        ("FFF8 2088 00", 576),
        ("FFF9 5088 00", 4608),
        ("FFF8 8088 00", 256),
        ("FFF8 F088 00", 32768),
        ("FFF8 6088 00 FE", 255),
        ("FFF8 7088 00 0FFF", 4096),
        ("FFF8 6088 C380 10", 17),
        ("FFF8 7088 E18080 0010", 17),
        ("FFF8 7088 00 0F", 0),
        ("FFF8 0088 00", 0),
        ("FFF0 1088 00", 0),
        ("FFF8 10", 0),
    ],
)
def test_samples_of_flac(frame: str, samples: int) -> None:
    assert flac_samples(bytes.fromhex(frame)) == samples


STREAMINFO = bytes.fromhex("1000 1000 000000 000000 0AC442F0 00000000") + bytes(16)


@pytest.mark.parametrize("before", [b"", b"fLaC", b"fLaC\x80\0\0\x22", b"\0\0\0\x22"])
def test_flac(before: bytes) -> None:
    audio = flac_format(before + STREAMINFO)
    assert audio == (44100, 2, 4096, 0, STREAMINFO)
    assert flac_format(before + STREAMINFO[:-1]) is None


def test_flac_of_varying_frames_or_no_rate() -> None:
    audio = flac_format(b"\x00\x10" + STREAMINFO[2:])
    assert audio is not None
    assert audio.frame_samples == 0
    assert flac_format(STREAMINFO[:10] + bytes(24)) is None


@pytest.mark.parametrize("config", ["", "11", "1690", "0190", "1F90", "7F"])
def test_no_aac(config: str) -> None:
    assert aac_format(bytes.fromhex(config)) is None


def test_aac_of_low_delay() -> None:
    """And of kinds whose frames are not known here."""
    for config, samples in (("B988", 512), ("B994", 480), ("F94090", 0)):
        audio = aac_format(bytes.fromhex(config))
        assert audio is not None
        assert audio.frame_samples == samples


@pytest.mark.parametrize(
    "header", ["", "FFFB90", "FEFB9064", "FF1B9064", "FFEB9064", "FFF99064", "FFFB9C64"]
)
def test_no_mpeg_audio(header: str) -> None:
    assert mpeg_audio_format(bytes.fromhex(header)) is None


def test_rates_of_mpeg_1() -> None:
    assert [is_mpeg_1(rate) for rate in (48000, 44100, 32000, 24000, 11025)] == [True] * 3 + [False] * 2


def test_codecs_by_name_alone() -> None:
    for codec in ("avc1", "hvc1", "av01", "vp09", "vvc1"):
        assert video_codec_string(codec, b"\1") == codec
    assert audio_codec_string("mp4a") == "mp4a"
    assert audio_codec_string("speex") == "speex"


FORMATS: list[Callable[[bytes], object]] = [
    aac_format, mpeg_audio_format, ac3_format, eac3_format, flac_format,
]  # fmt: skip


@given(st.sampled_from((b"", b"\x0b\x77", b"\xff\xf8", b"\xff\xfb", b"fLaC")), st.binary(max_size=60))
def test_no_bytes_raise(first: bytes, rest: bytes) -> None:
    for read in FORMATS:
        found = read(first + rest)
        assert found is None or isinstance(found, audio_formats.AudioFormat)
    for count in (eac3_samples, flac_samples, opus_samples):
        assert count(first + rest) >= 0


def test_a_message_of_more_frames_than_there_can_be_is_not_read_to_its_end() -> None:
    """A message may have 10 MiB: read to its end, such as this had kept a worker for half a minute."""
    shortest = bytes.fromhex("0b770001")
    one = eac3_samples(shortest * 2)
    assert one > 0
    assert eac3_samples(shortest * 100_000) == eac3_samples(shortest * 97) == 96 * one
