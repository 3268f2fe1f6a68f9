"""HLS of one worker: the streams somebody asks for, and the requests that wait for what is to come.

A stream is followed from the first request for it until nobody has asked for long. Whatever is made of it
is made once, and shared by all answers. A request that has to wait is answered when what it waits for is
there; all that wait for it, in one turn.

    no publisher           waits, for as long as a player of RTMP does; then 404
    a publisher, and not   waits; after three target durations 503 (draft-pantos-hls-rfc8216bis, 6.2.5.2)
    yet what is asked for
    publisher gone         what there is is served; once the grace period is over, the list has its end
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from cluster.core.media.hls import HlsMuxer
from cluster.core.media.log_entry import LogEntry
from cluster.edge.http.answer import Answer, Waiting, line
from cluster.edge.http.hls_request import MEDIA_PLAYLIST, HlsRequest, answer_to, request_of
from cluster.edge.streams.following import Following
from cluster.edge.streams.streams import Streams

logger = logging.getLogger(__name__)

#: Parts are as long at most: players of low latency stay three behind. At each of the usual frame rates,
#: from 15 in a second on, some number of frames takes between 85 % of it and all of it.
PART_MS: Final = 270

#: Streams that are followed at once. For one more, the one goes that has waited longest for a publisher: a
#: stranger who asks for keys without end shuts nobody out. If all are published, it is not served.
MAX_HLS_STREAMS: Final = 2_000
#: Requests that wait at once. One more is answered with 503.
MAX_HLS_WAITING: Final = 10_000

#: A stream that nobody has asked for in so long is not followed any more.
FORGOTTEN_S: Final = 60.0

#: The longest that a request waits while there is a publisher, in target durations (ibid.).
_WAIT_TARGETS = 3

#: So many target durations after it has begun to follow a stream, a worker has all that can be fetched.
_COMPLETE_TARGETS = 16


_NO_ROOM: Final = line(503, "this server has no room for more streams; try again later")

_FAILED: Final = line(503, "HLS of this stream has failed; it is there when that is published anew")


class _Request:
    """A request that waits. ``until``: when it is answered with what is left."""

    __slots__ = ("_of", "request", "then", "until")

    def __init__(
        self, of: _Followed, request: HlsRequest, then: Callable[[Answer], None], until: float
    ) -> None:
        self._of = of
        self.request = request
        self.then = then
        self.until = until

    def cancel(self) -> None:
        self._of.forget(self)  # of one that has been answered, nothing is left


class _Followed:
    """One stream: its muxer, and who waits for it."""

    following: Following

    def __init__(self, key: str, service: HlsService, now: float) -> None:
        self.key = key
        self.since = now
        self.asked_at = now
        self.held = 0
        self.dropped = 0
        self.muxer = service.new_muxer()
        self.has_failed = False  # until another publisher begins
        #: The publisher there is, or was; None while there has been none.
        self.epoch: int | None = None
        self.waiting: dict[_Request, None] = {}
        self._held_back = 0  # frames of video that are not in the log, so far
        self.media_uri = f"{quote(key.rpartition('/')[2], safe='')}/{MEDIA_PLAYLIST}"
        self._service = service
        self._version = 0

    # ---- told by its stream ------------------------------------------------------------------

    def began(self, headers: list[LogEntry], entries: list[LogEntry], *, at_origin: bool) -> None:
        epoch, self._held_back = self._service.source_of(self.key)
        is_same = self.epoch is not None and epoch == self.epoch
        self.epoch = epoch
        self.has_failed = self.has_failed and is_same
        if not self.has_failed:
            try:
                self.muxer.begin(headers, entries, from_wire=not at_origin, is_same_publisher=is_same)
            except Exception:
                self._fail()
        self._service.published(self)
        self._look()

    def flushed(self, entries: list[LogEntry]) -> None:
        if not self.has_failed:
            try:
                self.muxer.feed(entries)
                held_back = self.following.stream.log.dropped_before_keyframe
                if held_back != self._held_back:
                    self._held_back = held_back
                    self.muxer.miss()
            except Exception:
                self._fail()
        self._look()

    def _fail(self) -> None:
        """A bug: it is not to end the flush of those who play otherwise, nor to be logged each time."""
        extra = {"event": "hls_failed", "stream": self.key}
        logger.exception("HLS of stream %(stream)s failed", {"stream": self.key}, extra=extra)
        self.has_failed = True
        self.muxer = self._service.new_muxer()
        self.dropped, self._version = 0, -1

    def left(self) -> None:
        """The publisher has gone and may return: what there is stays."""

    def end(self) -> None:
        """The publisher has not returned in time: the lists get their end."""
        self.muxer.end()
        self._look()

    def _look(self) -> None:
        if self.muxer.version != self._version:
            self._version = self.muxer.version
            self._service.changed(self)

    # ---- asked by players --------------------------------------------------------------------

    def answer(self, request: HlsRequest, now: float) -> Answer | None:
        if self.has_failed:
            return _FAILED
        has_all = now - self.since > self.muxer.target_s * _COMPLETE_TARGETS
        return answer_to(request, self.muxer, self.media_uri, has_all=has_all)

    def forget(self, waiting: _Request) -> None:
        if waiting in self.waiting:
            del self.waiting[waiting]
            self._service.waiting -= 1

    @property
    def is_published(self) -> bool:
        return self.following.offline_since is None


class HlsService:
    """Answers HLS requests from the streams of one worker. ``max_bytes``: what all segments may take."""

    def __init__(self, streams: Streams, max_bytes: int) -> None:
        self.waiting = 0
        self.held = 0
        self._streams = streams
        self._max_bytes = max_bytes
        self._followed: dict[str, _Followed] = {}
        #: Those of which there is something new since the last answers.
        self._changed: dict[_Followed, None] = {}

    def answer(
        self, key: str, name: str, query: Mapping[str, str], then: Callable[[Answer], None]
    ) -> Waiting | None:
        """Answer the request for a file of the stream ``key``, by calling ``then`` once.

        ``name``: of the file below the stream's path, empty for the multivariant playlist. Returns what
        waits, if ``then`` has not been called yet.
        """
        request = request_of(name, query)
        if request is None:
            then(line(400, "there is no such file of HLS, or its query makes no sense"))
            return None
        now = self._streams.turn.now
        followed = self._followed.get(key)
        if followed is None:
            if len(self._followed) >= MAX_HLS_STREAMS and not self._dismiss_unpublished():
                then(_NO_ROOM)
                return None
            followed = self._follow(key, now)
        followed.asked_at = now
        answer = followed.answer(request, now)
        if answer is None and self.waiting >= MAX_HLS_WAITING:
            answer = line(503, "too many requests wait; try again later")
        if answer is not None:
            then(answer)
            return None
        waiting = _Request(followed, request, then, now + self._longest_wait_s(followed))
        followed.waiting[waiting] = None
        self.waiting += 1
        return waiting

    def tick(self) -> None:
        """A few times a second: what happens by time alone."""
        now = self._streams.turn.now
        rules = self._streams.rules
        for followed in list(self._followed.values()):
            offline_since = followed.following.offline_since
            muxer = followed.muxer
            is_over = offline_since is not None and now >= offline_since + rules.publish_grace_s
            if is_over and followed.epoch is not None and not muxer.is_over:
                followed.end()
            for waiting in [each for each in followed.waiting if each.until <= now]:
                self._give_up(followed, waiting)
            idle_s = now - followed.asked_at
            if not followed.waiting and idle_s > (FORGOTTEN_S if followed.epoch is not None else 0):
                self._leave(followed)
        counters = self._streams.counters
        counters.hls_streams = len(self._followed)
        counters.hls_waiting = self.waiting
        counters.hls_bytes = self.held

    def close(self) -> None:
        """Follow nothing any more; nobody who waits is answered."""
        for followed in list(self._followed.values()):
            for waiting in list(followed.waiting):
                followed.forget(waiting)
            self._leave(followed)

    # ---- called by the streams that are followed ------------------------------------------------

    def new_muxer(self) -> HlsMuxer:
        return HlsMuxer(self._streams.segment_ms, PART_MS, self._max_bytes)

    def source_of(self, key: str) -> tuple[int | None, int]:
        """The epoch of the stream, and how many frames its log has held back."""
        stream = self._streams.by_key[key]
        return stream.epoch, stream.log.dropped_before_keyframe

    def published(self, followed: _Followed) -> None:
        """There is a publisher: who waits for one waits for media now, which takes a while."""
        for waiting in followed.waiting:
            waiting.until = self._streams.turn.now + followed.muxer.target_s * _WAIT_TARGETS

    def changed(self, followed: _Followed) -> None:
        """There is something new. Answers go out behind the flush: who is answered may ask for more."""
        self._count(followed)
        if self.held > self._max_bytes:
            self._make_room()
        if followed.waiting or self.held > self._max_bytes:
            if not self._changed:
                self._streams.turn.loop.call_soon(self._answer_changed)
            self._changed[followed] = None

    # ---- inside ------------------------------------------------------------------------------

    def _follow(self, key: str, now: float) -> _Followed:
        followed = self._followed[key] = _Followed(key, self, now)
        followed.following = self._streams.follow(key, followed)
        return followed

    def _leave(self, followed: _Followed) -> None:
        del self._followed[followed.key]
        self._changed.pop(followed, None)
        self.held -= followed.held
        followed.following.leave()
        del followed.following  # no circle

    def _longest_wait_s(self, followed: _Followed) -> float:
        if followed.is_published:
            return followed.muxer.target_s * _WAIT_TARGETS
        return self._streams.rules.play_wait_s

    def _answer_changed(self) -> None:
        turn = self._streams.turn
        turn.begin()
        changed, self._changed = self._changed, {}
        for followed in changed:
            answers: dict[HlsRequest, Answer | None] = {}  # those of one turn are alike, and so shared
            for waiting in list(followed.waiting):
                request = waiting.request
                if request not in answers:
                    answers[request] = followed.answer(request, turn.now)
                answer = answers[request]
                if answer is not None:
                    self._give(followed, waiting, answer)
        while self.held > self._max_bytes:
            self._streams.counters.hls_segments_dropped += 1
            self._dismiss(max(self._followed.values(), key=lambda each: each.held))

    def _give(self, followed: _Followed, waiting: _Request, answer: Answer) -> None:
        if waiting in followed.waiting:  # it may have gone with one that was answered before it
            followed.forget(waiting)
            followed.asked_at = self._streams.turn.now
            waiting.then(answer)

    def _give_up(self, followed: _Followed, waiting: _Request) -> None:
        if followed.is_published or (followed.muxer.is_ready and not followed.muxer.is_over):
            answer = line(503, "what was asked for has not come in time; try again")
        else:
            answer = line(404, f"nobody publishes {followed.key}")
        self._give(followed, waiting, answer)

    def _make_room(self) -> None:
        """The largest gives up its oldest segments."""
        largest = max(self._followed.values(), key=lambda each: each.held)
        largest.muxer.shrink(largest.held - (self.held - self._max_bytes))
        self._count(largest)

    def _dismiss_unpublished(self) -> bool:
        """Make room for a stream; False if all there are have a publisher, or had one."""
        for followed in self._followed.values():
            if followed.epoch is None:
                self._dismiss(followed)
                return True
        return False

    def _dismiss(self, followed: _Followed) -> None:
        """There is no room for this stream. Who is told so may ask for more: not now."""
        self._leave(followed)
        self._streams.turn.loop.call_soon(self._refuse, followed)

    def _refuse(self, followed: _Followed) -> None:
        self._streams.turn.begin()
        for waiting in list(followed.waiting):
            self._give(followed, waiting, _NO_ROOM)

    def _count(self, followed: _Followed) -> None:
        """What ``followed`` holds has changed."""
        muxer = followed.muxer
        held, dropped = muxer.bytes_held, muxer.window.dropped + muxer.given_up
        self.held += held - followed.held
        self._streams.counters.hls_segments_dropped += dropped - followed.dropped
        followed.held, followed.dropped = held, dropped
