"""Fragmented MP4 of real encoders' streams: PyAV and ffprobe find in it what is in the FLV."""

from __future__ import annotations

import io
import json
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.classify import flags_of
from cluster.core.media.fmp4 import (
    Sample,
    Track,
    fragment,
    init_segment,
    sample_of,
    samples_in,
    single_fragment,
    track_of,
    tracks_of,
)
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import encode_metadata
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message
from support.media_clips import (
    AUDIO_ENCODERS,
    HEIGHT,
    VIDEO_ENCODERS,
    WIDTH,
    make_flv,
    messages_of,
    packets_of,
)
from support.media_examples import EXAMPLES, MALFORMED

VIDEO, AUDIO, DATA = 9, 8, 18
KINDS = {VIDEO: "video", AUDIO: "audio"}
FRAGMENT_SAMPLES = 7
AV1_DELIMITER = b"\x12\x00"
CODEC_STRINGS = {
    "avc1": "avc1.64000b",
    "hvc1": "hvc1.1.6.L30.90",
    "av01": "av01.0.00M.08",
    "vp09": "vp09.00.10.08",
    "mp4a": "mp4a.40.2",
    "Opus": "opus",
    ".mp3": "mp4a.40.34",
    "fLaC": "flac",
    "ac-3": "ac-3",
    "ec-3": "ec-3",
}
FRAME_SAMPLES = {"mp4a": 1024, "Opus": 960, ".mp3": 1152, "fLaC": 4608, "ac-3": 1536, "ec-3": 1536}


@pytest.fixture(scope="module")
def clips() -> dict[str, bytes]:
    """By FourCC, made once."""
    made = {codec: make_flv(codec) for codec in VIDEO_ENCODERS}
    made |= {codec: make_flv(None, codec) for codec in AUDIO_ENCODERS}
    made["both"] = make_flv("avc1", "mp4a")
    return made


def entries_of(flv: bytes) -> list[LogEntry]:
    log = StreamLog()
    return [entry for message in messages_of(flv) if (entry := log.append(message)) is not None]


def entry_of(type_id: int, payload: bytes) -> LogEntry:
    entry = StreamLog().append(Message(type_id, 0, payload))
    assert entry is not None
    return entry


def raw_entry(type_id: int, payload: bytes) -> LogEntry:
    """One that a log might have dropped."""
    return LogEntry(type_id, 0, payload, flags_of(type_id, payload), 0, 0)


def mp4_of(entries: list[LogEntry]) -> tuple[list[Track], bytes, list[bytes]]:
    """The tracks, the init segment, and fragments of a few samples of each track."""
    tracks = tracks_of(entries)
    init = init_segment(tracks)
    by_kind = {track.kind: track for track in tracks}
    samples: dict[str, list[tuple[int, Sample]]] = {kind: [] for kind in by_kind}
    for type_id, kind in KINDS.items():
        frames = [(e.timestamp, f) for e in entries if e.type_id == type_id and (f := sample_of(e))]
        scale = by_kind[kind].timescale if frames else 1
        times = [round(ms * scale / 1000) for ms, _ in frames]
        durations = [after - before for before, after in pairwise(times)] + [scale // 25]
        for time, duration, (_, frame) in zip(times, durations, frames, strict=False):
            offset = frame.composition_ms * scale // 1000
            samples[kind].append((time, Sample(duration, frame.data, offset, frame.is_sync)))
    fragments: list[bytes] = []
    while any(samples.values()):
        parts = []
        for kind, waiting in samples.items():
            taken, samples[kind] = waiting[:FRAGMENT_SAMPLES], waiting[FRAGMENT_SAMPLES:]
            if taken:
                parts.append((by_kind[kind], taken[0][0], [sample for _, sample in taken]))
        fragments.append(b"".join(fragment(len(fragments) + 1, parts)))
    return tracks, init, fragments


def assert_same_packets(flv: bytes, mp4: bytes, kind: str) -> None:
    source, made = packets_of(flv)[kind], packets_of(mp4, "mp4")[kind]
    assert [packet.data.removeprefix(AV1_DELIMITER) for packet in source] == [
        packet.data for packet in made
    ]
    assert [packet.is_key for packet in source] == [packet.is_key for packet in made]
    half_ms = 0.0006
    for before, after in zip(source, made, strict=True):
        assert abs(before.dts - after.dts) < half_ms
        assert abs(before.pts - after.pts) < half_ms


@pytest.mark.parametrize("codec", VIDEO_ENCODERS)
def test_video(codec: str, clips: dict[str, bytes]) -> None:
    (track,), init, fragments = mp4_of(entries_of(clips[codec]))
    assert (track.codec, track.kind, track.codecs) == (codec, "video", CODEC_STRINGS[codec])
    assert (track.width, track.height, track.timescale) == (WIDTH, HEIGHT, 90_000)
    assert_same_packets(clips[codec], init + b"".join(fragments), "video")
    with av.open(io.BytesIO(init + b"".join(fragments)), "r") as file:
        frames = list(file.decode(video=0))
        assert len(frames) == 50
        assert {(frame.width, frame.height) for frame in frames} == {(WIDTH, HEIGHT)}


@pytest.mark.parametrize("codec", AUDIO_ENCODERS)
def test_audio(codec: str, clips: dict[str, bytes]) -> None:
    entries = entries_of(clips[codec])
    (track,), init, fragments = mp4_of(entries)
    rate = AUDIO_ENCODERS[codec][1]
    assert (track.codec, track.kind, track.codecs) == (codec, "audio", CODEC_STRINGS[codec])
    assert (track.sample_rate, track.channels, track.timescale) == (rate, 2, rate)
    counts = [samples_in(track, frame.data) for entry in entries if (frame := sample_of(entry))]
    assert set(counts[:-1]) == {FRAME_SAMPLES[codec]}
    assert_same_packets(clips[codec], init + b"".join(fragments), "audio")
    with av.open(io.BytesIO(init + b"".join(fragments)), "r") as file:
        decoded = sum(frame.samples for frame in file.decode(audio=0))
    assert sum(counts) - 2 * FRAME_SAMPLES[codec] <= decoded <= sum(counts)  # encoders' delay is left out


def test_both_and_each_fragment_alone(clips: dict[str, bytes], tmp_path: Path) -> None:
    """A segment is what its init and any of its fragments are."""
    tracks, init, fragments = mp4_of(entries_of(clips["both"]))
    assert [track.number for track in tracks] == [1, 2]
    for kind in KINDS.values():
        assert_same_packets(clips["both"], init + b"".join(fragments), kind)
    number = 0
    for data in fragments:
        number += sum(map(len, packets_of(init + data, "mp4").values()))
    assert number == sum(map(len, packets_of(clips["both"]).values()))
    path = tmp_path / "clip.mp4"
    path.write_bytes(init + b"".join(fragments))
    command = ["ffprobe", "-v", "warning", "-show_streams", "-of", "json", str(path)]
    probe = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    assert not probe.stderr
    video, audio = json.loads(probe.stdout)["streams"]
    assert (video["codec_name"], video["width"], video["height"]) == ("h264", WIDTH, HEIGHT)
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "44100", 2)


def test_payloads_are_not_copied() -> None:
    entry = entry_of(VIDEO, bytes.fromhex("1701000021") + bytes(100))
    frame = sample_of(entry)
    assert frame is not None
    assert isinstance(frame.data, memoryview)
    assert frame.data.obj is entry.payload
    assert (frame.composition_ms, frame.is_sync, len(frame.data)) == (33, True, 100)
    track = Track(1, "video", "avc1", "avc1", 90_000, b"")
    assert fragment(1, [(track, 0, [Sample(3000, frame.data, 0, True)])])[1] is frame.data


def test_negative_composition_offsets_and_late_times() -> None:
    """Some encoders send such; times pass what 32 bits hold."""
    frame = sample_of(entry_of(VIDEO, bytes.fromhex("17 01 FFFFD8 00000002 6588")))
    assert frame is not None
    assert frame.composition_ms == -40
    header = entry_of(VIDEO, bytes.fromhex("1700000000 0164000b ffe1 0000"))
    (track,) = tracks_of([header])
    late = 1 << 34
    data = fragment(1, [(track, late, [Sample(3600, frame.data, -3600, True)])])
    assert b"tfdt\1\0\0\0" + late.to_bytes(8, "big") in data[0]
    assert (3600).to_bytes(4, "big") + b"\0\0\0\6\2\0\0\0" + (-3600).to_bytes(
        4, "big", signed=True
    ) in data[0]
    (packet,) = packets_of(init_segment([track]) + b"".join(data), "mp4")["video"]
    assert packet.dts * 90_000 == late
    assert packet.data == bytes(frame.data)


def test_the_fragment_of_one_sample() -> None:
    track = Track(2, "audio", "mp4a", "mp4a.40.2", 48_000, b"")
    for sample in (Sample(1024, b"data", 0, True), Sample(1, b"", -5, False)):
        for sequence, time in ((1, 0), (1 << 32 | 7, 1 << 40)):
            made = single_fragment(sequence, track, time, sample)
            assert made == fragment(sequence, [(track, time, [sample])])


# ---- what headers say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "codecs", "rate", "channels", "samples"),
    [
        ("1190", "mp4a.40.2", 48000, 2, 1024),
        ("1194", "mp4a.40.2", 48000, 2, 960),
        ("1210", "mp4a.40.2", 44100, 2, 1024),
        ("1188", "mp4a.40.2", 48000, 1, 1024),
        ("11B8", "mp4a.40.2", 48000, 8, 1024),
        ("2B118800", "mp4a.40.5", 24000, 2, 1024),
        ("EB098800", "mp4a.40.29", 24000, 1, 1024),
        ("17800BB810", "mp4a.40.2", 6000, 2, 1024),
        ("B990", "mp4a.40.23", 48000, 2, 512),
        ("1180", "mp4a.40.2", 48000, 6, 1024),
    ],
)
def test_aac(config: str, codecs: str, rate: int, channels: int, samples: int) -> None:
    """By hand, from ISO/IEC 14496-3; the last lists its channels, and the metadata counts them."""
    metadata = entry_of(DATA, encode_metadata({"audiochannels": 6.0}))
    (track,) = tracks_of([metadata, entry_of(AUDIO, bytes.fromhex("AF00" + config))])
    assert (track.codecs, track.sample_rate, track.channels) == (codecs, rate, channels)
    assert track.frame_samples == samples


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        ("00", 480),
        ("18", 2880),
        ("60", 480),
        ("68", 960),
        ("80", 120),
        ("F8", 960),
        ("F9", 1920),
        ("FA", 1920),
        ("FB03", 2880),
        ("FB83", 2880),
        ("FB", 0),
        ("", 0),
    ],
)
def test_opus_packets(packet: str, samples: int) -> None:
    (track,) = tracks_of([entry_of(AUDIO, bytes.fromhex("904F707573"))])
    assert samples_in(track, bytes.fromhex(packet)) == samples


@pytest.mark.parametrize(
    ("header", "rate", "channels", "samples"),
    [
        ("FFFB9064", 44100, 2, 1152),
        ("FFFB94C4", 48000, 1, 1152),
        ("FFF39064", 22050, 2, 576),
        ("FFE39064", 11025, 2, 576),
        ("FFFD9064", 44100, 2, 1152),
        ("FFFF9064", 44100, 2, 384),
    ],
)
def test_mpeg_audio(header: str, rate: int, channels: int, samples: int) -> None:
    (track,) = tracks_of([entry_of(AUDIO, bytes.fromhex("2F" + header) + bytes(40))])
    assert (track.sample_rate, track.channels, track.frame_samples) == (rate, channels, samples)


def test_surround_ac3() -> None:
    """48 kHz, 448 kbit/s, 3/2 with LFE, bsid 8 (by hand, from ETSI TS 102 366)."""
    (track,) = tracks_of([entry_of(AUDIO, bytes.fromhex("9161632D33 0B77 0000 1E40 E1") + bytes(40))])
    assert (track.sample_rate, track.channels, track.frame_samples) == (48000, 6, 1536)
    assert bytes.fromhex("0000000B 64616333 103DE0") in track.sample_entry


def test_opus_of_more_channels() -> None:
    """Its header's numbers are little-endian, those of MP4 big-endian; how channels lie follows."""
    mapping = bytes.fromhex("04 02 000401020305")
    head = b"OpusHead" + bytes.fromhex("01 06 3801 80BB0000 0000 01") + mapping
    (track,) = tracks_of([entry_of(AUDIO, b"\x90Opus" + head)])
    assert track.channels == 6
    assert b"dOps" + bytes.fromhex("00 06 0138 0000BB80 0000 01") + mapping in track.sample_entry


def test_size_from_the_metadata() -> None:
    """VP9's header has none, nor an AV1 header without its OBU."""
    metadata = entry_of(DATA, encode_metadata({"width": 640.0, "height": 360}))
    for payload in ("90 76703039 01000000 000A820202020000", "90 61763031 81000C00"):
        header = entry_of(VIDEO, bytes.fromhex(payload))
        (track,) = tracks_of([header, metadata])
        assert (track.width, track.height) == (640, 360)
        assert [(bare.width, bare.height) for bare in tracks_of([header])] == [(0, 0)]
        wrong = entry_of(DATA, encode_metadata({"width": float("nan"), "height": "360"}))
        assert [(bare.width, bare.height) for bare in tracks_of([wrong, header])] == [(0, 0)]


@pytest.mark.parametrize(
    ("record", "codecs"),
    [
        ("01 21 60000000 B00000000000 5D" + "00" * 10, "hvc1.1.6.H93.B0"),
        ("01 42 20000000 900000000001 78" + "00" * 10, "hvc1.A2.4.L120.90.0.0.0.0.1"),
        ("01 01 00000000 000000000000 1E" + "00" * 10, "hvc1.1.0.L30"),
    ],
)
def test_hevc_codec_strings(record: str, codecs: str) -> None:
    (track,) = tracks_of([entry_of(VIDEO, bytes.fromhex("90 68766331" + record))])
    assert track.codecs == codecs


@pytest.mark.parametrize(
    ("record", "codecs"),
    [("81 0D CC 00", "av01.0.13H.10"), ("81 48 6C 00", "av01.2.08M.12"), ("81 08 0C 00", "av01.0.08M.08")],
)
def test_av1_codec_strings(record: str, codecs: str) -> None:
    (track,) = tracks_of([entry_of(VIDEO, bytes.fromhex("90 61763031" + record))])
    assert track.codecs == codecs


def test_a_header_too_large_to_be_kept_is_not_read() -> None:
    """One of 10 MiB had kept a worker for seconds, and had been the first bytes of each player."""
    start = bytes.fromhex("9061763031 81000000")
    [track] = tracks_of([entry_of(VIDEO, start + b"\x12\0" * 1000)])
    assert track.codec == "av01"
    assert tracks_of([entry_of(VIDEO, start + b"\x12\0" * (1 << 15))]) == []


def test_a_later_header_counts() -> None:
    first, second = (entry_of(AUDIO, bytes.fromhex("AF00" + config)) for config in ("1190", "1210"))
    assert [track.sample_rate for track in tracks_of([first, second])] == [44100]


def test_of_many_tracks_the_first_counts() -> None:
    record = "01 01 60000000 900000000000 1E F000FCFDF8F800000F00"
    header = bytes.fromhex("96 10 68766331 01 000002 0101 00 000017" + record)
    (track,) = tracks_of([entry_of(VIDEO, header)])
    assert track.codecs == "hvc1.1.6.L30.90"
    assert sample_of(entry_of(AUDIO, bytes.fromhex("95 11 4F707573 00 000001 F8 01 000002 F8FF"))) == (
        b"\xf8", 0, True,
    )  # fmt: skip
    assert sample_of(raw_entry(VIDEO, bytes.fromhex("96 01 61766331 02 000000 00000001 65"))) is None


# ---- anything --------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [pytest.param(e.payload, id=e.name) for e in (*EXAMPLES, *MALFORMED)])
def test_no_message_cut_anywhere_raises(payload: bytes) -> None:
    for type_id in (VIDEO, AUDIO, DATA, 15, 254):
        for cut in range(len(payload) + 1):
            read_all(raw_entry(type_id, payload[:cut]))


def test_no_header_cut_anywhere_raises(clips: dict[str, bytes]) -> None:
    for flv in clips.values():
        for message in messages_of(flv)[1:4]:
            payload = bytes(message.payload[:200])
            for cut in range(len(payload)):
                read_all(raw_entry(message.type_id, payload[:cut]))


FIRST_BYTES = st.sampled_from(
    [b"\x17\0\0\0\0\x01", b"\x90hvc1", b"\x90av01\x81", b"\x90vp09", b"\xaf\0", b"\x90Opus", b"\x90fLaC",
     b"\x90OpusOpusHead", b"\x90fLaCfLaC", b"\x90.mp3", b"\x91.mp3\xff\xfb", b"\x91ac-3\x0b\x77",
     b"\x91ec-3\x0b\x77", b"\x17\x01\0\0\0", b"\x91fLaC\xff\xf8", b"\x91Opus", b"\x02\0\x0aonMetaData\x08",
     b"\x2f\xff", b""]
)  # fmt: skip


@given(st.sampled_from((VIDEO, AUDIO, DATA)), FIRST_BYTES, st.binary(max_size=80))
def test_no_bytes_raise(type_id: int, first: bytes, rest: bytes) -> None:
    read_all(raw_entry(type_id, first + rest))


def read_all(entry: LogEntry) -> None:
    """What is read of a stream; what comes out fits the boxes."""
    for track in tracks_of([entry]):
        assert init_segment([track])
        assert samples_in(track, entry.payload) >= 0
    track_of(entry, {})
    frame = sample_of(entry)
    if frame is not None:
        track = Track(1, "video", "avc1", "avc1", 90_000, b"")
        fragment(1, [(track, 0, [Sample(1, frame.data, frame.composition_ms * 90, frame.is_sync)])])
        for codec in ("Opus", "fLaC", "ec-3"):
            assert samples_in(Track(2, "audio", codec, codec, 48_000, b""), frame.data) >= 0
