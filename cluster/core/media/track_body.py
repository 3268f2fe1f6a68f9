"""Where the body of track 0 stands in a message of a log: what files and browsers are given of it.

``describe`` tells the same and more; this runs for each message that is encoded for HTTP.
"""

from __future__ import annotations

from typing import NamedTuple

from cluster.core.media import ex_header
from cluster.core.media.classify import AUDIO_AAC, AVC_LIKE_CODECS, MediaFlags, enhanced_header
from cluster.core.media.describe import AUDIO_CODECS, VIDEO_CODECS
from cluster.core.media.log_entry import LogEntry

_VIDEO = int(MediaFlags.VIDEO)
_AUDIO = int(MediaFlags.AUDIO)
_BODILESS = int(
    MediaFlags.DATA | MediaFlags.MALFORMED | MediaFlags.EMPTY | MediaFlags.END_OF_SEQUENCE
    | MediaFlags.METADATA | MediaFlags.CONFIG | MediaFlags.COMMAND
)  # fmt: skip

#: The first byte of AAC, whatever rate, size and channels it says.
_AAC_BYTES = range(AUDIO_AAC << 4, (AUDIO_AAC << 4) + 16)
_AVC_BODY_AT = 5
#: Packet types of enhanced audio, and of enhanced video: without composition time there is X as well.
_CODED_AUDIO = (ex_header.SEQUENCE_START, ex_header.CODED_FRAMES)
_CODED_VIDEO = (*_CODED_AUDIO, ex_header.CODED_FRAMES_X)


class TrackBody(NamedTuple):
    """A sequence header's body, or coded frames: ``payload[start:]``, or up to ``end``.

    ``codec``: its FourCC, for legacy messages too.
    """

    codec: str
    start: int
    end: int
    cts_ms: int = 0


def track_body(entry: LogEntry) -> TrackBody | None:
    """The body of track 0; None if there is none, or if it is neither a header nor frames. Never raises."""
    flags, payload = entry.flags, entry.payload
    if flags & _BODILESS:
        return None
    if flags & _VIDEO:
        first = payload[0]
        if first & 0x80:
            return _enhanced(entry)
        codec_id = first & 15
        codec = VIDEO_CODECS.get(codec_id)
        if codec is None:
            return None
        if codec_id not in AVC_LIKE_CODECS:
            return TrackBody(codec, 1, len(payload))
        packet_type = payload[1]
        if packet_type > 1:
            return None
        cts_ms = ex_header.signed_24(payload, 2) if packet_type else 0
        return TrackBody(codec, _AVC_BODY_AT, len(payload), cts_ms)
    if not flags & _AUDIO:
        return None
    first = payload[0]
    if first in _AAC_BYTES:
        return TrackBody("mp4a", 2, len(payload))
    codec = AUDIO_CODECS.get(first >> 4)
    return _enhanced(entry) if codec is None else TrackBody(codec, 1, len(payload))


def _enhanced(entry: LogEntry) -> TrackBody | None:
    header = enhanced_header(entry.type_id, entry.payload)
    coded = _CODED_VIDEO if entry.flags & _VIDEO else _CODED_AUDIO
    if header is None or header.packet_type not in coded:
        return None
    for track in header.tracks:
        if track.track_id == 0:
            codec = track.four_cc.decode("ascii", "backslashreplace")
            return TrackBody(codec, track.start, track.end, track.cts_ms)
    return None
