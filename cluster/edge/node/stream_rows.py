"""What a worker tells of one stream to whoever operates the cluster: read off its log when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

from cluster.core.bus.questions import StreamRow
from cluster.edge.node.tracks import Tracks
from cluster.edge.streams.description import Description
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.streams import Streams


class _Origin(NamedTuple):
    """What does not change while a stream has its publisher here, and the same headers."""

    session: int
    peer: str
    agent: str
    tracks: Tracks


class StreamRows:
    """Makes the rows of one worker."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        #: Given back with the description, which the stream has for as long as it is good.
        self._origins: WeakKeyDictionary[Description, _Origin] = WeakKeyDictionary()

    def row(self, key: str) -> StreamRow | None:
        """None if the worker has nothing to do with ``key``."""
        stream = self._streams.by_key.get(key)
        if stream is None:
            return None
        log, players = stream.log, stream.readers.by_kind()
        keyframe_interval_ms, received_bytes = log.timeline.keyframe_interval_ms, log.bytes_appended
        if not stream.is_local:
            return StreamRow(
                key, stream.epoch, is_origin=False, keyframe_interval_ms=keyframe_interval_ms,
                received_bytes=received_bytes, players=players,
            )  # fmt: skip
        session, peer, agent, tracks = self._origin(stream)
        tracks.look(log, stream.began_seq)
        return StreamRow(
            key, stream.epoch, True, session, peer, agent, tracks.text, tracks.fps, keyframe_interval_ms,
            received_bytes, players,
        )  # fmt: skip

    def _origin(self, stream: Stream) -> _Origin:
        description = stream.description()
        origin = self._origins.get(description)
        if origin is None:
            feed = self._streams.publishing.feed(stream.key)
            facts: Mapping[str, object] = {} if feed is None else feed.publisher.facts
            number = str(facts.get("id", "")).rpartition("-")[2]
            origin = self._origins[description] = _Origin(
                int(number) if number.isdigit() else 0, str(facts.get("peer", "")),
                str(facts.get("agent", "")), Tracks(description.headers),
            )  # fmt: skip
        return origin
