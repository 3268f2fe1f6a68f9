"""What a media message means to the stream log: keyframe, header, end, or just media.

``flags_of`` runs once per media message of every publisher, so the common cases are two table look-ups by
the first two bytes; everything else is parsed. Nothing here raises on any payload: a peer's nonsense is
``MALFORMED``. Legacy bodies: FLV 10.1, E.4.2 and E.4.3; enhanced ones: Enhanced RTMP v2.
"""

from __future__ import annotations

import enum
from typing import Final

from cluster.core.media import ex_header
from cluster.core.media.access_unit import can_start
from cluster.core.media.ex_header import ExHeader, parse_ex_header
from cluster.core.message import Buffer, Message, MessageType


class MediaFlags(enum.IntFlag):
    """What ``flags_of`` tells about one message.

    One of VIDEO, AUDIO and DATA says which media it is; a message of another type has no flag at all.
    MALFORMED (it ends too early or contradicts itself) and EMPTY (no bytes, which is legal) stand alone
    beside it. A message with neither and no further flag is media of no special meaning.
    """

    VIDEO = 1
    AUDIO = 2
    DATA = 4
    #: Coded frames that track 0 can start at: headers, ends and other tracks' keyframes are not.
    KEYFRAME = 8
    #: A codec's configuration, of whatever track.
    SEQUENCE_HEADER = 16
    END_OF_SEQUENCE = 32
    #: onMetaData, or a video Metadata packet.
    METADATA = 64
    #: A video command frame (client-side seek); forwarded, never kept.
    COMMAND = 128
    #: No other frame refers to it.
    DISPOSABLE = 256
    #: An audio MultichannelConfig.
    CONFIG = 512
    #: No bytes, or coded frames without any: encoders send such to keep a connection or a medium alive.
    EMPTY = 1024
    MALFORMED = 2048
    #: A Multitrack message: ``track_ids`` tells whose it is.
    MULTITRACK = 4096
    #: Coded frames that the message's own tracks can start at, where track 0 is none of them.
    OTHER_KEYFRAME = 8192


AUDIO_AAC: Final = 10
AUDIO_ENHANCED: Final = 9
#: What has no place of its own in time.
NOT_TIMED: Final = (
    MediaFlags.SEQUENCE_HEADER | MediaFlags.END_OF_SEQUENCE | MediaFlags.METADATA | MediaFlags.CONFIG
    | MediaFlags.COMMAND | MediaFlags.EMPTY | MediaFlags.MALFORMED
)  # fmt: skip
#: What is no coded frame of audio or video, and so moves no clock.
NOT_FRAME: Final = NOT_TIMED | MediaFlags.DATA
#: AVC, and the HEVC and AV1 that SRS, lal and others send under unassigned ids with AVC's layout.
AVC_LIKE_CODECS: Final = frozenset((7, 12, 13))
CODED_VIDEO: Final = (ex_header.CODED_FRAMES, ex_header.CODED_FRAMES_X)
#: Reserved frame types, with which some forward everything: the frame itself tells whether it is a key.
SILENT_FRAME_TYPES: Final = frozenset((0, 6, 7))

_AVC_LIKE_FOUR_CC = {7: b"avc1", 12: b"hvc1", 13: b"av01"}

_ON_META_DATA = b"\x02\x00\x0aonMetaData"
_SET_DATA_FRAME = b"\x02\x00\x0d@setDataFrame"

# Plain ints: IntFlag arithmetic costs more than the whole classification.
_VIDEO = int(MediaFlags.VIDEO)
_AUDIO = int(MediaFlags.AUDIO)
_DATA = int(MediaFlags.DATA)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_END_OF_SEQUENCE = int(MediaFlags.END_OF_SEQUENCE)
_METADATA = int(MediaFlags.METADATA)
_COMMAND = int(MediaFlags.COMMAND)
_DISPOSABLE = int(MediaFlags.DISPOSABLE)
_CONFIG = int(MediaFlags.CONFIG)
_EMPTY = int(MediaFlags.EMPTY)
_MALFORMED = int(MediaFlags.MALFORMED)
_MULTITRACK = int(MediaFlags.MULTITRACK)
_OTHER_KEYFRAME = int(MediaFlags.OTHER_KEYFRAME)
_CODED = _VIDEO | _AUDIO

#: In a table: the first two bytes do not decide.
_UNDECIDED = 0

_VIDEO_TYPE = int(MessageType.VIDEO)
_AUDIO_TYPE = int(MessageType.AUDIO)
_DATA_TYPES = frozenset((int(MessageType.DATA_AMF0), int(MessageType.DATA_AMF3), int(MessageType.MARK)))

#: With this many bytes, the tables need no look at the length: first byte, FourCC, a video CTS, and a byte.
_VIDEO_TABLE_BYTES = 9
_AUDIO_TABLE_BYTES = 6
#: The same for the OneTrack messages that OBS sends for each track but the first: in front of the body
#: stand the layout (high nibble 0) with the packet type, the FourCC and the track id.
_VIDEO_ONE_TRACK_BYTES = 11
_AUDIO_ONE_TRACK_BYTES = 8
_ONE_TRACK_ID_AT = 6
#: AVCPacketType of coded frames.
_AVC_NALUS = 1


def _frame_flags(frame_type: int) -> int:
    """Coded frames of track 0. Type 4 is a keyframe a server generated."""
    return _VIDEO | {1: _KEYFRAME, 4: _KEYFRAME, 3: _DISPOSABLE}.get(frame_type, 0)


def _ex_video_flags(packet_type: int, frame_type: int) -> int:
    if packet_type in CODED_VIDEO:
        return _frame_flags(frame_type)
    return _VIDEO | {
        ex_header.SEQUENCE_START: _SEQUENCE_HEADER,
        ex_header.MPEG2TS_SEQUENCE_START: _SEQUENCE_HEADER,
        ex_header.SEQUENCE_END: _END_OF_SEQUENCE,
        ex_header.VIDEO_METADATA: _METADATA,
    }.get(packet_type, 0)


def _ex_audio_flags(packet_type: int) -> int:
    return _AUDIO | {
        ex_header.SEQUENCE_START: _SEQUENCE_HEADER,
        ex_header.SEQUENCE_END: _END_OF_SEQUENCE,
        ex_header.MULTICHANNEL_CONFIG: _CONFIG,
    }.get(packet_type, 0)


def _video_row(first: int) -> tuple[int, ...]:
    """The flags by second byte of a video message long enough for the table."""
    frame_type = first >> 4 & 7
    if first & 0x80:  # before the low nibble is looked at: 0x97 is ModEx, not AVC
        packet_type = first & 15
        if packet_type in (ex_header.VIDEO_MULTITRACK, ex_header.MOD_EX):
            return (_UNDECIDED,) * 256
        if frame_type == ex_header.FRAME_TYPE_COMMAND and packet_type != ex_header.VIDEO_METADATA:
            return (_VIDEO | _COMMAND,) * 256
        if frame_type in SILENT_FRAME_TYPES and packet_type in CODED_VIDEO:
            return (_UNDECIDED,) * 256
        return (_ex_video_flags(packet_type, frame_type),) * 256
    if frame_type == ex_header.FRAME_TYPE_COMMAND:
        return (_VIDEO | _COMMAND,) * 256
    if first & 15 not in AVC_LIKE_CODECS:
        return (_frame_flags(frame_type),) * 256
    coded = _UNDECIDED if frame_type in SILENT_FRAME_TYPES else _frame_flags(frame_type)
    named = (_VIDEO | _SEQUENCE_HEADER, coded, _VIDEO | _END_OF_SEQUENCE)
    return named + (_VIDEO,) * 253


def _audio_row(first: int) -> tuple[int, ...]:
    """The flags by second byte of an audio message long enough for the table."""
    sound_format = first >> 4
    if sound_format == AUDIO_AAC:
        return (_AUDIO | _SEQUENCE_HEADER, *(_AUDIO,) * 255)
    if sound_format != AUDIO_ENHANCED:
        return (_AUDIO,) * 256
    packet_type = first & 15
    if packet_type in (ex_header.MULTICHANNEL_CONFIG, ex_header.AUDIO_MULTITRACK, ex_header.MOD_EX):
        return (_UNDECIDED,) * 256
    return (_ex_audio_flags(packet_type),) * 256


_VIDEO_TABLE = tuple(_video_row(first) for first in range(256))
_AUDIO_TABLE = tuple(_audio_row(first) for first in range(256))


def flags_of(type_id: int, payload: Buffer) -> int:
    """The ``MediaFlags`` of one message, as a plain int. Never raises."""
    if type_id == _VIDEO_TYPE:
        if len(payload) >= _VIDEO_TABLE_BYTES:
            flags = _VIDEO_TABLE[payload[0]][payload[1]]
            if flags:
                return flags
        return _parsed_video_flags(payload)
    if type_id == _AUDIO_TYPE:
        if len(payload) >= _AUDIO_TABLE_BYTES:
            flags = _AUDIO_TABLE[payload[0]][payload[1]]
            if flags:
                return flags
        return _parsed_audio_flags(payload)
    if type_id in _DATA_TYPES:
        if not payload:
            return _DATA | _EMPTY
        is_metadata = type_id == MessageType.DATA_AMF0 and payload[: len(_ON_META_DATA)] == _ON_META_DATA
        return _DATA | _METADATA if is_metadata else _DATA
    return 0


def is_coded(message: Message) -> bool:
    """Audio or video to be decoded: not a header, an end, a command, metadata or an empty message."""
    flags = flags_of(message.type_id, message.payload)
    return bool(flags & _CODED) and not flags & NOT_TIMED


def track_ids(type_id: int, payload: Buffer) -> tuple[int, ...]:
    """The tracks of an audio or video message, sorted; (0,) for one that names none."""
    if len(payload) > _ONE_TRACK_ID_AT and payload[1] < 16 and _is_multitrack(type_id, payload[0]):
        return (payload[_ONE_TRACK_ID_AT],)  # OneTrack, the layout of every real encoder, unparsed
    header = enhanced_header(type_id, payload)
    tracks = () if header is None else header.tracks
    return tuple(sorted({track.track_id for track in tracks})) or (0,)


def _is_multitrack(type_id: int, first: int) -> bool:
    """Whether an audio or video message that begins with ``first`` is Multitrack without ModEx."""
    if type_id == _VIDEO_TYPE:
        return bool(first & 0x80) and first & 15 == ex_header.VIDEO_MULTITRACK
    return first == AUDIO_ENHANCED << 4 | ex_header.AUDIO_MULTITRACK


def strip_set_data_frame(payload: bytes | memoryview) -> bytes | memoryview:
    """A published data message as players and FLV files get it: without a leading ``@setDataFrame``.

    The value bytes stay as they are, so an ECMA array stays one: FFmpeg looks for nothing else.
    """
    if payload[: len(_SET_DATA_FRAME)] == _SET_DATA_FRAME:
        return payload[len(_SET_DATA_FRAME) :]
    return payload


def data_handler_name(payload: Buffer) -> str | None:
    """The AMF0 string a data message begins with, such as ``onMetaData``; None if there is none."""
    if len(payload) < 3 or payload[0] != 2:
        return None
    end = 3 + (payload[1] << 8 | payload[2])
    if end > len(payload):
        return None
    return bytes(payload[3:end]).decode("utf-8", "surrogateescape")


def enhanced_header(type_id: int, payload: Buffer) -> ExHeader | None:
    """The parsed header of an enhanced audio or video message; None if the message is not one."""
    if not payload:
        return None
    if type_id == _VIDEO_TYPE and payload[0] & 0x80:
        return parse_ex_header(payload, video=True)
    if type_id == _AUDIO_TYPE and payload[0] >> 4 == AUDIO_ENHANCED:
        return parse_ex_header(payload, video=False)
    return None


def _parsed_video_flags(payload: Buffer) -> int:
    """Video that is short, multi-track, behind ModEx, or of a frame type that says nothing."""
    if not payload:
        return _VIDEO | _EMPTY
    first = payload[0]
    if first & 0x80:
        frame_type = first >> 4 & 7
        if (
            first & 15 == ex_header.VIDEO_MULTITRACK
            and frame_type != ex_header.FRAME_TYPE_COMMAND
            and len(payload) >= _VIDEO_ONE_TRACK_BYTES
            and payload[1] < ex_header.VIDEO_MULTITRACK
        ):
            flags = _VIDEO_TABLE[first & 0xF0 | payload[1]][0]
            if flags:
                return _of_other_tracks(flags) if payload[_ONE_TRACK_ID_AT] else flags | _MULTITRACK
        return _parsed_ex_video_flags(payload, frame_type, parse_ex_header(payload, video=True))
    if len(payload) < 2:
        return _VIDEO | _MALFORMED
    flags = _VIDEO_TABLE[first][payload[1]] or _silent_flags(
        can_start(_AVC_LIKE_FOUR_CC[first & 15], payload, 5, len(payload))
    )
    # Only the end of a sequence and a command need no composition time (FLV 10.1, E.4.3.1).
    needs_cts = first & 15 in AVC_LIKE_CODECS and not flags & (_END_OF_SEQUENCE | _COMMAND)
    if needs_cts and len(payload) < 5:
        return _VIDEO | _MALFORMED
    return _VIDEO | _EMPTY if needs_cts and len(payload) == 5 and payload[1] == _AVC_NALUS else flags


def _silent_flags(is_key: bool) -> int:
    """Coded frames whose frame type says nothing."""
    return _VIDEO | _KEYFRAME if is_key else _VIDEO


def _parsed_ex_video_flags(payload: Buffer, frame_type: int, header: ExHeader) -> int:
    if header.malformed:
        return _VIDEO | _MALFORMED
    if header.command is not None:
        return _VIDEO | _COMMAND
    if not header.tracks:
        return _VIDEO
    if header.packet_type in CODED_VIDEO and _has_no_body(header):
        return _VIDEO | _EMPTY
    if frame_type in SILENT_FRAME_TYPES and header.packet_type in CODED_VIDEO:
        judged = [track for track in header.tracks if not track.track_id] or header.tracks
        flags = _silent_flags(
            any(can_start(track.four_cc, payload, track.start, track.end) for track in judged)
        )
    else:
        flags = _ex_video_flags(header.packet_type, frame_type)
    if header.multitrack:
        flags |= _MULTITRACK
        if all(track.track_id for track in header.tracks):
            flags = _of_other_tracks(flags)
    return flags


def _of_other_tracks(flags: int) -> int:
    """``flags`` of a Multitrack message in which track 0 has no part."""
    return flags & ~_KEYFRAME | (_OTHER_KEYFRAME if flags & _KEYFRAME else 0) | _MULTITRACK


def _parsed_audio_flags(payload: Buffer) -> int:
    """Audio that is short, multi-track, behind ModEx, or a multichannel configuration."""
    if not payload:
        return _AUDIO | _EMPTY
    first = payload[0]
    sound_format = first >> 4
    if sound_format == AUDIO_ENHANCED:
        one_track = first & 15 == ex_header.AUDIO_MULTITRACK and len(payload) >= _AUDIO_ONE_TRACK_BYTES
        if one_track and payload[1] < ex_header.MULTICHANNEL_CONFIG:
            return _AUDIO_TABLE[first & 0xF0 | payload[1]][0] | _MULTITRACK
        header = parse_ex_header(payload, video=False)
        if header.malformed:
            return _AUDIO | _MALFORMED
        if not header.tracks:
            return _AUDIO
        if header.packet_type == ex_header.CODED_FRAMES and _has_no_body(header):
            return _AUDIO | _EMPTY
        return _ex_audio_flags(header.packet_type) | (_MULTITRACK if header.multitrack else 0)
    if sound_format != AUDIO_AAC:
        return _AUDIO if len(payload) > 1 else _AUDIO | _EMPTY
    if len(payload) < 2:
        return _AUDIO | _MALFORMED
    flags = _AUDIO_TABLE[first][payload[1]]
    return _AUDIO | _EMPTY if len(payload) == 2 and not flags & _SEQUENCE_HEADER else flags


def _has_no_body(header: ExHeader) -> bool:
    return all(track.start == track.end for track in header.tracks)
