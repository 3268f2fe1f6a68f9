"""What browsers and playlists call a codec with its profile and level (RFC 6381 and those that add to it).

Nothing here raises on any bytes: of what is too short the codec's name alone is said.
"""

from __future__ import annotations

from typing import Final

from cluster.core.message import Buffer

#: Of codecs whose name says all.
_PLAIN: Final = {"Opus": "opus", "fLaC": "flac", "ac-3": "ac-3", "ec-3": "ec-3", ".mp3": "mp4a.40.34"}
_HVCC_GENERAL_BYTES = 13


def video_codec_string(codec: str, record: Buffer) -> str:
    """By the codec's FourCC and the decoder configuration that MP4 has of it."""
    if codec == "avc1" and len(record) >= 4:
        return f"avc1.{record[1]:02x}{record[2]:02x}{record[3]:02x}"
    if codec == "hvc1" and len(record) >= _HVCC_GENERAL_BYTES:
        return _hevc(bytes(record[:_HVCC_GENERAL_BYTES]))
    if codec == "av01" and len(record) >= 3:
        return _av1(record[1], record[2])
    if codec == "vp09" and len(record) >= 3:
        return f"vp09.{record[0]:02d}.{record[1]:02d}.{record[2] >> 4:02d}"
    return codec


def audio_codec_string(codec: str, aac_object_type: int = 0) -> str:
    """By the codec's FourCC, and for AAC its audio object type."""
    if codec == "mp4a":
        return f"mp4a.40.{aac_object_type}" if aac_object_type else codec
    return _PLAIN.get(codec, codec)


def _hevc(record: bytes) -> str:
    """ISO/IEC 14496-15, annex E.3, by an HEVCDecoderConfigurationRecord."""
    space = ("", "A", "B", "C")[record[1] >> 6]
    tier = "H" if record[1] & 0x20 else "L"
    flags = int(f"{int.from_bytes(record[2:6], 'big'):032b}"[::-1], 2)
    constraints = record[6:12].rstrip(b"\0")
    parts = (
        f"hvc1.{space}{record[1] & 0x1F}",
        f"{flags:X}",
        f"{tier}{record[12]}",
        *(f"{each:X}" for each in constraints),
    )
    return ".".join(parts)


def _av1(profile_level: int, depths: int) -> str:
    """AV1 in ISOBMFF, section 5, by the bytes of an AV1CodecConfigurationRecord."""
    tier = "H" if depths & 0x80 else "M"
    depth = 8 if not depths & 0x40 else 12 if depths & 0x20 else 10
    return f"av01.{profile_level >> 5}.{profile_level & 0x1F:02d}{tier}.{depth:02d}"
