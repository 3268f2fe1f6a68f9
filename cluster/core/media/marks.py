"""Marks: where the segments of a stream begin, said once, by its origin, in the stream itself.

HTTP players fetch a stream in segments, from any worker of any node. So all workers must cut it at the same
messages and number the segments alike. The origin decides, and puts a *mark* into the stream log before the
message that begins a segment. A mark crosses the bus as every message does. No player is sent one.

    version         u8
    flags           u8: 1, the segment begins with a keyframe; 2, it does not follow on the one before;
                    4, its audio is gone
    number          u64, one more than that of the segment before, or higher
    discontinuity   u32, counts the segments that do not follow on the one before
    date_ms         u64, the wall clock of the origin at the segment's beginning, milliseconds since 1970

Integers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from cluster.core.errors import ClusterError
from cluster.core.media.headers import BODILESS_CODECS, MAX_HEADER_BYTES, header_key, is_empty_header
from cluster.core.message import MessageType

#: Numbers of a stream that nobody remembers begin with the count of half segments since 2020: they only
#: rise, because no stream uses them up so fast.
NUMBERED_SINCE_MS: Final = 1_577_836_800_000

#: Discontinuities of a stream that nobody remembers begin with the minute, modulo this (22 days). hls.js
#: walks through all numbers below at each update of a list: with seconds since 1970 it stands still.
DISCONTINUITIES: Final = 1 << 15

#: A segment may be so much longer than ``longest_ms`` before it is cut: for keyframes that come just then.
#: Players are told whole seconds, and round to the nearest.
_LENIENCE_MS = 200

#: A keyframe is in time for a segment if it comes by this part of the target too early: encoders' clocks
#: jitter, and media time may be that of audio, which is ahead by a little now and not then.
_EARLY_PART = 8

#: A stream that has had no video for so long is one of audio alone: its segments need no keyframe.
_VIDEO_AWAITED_MS = 2_000

#: A segment that began so long ago is not gone on from: another worker may have numbered others meanwhile.
_REMEMBERED_MS = 60_000

#: Media time that goes on by so many targets between two looks at it has leapt: it tells nothing.
_LEAP_TARGETS = 4

#: Of audio without header, players are told if it has come so soon after a segment's first frame. Workers
#: wait a little longer before they say what a segment has.
_AUDIO_AWAITED_MS = 100

_AUDIO_TYPE = int(MessageType.AUDIO)

_VERSION = 1
_INDEPENDENT = 1
_DISCONTINUITY = 2
_SILENT = 4
_LAYOUT = struct.Struct(">BBQIQ")
#: Numbers and dates beyond, and more discontinuities, no origin has. From these there is room to count on.
_LARGEST = 2**63
_MOST_DISCONTINUITIES = 3 * 2**30


class MarkError(ClusterError):
    """Bytes that are no mark."""


def longest_ms(target_ms: int) -> int:
    """How long a segment can be. Where keyframes come more rarely, one begins without.

    Where they come at least as often as segments should begin, none comes near it: a keyframe that is too
    early for a segment is followed by one that is in time.
    """
    return 2 * target_ms


class Mark(NamedTuple):
    """The beginning of segment ``number``; the fields are those of the module's table."""

    number: int
    discontinuity: int
    date_ms: int
    is_independent: bool
    follows: bool
    has_audio: bool = True


def encode_mark(mark: Mark) -> bytes:
    flags = _INDEPENDENT * mark.is_independent | _DISCONTINUITY * (not mark.follows)
    flags |= _SILENT * (not mark.has_audio)
    return _LAYOUT.pack(_VERSION, flags, mark.number, mark.discontinuity, mark.date_ms)


def decode_mark(payload: bytes | memoryview) -> Mark:
    """The mark that ``payload`` is; MarkError on anything else."""
    if len(payload) != _LAYOUT.size:
        raise MarkError(f"{len(payload)} bytes, not {_LAYOUT.size}")
    version, flags, number, discontinuity, date_ms = _LAYOUT.unpack(payload)
    if version != _VERSION:
        raise MarkError(f"version {version}: upgrade the older node")
    if max(number, date_ms) > _LARGEST or discontinuity > _MOST_DISCONTINUITIES:
        raise MarkError("numbers that cannot be counted on from")
    is_independent, follows = bool(flags & _INDEPENDENT), not flags & _DISCONTINUITY
    return Mark(number, discontinuity, date_ms, is_independent, follows, not flags & _SILENT)


class Marker:
    """Decides where the segments of one stream begin, at its origin, for one publisher.

    ``target_ms``: no segment is much shorter, but the last, and one before a keyframe that is rare.
    ``wall_ms`` reads the wall clock. ``last``: the latest mark of the stream, whoever made it.
    ``audio_since_ms`` tells the stream's media time at the publisher's first frame of audio, None before.
    """

    __slots__ = (
        "_audio_since_ms", "_began_ms", "_follows", "_has_audio", "_has_begun", "_has_heard", "_has_video",
        "_headers", "_last", "_target_ms", "_wall_ms",
    )  # fmt: skip

    def __init__(
        self, target_ms: int, wall_ms: Callable[[], int], last: Mark | None = None,
        audio_since_ms: Callable[[], int | None] = lambda: None,
    ) -> None:  # fmt: skip
        self._target_ms = target_ms
        self._wall_ms = wall_ms
        self._audio_since_ms = audio_since_ms
        self._last = last
        self._began_ms = 0  # the stream's progress at the last mark
        self._follows = False
        self._has_begun = False  # a segment has, of this publisher
        self._has_video = self._has_audio = True  # whether the present segment has, or may have
        self._has_heard = False  # there has been a frame of audio
        self._headers: dict[int, bytes] = {}  # the latest of track 0, by message type

    def header(self, type_id: int, payload: bytes | memoryview) -> None:
        """A header. What comes after a new sequence header does not follow on what came before.

        A medium that begins late counts too: players are told what media a segment has.
        """
        key = header_key(type_id, payload)
        if key is None or key.kind != "sequence_header" or 0 not in key.tracks:
            return
        if len(payload) > MAX_HEADER_BYTES or is_empty_header(type_id, payload):
            return  # no joiner is given it
        if self._headers.get(type_id) != payload:
            self._headers[type_id] = bytes(payload)
            self.restart()

    def restart(self) -> None:
        """What comes is not decoded as what came before: its first segment does not follow on that."""
        self._follows = False

    def at_keyframe(self, progress_ms: int, gone: Collection[int] = ()) -> bytes:
        """The mark of the segment that begins at a keyframe; empty if the present one is too short.

        ``progress_ms``: the stream's media time so far. ``gone``: types of media that have stopped.
        """
        self._note_audio(gone)
        if not self._has_video:
            self.restart()
        is_early = progress_ms - self._began_ms < self._target_ms - self._target_ms // _EARLY_PART
        if self._follows and is_early and self._last is not None and self._last.is_independent:
            return b""
        self._has_video = True
        return self._next(progress_ms, is_independent=True)

    def overdue(
        self, progress_ms: int, without_video_ms: int, has_started: bool = True, gone: Collection[int] = ()
    ) -> bytes:
        """The mark of a segment that begins without a keyframe; empty if none need begin.

        ``without_video_ms``: for how long there has been no video, 0 while there is some. Audio alone has
        no keyframe to wait for. ``has_started``: video is sent to players, if there is any.
        """
        self._note_audio(gone)
        if not without_video_ms:
            if not self._has_begun and not has_started:
                return b""
            bound_ms = longest_ms(self._target_ms) + _LENIENCE_MS if self._has_begun else 0
        elif without_video_ms < _VIDEO_AWAITED_MS:
            return b""
        else:
            if self._has_video:
                self.restart()
            bound_ms = self._target_ms if self._follows else 0
        if progress_ms - self._began_ms < bound_ms:
            return b""
        self._has_video = not without_video_ms
        return self._next(progress_ms, is_independent=bool(without_video_ms))

    def _note_audio(self, gone: Collection[int]) -> None:
        """Players wait for a medium that is said to be there. Of some audio, frames alone say so: if they
        begin within a segment, that one has none of it, and the next does not follow on it."""
        since_ms = None if self._has_heard else self._audio_since_ms()
        if since_ms is not None:
            self._has_heard = True
            header = self._headers.get(_AUDIO_TYPE)
            is_headerless = header is None or header[1:5] in BODILESS_CODECS
            if is_headerless and since_ms - self._began_ms > _AUDIO_AWAITED_MS:
                self.restart()
        if self._has_audio == (_AUDIO_TYPE in gone):
            self._has_audio = not self._has_audio
            self.restart()

    def _next(self, progress_ms: int, *, is_independent: bool) -> bytes:
        if progress_ms - self._began_ms > _LEAP_TARGETS * self._target_ms:
            self.restart()
        last, follows = self._last, self._follows
        if last is not None and follows:
            date_ms = last.date_ms + progress_ms - self._began_ms
            mark = Mark(last.number + 1, last.discontinuity, date_ms, is_independent, follows)
        else:
            mark = self._first(last, self._wall_ms(), is_independent)
        mark = mark._replace(has_audio=self._has_audio)
        self._last, self._began_ms, self._follows, self._has_begun = mark, progress_ms, True, True
        return encode_mark(mark)

    def _first(self, last: Mark | None, wall_ms: int, is_independent: bool) -> Mark:
        """A segment that does not follow on what was before."""
        number = max(0, (wall_ms - NUMBERED_SINCE_MS) * 2 // self._target_ms)
        discontinuity = wall_ms // 60_000 % DISCONTINUITIES
        if last is not None:
            after = last.number + 1, last.discontinuity + 1
            is_recent = wall_ms - last.date_ms <= _REMEMBERED_MS
            number = after[0] if is_recent else max(after[0], number)
            discontinuity = after[1] if is_recent else max(after[1], discontinuity)
        return Mark(number, discontinuity, wall_ms, is_independent, follows=False)
