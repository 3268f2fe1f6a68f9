"""Boxes of MP4, and its sample entries: what a decoder is told (ISO/IEC 14496-12, -14 and -15)."""

from __future__ import annotations

import struct
from typing import Final

from cluster.core.media.audio_formats import OPUS_RATE, AudioFormat, is_mpeg_1
from cluster.core.media.picture_size import PictureSize
from cluster.core.message import Buffer

_pack_box = struct.Struct(">I4s").pack
_pack_full_box = struct.Struct(">I4sI").pack

_DPI_72 = 0x00480000
_VISUAL = struct.Struct(">6xH16xHHIIIH32xHh")
_AUDIO = struct.Struct(">6xH8xHHII")
_DATA_REFERENCE = 1
_FRAMES_PER_SAMPLE = 1
_DEPTH = 24
_SAMPLE_BITS = 16

#: The least bytes of a decoder configuration that a player could use, and the box that holds it.
_VIDEO_BOXES: Final = {
    "avc1": (b"avcC", 4), "hvc1": (b"hvcC", 23), "av01": (b"av1C", 4), "vp09": (b"vpcC", 8),
}  # fmt: skip
_VPCC_VERSION: Final = 1 << 24
_AV1C_MARKER = 0x81

#: ISO/IEC 14496-1, table 5: what an elementary stream is.
_MPEG_4_AUDIO, _MPEG_2_AUDIO, _MPEG_1_AUDIO = 0x40, 0x69, 0x6B
_AUDIO_STREAM = 0x15
_ES_DESCRIPTOR, _DECODER_CONFIG, _DECODER_SPECIFIC, _SL_CONFIG = 3, 4, 5, 6
_pack_decoder_config = struct.Struct(">BB3xII").pack

_OPUS_MARK = b"OpusHead"
#: RFC 7845, section 5.1: the fixed part of an Opus header, whose numbers are little-endian.
_OPUS_HEAD = struct.Struct("<8xBBHIhB")
_pack_dops = struct.Struct(">BBHIhB").pack
_FLAC_LAST_BLOCK = 0x80 << 24


def box(name: bytes, *content: Buffer) -> bytes:
    body = b"".join(content)
    return _pack_box(8 + len(body), name) + body


def full_box(name: bytes, version_and_flags: int, *content: Buffer) -> bytes:
    body = b"".join(content)
    return _pack_full_box(12 + len(body), name, version_and_flags) + body


def video_record(codec: str, body: Buffer) -> bytes | None:
    """The decoder configuration in a sequence header's ``body``, as MP4 has it; None if there is none."""
    record = bytes(body)
    if codec == "vp09" and record[:4] == _VPCC_VERSION.to_bytes(4, "big"):
        record = record[4:]  # the box has its own
    known = _VIDEO_BOXES.get(codec)
    if known is None or len(record) < known[1] or (codec == "av01" and record[0] != _AV1C_MARKER):
        return None
    return record


def video_entry(codec: str, record: bytes, size: PictureSize) -> bytes:
    """The sample entry of a codec that ``video_record`` knows."""
    name, _ = _VIDEO_BOXES[codec]
    head = _VISUAL.pack(
        _DATA_REFERENCE, *size, _DPI_72, _DPI_72, 0, _FRAMES_PER_SAMPLE, _DEPTH, -1
    )  # fmt: skip
    configuration = full_box(name, _VPCC_VERSION, record) if codec == "vp09" else box(name, record)
    return box(codec.encode(), head, configuration)


def audio_entry(codec: str, audio: AudioFormat, header: Buffer = b"") -> bytes:
    """The sample entry of a codec that ``audio_formats`` reads.

    ``header``: of AAC its AudioSpecificConfig, of Opus its header.
    """
    if codec == ".mp3":
        kind = _MPEG_1_AUDIO if is_mpeg_1(audio.sample_rate) else _MPEG_2_AUDIO
        name, configuration = b"mp4a", _esds(kind, b"")
    elif codec == "mp4a":
        name, configuration = b"mp4a", _esds(_MPEG_4_AUDIO, bytes(header))
    elif codec == "Opus":
        name, configuration = b"Opus", box(b"dOps", _dops(bytes(header)))
    elif codec == "fLaC":
        block = (_FLAC_LAST_BLOCK | len(audio.specific)).to_bytes(4, "big")
        name, configuration = b"fLaC", full_box(b"dfLa", 0, block, audio.specific)
    else:
        name = codec.encode()
        configuration = box(b"dac3" if codec == "ac-3" else b"dec3", audio.specific)
    # A rate that its 16 bits cannot hold stands in the configuration.
    rate = audio.sample_rate << 16 if audio.sample_rate <= 0xFFFF else 0
    return box(name, _AUDIO.pack(_DATA_REFERENCE, audio.channels, _SAMPLE_BITS, 0, rate), configuration)


def _esds(kind: int, specific: bytes) -> bytes:
    """ISO/IEC 14496-1, section 7.2.6.5, in the box of 14496-14, section 5.6."""
    config = _pack_decoder_config(kind, _AUDIO_STREAM, 0, 0)
    if specific:
        config += _descriptor(_DECODER_SPECIFIC, specific)
    content = bytes(3) + _descriptor(_DECODER_CONFIG, config) + _descriptor(_SL_CONFIG, b"\x02")
    return full_box(b"esds", 0, _descriptor(_ES_DESCRIPTOR, content))


def _descriptor(tag: int, content: bytes) -> bytes:
    """With a length of four bytes, which some parsers expect (section 8.3.3)."""
    size = len(content)
    length = (size >> shift & 0x7F | (0x80 if shift else 0) for shift in (21, 14, 7, 0))
    return bytes((tag, *length)) + content


def opus_channels(header: Buffer) -> int:
    """What an Opus header says; 0 if it is empty, which is legal, or none."""
    return header[9] if len(header) >= _OPUS_HEAD.size and header[:8] == _OPUS_MARK else 0


def _dops(header: bytes) -> bytes:
    """Opus in ISOBMFF, section 4.3.2: big-endian, and version 0."""
    if not opus_channels(header):
        return _pack_dops(0, 2, 0, OPUS_RATE, 0, 0)
    _, *fields = _OPUS_HEAD.unpack_from(header)
    mapping = header[_OPUS_HEAD.size :] if fields[-1] else b""
    return _pack_dops(0, *fields) + mapping
