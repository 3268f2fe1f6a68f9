"""HLS: the segments and parts of one stream, as any worker makes them of its log.

Where segments begin, and how they are numbered, the stream's origin has said in the log (``marks.py``). So
all workers make the same segments, under the same names; one that joined late has fewer. A segment is made
only of messages that are all there: what began before this worker listened is left out.

    mark, and a frame behind it   a segment begins; what media it has is settled, and does not change in it
    first frame of its lead       the segment before is whole: its last frame's duration is known
    publisher gone                nothing happens until another mark, or the end of the stream
    messages missed               the segment they belong to is given up
    number does not join on       the list begins anew with that segment, once it is whole
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from cluster.core.limits import MIB
from cluster.core.media.classify import MediaFlags
from cluster.core.media.fmp4 import CodedFrame, Track, init_segment, sample_of, tracks_of
from cluster.core.media.headers import Headers
from cluster.core.media.hls_playlist import Listing, master_playlist, media_playlist
from cluster.core.media.hls_segment import Segment, SegmentBuilder
from cluster.core.media.hls_window import Window
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import Mark, MarkError, decode_mark, longest_ms
from cluster.core.message import Buffer, MessageType

#: How far ahead a player may ask: of the segment that is being made, and of two behind it.
_AHEAD = 2

#: The first frames of a segment that are kept at most, until it is known whether it has audio.
_HELD_AT_MOST = 64
_HELD_BYTES_AT_MOST = 4 * MIB

_VIDEO_TYPE = int(MessageType.VIDEO)
_AUDIO_TYPE = int(MessageType.AUDIO)
_MARK_TYPE = int(MessageType.MARK)
_CODED = int(MediaFlags.VIDEO | MediaFlags.AUDIO)
_KEYFRAME = int(MediaFlags.KEYFRAME)
_SEQUENCE_HEADER = int(MediaFlags.SEQUENCE_HEADER)
_HEADER = int(MediaFlags.SEQUENCE_HEADER | MediaFlags.CONFIG | MediaFlags.METADATA)
_TYPES = {"video": _VIDEO_TYPE, "audio": _AUDIO_TYPE}
_INIT_NAME_BYTES = 8


def target_duration_s(target_ms: int) -> int:
    """EXT-X-TARGETDURATION of all lists of all workers: it must never change.

    While keyframes come at least as often as segments should begin, each segment is less than twice that
    long. Where they are rarer, the origin begins one without, at the same bound. So twice the target holds
    for all, and is short enough for players that stay three target durations behind. Those of low latency
    stay PART-HOLD-BACK behind, whatever this is.
    """
    return -(-longest_ms(target_ms) // 1000)


class HlsMuxer:
    """The segments of one stream. ``part_ms``: how long parts are at most, but for very slow video.

    ``version`` rises with all that can be fetched. ``given_up`` counts segments that were begun and are not
    whole.
    """

    def __init__(self, target_ms: int, part_ms: int, max_bytes: int) -> None:
        self.target_s = target_duration_s(target_ms)
        self.version = 0
        self.is_over = False
        self.given_up = 0
        self.window = Window(self.target_s)
        self._part_ms = part_ms
        self._max_bytes = max_bytes
        self._from_wire = False
        self._is_same_publisher = False
        self._last: LogEntry | None = None  # that has been fed
        self._headers: Headers[LogEntry] = Headers()
        self._tracks: list[Track] | None = None  # None: to be read from the headers
        self._mark: Mark | None = None  # of the segment that begins with the next frame
        self._held: list[tuple[LogEntry, CodedFrame]] = []  # its first frames, until it can be opened
        self._closing: SegmentBuilder | None = None  # lacks only its last frame's duration
        self._open: SegmentBuilder | None = None
        self._is_first = True  # no segment has begun behind the one that began first
        self._is_between = False  # another publisher has come, and its first segment has not begun
        self._texts: dict[bool, bytes] = {}

    # ---- feeding -----------------------------------------------------------------------------

    def begin(
        self, headers: Sequence[LogEntry], entries: Sequence[LogEntry],
        *, from_wire: bool, is_same_publisher: bool = False,
    ) -> None:  # fmt: skip
        """The stream begins, or begins anew. ``from_wire``: it comes from another worker.

        ``is_same_publisher``: some of what it sent may have been missed.
        """
        if is_same_publisher and entries and entries[-1] is self._last:
            return  # nothing has been missed: it was thought gone, and never was
        self._from_wire = from_wire
        self._is_same_publisher = is_same_publisher
        self._settle()
        self._mark = None
        if is_same_publisher or self.is_over:
            self._give_up()
        if self.is_over:
            self.window.clear()
            self.is_over = False
        self._headers.clear()
        self._tracks = None
        self._is_between = not is_same_publisher
        self._is_first = self._open is None  # else that is another publisher's, and has been heard in whole
        for header in headers:
            self._headers.remember(header)
        self.feed(entries)
        self._changed()

    def feed(self, entries: Sequence[LogEntry]) -> None:
        """These follow on what there was."""
        self._last = entries[-1] if entries else self._last
        for entry in entries:
            if entry.type_id == _MARK_TYPE:
                self._begins(entry)
            elif entry.flags & _HEADER:
                self._header(entry)
            elif entry.flags & _CODED and (
                self._mark is not None or (self._open is not None and not self._is_between)
            ):
                self._frame(entry)

    def miss(self) -> None:
        """Video that came with the latest entries is not among them: it is held back until a keyframe.

        What the origin's log holds back nobody is sent, and it is in no worker's segments.
        """
        if self._from_wire:
            self._give_up()
            self._changed()

    def end(self) -> None:
        """The stream is over: nobody has come to publish it again."""
        self._settle()
        self._close(None)
        if self._open is not None:
            self._complete(self._open.finish(None))
        self._open = self._mark = None
        self.is_over = True
        self._changed()

    def shrink(self, max_bytes: int) -> None:
        """Forget the oldest segments until all takes no more. What is being made stays, and the last."""
        making = self.bytes_held - self.window.size
        if self.window.shrink(max_bytes - making):
            self._changed()

    # ---- what there is -----------------------------------------------------------------------

    @property
    def bytes_held(self) -> int:
        making = (self._closing, self._open)
        return self.window.size + sum(builder.size for builder in making if builder is not None)

    @property
    def is_ready(self) -> bool:
        """There is something to play."""
        return bool(self.window.listed)

    @property
    def next_number(self) -> int | None:
        """The segment that is being made, or comes next; None before the first."""
        if self.window.listed:
            return self.window.listed[-1].number + 1
        return None if self._open is None else self._open.segment.number

    def has(self, number: int, part: int | None) -> bool:
        """Whether the list has the segment ``number``, or that ``part`` of it, or what comes later."""
        listed = self.window.listed
        if not listed:
            return False
        last = listed[-1]
        if number == last.number and part is not None and part >= len(last.parts):
            number, part = number + 1, 0  # there is no such part: the next one is meant
        if number <= last.number:
            return True
        partial = self._partial()
        is_partial = partial is not None and number == partial.number
        return is_partial and part is not None and partial is not None and part < len(partial.parts)

    def may_come(self, number: int) -> bool:
        """Whether the segment ``number`` is being made, or may soon be."""
        following = self.next_number
        return not self.is_over and (following is None or following <= number <= following + _AHEAD)

    def playlist(self, *, skip: bool = False) -> bytes:
        """The media playlist. ``skip``: without what a player knows that has had it before."""
        text = self._texts.get(skip)
        if text is None:
            partial, target_s = self._partial(), self.target_s
            listing = Listing(self.window.listed, partial, target_s, self._part_ms, self.is_over)
            text = self._texts[skip] = media_playlist(listing, skip=skip).encode()
        return text

    def master(self, media_uri: str) -> bytes:
        """The multivariant playlist."""
        listed = self.window.listed
        return master_playlist(listed, self.window.tracks(listed[-1].init), media_uri).encode()

    def segment(self, number: int) -> Sequence[Buffer] | None:
        """The bytes of a whole segment."""
        segment = self.window.segment(number)
        return None if segment is None else segment.body

    def part(self, number: int, part: int) -> Buffer | None:
        segment = self.window.segment(number)
        for builder in (self._closing, self._open):
            if builder is not None and builder.segment.number == number:
                segment = builder.segment
        if segment is None or part >= len(segment.parts):
            return None
        return segment.parts[part].data

    def init(self, name: str) -> bytes | None:
        return self.window.init(name)

    def _partial(self) -> Segment | None:
        """The segment behind those that are listed, of which there are parts, or will be."""
        builder = self._closing or self._open
        if builder is None or not self.window.joins_on(builder.segment):
            return None
        return builder.segment

    # ---- making ------------------------------------------------------------------------------

    def _begins(self, entry: LogEntry) -> None:
        self._settle()
        self._is_between = False
        try:
            self._mark = decode_mark(entry.payload)
        except MarkError:  # of a node of another version: nobody knows what it says
            self._give_up()

    def _header(self, entry: LogEntry) -> None:
        remembered = self._headers.remember(entry)
        if remembered is None:
            return
        is_of_audio = entry.type_id == _AUDIO_TYPE and entry.flags & _SEQUENCE_HEADER
        if remembered.is_new:
            self._tracks = None
            if self._open is not None and is_of_audio:
                self._open.leave_out(_AUDIO_TYPE)  # what comes is not what the segment's init file says
        elif self._open is not None and is_of_audio and self._is_first:
            # Who joins is given the headers first. This one may have come only now: nobody knows whether
            # the segment began with audio.
            self._is_first = False
            self._give_up()

    def _frame(self, entry: LogEntry) -> None:
        sample = sample_of(entry)
        if sample is None:
            return
        if self._mark is None:
            self._add(entry, sample)
            return
        self._held.append((entry, sample))
        if self._is_clear():
            self._settle()

    def _is_clear(self) -> bool:
        """Whether it is known what media the segment has. Some audio has no header, only frames."""
        held = self._held
        if len(held) >= _HELD_AT_MOST or any(track.kind == "audio" for track in self._tracks_now()):
            return True
        if sum(len(sample.data) for _, sample in held) > _HELD_BYTES_AT_MOST:
            return True
        first, latest = held[0][0], held[-1][0]
        has_audio = latest.type_id == _AUDIO_TYPE
        return has_audio or self._time(latest) - self._time(first) >= self._part_ms // 2

    def _settle(self) -> None:
        """Open the segment that has begun."""
        mark, held = self._mark, self._held
        self._mark, self._held = None, []
        if mark is not None and held:
            self._open_segment(mark, held)
            for entry, sample in held:
                self._add(entry, sample)

    def _add(self, entry: LogEntry, sample: CodedFrame) -> None:
        builder = self._open
        if builder is None:
            return
        time_ms = self._time(entry)
        if entry.type_id == builder.lead_type and self._closing is not None:
            self._close(builder.ticks_of_lead(time_ms))
        if builder.add(entry.type_id, time_ms, *sample):
            self._changed()
            self.shrink(self._max_bytes)
        if builder.size > self._max_bytes:
            self._give_up()

    def _time(self, entry: LogEntry) -> int:
        """Where the stream's origin has placed it."""
        return entry.wire_ms if self._from_wire else entry.timestamp

    def _open_segment(self, mark: Mark, held: Sequence[tuple[LogEntry, CodedFrame]]) -> None:
        tracks = {_TYPES[track.kind]: track for track in self._tracks_now()}
        if _AUDIO_TYPE not in tracks and held[-1][0].type_id == _AUDIO_TYPE:
            tracks.update((_AUDIO_TYPE, track) for track in tracks_of([held[-1][0]]))
        if mark.is_independent and not held[0][0].flags & _KEYFRAME:
            tracks.pop(_VIDEO_TYPE, None)  # the origin has seen that there is none
        if not mark.has_audio:
            tracks.pop(_AUDIO_TYPE, None)
        lead_type = _VIDEO_TYPE if _VIDEO_TYPE in tracks else _AUDIO_TYPE
        self._close(None)
        before, self._open = self._open, None
        self._is_first = before is None and self._is_first
        if before is not None:
            follows = mark.follows and mark.number == before.segment.number + 1
            if follows and before.lead_track == tracks.get(lead_type):
                self._closing = before
            else:
                self._complete(before.finish(None))
        if tracks and self._is_new(mark):
            init = self._init_of(list(tracks.values()))
            segment = Segment(mark, init, tracks[lead_type].timescale)
            self._open = SegmentBuilder(segment, tracks, lead_type, self._part_ms)

    def _is_new(self, mark: Mark) -> bool:
        listed = self.window.listed
        if not listed or mark.number > listed[-1].number:
            return True
        if not mark.follows and not self._is_same_publisher:
            # Its origin does not know of the one before, and has a clock that is behind: names come again.
            self.window.clear()
            return True
        return False

    def _tracks_now(self) -> list[Track]:
        if self._tracks is None:
            self._tracks = tracks_of(self._headers.in_order())
        return self._tracks

    def _init_of(self, tracks: Sequence[Track]) -> str:
        data = init_segment(tracks)
        name = blake2b(data, digest_size=_INIT_NAME_BYTES).hexdigest()
        self.window.keep_init(name, data, tracks)
        return name

    def _close(self, until: int | None) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            self._complete(closing.finish(until))

    def _complete(self, segment: Segment) -> None:
        if not segment.parts:
            return
        self.window.add(segment)
        self.window.forget_inits(in_use=segment.init if self._open is None else self._open.segment.init)
        self.shrink(self._max_bytes)
        self._changed()

    def _give_up(self) -> None:
        """Some of what belongs to the segment in the making is missing."""
        self.given_up += self._open is not None
        self._open = self._closing = self._mark = None
        self._held.clear()

    def _changed(self) -> None:
        self.version += 1
        self._texts.clear()
