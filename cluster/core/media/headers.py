"""What of a stream a joiner needs before its first message: metadata, sequence headers, configurations."""

from __future__ import annotations

from typing import NamedTuple

from cluster.core.media.classify import MediaFlags, enhanced_header, flags_of, track_ids
from cluster.core.message import Buffer

_REPLAY_ORDER = {
    ("data", "metadata"): 0,
    ("video", "metadata"): 1,
    ("video", "sequence_header"): 2,
    ("audio", "sequence_header"): 3,
    ("audio", "multichannel_config"): 4,
}

#: Codecs for whose sequence header no body is defined: an empty one says all there is to say.
_BODILESS_HEADERS = frozenset((b".mp3", b"ac-3", b"ec-3"))

_VIDEO = int(MediaFlags.VIDEO)
_DATA = int(MediaFlags.DATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_CONFIG = int(MediaFlags.CONFIG)
_CACHED = _SEQUENCE_HEADER | int(MediaFlags.METADATA) | _CONFIG


class HeaderKey(NamedTuple):
    """What a cached header is the latest of.

    ``tracks`` is sorted: one track, or the set of a message that carries several; empty for data.
    """

    media: str
    tracks: tuple[int, ...]
    kind: str


def header_key(type_id: int, payload: Buffer) -> HeaderKey | None:
    """What a joiner needs this message as; None if a joiner does not need it.

    A new message with an equal key replaces the old one: same media, same track or set of tracks, same
    kind (Enhanced RTMP v2: metadata and headers hold until replaced).
    """
    flags = flags_of(type_id, payload)
    if not flags & _CACHED:
        return None
    kind = "metadata"
    if flags & _SEQUENCE_HEADER:
        kind = "sequence_header"
    elif flags & _CONFIG:
        kind = "multichannel_config"
    if flags & _DATA:
        return HeaderKey("data", (), kind)
    return HeaderKey("video" if flags & _VIDEO else "audio", track_ids(type_id, payload), kind)


def header_order(key: HeaderKey) -> int:
    """Where a cached header comes in the replay to a joiner, smallest first.

    onMetaData, video metadata, video headers, audio headers, multichannel configurations. Equal ones
    are replayed in the order of arrival, so that of two that share a track the newer one counts.
    """
    return _REPLAY_ORDER[key.media, key.kind]


def is_empty_header(type_id: int, payload: Buffer) -> bool:
    """Whether this is a sequence header that lacks the body its codec needs, for any of its tracks.

    It may stand as long as there is no better one, and must not replace one: FFmpeg's first AV1 header
    is empty and its second whole. An empty Opus header is legal and yet knows less than a full one.
    """
    flags = flags_of(type_id, payload)
    if not flags & _SEQUENCE_HEADER:
        return False
    header = enhanced_header(type_id, payload)
    if header is None:
        return len(payload) <= (5 if flags & _VIDEO else 2)
    bodiless = [track.four_cc for track in header.tracks if track.start == track.end]
    return any(four_cc not in _BODILESS_HEADERS for four_cc in bodiless)
