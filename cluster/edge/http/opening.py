"""When a player's first bytes go out: as soon as it is known which media its stream has.

The first bytes of FLV and of MP4 say so, and browsers go by it: with a medium said that never comes, the
picture never starts; one that is not said is never heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from cluster.core.media.classify import NOT_FRAME
from cluster.core.media.fmp4 import HEADERLESS_CODECS
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.stream_log import StreamLog
from cluster.core.media.track_body import track_body
from cluster.core.message import MessageType
from cluster.edge.streams.following import Following
from cluster.edge.streams.stream import Stream
from cluster.edge.streams.streams import Streams

#: A medium that has not come so long after the other does not come.
SECOND_MEDIUM_S = 1.0

_AUDIO = int(MessageType.AUDIO)
_VIDEO = int(MessageType.VIDEO)
_NOT_FRAME = int(NOT_FRAME)


#: Of a stream without a keyframe to join at, so many of the latest messages are looked at for audio.
_LOOKED_AT = 100


class Media(NamedTuple):
    """What a stream has: the codec of each medium by its FourCC, "" if unknown; None without the medium."""

    audio: str | None
    video: str | None

    @property
    def is_something(self) -> bool:
        """There is a medium."""
        return self.audio is not None or self.video is not None

    @property
    def is_all(self) -> bool:
        """There are both."""
        return self.audio is not None and self.video is not None


class Opened(Protocol):
    """Who waits. ``leave`` may come before ``opens``."""

    def opens(self, media: Media, since_seq: int) -> None:
        """The stream has these. What stands in its log before ``since_seq`` is of another publisher."""

    def waits_on(self, now: float) -> None:
        """There is, or was, a publisher, and still nothing to open with."""


def media_of(stream: Stream) -> Media:
    """What a player that joins now is sent, as far as it has come: of codecs whose header says nothing,
    and FFmpeg sends one of AC-3 all the same, a frame."""
    log = stream.log
    start = min(log.start_of_join(), stream.flushed_seq)
    codecs: dict[int, str] = {}
    for header in log.headers_for(start):
        body = track_body(header)
        if body is not None and body.codec not in HEADERLESS_CODECS:
            codecs[header.type_id] = body.codec
    if not {_AUDIO, _VIDEO} <= codecs.keys():
        for entry in _frames(log, start, stream.flushed_seq):
            if entry.type_id not in codecs:
                body = track_body(entry)
                codecs[entry.type_id] = "" if body is None else body.codec
    return Media(codecs.get(_AUDIO), codecs.get(_VIDEO))


def _frames(log: StreamLog, start: int, end: int) -> Iterator[LogEntry]:
    """Frames that tell of media without a header: all from ``start``, where players join.

    Of audio alone they join at the live end. Then the latest tells, if the present publisher has sent any.
    """
    if log.join_seq is not None:
        yield from (entry for entry in log.read(start, end) if not entry.flags & _NOT_FRAME)
    elif log.timeline.audio_since_ms() is not None:
        latest = log.read(max(log.first_seq, end - _LOOKED_AT), end)
        frames = (entry for entry in reversed(latest) if not entry.flags & _NOT_FRAME)
        yield from islice((frame for frame in frames if frame.type_id == _AUDIO), 1)


class Openings:
    """The streams of a worker whose players wait to know what they have."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waits: dict[str, _Wait] = {}
        #: The publishers, by epoch, of which has been waited for long enough what they do not send.
        self._settled_epochs: dict[str, int | None] = {}

    def add(self, stream: Stream, waiting: Opened) -> None:
        """``waiting`` is told once it is known, at once if it is."""
        if stream.offline_since is None and stream.key not in self._waits:
            media = media_of(stream)
            is_settled = (
                stream.log.duration_ms >= SECOND_MEDIUM_S * 1000
                or self._settled_epochs.get(stream.key, -1) == stream.epoch
            )
            if media.is_all or (media.is_something and is_settled):
                waiting.opens(media, 0)
                return
        wait = self._waits.get(stream.key)
        if wait is None:
            wait = self._waits[stream.key] = _Wait(self._streams, stream, self._settled)
            wait.following = self._streams.follow(stream.key, wait)
        wait.waiting[waiting] = None

    def discard(self, key: str, waiting: Opened) -> None:
        """``waiting`` does not wait any more."""
        wait = self._waits.get(key)
        if wait is not None:
            wait.waiting.pop(waiting, None)
            if not wait.waiting:
                self._waits.pop(key).end()

    def tick(self) -> None:
        """A few times a second: a medium that has not come in time."""
        for wait in list(self._waits.values()):
            wait.look()
        for key in self._settled_epochs.keys() - self._streams.by_key.keys():
            del self._settled_epochs[key]

    def _settled(self, stream: Stream) -> None:
        self._settled_epochs[stream.key] = stream.epoch
        self._waits.pop(stream.key).end()


class _Wait:
    """The players of one stream. It follows the stream, to hear of its first messages."""

    following: Following

    def __init__(self, streams: Streams, stream: Stream, settled: Callable[[Stream], None]) -> None:
        self.waiting: dict[Opened, None] = {}
        self._streams = streams
        self._stream = stream
        self._settled = settled
        self._since: float | None = None
        self._since_seq = 0
        self._has_begun = False
        self._is_due = False

    def began(self, headers: list[LogEntry], entries: list[LogEntry], *, at_origin: bool) -> None:
        self._since = None
        self._has_begun = True
        if not entries:
            self._since_seq = self._stream.flushed_seq
        self._look_soon()

    def flushed(self, entries: list[LogEntry]) -> None:
        self._look_soon()

    def left(self) -> None:
        self._since = None

    def end(self) -> None:
        """Nobody waits any more."""
        self.waiting.clear()
        self.following.leave()
        del self.following  # no circle

    def _look_soon(self) -> None:
        """Not within a flush: who joined there would be sent it twice."""
        if not self._is_due:
            self._is_due = True
            self._streams.turn.loop.call_soon(self._look_now)

    def _look_now(self) -> None:
        self._is_due = False
        self._streams.turn.begin()
        self.look()

    def look(self) -> None:
        """Tell those who wait, if it is known."""
        now, stream = self._streams.turn.now, self._stream
        if self._has_begun:
            for each in self.waiting:
                each.waits_on(now)
        if not self.waiting or self.following.offline_since is not None:
            return
        media = media_of(stream)
        if not media.is_something:
            return
        if self._since is None:
            self._since = now
        if media.is_all or now - self._since >= SECOND_MEDIUM_S:
            waiting = list(self.waiting)
            self._settled(stream)
            for each in waiting:
                each.opens(media, self._since_seq)
