"""The enhanced audio and video tag headers: ModEx, Multitrack and the FourCC of each track.

Video type 9 with bit 7 set, audio type 8 with sound format 9; Enhanced RTMP v2, "Enhanced Video" and
"Enhanced Audio". One walk serves both media: only the two packet type numbers of Multitrack differ,
and only video has frame types and composition time offsets. Bodies stay opaque.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cluster.core.message import Buffer

SEQUENCE_START: Final = 0
CODED_FRAMES: Final = 1
SEQUENCE_END: Final = 2
CODED_FRAMES_X: Final = 3
VIDEO_METADATA: Final = 4
MULTICHANNEL_CONFIG: Final = 4
MPEG2TS_SEQUENCE_START: Final = 5
AUDIO_MULTITRACK: Final = 5
VIDEO_MULTITRACK: Final = 6
MOD_EX: Final = 7

FRAME_TYPE_COMMAND: Final = 5

_ONE_TRACK = 0
_MANY_TRACKS = 1
_MANY_TRACKS_MANY_CODECS = 2

#: The codecs whose CodedFrames begin with a composition time offset; av01, vp08 and vp09 have none.
_CTS_CODECS = frozenset((b"avc1", b"hvc1", b"vvc1"))

#: One ModEx per extension and one extension defined: a longer run only costs time.
MAX_MOD_EX = 16
#: A track id is one byte, so more tracks than this repeat one.
MAX_TRACKS = 256

_NANO_OFFSET = 0


class TrackBody(NamedTuple):
    """Where one track's body stands in the payload: ``payload[start:end]``, behind its CTS if any."""

    track_id: int
    four_cc: bytes
    start: int
    end: int
    cts_ms: int


class ExHeader(NamedTuple):
    """One enhanced message, parsed up to its bodies.

    ``tracks`` is empty if the message is malformed, a command, or laid out in a way that the format
    still reserves. ``packet_type`` is the one that applies to the bodies, behind ModEx and Multitrack.
    """

    packet_type: int
    tracks: tuple[TrackBody, ...] = ()
    command: int | None = None
    nano_offset_ns: int = 0
    malformed: bool = False
    multitrack: bool = False


class _MalformedError(Exception):
    """The message ends too early or contradicts itself; never leaves this module."""


def parse_ex_header(payload: Buffer, *, video: bool) -> ExHeader:
    """Parse a payload whose first byte announces an enhanced header. Never raises."""
    try:
        return _parse(payload, video)
    except _MalformedError:
        return ExHeader(payload[0] & 15 if payload else 0, malformed=True)


def signed_24(payload: Buffer, offset: int) -> int:
    """The SI24 at ``offset``, which must be there."""
    value = int.from_bytes(payload[offset : offset + 3], "big")
    return value - (1 << 24) if value & 0x800000 else value


def _parse(payload: Buffer, video: bool) -> ExHeader:
    packet_type, nano_offset_ns, offset = _skip_mod_ex(payload)
    if video and packet_type != VIDEO_METADATA and payload[0] >> 4 & 7 == FRAME_TYPE_COMMAND:
        # Metadata ignores the frame type: FFmpeg writes it with 5.
        return ExHeader(packet_type, (), _byte(payload, offset), nano_offset_ns)
    multitrack = VIDEO_MULTITRACK if video else AUDIO_MULTITRACK
    if packet_type != multitrack:
        four_cc = _four_cc(payload, offset)
        track = _body(payload, video, packet_type, 0, four_cc, offset + 4, len(payload))
        return ExHeader(packet_type, (track,), None, nano_offset_ns)
    layout, packet_type = divmod(_byte(payload, offset), 16)
    if packet_type in (multitrack, MOD_EX):
        raise _MalformedError
    tracks = _tracks(payload, video, packet_type, layout, offset + 1)
    return ExHeader(packet_type, tracks, None, nano_offset_ns, multitrack=True)


def _skip_mod_ex(payload: Buffer) -> tuple[int, int, int]:
    """The packet type behind every ModEx, the nanosecond offset (0 if none), and the next offset."""
    packet_type = _byte(payload, 0) & 15
    offset = 1
    nano_offset_ns = 0
    for _ in range(MAX_MOD_EX):
        if packet_type != MOD_EX:
            return packet_type, nano_offset_ns, offset
        data_size = _byte(payload, offset) + 1
        offset += 1
        if data_size == 256:
            # The 16-bit size replaces the 8-bit one; it does not add to it.
            data_size = (_byte(payload, offset) << 8 | _byte(payload, offset + 1)) + 1
            offset += 2
        extension, packet_type = divmod(_byte(payload, offset + data_size), 16)
        if extension == _NANO_OFFSET and data_size >= 3:
            nano_offset_ns = int.from_bytes(payload[offset : offset + 3], "big")
        offset += data_size + 1
    if packet_type == MOD_EX:
        raise _MalformedError
    return packet_type, nano_offset_ns, offset


def _tracks(
    payload: Buffer, video: bool, packet_type: int, layout: int, offset: int
) -> tuple[TrackBody, ...]:
    """The tracks of a Multitrack message; none if ``layout`` is a value the format reserves."""
    if layout > _MANY_TRACKS_MANY_CODECS:
        return ()
    four_cc = b""
    if layout != _MANY_TRACKS_MANY_CODECS:
        four_cc = _four_cc(payload, offset)
        offset += 4
    if layout == _ONE_TRACK:
        track_id = _byte(payload, offset)
        return (_body(payload, video, packet_type, track_id, four_cc, offset + 1, len(payload)),)
    tracks: list[TrackBody] = []
    while offset < len(payload):
        if layout == _MANY_TRACKS_MANY_CODECS:
            four_cc = _four_cc(payload, offset)
            offset += 4
        track_id = _byte(payload, offset)
        _byte(payload, offset + 3)
        start = offset + 4
        offset = start + int.from_bytes(payload[offset + 1 : start], "big")
        tracks.append(_body(payload, video, packet_type, track_id, four_cc, start, offset))
        if len(tracks) > MAX_TRACKS:
            raise _MalformedError
    if not tracks:
        raise _MalformedError
    return tuple(tracks)


def _body(
    payload: Buffer, video: bool, packet_type: int, track_id: int, four_cc: bytes, start: int, end: int
) -> TrackBody:
    if end > len(payload):
        raise _MalformedError
    cts_ms = 0
    if video and packet_type == CODED_FRAMES and four_cc in _CTS_CODECS:
        if end - start < 3:
            raise _MalformedError
        cts_ms = signed_24(payload, start)
        start += 3
    elif not video and packet_type == MULTICHANNEL_CONFIG and not _is_whole_config(payload, start, end):
        raise _MalformedError
    return TrackBody(track_id, four_cc, start, end, cts_ms)


def _is_whole_config(payload: Buffer, start: int, end: int) -> bool:
    """Whether a MultichannelConfig body has all that its order announces."""
    if end - start < 2:
        return False
    order, channels = payload[start], payload[start + 1]
    needed = {1: 4, 2: channels}.get(order, 0)
    return end - start >= 2 + needed


def _byte(payload: Buffer, offset: int) -> int:
    if offset >= len(payload):
        raise _MalformedError
    return payload[offset]


def _four_cc(payload: Buffer, offset: int) -> bytes:
    if offset + 4 > len(payload):
        raise _MalformedError
    return bytes(payload[offset : offset + 4])
