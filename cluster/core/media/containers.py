"""Which kind of media file begins with these bytes: for people who give another one than FLV."""

from __future__ import annotations

from typing import Final

#: So many bytes are enough to tell.
LONGEST_BYTES: Final = 377

_TS_PACKET_BYTES = 188
_TS_SYNC = 0x47

#: What stands at an offset of the file, and what the kind is called.
_MARKS: Final = (
    (4, b"ftyp", "MP4"),
    (4, b"moov", "QuickTime"),
    (4, b"mdat", "QuickTime"),
    (4, b"wide", "QuickTime"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (8, b"AVI ", "AVI"),
    (8, b"WAVE", "WAV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x00\x00\x01\xba", "MPEG program stream"),
    (0, b"\x00\x00\x00\x01", "a bare video stream"),
    (0, b"\x00\x00\x01", "a bare video stream"),
    (0, b"0&\xb2u", "ASF (WMV, WMA)"),
    (0, b"ID3", "MP3"),
    (0, b"\xff\xfb", "MP3"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"fLaC", "FLAC"),
    (0, b"FWS", "SWF"),
    (0, b"CWS", "SWF"),
    (0, b"#EXTM3U", "an HLS playlist"),
)


def container_of(beginning: bytes) -> str:
    """What people call a file that begins so; "" if it is none of those known here, or is FLV."""
    for offset, mark, name in _MARKS:
        if beginning[offset : offset + len(mark)] == mark:
            return name
    syncs = beginning[: 2 * _TS_PACKET_BYTES + 1 : _TS_PACKET_BYTES]
    return "MPEG-TS" if len(syncs) > 1 and set(syncs) == {_TS_SYNC} else ""
