"""The full parse of one media message, for logs, statistics and tests; ``classify`` is for the hot path."""

from __future__ import annotations

import enum
from typing import NamedTuple

from cluster.core.media import ex_header
from cluster.core.media.access_unit import can_start
from cluster.core.media.classify import (
    AVC_LIKE_CODECS,
    CODED_VIDEO,
    SILENT_FRAME_TYPES,
    MediaFlags,
    data_handler_name,
    enhanced_header,
    flags_of,
)
from cluster.core.media.ex_header import ExHeader, TrackBody
from cluster.core.message import Buffer, MessageType


class MediaKind(enum.StrEnum):
    """What one message is, by the strongest of its flags."""

    FRAMES = "frames"
    SEQUENCE_HEADER = "sequence_header"
    END_OF_SEQUENCE = "end_of_sequence"
    METADATA = "metadata"
    MULTICHANNEL_CONFIG = "multichannel_config"
    COMMAND = "command"
    DATA = "data"
    EMPTY = "empty"
    MALFORMED = "malformed"
    #: Laid out in a way that the format reserves, or not a media message.
    UNKNOWN = "unknown"


class TrackInfo(NamedTuple):
    """One track's part of a message; its body is ``payload[body_start:body_end]``."""

    track_id: int
    codec: str | None
    keyframe: bool
    cts_ms: int
    body_start: int
    body_end: int


class ChannelLayout(NamedTuple):
    """An audio MultichannelConfig: ``order`` 0 is unspecified, 1 native (``mask``), 2 custom."""

    order: int
    channel_count: int
    mask: int = 0
    channels: tuple[int, ...] = ()


class MediaInfo(NamedTuple):
    """One message, described. ``codec`` and ``cts_ms`` are those of the first track.

    Codecs are named by their FourCC, legacy ones that have one too; None: unknown or not said.
    """

    flags: int
    kind: MediaKind
    codec: str | None = None
    tracks: tuple[TrackInfo, ...] = ()
    cts_ms: int = 0
    nano_offset_ns: int = 0
    command: int | None = None
    layout: ChannelLayout | None = None
    handler_name: str | None = None


#: FLV 10.1, E.4.3; 12 and 13 are unassigned there and in use.
VIDEO_CODECS = {
    2: "h263", 3: "screen", 4: "vp6", 5: "vp6a", 6: "screen2", 7: "avc1", 12: "hvc1", 13: "av01",
}  # fmt: skip

#: FLV 10.1, E.4.2; 13 is unassigned there and in use.
AUDIO_CODECS = {
    0: "pcm", 1: "adpcm", 2: ".mp3", 3: "pcm_le", 4: "nellymoser_16k", 5: "nellymoser_8k", 6: "nellymoser",
    7: "alaw", 8: "mulaw", 10: "mp4a", 11: "speex", 13: "Opus", 14: "mp3_8k", 15: "device",
}  # fmt: skip

_KINDS = (
    (MediaFlags.MALFORMED, MediaKind.MALFORMED),
    (MediaFlags.EMPTY, MediaKind.EMPTY),
    (MediaFlags.SEQUENCE_HEADER, MediaKind.SEQUENCE_HEADER),
    (MediaFlags.END_OF_SEQUENCE, MediaKind.END_OF_SEQUENCE),
    (MediaFlags.METADATA, MediaKind.METADATA),
    (MediaFlags.CONFIG, MediaKind.MULTICHANNEL_CONFIG),
    (MediaFlags.COMMAND, MediaKind.COMMAND),
    (MediaFlags.DATA, MediaKind.DATA),
)

_KEY_FRAME_TYPES = (1, 4)
_AUDIO_FRAMES = (ex_header.CODED_FRAMES,)


def describe(type_id: int, payload: Buffer) -> MediaInfo:
    """All that can be told about one message; of its codec's bitstream only the keyframes. Never raises."""
    flags = flags_of(type_id, payload)
    kind = next((kind for flag, kind in _KINDS if flags & flag), MediaKind.FRAMES)
    if not flags:
        return MediaInfo(flags, MediaKind.UNKNOWN)
    if flags & MediaFlags.DATA:
        name = data_handler_name(payload) if type_id == MessageType.DATA_AMF0 else None
        return MediaInfo(flags, kind, handler_name=name)
    if kind in (MediaKind.EMPTY, MediaKind.MALFORMED):
        return MediaInfo(flags, kind)
    header = enhanced_header(type_id, payload)
    if header is not None:
        return _describe_enhanced(flags, kind, payload, header)
    if flags & MediaFlags.VIDEO:
        return _describe_legacy_video(flags, kind, payload)
    return _describe_legacy_audio(flags, kind, payload)


def _describe_enhanced(flags: int, kind: MediaKind, payload: Buffer, header: ExHeader) -> MediaInfo:
    video = bool(flags & MediaFlags.VIDEO)
    frame_type = payload[0] >> 4 & 7
    coded = video and header.packet_type in CODED_VIDEO
    says_key = coded and frame_type in _KEY_FRAME_TYPES
    silent = coded and frame_type in SILENT_FRAME_TYPES
    tracks = tuple(
        _track_info(
            track, says_key or (silent and can_start(track.four_cc, payload, track.start, track.end))
        )
        for track in header.tracks
    )
    known = CODED_VIDEO if video else _AUDIO_FRAMES
    if kind is MediaKind.FRAMES and (not tracks or header.packet_type not in known):
        kind = MediaKind.UNKNOWN
    return MediaInfo(
        flags,
        kind,
        tracks[0].codec if tracks else None,
        tracks,
        tracks[0].cts_ms if tracks else 0,
        header.nano_offset_ns,
        header.command,
        _channel_layout(payload, header.tracks[0]) if kind is MediaKind.MULTICHANNEL_CONFIG else None,
    )


def _track_info(track: TrackBody, is_key: bool) -> TrackInfo:
    codec = track.four_cc.decode("ascii", "backslashreplace")
    return TrackInfo(track.track_id, codec, is_key, track.cts_ms, track.start, track.end)


def _channel_layout(payload: Buffer, track: TrackBody) -> ChannelLayout:
    order, count = payload[track.start], payload[track.start + 1]
    body = bytes(payload[track.start + 2 : track.end])
    if order == 1:
        return ChannelLayout(order, count, mask=int.from_bytes(body[:4], "big"))
    return ChannelLayout(order, count, channels=tuple(body[:count]) if order == 2 else ())


def _describe_legacy_video(flags: int, kind: MediaKind, payload: Buffer) -> MediaInfo:
    codec_id = payload[0] & 15
    codec = VIDEO_CODECS.get(codec_id)
    if kind is MediaKind.COMMAND:
        return MediaInfo(flags, kind, codec, command=payload[1])
    start, cts_ms = 1, 0
    if codec_id in AVC_LIKE_CODECS:
        start = min(5, len(payload))
        if payload[1] == 1:
            cts_ms = ex_header.signed_24(payload, 2)
        elif payload[1] > 2:
            kind = MediaKind.UNKNOWN
    track = TrackInfo(0, codec, bool(flags & MediaFlags.KEYFRAME), cts_ms, start, len(payload))
    return MediaInfo(flags, kind, codec, (track,), cts_ms)


def _describe_legacy_audio(flags: int, kind: MediaKind, payload: Buffer) -> MediaInfo:
    codec = AUDIO_CODECS.get(payload[0] >> 4)
    track = TrackInfo(0, codec, False, 0, 2 if codec == "mp4a" else 1, len(payload))
    return MediaInfo(flags, kind, codec, (track,))
