"""What the configurations and frames of audio codecs say of themselves: rate, channels, samples.

Nothing here raises on any bytes: what cannot be read is None, or 0 samples.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cluster.core.media.bits import Bits, EndOfBitsError
from cluster.core.message import Buffer


class AudioFormat(NamedTuple):
    """``frame_samples``: samples of one frame; 0 if each frame tells.

    ``profile``: of AAC its audio object type, of MPEG audio its layer. ``specific``: of AC-3 and E-AC-3 the
    body of the box that MP4 has for it.
    """

    sample_rate: int
    channels: int
    frame_samples: int
    profile: int = 0
    specific: bytes = b""


#: ISO/IEC 14496-3, table 1.18, and the channels of table 1.19.
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_CHANNELS = {7: 8, 11: 7, 12: 8, 14: 8}
_AAC_OF_SOME_KIND = frozenset((1, 2, 3, 4, 6, 7, 17, 19, 20, 22))
_AAC_LD = 23
#: SBR, and SBR with PS: the codec that they stand on follows.
_AAC_WITH_SBR = frozenset((5, 29))

#: The rate of Opus in MP4, whatever was recorded (RFC 7845; Opus in ISOBMFF, section 4.3.1).
OPUS_RATE: Final = 48_000

#: By version (MPEG-2.5, none, MPEG-2, MPEG-1) the rates of ISO/IEC 11172-3 and 13818-3.
_MPEG_RATES = ((11025, 12000, 8000), (), (22050, 24000, 16000), (44100, 48000, 32000))
_MPEG_1 = 3

#: ETSI TS 102 366: the rates (table 4.1), the channels by acmod (table 4.3), the blocks of a frame of
#: E-AC-3 (table E.1.5), and the samples of a block.
_AC3_RATES = (48000, 44100, 32000)
_AC3_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)
_EAC3_BLOCKS = (1, 2, 3, 6)
_AC3_BLOCK_SAMPLES = 256
_AC3_FRAME_SAMPLES = 6 * _AC3_BLOCK_SAMPLES
_AC3_SYNC = 0x0B77
_LAST_AC3_BSID = 10
_LAST_EAC3_BSID = 16
_EAC3_DEPENDENT = 1
#: Of one message: six of a block each, of all substreams. The shortest that parse have 4 bytes.
_MOST_EAC3_FRAMES = 6 * 16

_FLAC_MARK = b"fLaC"
_FLAC_STREAMINFO_BYTES = 34
#: RFC 9639, table 14: the block sizes that a frame's code says.
_FLAC_BLOCKS = {
    1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608, 8: 256, 9: 512, 10: 1024, 11: 2048, 12: 4096, 13: 8192,
    14: 16384, 15: 32768,
}  # fmt: skip


def aac_format(config: Buffer) -> AudioFormat | None:
    """By an AudioSpecificConfig (ISO/IEC 14496-3, section 1.6.2.1).

    The rate is that of the frames, which SBR doubles.
    """
    try:
        return _aac_format(Bits(config))
    except EndOfBitsError:
        return None


def _aac_format(bits: Bits) -> AudioFormat | None:
    profile = kind = _aac_object_type(bits)
    rate = _aac_rate(bits)
    channels = bits.read(4)
    if kind in _AAC_WITH_SBR:
        _aac_rate(bits)
        kind = _aac_object_type(bits)
    samples = 0
    if kind in _AAC_OF_SOME_KIND:
        samples = 960 if bits.read(1) else 1024
    elif kind == _AAC_LD:
        samples = 480 if bits.read(1) else 512
    if not rate or not profile:
        return None
    return AudioFormat(rate, _AAC_CHANNELS.get(channels, channels), samples, profile)


def _aac_object_type(bits: Bits) -> int:
    kind = bits.read(5)
    return 32 + bits.read(6) if kind == 31 else kind


def _aac_rate(bits: Bits) -> int:
    """0 for those that are reserved."""
    index = bits.read(4)
    if index == 15:
        return bits.read(24)
    return _AAC_RATES[index] if index < len(_AAC_RATES) else 0


def mpeg_audio_format(frame: Buffer) -> AudioFormat | None:
    """By the header of an MP3 frame (ISO/IEC 11172-3, section 2.4.1.3)."""
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = frame[1] >> 3 & 3, 4 - (frame[1] >> 1 & 3), frame[2] >> 2 & 3
    if layer == 4 or rate >= len(_MPEG_RATES[version]):
        return None
    samples = 384 if layer == 1 else 576 if layer == 3 and version != _MPEG_1 else 1152
    channels = 1 if frame[3] >> 6 == 3 else 2
    return AudioFormat(_MPEG_RATES[version][rate], channels, samples, layer)


def is_mpeg_1(sample_rate: int) -> bool:
    """Whether MPEG audio of that rate is of MPEG-1, and not of MPEG-2."""
    return sample_rate in _MPEG_RATES[_MPEG_1]


def ac3_format(frame: Buffer) -> AudioFormat | None:
    """By the header of an AC-3 frame (ETSI TS 102 366, sections 4.3 and 4.4), with the body of ``dac3``."""
    try:
        return _ac3_format(Bits(frame))
    except EndOfBitsError:
        return None


def _ac3_format(bits: Bits) -> AudioFormat | None:
    if bits.read(16) != _AC3_SYNC:
        return None
    bits.skip(16)
    rate, size_code, bsid, bsmod, acmod = (bits.read(count) for count in (2, 6, 5, 3, 3))
    if rate >= len(_AC3_RATES) or bsid > _LAST_AC3_BSID:
        return None
    has_center, has_surround = acmod & 1 and acmod != 1, acmod & 4
    bits.skip(2 * (bool(has_center) + bool(has_surround) + (acmod == 2)))
    lfe = bits.read(1)
    # Annex F.4 of the same.
    box = rate << 22 | bsid << 17 | bsmod << 14 | acmod << 11 | lfe << 10 | (size_code >> 1) << 5
    rate_hz = _AC3_RATES[rate] >> max(0, bsid - 8)
    return AudioFormat(
        rate_hz, _AC3_CHANNELS[acmod] + lfe, _AC3_FRAME_SAMPLES, specific=box.to_bytes(3, "big")
    )


class _Eac3Frame(NamedTuple):
    """The beginning of one frame of E-AC-3 (ETSI TS 102 366, section E.1.2.2)."""

    stream_type: int
    size: int
    rate_code: int
    rate: int
    samples: int
    acmod: int
    lfe: int
    bsid: int
    channel_map: int


def _eac3_frame(data: Buffer) -> _Eac3Frame | None:
    bits = Bits(data[:32])
    if bits.read(16) != _AC3_SYNC:
        return None
    stream_type, _, words, rate_code = (bits.read(count) for count in (2, 3, 11, 2))
    blocks = 6
    if rate_code == 3:
        half = bits.read(2)
        rate = _AC3_RATES[half] // 2 if half < len(_AC3_RATES) else 0
    else:
        rate = _AC3_RATES[rate_code]
        blocks = _EAC3_BLOCKS[bits.read(2)]
    acmod, lfe, bsid, _ = (bits.read(count) for count in (3, 1, 5, 5))
    if not rate or not _LAST_AC3_BSID < bsid <= _LAST_EAC3_BSID:
        return None
    for _ in range(1 if acmod else 2):
        if bits.read(1):
            bits.skip(8)
        if not acmod:
            bits.skip(5)
    channel_map = -1
    if stream_type == _EAC3_DEPENDENT:
        channel_map = bits.read(16) if bits.read(1) else acmod << 5
    samples = blocks * _AC3_BLOCK_SAMPLES
    return _Eac3Frame(stream_type, 2 * words + 2, rate_code, rate, samples, acmod, lfe, bsid, channel_map)


def _eac3_frames(data: Buffer) -> list[_Eac3Frame]:
    """Those in one message: up to six blocks of each substream."""
    frames: list[_Eac3Frame] = []
    offset = 0
    try:
        while offset < len(data) and len(frames) < _MOST_EAC3_FRAMES:
            frame = _eac3_frame(data[offset : offset + 32])
            if frame is None:
                break
            frames.append(frame)
            offset += frame.size
    except EndOfBitsError:
        pass
    return frames


def eac3_format(data: Buffer) -> AudioFormat | None:
    """By the frames of one message of E-AC-3, with the body of ``dec3`` (section F.6).

    Of a programme's substreams only the first that is independent is described, with those on it.
    """
    frames = _eac3_frames(data)
    if not frames or frames[0].stream_type == _EAC3_DEPENDENT:
        return None
    main = frames[0]
    samples = eac3_samples(data)
    dependent = [frame for frame in frames if frame.stream_type == _EAC3_DEPENDENT]
    kbits = sum(frame.size for frame in frames) * 8 * main.rate // max(samples, 1) // 1000
    box = (kbits & 0x1FFF) << 3
    box = box << 24 | main.rate_code << 22 | main.bsid << 17 | main.acmod << 9 | main.lfe << 8
    channels = _AC3_CHANNELS[main.acmod] + main.lfe
    if not dependent:
        return AudioFormat(main.rate, channels, 0, specific=box.to_bytes(5, "big"))
    places = 0
    for frame in dependent:
        places |= frame.channel_map >> 5 & 0x1F
    box = (box | 1 << 1) << 8 | places
    return AudioFormat(main.rate, channels, 0, specific=box.to_bytes(6, "big"))


def eac3_samples(data: Buffer) -> int:
    """Samples in one message of E-AC-3; 0 if it has no frame."""
    return sum(frame.samples for frame in _eac3_frames(data) if frame.stream_type != _EAC3_DEPENDENT)


def opus_samples(packet: Buffer) -> int:
    """Samples at 48 kHz in an Opus packet, by its first byte (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        samples = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        samples = (480, 960)[config & 1]
    else:
        samples = 120 << (config & 3)
    if code < 3:
        return samples if code == 0 else 2 * samples
    return samples * (packet[1] & 63) if len(packet) > 1 else 0


def flac_format(header: Buffer) -> AudioFormat | None:
    """By a FLAC header: its STREAMINFO (RFC 9639, section 8.2), with or without what stands before it.

    ``specific`` is the STREAMINFO.
    """
    body = bytes(header)
    if body[:4] == _FLAC_MARK:
        body = body[4:]
    if len(body) >= 4 + _FLAC_STREAMINFO_BYTES and body[0] & 0x7F == 0:
        body = body[4:]
    if len(body) < _FLAC_STREAMINFO_BYTES:
        return None
    info = body[:_FLAC_STREAMINFO_BYTES]
    least, most = int.from_bytes(info[:2], "big"), int.from_bytes(info[2:4], "big")
    packed = int.from_bytes(info[10:14], "big")
    rate, channels = packed >> 12, (packed >> 9 & 7) + 1
    return AudioFormat(rate, channels, most if least == most else 0, specific=info) if rate else None


def flac_samples(frame: Buffer) -> int:
    """Samples in a FLAC frame, by its header (RFC 9639, section 9.1); 0 if it has none."""
    if len(frame) < 5 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:
        return 0
    code = frame[2] >> 4
    if code not in (6, 7):
        return _FLAC_BLOCKS.get(code, 0)
    number_bytes = max(1, 8 - (frame[4] ^ 0xFF).bit_length())  # coded as in UTF-8
    size = frame[4 + number_bytes : 4 + number_bytes + code - 5]
    return int.from_bytes(size, "big") + 1 if len(size) == code - 5 else 0
