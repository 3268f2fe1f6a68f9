"""Fragmented MP4 of a stream's messages: what its tracks are, the init segment, fragments, without I/O.

Samples are the bodies of RTMP messages as they are: those have the layout of MP4 already. Of Multitrack
messages, track 0 counts. Nothing here raises on any message: what it does not know, it leaves out.
Boxes are those of ISO/IEC 14496-12.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cluster.core.media.audio_formats import (
    OPUS_RATE,
    AudioFormat,
    aac_format,
    ac3_format,
    eac3_format,
    eac3_samples,
    flac_format,
    flac_samples,
    mpeg_audio_format,
    opus_samples,
)
from cluster.core.media.classify import MediaFlags
from cluster.core.media.codec_strings import audio_codec_string, video_codec_string
from cluster.core.media.fmp4_entries import (
    audio_entry,
    box,
    full_box,
    opus_channels,
    video_entry,
    video_record,
)
from cluster.core.media.headers import MAX_HEADER_BYTES
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import READ_METADATA_BYTES, read_metadata
from cluster.core.media.picture_size import UNKNOWN_SIZE, PictureSize, picture_size
from cluster.core.media.track_body import track_body
from cluster.core.message import Buffer

#: Video's, which milliseconds and all usual frame rates fit.
VIDEO_TIMESCALE: Final = 90_000

VIDEO_TRACK: Final = 1
AUDIO_TRACK: Final = 2

_VIDEO = int(MediaFlags.VIDEO)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_METADATA = int(MediaFlags.METADATA)
_DATA = int(MediaFlags.DATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)

#: Codecs whose first frame says what others have a sequence header for.
_HEADERLESS: Final[Mapping[str, Callable[[Buffer], AudioFormat | None]]] = {
    ".mp3": mpeg_audio_format,
    "ac-3": ac3_format,
    "ec-3": eac3_format,
}
HEADERLESS_CODECS: Final = frozenset(_HEADERLESS)
_CODECS: Final = frozenset((*_HEADERLESS, "avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "fLaC"))
#: An AV1 temporal delimiter: RTMP may have it, MP4 must not (AV1 in ISOBMFF, section 2.4).
_AV1_DELIMITER: Final = b"\x12\x00"

_MOVIE_TIMESCALE = 1000
_UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_NO_LANGUAGE = 0x55C4  # "und"
_FULL_VOLUME = 0x0100
_ENABLED_IN_MOVIE = 3
_HANDLERS = {"video": b"vide", "audio": b"soun"}

_DEFAULT_BASE_IS_MOOF = 0x020000
#: The fields of a trun, by its flags; version 1 for composition offsets with a sign.
_TRUN_DATA_OFFSET, _TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_OFFSET = 0x1, 0x100, 0x200, 0x400, 0x800
_TRUN_VERSION = 1 << 24
_TFDT_VERSION = 1 << 24
_SYNC = 0x02000000
_NOT_SYNC = 0x01010000
_pack_tfdt = struct.Struct(">I4sIQ").pack
_pack_tfhd = struct.Struct(">I4sII").pack
_pack_mfhd = struct.Struct(">I4sII").pack
_pack_trun = struct.Struct(">I4sIIi").pack
_pack_sample = struct.Struct(">IIIi").pack
_pack_box = struct.Struct(">I4s").pack
#: A moof with one sample, and the header of its mdat: the same one after the other.
_pack_single = struct.Struct(">I4sI4sIII4sI4sIII4sIQI4sIIiIIIiI4s").pack
_MFHD_BYTES, _TFHD_BYTES, _TFDT_BYTES, _TRUN_BYTES, _SAMPLE_BYTES = 16, 16, 20, 20, 16
_BOX_BYTES = 8
_TRAF_BYTES = _BOX_BYTES + _TFHD_BYTES + _TFDT_BYTES + _TRUN_BYTES
_TRUN_FIELDS = _TRUN_VERSION | _TRUN_DATA_OFFSET | _TRUN_DURATION | _TRUN_SIZE | _TRUN_FLAGS | _TRUN_OFFSET
_SINGLE_TRAF_BYTES = _TRAF_BYTES + _SAMPLE_BYTES
_SINGLE_MOOF_BYTES = _BOX_BYTES + _MFHD_BYTES + _SINGLE_TRAF_BYTES


@dataclass(frozen=True, slots=True)
class Track:
    """One track of a stream, as its headers say it.

    ``kind``: "video" or "audio". ``codec``: its FourCC as Enhanced RTMP has it; ``codecs``: what browsers
    and playlists call it. ``width`` and ``height`` are 0 if unknown. ``frame_samples``: samples of each
    frame of audio; 0 if the frames tell (``samples_in``).
    """

    number: int
    kind: str
    codec: str
    codecs: str
    timescale: int
    sample_entry: bytes
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    frame_samples: int = 0


class CodedFrame(NamedTuple):
    """A message's coded frame of track 0."""

    data: Buffer
    composition_ms: int
    is_sync: bool


class Sample(NamedTuple):
    """One sample of a fragment; times are in its track's timescale."""

    duration: int
    data: Buffer
    composition_offset: int
    is_sync: bool


# ---- what a stream's messages say ----------------------------------------------------------------


def tracks_of(entries: Iterable[LogEntry]) -> list[Track]:
    """The tracks that headers tell of, video first: at most one of each medium.

    MP3, AC-3 and E-AC-3 have none: of those a frame tells, if ``entries`` has one.
    """
    known = list(entries)
    members = metadata_of(known)
    tracks: dict[str, Track] = {}
    for entry in known:
        track = track_of(entry, members)
        if track is not None:
            tracks[track.kind] = track
    return [tracks[kind] for kind in ("video", "audio") if kind in tracks]


def metadata_of(entries: Iterable[LogEntry]) -> dict[str, Any]:
    """The members of the last onMetaData among ``entries``, but for one too long to be read."""
    members: dict[str, Any] = {}
    for entry in entries:
        is_metadata = entry.flags & _METADATA and entry.flags & _DATA
        if is_metadata and len(entry.payload) <= READ_METADATA_BYTES:
            members = read_metadata(entry.type_id, entry.payload) or members
    return members


def track_of(entry: LogEntry, members: Mapping[str, Any]) -> Track | None:
    """The track that ``entry`` tells of: a sequence header, or a frame of a codec without one.

    ``members``: those of onMetaData, for what the codec does not say.
    """
    part = track_body(entry)
    if part is None:
        return None
    body = memoryview(entry.payload)[part.start : part.end]
    if entry.flags & _SEQUENCE_HEADER:
        if len(body) > MAX_HEADER_BYTES:
            return None  # no joiner is given it
        if entry.flags & _VIDEO:
            return _video_track(part.codec, body, members)
        return _audio_track(part.codec, body, members)
    return _headerless_track(part.codec, body) if part.codec in _HEADERLESS else None


def _video_track(codec: str, body: Buffer, members: Mapping[str, Any]) -> Track | None:
    record = video_record(codec, body)
    if record is None:
        return None
    size = picture_size(codec, record)
    if size is UNKNOWN_SIZE:
        size = PictureSize(_number(members, "width"), _number(members, "height"))
    return Track(
        VIDEO_TRACK,
        "video",
        codec,
        video_codec_string(codec, record),
        VIDEO_TIMESCALE,
        video_entry(codec, record, size),
        width=size.width,
        height=size.height,
    )


def _audio_track(codec: str, body: Buffer, members: Mapping[str, Any]) -> Track | None:
    audio: AudioFormat | None = None
    said = _number(members, "audiochannels") or 2
    if codec == "mp4a":
        audio = aac_format(body)
        if audio is not None and not audio.channels:  # its configuration lists them one by one
            audio = audio._replace(channels=said)
    elif codec == "Opus":
        audio = AudioFormat(OPUS_RATE, opus_channels(body) or said, 0)
    elif codec == "fLaC":
        audio = flac_format(body)
    return None if audio is None else _track_of_format(codec, audio, body)


def _headerless_track(codec: str, frame: Buffer) -> Track | None:
    audio = _HEADERLESS[codec](frame)
    return None if audio is None else _track_of_format(codec, audio)


def _track_of_format(codec: str, audio: AudioFormat, header: Buffer = b"") -> Track:
    return Track(
        AUDIO_TRACK,
        "audio",
        codec,
        audio_codec_string(codec, audio.profile),
        audio.sample_rate,
        audio_entry(codec, audio, header),
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        frame_samples=audio.frame_samples,
    )


def _number(members: Mapping[str, Any], name: str) -> int:
    """A member of onMetaData that MP4 has 16 bits for; 0 if it is none."""
    value = members.get(name)
    return int(value) if isinstance(value, (int, float)) and 0 < value <= 0xFFFF else 0


def sample_of(entry: LogEntry) -> CodedFrame | None:
    """The coded frame of track 0 in ``entry``; None if it has none, or one of a codec that is left out."""
    frame = frame_of(entry)
    return None if frame is None else frame[1]


def frame_of(entry: LogEntry) -> tuple[str, CodedFrame] | None:
    """What ``sample_of`` finds, behind its codec."""
    flags = entry.flags
    part = None if flags & _SEQUENCE_HEADER else track_body(entry)
    if part is None or part.codec not in _CODECS:
        return None
    data = memoryview(entry.payload)[part.start : part.end]
    if part.codec == "av01" and bytes(data[:2]) == _AV1_DELIMITER:
        data = data[2:]
    if not data:
        return None
    return part.codec, CodedFrame(data, part.cts_ms, not flags & _VIDEO or flags & _KEYFRAME != 0)


def samples_in(track: Track, frame: Buffer) -> int:
    """How many samples a frame of audio has, in the track's timescale; 0 if nothing tells."""
    if track.frame_samples:
        return track.frame_samples
    count = _SAMPLES_IN.get(track.codec)
    return 0 if count is None else count(frame)


_SAMPLES_IN: Final[Mapping[str, Callable[[Buffer], int]]] = {
    "Opus": opus_samples,
    "fLaC": flac_samples,
    "ec-3": eac3_samples,
}


# ---- boxes ---------------------------------------------------------------------------------------


def init_segment(tracks: Sequence[Track]) -> bytes:
    """What goes before fragments of these tracks."""
    rate_volume = struct.pack(">IH10x", 0x10000, _FULL_VOLUME)
    mvhd = struct.pack(">IIII", 0, 0, _MOVIE_TIMESCALE, 0) + rate_volume + _UNITY + bytes(24)
    return box(b"ftyp", b"iso6", (1).to_bytes(4, "big"), b"iso6", b"mp42", b"mp41", b"hlsf", b"cmfc") + box(
        b"moov",
        full_box(b"mvhd", 0, mvhd, b"\xff\xff\xff\xff"),
        *(_trak(track) for track in tracks),
        box(b"mvex", *(full_box(b"trex", 0, struct.pack(">5I", t.number, 1, 0, 0, 0)) for t in tracks)),
    )


def _trak(track: Track) -> bytes:
    is_video = track.kind == "video"
    tkhd = struct.pack(">5I8xHHH2x", 0, 0, track.number, 0, 0, 0, 0, 0 if is_video else _FULL_VOLUME)
    size = struct.pack(">II", track.width << 16, track.height << 16)
    mdhd = struct.pack(">4IHH", 0, 0, track.timescale, 0, _NO_LANGUAGE, 0)
    hdlr = struct.pack(">I4s12x", 0, _HANDLERS[track.kind]) + b"\0"
    media_header = full_box(b"vmhd", 1, bytes(8)) if is_video else full_box(b"smhd", 0, bytes(4))
    nothing = bytes(4)
    tables = box(
        b"stbl",
        full_box(b"stsd", 0, (1).to_bytes(4, "big"), track.sample_entry),
        full_box(b"stts", 0, nothing),
        full_box(b"stsc", 0, nothing),
        full_box(b"stsz", 0, nothing, nothing),
        full_box(b"stco", 0, nothing),
    )
    data_here = box(b"dinf", full_box(b"dref", 0, (1).to_bytes(4, "big"), full_box(b"url ", 1)))
    return box(
        b"trak",
        full_box(b"tkhd", _ENABLED_IN_MOVIE, tkhd, _UNITY, size),
        box(
            b"mdia",
            full_box(b"mdhd", 0, mdhd),
            full_box(b"hdlr", 0, hdlr),
            box(b"minf", media_header, data_here, tables),
        ),
    )


def fragment(sequence: int, parts: Sequence[tuple[Track, int, Sequence[Sample]]]) -> list[Buffer]:
    """A ``moof`` with a traf for each part, and the ``mdat``; payloads are not copied.

    Each part: a track, the decoding time of its first sample, and its samples, of which there is at least
    one.
    """
    sizes = [_TRAF_BYTES + _SAMPLE_BYTES * len(samples) for _, _, samples in parts]
    moof_bytes = _BOX_BYTES + _MFHD_BYTES + sum(sizes)
    offset = moof_bytes + _BOX_BYTES
    head = [_pack_box(moof_bytes, b"moof"), _pack_mfhd(_MFHD_BYTES, b"mfhd", 0, sequence & 0xFFFFFFFF)]
    payloads: list[Buffer] = []
    for (track, decode_time, samples), size in zip(parts, sizes, strict=True):
        trun_bytes = _TRUN_BYTES + _SAMPLE_BYTES * len(samples)
        head += (
            _pack_box(size, b"traf"),
            _pack_tfhd(_TFHD_BYTES, b"tfhd", _DEFAULT_BASE_IS_MOOF, track.number),
            _pack_tfdt(_TFDT_BYTES, b"tfdt", _TFDT_VERSION, decode_time),
            _pack_trun(trun_bytes, b"trun", _TRUN_FIELDS, len(samples), offset),
        )
        for duration, data, composition, is_sync in samples:
            length = len(data)
            head.append(_pack_sample(duration, length, _SYNC if is_sync else _NOT_SYNC, composition))
            payloads.append(data)
            offset += length
    head.append(_pack_box(_BOX_BYTES + offset - moof_bytes - _BOX_BYTES, b"mdat"))
    return [b"".join(head), *payloads]


def single_fragment(sequence: int, track: Track, decode_time: int, sample: Sample) -> list[Buffer]:
    """The ``fragment`` of one sample, which streams without end are made of."""
    duration, data, composition, is_sync = sample
    size = len(data)
    head = _pack_single(
        _SINGLE_MOOF_BYTES, b"moof", _MFHD_BYTES, b"mfhd", 0, sequence & 0xFFFFFFFF,
        _SINGLE_TRAF_BYTES, b"traf", _TFHD_BYTES, b"tfhd", _DEFAULT_BASE_IS_MOOF, track.number,
        _TFDT_BYTES, b"tfdt", _TFDT_VERSION, decode_time,
        _TRUN_BYTES + _SAMPLE_BYTES, b"trun", _TRUN_FIELDS, 1, _SINGLE_MOOF_BYTES + _BOX_BYTES,
        duration, size, _SYNC if is_sync else _NOT_SYNC, composition, _BOX_BYTES + size, b"mdat",
    )  # fmt: skip
    return [head, data]
