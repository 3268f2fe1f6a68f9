"""Whether a decoder can start at a frame, by the frame itself, where its frame type does not say.

MediaMTX forwards all enhanced video with frame type 0. Nothing here raises on any bytes: what cannot be
read is no place to start. NAL units have 4-byte lengths in front, as every encoder writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cluster.core.message import Buffer

#: Units looked at in one frame. In front of the first slice stand a delimiter, parameter sets and some SEI.
MAX_UNITS: Final = 32

_LENGTH_BYTES = 4

# Unit types at which a decoder can start, and those of every coded slice: the first slice decides.
#: ITU-T H.264, table 7-1: an IDR picture. One to recover from is not a keyframe for players.
_AVC_STARTS, _AVC_SLICES = frozenset((5,)), frozenset(range(1, 6))
#: ITU-T H.265, table 7-1: IRAP pictures, with the two that are reserved for such.
_HEVC_STARTS, _HEVC_SLICES = frozenset(range(16, 24)), frozenset(range(32))
#: ITU-T H.266, table 5: IDR, CRA, and the one that is reserved for such.
_VVC_STARTS, _VVC_SLICES = frozenset((7, 8, 9, 11)), frozenset(range(12))
#: AV1, section 6.2.2: a sequence header; frame headers, tile groups and frames.
_AV1_STARTS, _AV1_FRAMES = frozenset((1,)), frozenset((3, 4, 6, 7))


def can_start(four_cc: bytes, payload: Buffer, start: int, end: int) -> bool:
    """Whether the frame of that codec in ``payload[start:end]`` is a keyframe; False for other codecs."""
    look = _BY_CODEC.get(four_cc)
    return look is not None and look(payload, start, end)


def _nal_units(
    type_of: Callable[[Buffer, int], int], header_bytes: int, starts: frozenset[int], slices: frozenset[int]
) -> Callable[[Buffer, int, int], bool]:
    """Looks through units with lengths in front for the first slice."""

    def look(payload: Buffer, pos: int, end: int) -> bool:
        for _ in range(MAX_UNITS):
            unit = pos + _LENGTH_BYTES
            if unit + header_bytes > end:
                return False
            length = int.from_bytes(payload[pos:unit], "big")
            if length >= header_bytes:
                unit_type = type_of(payload, unit)
                if unit_type in slices:
                    return unit_type in starts
            pos = unit + length
        return False

    return look


def _av1(payload: Buffer, pos: int, end: int) -> bool:
    """Looks through the OBUs of a temporal unit (AV1, section 5.3)."""
    for _ in range(MAX_UNITS):
        if pos >= end:
            return False
        header = payload[pos]
        unit_type = header >> 3 & 15
        if unit_type in _AV1_STARTS or unit_type in _AV1_FRAMES:
            return unit_type in _AV1_STARTS
        if not header & 2:  # without a size it is the last
            return False
        pos += 2 if header & 4 else 1
        size, shift = 0, 0
        while pos < end and shift < 56:
            byte = payload[pos]
            pos += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        pos += size
    return False


def _vp8(payload: Buffer, pos: int, end: int) -> bool:
    """RFC 6386, section 9.1: the lowest bit of a key frame is 0."""
    return pos < end and not payload[pos] & 1


def _vp9(payload: Buffer, pos: int, end: int) -> bool:
    """VP9, section 6.2: marker 2, profile (behind 3 a reserved bit), show_existing_frame, frame_type."""
    if pos >= end or payload[pos] >> 6 != 2:
        return False
    both = 6 if payload[pos] & 0x30 == 0x30 else 12
    return not payload[pos] & both


_BY_CODEC: dict[bytes, Callable[[Buffer, int, int], bool]] = {
    b"avc1": _nal_units(lambda payload, unit: payload[unit] & 31, 1, _AVC_STARTS, _AVC_SLICES),
    b"hvc1": _nal_units(lambda payload, unit: payload[unit] >> 1 & 63, 2, _HEVC_STARTS, _HEVC_SLICES),
    b"vvc1": _nal_units(lambda payload, unit: payload[unit + 1] >> 3, 2, _VVC_STARTS, _VVC_SLICES),
    b"av01": _av1,
    b"vp08": _vp8,
    b"vp09": _vp9,
}
