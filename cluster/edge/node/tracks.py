"""The tracks of one stream, as whoever operates the cluster is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.core.bus.questions import TrackRow, encode_tracks
from cluster.core.media.classify import MediaFlags
from cluster.core.media.describe import describe
from cluster.core.media.fmp4 import Track, metadata_of, track_of
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.stream_log import StreamLog

_VIDEO, _AUDIO = int(MediaFlags.VIDEO), int(MediaFlags.AUDIO)
_HEADER = int(MediaFlags.SEQUENCE_HEADER)

#: Messages of the log that are looked at, some seconds, and after how many more others are: half a minute.
#: They have long left the caches, so that a look costs more than all the rest of what is told of a stream.
_LOOKED_AT = 256
_LOOK_EVERY = 2_048
#: Frames that make a rate.
_FRAMES = 9


class Tracks:
    """What ``headers`` tell is read once. What the messages tell, the frame rate and the tracks of a medium
    without a header, is read again now and then.

    ``text``: the tracks, video first; ``fps``: the frame rate, 0 if it is not known.
    """

    def __init__(self, headers: Sequence[LogEntry]) -> None:
        self._members = metadata_of(headers)
        named = [entry for entry in headers if entry.flags & _HEADER]
        self._video = self._rows_of(entry for entry in named if entry.flags & _VIDEO)
        self._audio = self._rows_of(entry for entry in named if entry.flags & _AUDIO)
        self._rows: list[TrackRow] = []
        self._good_until_seq = 0
        self.text = encode_tracks(self._rows)
        self.fps = 0.0

    def look(self, log: StreamLog, began_seq: int) -> None:
        """See what the latest messages tell, if that may be something else by now. ``log``: that of the
        headers. ``began_seq``: where the messages of the same publisher begin in it."""
        if log.next_seq < self._good_until_seq:
            return
        since_seq = max(log.first_seq, began_seq, log.next_seq - _LOOKED_AT)
        recent = log.read(since_seq, log.next_seq)
        fps = _fps(recent)
        if fps:
            self._good_until_seq = log.next_seq + _LOOK_EVERY
        self.fps = fps or _fps_said(self._members)
        video = self._video or self._rows_of(_latest(recent, _VIDEO))
        audio = self._audio or self._rows_of(_latest(recent, _AUDIO))
        if self._rows != [*video, *audio]:
            self._rows = [*video, *audio]
            self.text = encode_tracks(self._rows)

    def _rows_of(self, entries: Iterable[LogEntry]) -> list[TrackRow]:
        """The tracks that messages of one medium tell of, each once."""
        rows: dict[int, TrackRow] = {}
        for entry in entries:
            for row in _tracks_of(entry, self._members):
                rows.setdefault(row.number, row)
        return list(rows.values())


def _latest(recent: Sequence[LogEntry], medium: int) -> list[LogEntry]:
    """The latest message of ``medium``, if there is one."""
    return next(([entry] for entry in reversed(recent) if entry.flags & medium), [])


def _tracks_of(entry: LogEntry, members: Mapping[str, Any]) -> Sequence[TrackRow]:
    info = describe(entry.type_id, entry.payload)
    known = track_of(entry, members)
    if known is not None:
        return [_row(info.tracks[0].track_id if info.tracks else 0, known)]
    kind = "video" if entry.flags & _VIDEO else "audio"
    return [TrackRow(track.track_id, kind, track.codec or "") for track in info.tracks]


def _row(number: int, track: Track) -> TrackRow:
    return TrackRow(
        number, track.kind, track.codec, track.codecs, track.width, track.height, track.sample_rate,
        track.channels,
    )  # fmt: skip


def _fps(recent: Sequence[LogEntry]) -> float:
    """As the timestamps of the frames have it; 0 if there are too few."""
    times = [entry.timestamp for entry in recent if entry.is_video_frame]
    if len(times) < _FRAMES or times[-1] <= times[0]:
        return 0.0
    return round((len(times) - 1) * 1000 / (times[-1] - times[0]), 2)


def _fps_said(members: Mapping[str, Any]) -> float:
    """As the publisher has it; 0 if it says nothing."""
    said = members.get("framerate")
    return round(float(said), 2) if isinstance(said, int | float) and 0 < said < 1000 else 0.0
