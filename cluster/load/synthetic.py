"""Synthetic frames that decode: a grey picture and silence, padded to any size, with room for a stamp.

H.264 (ITU-T H.264): constrained baseline, 320 by 240. A keyframe is an IDR picture of flat grey blocks,
every other frame says that nothing has changed. AAC (ISO 14496-3): LC, 44.1 kHz, stereo, silent. The
stamp stands in an SEI message and in a data stream element, which every decoder skips, at the same place
in every frame; padding stands in filler data and in further data stream elements.
"""

from __future__ import annotations

from cluster.core.message import Buffer

WIDTH, HEIGHT = 320, 240
AUDIO_RATE_HZ = 44_100
AUDIO_SAMPLES_PER_FRAME = 1024

#: What marks a stamp; in the SEI message it is the UUID of "user data unregistered" (H.264, D.1.7).
MAGIC = b"rtmp-clusterload"
#: How far into a payload a stamp is looked for where it is not in its place: servers put delimiters and
#: parameter sets in front of a keyframe, or other SEI.
STAMP_SEARCH_BYTES = 4096
#: Hexadecimal digits, which never look like a start code to whoever repackages the stream.
STAMP_BYTES = 24

_MACROBLOCKS = WIDTH // 16 * (HEIGHT // 16)
#: I_16x16 with DC prediction and no coefficients: mb_type 3, chroma mode 0, no QP delta, no coefficients.
_FLAT_MACROBLOCK = "00100111"
_NAL_SLICE, _NAL_IDR, _NAL_SEI, _NAL_FILLER = 0x01, 0x65, 0x06, 0x0C
_FRAME_NUM_BITS, _ORDER_BITS = 4, 16
#: Frames of a group of pictures: their order (two a frame) has 16 bits.
MAX_GOP_FRAMES = (1 << _ORDER_BITS) // 2 - 1

#: CPE of two silent channels, then the end, as encoders write it.
_SILENCE = bytes.fromhex("210004608c1c")
_AAC_DATA = 0x81  # ID_DSE, instance 0, byte-aligned
_MAX_DATA_ELEMENT = 254  # one byte of length: 255 would announce another

_VIDEO_TAG_BYTES = 5
_AUDIO_TAG = b"\xaf\x01"


def _ue(value: int) -> str:
    """Exp-Golomb, unsigned (H.264, 9.1)."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def _nal(header: int, bits: str) -> bytes:
    """Bits as a NAL unit: the stop bit, and no start code inside (H.264, 7.3.1 and 7.4.1)."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    escaped = bytearray((header,))
    zeros = 0
    for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if zeros == 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(escaped)


_SPS = _nal(
    0x67,
    f"{66:08b}{0xC0:08b}{31:08b}"  # profile, constraints, level 3.1
    + _ue(0) + _ue(_FRAME_NUM_BITS - 4) + _ue(0) + _ue(_ORDER_BITS - 4) + _ue(1) + "0"
    + _ue(WIDTH // 16 - 1) + _ue(HEIGHT // 16 - 1) + "1" + "1" + "0" + "0",
)  # fmt: skip
_PPS = _nal(0x68, _ue(0) + _ue(0) + "00" + _ue(0) * 3 + "000" + _ue(0) * 3 + "000")

#: AVCDecoderConfigurationRecord (ISO 14496-15, 5.2.4.1): 4-byte NAL lengths, one SPS, one PPS.
VIDEO_HEADER = (
    b"\x17\x00\x00\x00\x00\x01" + _SPS[1:4] + b"\xff\xe1"
    + len(_SPS).to_bytes(2, "big") + _SPS + b"\x01" + len(_PPS).to_bytes(2, "big") + _PPS
)
#: AudioSpecificConfig: AAC-LC, 44.1 kHz, stereo.
AUDIO_HEADER = b"\xaf\x00\x12\x10"

_SEI = bytes((_NAL_SEI, 5, len(MAGIC) + STAMP_BYTES)) + MAGIC + b"0" * STAMP_BYTES + b"\x80"
#: Where the magic begins in a payload.
VIDEO_MAGIC_AT = _VIDEO_TAG_BYTES + 4 + 3
AUDIO_MAGIC_AT = len(_AUDIO_TAG) + 2


def _slice_of(position: int) -> bytes:
    order = f"{2 * position % (1 << _ORDER_BITS):0{_ORDER_BITS}b}"
    if position == 0:
        # first_mb, I slice, pps; frame_num; idr_pic_id; order; no long-term reference; QP delta.
        header = _ue(0) + _ue(7) + _ue(0) + "0000" + _ue(0) + order + "00" + _ue(0)
        return _nal(_NAL_IDR, header + _FLAT_MACROBLOCK * _MACROBLOCKS)
    # A picture nothing refers to, so all have frame_num 1 (7.4.3); every macroblock is skipped.
    header = _ue(0) + _ue(5) + _ue(0) + "0001" + order + "00" + _ue(0)
    return _nal(_NAL_SLICE, header + _ue(_MACROBLOCKS))


def video_payload(size: int, position: int) -> bytes:
    """The frame at ``position`` (0: the keyframe) of its group of pictures, as an FLV body of ``size``
    bytes. ValueError if it does not fit.
    """
    tag = (b"\x27" if position else b"\x17") + b"\x01\x00\x00\x00"
    body = tag + b"".join(len(nal).to_bytes(4, "big") + nal for nal in (_SEI, _slice_of(position)))
    missing = size - len(body)
    if missing < 6:
        raise ValueError(f"a video frame of {size} bytes; {len(body) + 6} are needed")
    filler = bytes((_NAL_FILLER,)) + b"\xff" * (missing - 6) + b"\x80"
    return body + len(filler).to_bytes(4, "big") + filler


def audio_payload(size: int) -> bytes:
    """A silent AAC frame as an FLV body of ``size`` bytes. ValueError if it does not fit."""
    stamp = bytes((_AAC_DATA, len(MAGIC) + STAMP_BYTES)) + MAGIC + b"0" * STAMP_BYTES
    missing = size - len(_AUDIO_TAG) - len(stamp) - len(_SILENCE)
    if missing < 2:
        raise ValueError(f"an audio frame of {size} bytes; {size - missing + 2} are needed")
    padding = b""
    while missing:
        data_bytes = min(missing - 2, _MAX_DATA_ELEMENT)
        if missing - 2 - data_bytes == 1:  # one byte is too few for another element
            data_bytes -= 1
        padding += bytes((_AAC_DATA, data_bytes)) + b"\xff" * data_bytes
        missing -= 2 + data_bytes
    return _AUDIO_TAG + stamp + padding + _SILENCE


def stamp(sequence: int, sent_ns: int) -> bytes:
    """The 24 bytes behind the magic: place in its medium's sequence, and clock."""
    return b"%08x%016x" % (sequence, sent_ns)


def read_stamp(payload: Buffer, magic_at: int) -> tuple[int, int] | None:
    """Sequence number and clock of a payload made here, None of any other.

    ``magic_at`` is where the magic stands unless a server has put something in front.
    """
    if payload[magic_at : magic_at + len(MAGIC)] != MAGIC:
        magic_at = bytes(payload[:STAMP_SEARCH_BYTES]).find(MAGIC)
        if magic_at < 0:
            return None
    start = magic_at + len(MAGIC)
    try:
        digits = bytes(payload[start : start + STAMP_BYTES])
        return int(digits[:8], 16), int(digits[8:], 16)
    except ValueError:
        return None
