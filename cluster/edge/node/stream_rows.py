"""What a worker tells of one stream to whoever operates the cluster: read off its log when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.core.bus.questions import StreamRow, TrackRow
from cluster.core.media.classify import MediaFlags
from cluster.core.media.describe import describe
from cluster.core.media.fmp4 import Track, metadata_of, track_of
from cluster.core.media.log_entry import LogEntry
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.streams import Streams

_VIDEO, _AUDIO = int(MediaFlags.VIDEO), int(MediaFlags.AUDIO)
_HEADER = int(MediaFlags.SEQUENCE_HEADER)

#: Frames of the log that are looked at: some seconds, in 0.1 ms.
_LOOKED_AT = 256


class StreamRows:
    """Makes the rows of one worker."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def row(self, key: str) -> StreamRow | None:
        """None if the worker has nothing to do with ``key``."""
        stream = self._streams.by_key.get(key)
        if stream is None:
            return None
        feed = self._streams.publishing.feed(key)
        facts: Mapping[str, object] = {} if feed is None else feed.publisher.facts
        number = str(facts.get("id", "")).rpartition("-")[2]
        return StreamRow(
            key, stream.epoch, stream.is_local, int(number) if number.isdigit() else 0,
            str(facts.get("peer", "")), str(facts.get("agent", "")), _tracks(stream),
            stream.log.timeline.keyframe_interval_ms, stream.log.bytes_appended, stream.readers.by_kind(),
        )  # fmt: skip


def _tracks(stream: Stream) -> tuple[TrackRow, ...]:
    """The tracks that the headers of a stream tell of; of a medium without, what its frames tell."""
    headers = stream.log.headers()
    members = metadata_of(headers)
    log = stream.log
    recent = log.read(max(log.first_seq, log.next_seq - _LOOKED_AT), log.next_seq)
    rows: list[TrackRow] = []
    for medium, kind in ((_VIDEO, "video"), (_AUDIO, "audio")):
        fps = _fps(recent, members) if kind == "video" else 0.0
        named = [entry for entry in headers if entry.flags & medium and entry.flags & _HEADER]
        frames = [entry for entry in recent if entry.flags & medium]
        for entry in named or frames[-1:]:
            for row in _tracks_of(entry, kind, members, fps):
                if all((row.kind, row.number) != (each.kind, each.number) for each in rows):
                    rows.append(row)
    return tuple(rows)


def _tracks_of(entry: LogEntry, kind: str, members: Mapping[str, Any], fps: float) -> Sequence[TrackRow]:
    info = describe(entry.type_id, entry.payload)
    known = track_of(entry, members)
    if known is not None:
        return [_row(info.tracks[0].track_id if info.tracks else 0, known, fps)]
    return [
        TrackRow(track.track_id, kind, track.codec or "", "", 0, 0, fps, 0, 0) for track in info.tracks
    ]


def _row(number: int, track: Track, fps: float) -> TrackRow:
    return TrackRow(
        number, track.kind, track.codec, track.codecs, track.width, track.height, fps, track.sample_rate,
        track.channels,
    )  # fmt: skip


def _fps(recent: Sequence[LogEntry], members: Mapping[str, Any]) -> float:
    """As the timestamps of the latest frames have it; until there are some, as the publisher says."""
    times = [entry.timestamp for entry in recent if entry.is_video_frame]
    if len(times) > 8 and times[-1] > times[0]:
        return round((len(times) - 1) * 1000 / (times[-1] - times[0]), 2)
    said = members.get("framerate")
    return round(float(said), 2) if isinstance(said, int | float) and 0 < said < 1000 else 0.0
