"""The size of a video's picture, as its decoder configuration says it. Nothing here raises on any bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cluster.core.media.bits import Bits, EndOfBitsError
from cluster.core.message import Buffer

#: MP4 says a size in 16 bits.
_LARGEST = 0xFFFF

_AVC_SPS = 7
_HEVC_SPS = 33
_AV1_SEQUENCE_HEADER = 1
#: H.264, section 7.3.2.1.1: the profiles whose parameter sets say their chroma format.
_AVC_WITH_CHROMA = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))
#: Of an hvcC, what stands before the number of its arrays (ISO/IEC 14496-15, section 8.3.3.1.2).
_HVCC_FIXED_BYTES = 22
#: AV1, section 5.5.1: the largest level of which no tier is said.
_AV1_UNTIERED = 7
#: Section 4.10.5.
_LEB128_BITS = 56


class PictureSize(NamedTuple):
    """In pixels; 0 by 0 if it is not known."""

    width: int
    height: int


UNKNOWN_SIZE: Final = PictureSize(0, 0)


def picture_size(codec: str, record: Buffer) -> PictureSize:
    """The size that ``record``, the body of a sequence header of that codec, says."""
    read = _READERS.get(codec)
    if read is None:
        return UNKNOWN_SIZE
    try:
        size = read(bytes(record))
    except (EndOfBitsError, IndexError):
        return UNKNOWN_SIZE
    return size if 0 < size.width <= _LARGEST and 0 < size.height <= _LARGEST else UNKNOWN_SIZE


def _unescaped(unit: bytes) -> Bits:
    """The bits of a NAL unit, without what keeps start codes out of it (H.264, section 7.4.1)."""
    return Bits(unit.replace(b"\0\0\3", b"\0\0"))


def _avc(record: bytes) -> PictureSize:
    """By an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1)."""
    if not record[5] & 31 or record[8] & 31 != _AVC_SPS:
        return UNKNOWN_SIZE
    return _avc_sps(_unescaped(record[8 : 8 + int.from_bytes(record[6:8], "big")]))


def _avc_sps(bits: Bits) -> PictureSize:
    """H.264, section 7.3.2.1.1."""
    bits.skip(8)
    profile = bits.read(8)
    bits.skip(16)
    bits.read_ue()
    chroma, separate = 1, 0
    if profile in _AVC_WITH_CHROMA:
        chroma = bits.read_ue()
        if chroma == 3:
            separate = bits.read(1)
        bits.read_ue()
        bits.read_ue()
        bits.skip(1)
        if bits.read(1):
            for index in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.read_ue()
    order = bits.read_ue()
    if order == 0:
        bits.read_ue()
    elif order == 1:
        bits.skip(1)
        bits.read_ue()
        bits.read_ue()
        for _ in range(bits.read_ue()):
            bits.read_ue()
    bits.read_ue()
    bits.skip(1)
    columns, rows = bits.read_ue() + 1, bits.read_ue() + 1
    is_frames = bits.read(1)
    bits.skip(1 if is_frames else 2)
    left, right, top, bottom = _cropped(bits)
    # Table 6-1, and equations 7-19 to 7-22.
    unit_x = 2 if chroma in (1, 2) and not separate else 1
    unit_y = (2 if chroma == 1 and not separate else 1) * (2 - is_frames)
    height = 16 * rows * (2 - is_frames)
    return PictureSize(16 * columns - (left + right) * unit_x, height - (top + bottom) * unit_y)


def _skip_scaling_list(bits: Bits, size: int) -> None:
    """Section 7.3.2.1.1.1."""
    last = 8
    for _ in range(size):
        last = (last + bits.read_se()) % 256
        if not last:
            return


def _cropped(bits: Bits) -> tuple[int, int, int, int]:
    """A flag, and if it is set what is not shown on the left, right, top and bottom."""
    if not bits.read(1):
        return 0, 0, 0, 0
    return bits.read_ue(), bits.read_ue(), bits.read_ue(), bits.read_ue()


def _hevc(record: bytes) -> PictureSize:
    """By an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 8.3.3.1.2)."""
    offset = _HVCC_FIXED_BYTES + 1
    for _ in range(record[_HVCC_FIXED_BYTES]):
        unit_type, count = record[offset] & 63, int.from_bytes(record[offset + 1 : offset + 3], "big")
        offset += 3
        for _ in range(count):
            length = record[offset] << 8 | record[offset + 1]
            if unit_type == _HEVC_SPS:
                return _hevc_sps(_unescaped(record[offset + 2 : offset + 2 + length]))
            offset += 2 + length
    return UNKNOWN_SIZE


def _hevc_sps(bits: Bits) -> PictureSize:
    """H.265, section 7.3.2.2.1."""
    bits.skip(16 + 4)
    sub_layers = bits.read(3)
    bits.skip(1)
    bits.skip(88 + 8)  # profile_tier_level (7.3.3), of which sub-layers have a part each
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.skip(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.skip(88 * has_profile + 8 * has_level)
    bits.read_ue()
    chroma = bits.read_ue()
    separate = bits.read(1) if chroma == 3 else 0
    width, height = bits.read_ue(), bits.read_ue()
    left, right, top, bottom = _cropped(bits)
    unit_x = 2 if chroma in (1, 2) and not separate else 1
    unit_y = 2 if chroma == 1 and not separate else 1
    return PictureSize(width - (left + right) * unit_x, height - (top + bottom) * unit_y)


def _av1(record: bytes) -> PictureSize:
    """By an AV1CodecConfigurationRecord, of which the OBUs behind its four bytes are read."""
    offset = 4
    while offset < len(record):
        header = record[offset]
        offset += 2 if header & 4 else 1
        size, shift = len(record) - offset, 0
        if header & 2:
            size, byte = 0, 0x80
            while byte >= 0x80 and shift < _LEB128_BITS:
                byte = record[offset]
                offset += 1
                size |= (byte & 0x7F) << shift
                shift += 7
        if header >> 3 & 15 == _AV1_SEQUENCE_HEADER:
            return _av1_sequence_header(Bits(record[offset : offset + size]))
        offset += size
    return UNKNOWN_SIZE


def _av1_sequence_header(bits: Bits) -> PictureSize:
    """AV1, section 5.5.1."""
    bits.skip(4)
    if bits.read(1):  # reduced_still_picture_header
        bits.skip(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return PictureSize(bits.read(width_bits) + 1, bits.read(height_bits) + 1)


def _skip_operating_points(bits: Bits) -> None:
    """What of the sequence header tells how fast its frames are to be decoded."""
    delay_bits = 0
    if bits.read(1):  # timing_info
        bits.skip(64)
        if bits.read(1):
            bits.read_ue()
        if bits.read(1):  # decoder_model_info
            delay_bits = bits.read(5) + 1
            bits.skip(32 + 5 + 5)
    has_initial_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.skip(12)
        if bits.read(5) > _AV1_UNTIERED:
            bits.skip(1)
        if delay_bits and bits.read(1):
            bits.skip(2 * delay_bits + 1)
        if has_initial_delay and bits.read(1):
            bits.skip(4)


_READERS: Final[dict[str, Callable[[bytes], PictureSize]]] = {"avc1": _avc, "hvc1": _hevc, "av01": _av1}
