"""Marks: where the segments of a stream begin, said once, by its origin, in the stream itself.

HTTP players fetch a stream in segments, from any worker of any node. So all workers must cut it at the same
messages and number the segments alike. The origin decides, and puts a *mark* into the stream log before the
message that begins a segment. A mark crosses the bus as every message does. No player is sent one.

    version         u8
    flags           u8: 1, the segment begins with a keyframe; 2, it does not follow on the one before
    number          u64, one more than that of the segment before, or higher
    discontinuity   u32, counts the segments that do not follow on the one before
    date_ms         u64, the wall clock of the origin at the segment's beginning, milliseconds since 1970

Integers are big-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from cluster.core.errors import ClusterError

#: Numbers of a stream that nobody remembers begin with the count of segments since 2020: they only rise,
#: because a segment is never shorter than that.
NUMBERED_SINCE_MS: Final = 1_577_836_800_000

#: A stream whose keyframes come more rarely is cut without one: players fetch whole segments.
_LONGEST_MS = 10_000

#: A stream that has had no video for so long is one of audio alone: its segments need no keyframe.
_VIDEO_AWAITED_MS = 2_000

#: A segment that began so long ago is not gone on from: another worker may have numbered others meanwhile.
_REMEMBERED_MS = 60_000

_VERSION = 1
_INDEPENDENT = 1
_DISCONTINUITY = 2
_LAYOUT = struct.Struct(">BBQIQ")


class MarkError(ClusterError):
    """Bytes that are no mark."""


class Mark(NamedTuple):
    """The beginning of segment ``number``; the fields are those of the module's table."""

    number: int
    discontinuity: int
    date_ms: int
    is_independent: bool
    follows: bool


def encode_mark(mark: Mark) -> bytes:
    flags = _INDEPENDENT * mark.is_independent | _DISCONTINUITY * (not mark.follows)
    return _LAYOUT.pack(_VERSION, flags, mark.number, mark.discontinuity, mark.date_ms)


def decode_mark(payload: bytes | memoryview) -> Mark:
    """The mark that ``payload`` is; MarkError on anything else."""
    if len(payload) != _LAYOUT.size:
        raise MarkError(f"{len(payload)} bytes, not {_LAYOUT.size}")
    version, flags, number, discontinuity, date_ms = _LAYOUT.unpack(payload)
    if version != _VERSION:
        raise MarkError(f"version {version}: upgrade the older node")
    return Mark(number, discontinuity, date_ms, bool(flags & _INDEPENDENT), not flags & _DISCONTINUITY)


class Marker:
    """Decides where the segments of one stream begin, at its origin, for one publisher.

    ``target_ms``: no segment is shorter, but the last. ``wall_ms`` reads the wall clock. ``last``: the
    latest mark of the stream, whoever made it.
    """

    __slots__ = ("_began_ms", "_follows", "_last", "_target_ms", "_wall_ms")

    def __init__(self, target_ms: int, wall_ms: Callable[[], int], last: Mark | None = None) -> None:
        self._target_ms = target_ms
        self._wall_ms = wall_ms
        self._last = last
        self._began_ms = 0  # the stream's progress at the last mark
        self._follows = False

    def restart(self) -> None:
        """What comes is not decoded as what came before: its first segment does not follow on that."""
        self._follows = False

    def at_keyframe(self, progress_ms: int) -> bytes:
        """The mark of the segment that begins at a keyframe; empty if the present one is too short.

        ``progress_ms``: the stream's media time so far.
        """
        if self._follows and progress_ms - self._began_ms < self._target_ms:
            return b""
        return self._next(progress_ms, is_independent=True)

    def overdue(self, progress_ms: int, without_video_ms: int) -> bytes:
        """The mark of a segment that begins without a keyframe; empty if none need begin.

        ``without_video_ms``: for how long there has been no video, 0 while there is some. Audio alone has
        no keyframe to wait for.
        """
        if not without_video_ms:
            longest_ms = _LONGEST_MS if self._follows else math.inf
        elif without_video_ms < _VIDEO_AWAITED_MS:
            return b""
        else:
            longest_ms = self._target_ms if self._follows else 0
        if progress_ms - self._began_ms < longest_ms:
            return b""
        return self._next(progress_ms, is_independent=bool(without_video_ms))

    def _next(self, progress_ms: int, *, is_independent: bool) -> bytes:
        last, follows = self._last, self._follows
        if last is not None and follows:
            date_ms = last.date_ms + progress_ms - self._began_ms
            mark = Mark(last.number + 1, last.discontinuity, date_ms, is_independent, follows)
        else:
            mark = self._first(last, self._wall_ms(), is_independent)
        self._last, self._began_ms, self._follows = mark, progress_ms, True
        return encode_mark(mark)

    def _first(self, last: Mark | None, wall_ms: int, is_independent: bool) -> Mark:
        """A segment that does not follow on what was before."""
        number = max(0, (wall_ms - NUMBERED_SINCE_MS) // self._target_ms)
        discontinuity = wall_ms // 1000 % 2**31
        if last is not None:
            after = last.number + 1, last.discontinuity + 1
            is_recent = wall_ms - last.date_ms <= _REMEMBERED_MS
            number = after[0] if is_recent else max(after[0], number)
            discontinuity = after[1] if is_recent else max(after[1], discontinuity)
        return Mark(number, discontinuity, wall_ms, is_independent, follows=False)
