"""A stream log as FLV that browsers can take, and so every player of FLV.

mpegts.js ends playback at what it does not know, and waits for ever for a medium that the file's header
names. So there is one track of each medium, in the form that the oldest players know: H.264, AAC and MP3 as
legacy tags, whatever the publisher sent; HEVC, AV1, Opus and FLAC as enhanced ones. Left out is what its
demuxer ends at: other codecs, HDR metadata, channel layouts, commands, ends of sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cluster.core.media import ex_header
from cluster.core.media.classify import (
    AUDIO_AAC,
    AUDIO_ENHANCED,
    NOT_FRAME,
    MediaFlags,
    strip_set_data_frame,
)
from cluster.core.media.flv import MAX_BODY_BYTES, encode_header, encode_tag_of_parts
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.metadata import READ_METADATA_BYTES, without_media
from cluster.core.media.track_body import TrackBody, track_body
from cluster.core.message import Buffer, MessageType

_NOT_FRAME = int(NOT_FRAME)
_METADATA = int(MediaFlags.METADATA)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_DISPOSABLE = int(MediaFlags.DISPOSABLE)
_AUDIO, _VIDEO = int(MessageType.AUDIO), int(MessageType.VIDEO)
_MEDIA: Final = frozenset((_AUDIO, _VIDEO))

_POSITIVE = (1 << 31) - 1

_KEY_FRAME, _INTER_FRAME, _DISPOSABLE_FRAME = 1, 2, 3
_AVC = 7
_HEADER, _FRAME = 0, 1
#: FLV 10.1, E.4.2.1: 44 kHz, 16 bits, stereo; of AAC and MP3 it says nothing.
_SOUND = 0xF
_MP3 = 2

#: Codecs that mpegts.js takes as enhanced tags, and of these the one that has composition times.
_ENHANCED_VIDEO: Final = frozenset(("hvc1", "av01"))
_WITH_OFFSET: Final = "hvc1"
#: How their configuration begins; one for MPEG-2 TS, which Enhanced RTMP has too, does not.
_VERSIONS: Final = (0x01, 0x81)
_ENHANCED_AUDIO: Final = frozenset(("Opus", "fLaC"))
_TAKEN: Final = frozenset(("avc1", "mp4a", ".mp3", "pcm_le")) | _ENHANCED_VIDEO | _ENHANCED_AUDIO


class FlvWebEncoding:
    """The tags of one stream, for all its players on one worker.

    Times count from the first frame that is encoded. mpegts.js takes those from 2^31 ms (25 days) on for
    negative ones; so who joins then gets times from 0 on again.
    """

    is_shared = True
    kind = "flv"

    def __init__(self) -> None:
        self._base_ms: int | None = None
        #: The types of media that the stream does not have, or of whose codec nothing is sent.
        self._absent: frozenset[int] = frozenset()
        #: The latest metadata without those, and what it was made of.
        self._metadata: tuple[Buffer, frozenset[int], list[Buffer]] = (b"", frozenset(), [])

    def begin(self, headers: Iterable[LogEntry], *, audio: str | None, video: str | None) -> list[Buffer]:
        """The file's header, for a player of a stream that has media of these codecs."""
        has = {type_id for type_id, codec in ((_AUDIO, audio), (_VIDEO, video)) if codec in _TAKEN}
        self._absent = _MEDIA - has
        return [encode_header(audio=_AUDIO in has, video=_VIDEO in has)]

    def greeting(self) -> list[Buffer]:
        """Nothing: ``begin`` says what comes first."""
        return []

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        bodies = (self._metadata_body(each) if each.flags & _METADATA else _body(each) for each in headers)
        tags = map(self._tag, headers, bodies)
        return [buffer for tag in tags for buffer in tag]

    def entry(self, entry: LogEntry) -> list[Buffer]:
        encoded = entry.encoded
        if encoded is None:
            encoded = entry.encoded = {}
        buffers = encoded.get(self)
        if buffers is None:
            if self._base_ms is None and not entry.flags & _NOT_FRAME:
                self._base_ms = entry.timestamp
            buffers = encoded[self] = self._tag(entry, _body(entry))
        return buffers

    def _metadata_body(self, entry: LogEntry) -> list[Buffer]:
        """Metadata that names no medium which does not come: players go by it as by the file's header."""
        payload, absent = entry.payload, self._absent
        if not absent or entry.type_id in _MEDIA or len(payload) > READ_METADATA_BYTES:
            return _body(entry)
        made_of, without, body = self._metadata
        if made_of is not payload or without != absent:
            left = without_media(payload, absent)
            body = _body(entry) if left is None else [left]
            self._metadata = payload, absent, body
        return body

    def _tag(self, entry: LogEntry, body: list[Buffer]) -> list[Buffer]:
        """One tag; none for an empty ``body``."""
        size = sum(map(len, body))
        if not size or size > MAX_BODY_BYTES:
            return []
        time_ms = 0 if self._base_ms is None else max(0, entry.timestamp - self._base_ms)
        return encode_tag_of_parts(entry.type_id, time_ms & _POSITIVE, body)


def _body(entry: LogEntry) -> list[Buffer]:
    """What of a message browsers can take, in the form that they can; empty if that is nothing."""
    type_id, payload = entry.type_id, entry.payload
    if type_id == MessageType.DATA_AMF0:
        return [strip_set_data_frame(payload)]
    if type_id not in _MEDIA:
        return []
    track = track_body(entry)
    if track is None or track.start == track.end:
        return []
    first = (_video if type_id == _VIDEO else _audio)(track, entry, entry.flags & _SEQUENCE_HEADER != 0)
    return [first, memoryview(payload)[track.start : track.end]] if first else []


def _video(track: TrackBody, entry: LogEntry, is_header: bool) -> bytes:
    """What goes before the body of a video tag; nothing if the codec is none for browsers."""
    frame_type = _KEY_FRAME if is_header or entry.flags & _KEYFRAME else _INTER_FRAME
    if entry.flags & _DISPOSABLE:
        frame_type = _DISPOSABLE_FRAME
    offset = (track.cts_ms & 0xFFFFFF).to_bytes(3, "big")
    if track.codec == "avc1":
        return bytes((frame_type << 4 | _AVC, _HEADER if is_header else _FRAME)) + offset
    if track.codec not in _ENHANCED_VIDEO or (is_header and entry.payload[track.start] not in _VERSIONS):
        return b""
    packet_type = ex_header.SEQUENCE_START if is_header else ex_header.CODED_FRAMES
    head = bytes((0x80 | frame_type << 4 | packet_type,)) + track.codec.encode()
    return head + offset if track.codec == _WITH_OFFSET and not is_header else head


def _audio(track: TrackBody, entry: LogEntry, is_header: bool) -> bytes:
    """What goes before the body of an audio tag; nothing if the codec is none for browsers."""
    if track.codec == "mp4a":
        return bytes((AUDIO_AAC << 4 | _SOUND, _HEADER if is_header else _FRAME))
    if track.codec == ".mp3":
        return b"" if is_header else bytes((_MP3 << 4 | _SOUND,))
    if track.codec == "pcm_le":
        return bytes(entry.payload[:1])
    if track.codec not in _ENHANCED_AUDIO:
        return b""
    packet_type = ex_header.SEQUENCE_START if is_header else ex_header.CODED_FRAMES
    return bytes((AUDIO_ENHANCED << 4 | packet_type,)) + track.codec.encode()
