"""A stream log as fragmented MP4 without end, for Media Source Extensions and for players of files.

The init segment says what the tracks are; each frame is a fragment of its own. When a codec changes, or a
medium begins that was not there, the next frame is preceded by a new init segment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from operator import is_
from typing import Any, Final, NamedTuple

from cluster.core.media.classify import MediaFlags
from cluster.core.media.fmp4 import (
    HEADERLESS_CODECS,
    CodedFrame,
    Sample,
    Track,
    frame_of,
    init_segment,
    metadata_of,
    samples_in,
    single_fragment,
    track_of,
    tracks_of,
)
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import MarkError, decode_mark
from cluster.core.message import Buffer, MessageType

#: What is added to all times, because MP4 has no decoding time below zero: so much earlier than the first
#: frame of one medium may the other begin, and a frame be shown before its decoding time.
START_MS: Final = 1000

#: How long a frame of video is shown as long as nothing tells.
_FRAME_MS = 40
#: Frames that are farther apart have an interruption between them.
_LONGEST_FRAME_MS = 1000
#: Stamps are whole milliseconds: a frame time so near to the metadata's is that.
_ROUNDING_MS = 1.5
#: Frame rates beyond are a mistake in the metadata.
_FASTEST_RATE = 240
#: Audio may be stamped in bursts: so far behind its count it is not taken for a new beginning.
_BURST_MS = 100
#: Audio that is further behind is no drift: it is of a player that joins earlier in the log.
_FAR_BEHIND_MS = 1000
_AAC_FRAME_SAMPLES = 1024

_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_METADATA = int(MediaFlags.METADATA)
_MARK = int(MessageType.MARK)
_KINDS: Final = {int(MessageType.VIDEO): "video", int(MessageType.AUDIO): "audio"}

Tracks = dict[str, Track]


class _Told(NamedTuple):
    """What a list of headers says: asked for each player that joins, read once for the same payloads."""

    payloads: Sequence[Buffer]
    members: Mapping[str, Any]
    tracks: Tracks


def _init(tracks: Mapping[str, Track]) -> bytes:
    return init_segment([tracks[kind] for kind in _KINDS.values() if kind in tracks])


class Mp4Encoding:
    """The fragments of one stream, for all its players on one worker.

    Times count from the first frame that is encoded. A frame is encoded once, usually in the order of the
    log; what follows from the frames before it, such as the count of audio samples, only smooths what the
    stamps say.
    """

    is_shared = True
    kind = "mp4"

    def __init__(self) -> None:
        self._told = _Told([], {}, {})
        self._members: Mapping[str, Any] = {}
        #: Metadata that has come, and is read once it matters.
        self._unread: LogEntry | None = None
        self._tracks: Tracks = {}
        #: Of these media, some player's init segment may not say what the next header does.
        self._untold = set(_KINDS.values())
        self._is_greeted = False
        self._init_due = False
        self._sequence = 0
        self._base_ms: int | None = None
        self._video_ms: int | None = None
        self._frame_ms = 0
        self._audio_next = -1
        self._audio_samples = 0  # of the frame before

    def begin(self, headers: Iterable[LogEntry], *, audio: str | None, video: str | None) -> list[Buffer]:
        """A player is about to read, and ``headers`` are in the log of its stream. Nothing goes out yet."""
        told = self._read(list(headers))
        self._members, tracks = told.members or self._members, told.tracks
        for kind, codec in (("video", video), ("audio", audio)):
            track, before = tracks.get(kind), self._tracks.get(kind)
            if track is not None and track != before:
                # Of an other player's this may be ahead: the same header then comes in its turn.
                self._change(track)
                self._untold.add(kind)
            elif before is not None and not (track or before.codec == codec in HEADERLESS_CODECS):
                del self._tracks[kind]  # another publisher has come, without it
        return []

    def greeting(self) -> list[Buffer]:
        """What comes first needs the headers. Only if no track has one, it is known here."""
        self._is_greeted = True
        return [_init(self._tracks)] if self._tracks and _is_headerless(self._tracks) else []

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        """The init segment of the tracks that ``headers`` tell of, and of one that has no header.

        Of tracks without any it has been sent: by ``greeting``, or by a frame.
        """
        tracks = dict(self._read(headers).tracks)
        for kind in _KINDS.values():
            known = self._tracks.get(kind)
            if kind not in tracks and known is not None and known.codec in HEADERLESS_CODECS:
                tracks[kind] = known
            elif tracks.get(kind) != known:
                self._untold.add(kind)
        return [] if _is_headerless(tracks) else [_init(tracks)]

    def entry(self, entry: LogEntry) -> list[Buffer]:
        encoded = entry.encoded
        if encoded is None:
            encoded = entry.encoded = {}
        buffers = encoded.get(self)
        if buffers is None:
            buffers = encoded[self] = self._encode(entry)
        return buffers

    def _encode(self, entry: LogEntry) -> list[Buffer]:
        kind = _KINDS.get(entry.type_id)
        if kind is None:
            if entry.flags & _METADATA:
                self._unread = entry
            elif entry.type_id == _MARK:
                self._note_silence(entry)
            return []
        if entry.flags & _SEQUENCE_HEADER:
            self._learn(entry)
            return []
        found = frame_of(entry)
        if found is None:
            return []
        codec, frame = found
        if codec in HEADERLESS_CODECS:
            self._learn_from_frame(entry)
        track = self._tracks.get(kind)
        if track is None or track.codec != codec:
            return []
        place = self._video if kind == "video" else self._audio
        at, duration, composition = place(track, self._placed_ms(entry), frame)
        self._sequence += 1
        sample = Sample(duration, frame.data, composition, frame.is_sync)
        buffers = single_fragment(self._sequence, track, at, sample)
        if self._init_due:
            self._init_due = False
            buffers.insert(0, _init(self._tracks))
        return buffers

    # ---- what tracks there are ---------------------------------------------------------------

    def _read(self, headers: list[LogEntry]) -> _Told:
        payloads: list[Buffer] = [header.payload for header in headers]
        told = self._told
        if len(payloads) != len(told.payloads) or not all(map(is_, payloads, told.payloads)):
            tracks = {track.kind: track for track in tracks_of(headers)}
            told = self._told = _Told(payloads, metadata_of(headers), tracks)
        return told

    def _learn(self, header: LogEntry) -> None:
        if self._unread is not None:
            self._members = metadata_of((self._unread,)) or self._members
            self._unread = None
        track = track_of(header, self._members)
        if track is not None and (track != self._tracks.get(track.kind) or track.kind in self._untold):
            self._untold.discard(track.kind)
            self._change(track)
            self._init_due = True

    def _learn_from_frame(self, frame: LogEntry) -> None:
        """Of a codec without header. That of the first frames stands in the first init segment."""
        track = track_of(frame, self._members)
        if track is None:
            return
        known = self._tracks.get(track.kind)
        if known is None or _format_of(known) != _format_of(track):
            self._change(track)
            self._init_due = self._is_greeted

    def _note_silence(self, mark: LogEntry) -> None:
        """Where a segment of HLS begins, the origin says if audio has gone. Who is told of audio waits for
        it, so that its tracks are told anew."""
        with contextlib.suppress(MarkError):
            if self._tracks.keys() >= {"audio", "video"} and not decode_mark(mark.payload).has_audio:
                del self._tracks["audio"]
                self._init_due = True

    def _change(self, track: Track) -> None:
        self._tracks[track.kind] = track
        if track.kind == "audio":
            self._audio_next = -1

    # ---- times -------------------------------------------------------------------------------

    def _placed_ms(self, entry: LogEntry) -> int:
        if self._base_ms is None:
            self._base_ms = entry.timestamp - START_MS
        return max(0, entry.timestamp - self._base_ms)

    def _video(self, track: Track, time_ms: int, frame: CodedFrame) -> tuple[int, int, int]:
        """The decoding time, the duration and the composition offset of one frame.

        How long it lasts is known when the next one comes; it is taken to be as long as the one before.
        """
        if self._video_ms is not None and 0 < time_ms - self._video_ms <= _LONGEST_FRAME_MS:
            self._frame_ms = time_ms - self._video_ms
        self._video_ms = time_ms
        said_ms = self._said_frame_ms()
        frame_ms = self._frame_ms or said_ms
        if abs(frame_ms - said_ms) <= _ROUNDING_MS:
            frame_ms = said_ms
        scale = track.timescale
        duration = round((frame_ms or _FRAME_MS) * scale / 1000)
        return time_ms * scale // 1000, duration, frame.composition_ms * scale // 1000

    def _said_frame_ms(self) -> float:
        """By the metadata; 0 if that says nothing sensible."""
        rate = self._members.get("framerate")
        return 1000 / rate if isinstance(rate, (int, float)) and 1 <= rate <= _FASTEST_RATE else 0

    def _audio(self, track: Track, time_ms: int, frame: CodedFrame) -> tuple[int, int, int]:
        """The same: milliseconds are too coarse, so samples are counted as long as the stamps agree.

        Encoders that stamp by another clock than that of their sound fall behind the count in the end. A
        browser takes a step back in time for a new beginning, and shows no picture until the next keyframe:
        instead a frame now and then begins right behind the beginning of the one before.
        """
        scale = track.timescale
        samples = samples_in(track, frame.data) or _AAC_FRAME_SAMPLES
        stamped, counted = (time_ms * scale + 500) // 1000, self._audio_next
        agrees = counted >= 0 and counted - scale * _BURST_MS // 1000 <= stamped <= counted + samples
        at = counted if agrees else stamped
        if counted - scale * _FAR_BEHIND_MS // 1000 <= at < counted:
            at = max(at, counted - self._audio_samples + 1)
        self._audio_next, self._audio_samples = at + samples, samples
        return at, samples, 0


def _is_headerless(tracks: Mapping[str, Track]) -> bool:
    """Whether frames alone tell of ``tracks``."""
    return all(track.codec in HEADERLESS_CODECS for track in tracks.values())


def _format_of(track: Track) -> tuple[str, int, int]:
    """What of a frame makes it one of another track; a bit rate does not."""
    return track.codec, track.sample_rate, track.channels
