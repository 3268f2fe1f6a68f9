"""One segment of a stream, and the parts that it is made of.

Which bytes come out follows from the messages of the segment alone, and from the time of the next one's
first frame: not from what a worker has seen before, nor from how the messages came. The *lead* is the
medium that time goes by: video if there is any, else audio. A part ends before the first frame of the lead
that is so far from the part's beginning; what stands in the log before that frame is in it. If the part
were longer than parts may be, it ends one frame earlier. A frame that lasts longer is a part by itself.

The lead may stop while the other medium goes on. Then the last part is as long as what it has of that; a
segment without any frame of the lead is one such part. With a hole in the numbers, the list would begin
anew, and players would lose their place in it.

Decoding times are the origin's milliseconds in the track's timescale, plus ``START_MS``: composition times
never fall below zero. Milliseconds are too coarse for audio, so its samples are counted from the segment's
first frame, as long as that agrees with the stamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from cluster.core.media.fmp4 import Sample, Track, fragment, samples_in
from cluster.core.media.marks import Mark
from cluster.core.message import Buffer

#: What is added to all times. Composition offsets of encoders stay far below.
START_MS: Final = 10_000

#: Parts of a segment, at most, in the number of its fragments: ``mfhd`` has 32 bits for both.
_PARTS_PER_SEGMENT = 1000

#: Audio may be stamped in bursts: so far behind its count it is not taken for a new beginning.
_BURST_MS = 100

#: How long a frame is shown if there is nothing to tell it from.
_FRAME_MS = 40

#: A frame is shown for so long at most. What is longer is an interruption: with it a segment would exceed
#: the target duration, and parts were so long that players stayed far behind live.
_LONGEST_FRAME_S = 2


class Part(NamedTuple):
    """``ticks``: how long it is, in the timescale of the segment's lead."""

    ticks: int
    data: bytes
    is_independent: bool


class Segment:
    """A segment, whole or not yet. ``duration_s`` and ``size`` are those of ``parts``.

    ``text``: how lists spell its parts, and of how many that is; kept by ``hls_playlist``.
    """

    __slots__ = ("init", "mark", "parts", "size", "text", "ticks", "timescale")

    def __init__(self, mark: Mark, init: str, timescale: int) -> None:
        self.mark = mark
        self.init = init
        self.timescale = timescale
        self.parts: list[Part] = []
        self.ticks = 0
        self.size = 0
        self.text = (0, "")

    @property
    def number(self) -> int:
        return self.mark.number

    @property
    def duration_s(self) -> float:
        return self.ticks / self.timescale

    @property
    def body(self) -> list[Buffer]:
        """The bytes of the whole: those of its parts."""
        return [part.data for part in self.parts]

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.ticks += part.ticks
        self.size += len(part.data)


class _Frame(NamedTuple):
    dts: int
    data: Buffer
    composition: int
    is_sync: bool


class _Samples:
    """The frames of one track that are in no part yet. ``frame_ticks``: how long the last one is, as its
    codec says, or else as the one before it was; 0 while nothing tells."""

    __slots__ = ("frame_ticks", "frames", "last_dts", "scale", "track")

    def __init__(self, track: Track) -> None:
        self.track = track
        self.scale = track.timescale
        self.frames: list[_Frame] = []
        self.last_dts = -1
        self.frame_ticks = 0

    def ticks(self, time_ms: int) -> int:
        return (max(0, time_ms + START_MS) * self.scale + 500) // 1000

    def place(self, time_ms: int) -> int:
        """The decoding time of a frame stamped ``time_ms``."""
        stamped, last = self.ticks(time_ms), self.last_dts
        if last < 0:
            return stamped
        if self.track.kind == "audio" and self.frame_ticks:
            counted = last + self.frame_ticks
            if counted - self.scale * _BURST_MS // 1000 <= stamped <= counted + self.frame_ticks:
                return counted
        return max(stamped, last + 1)

    def add(self, dts: int, data: Buffer, composition_ms: int, is_sync: bool) -> None:
        self.frames.append(_Frame(dts, data, composition_ms * self.scale // 1000, is_sync))
        self.last_dts = dts
        if self.track.kind == "audio":
            self.frame_ticks = samples_in(self.track, data) or self.frame_ticks

    def take(self, until: int | None) -> tuple[Track, int, list[Sample]]:
        """All of them as samples. ``until``: when the frame comes that follows; None if nobody knows."""
        frames, self.frames = self.frames, []
        nexts = [frame.dts for frame in frames[1:]]
        if until is None:
            usual = self.frame_ticks or self.scale * _FRAME_MS // 1000
            if self.track.kind == "video" and nexts:  # the least: one may be an interruption
                steps = [after - frame.dts for frame, after in zip(frames, nexts, strict=False)]
                usual = min([*steps, self.frame_ticks] if self.frame_ticks else steps)
            until = frames[-1].dts + usual
        nexts.append(max(until, frames[-1].dts + 1))
        longest = self.scale * _LONGEST_FRAME_S
        samples = [
            Sample(min(after - frame.dts, longest), frame.data, frame.composition, frame.is_sync)
            for frame, after in zip(frames, nexts, strict=True)
        ]
        if self.track.kind == "video" and samples[-1].duration < longest:
            self.frame_ticks = samples[-1].duration
        return self.track, frames[0].dts, samples


class SegmentBuilder:
    """Makes ``segment`` of its frames. ``tracks``: by message type, those that its init file has."""

    __slots__ = (
        "_lead", "_least_ticks", "_left_out", "_most_ticks", "_pending_bytes", "_samples", "lead_type",
        "segment",
    )  # fmt: skip

    def __init__(self, segment: Segment, tracks: Mapping[int, Track], lead_type: int, part_ms: int) -> None:
        self.segment = segment
        self.lead_type = lead_type
        self._samples = {type_id: _Samples(track) for type_id, track in tracks.items()}
        self._lead = self._samples[lead_type]
        self._left_out: set[int] = set()
        self._most_ticks = self._lead.scale * part_ms // 1000
        #: The least that a part takes: 85 % of the most (draft-pantos-hls-rfc8216bis, 4.4.4.9).
        self._least_ticks = self._lead.scale * part_ms * 85 // 100_000
        self._pending_bytes = 0

    @property
    def size(self) -> int:
        """The bytes of its parts, and of what is in none yet."""
        return self.segment.size + self._pending_bytes

    @property
    def lead_track(self) -> Track:
        return self._lead.track

    def ticks_of_lead(self, time_ms: int) -> int:
        """The decoding time of the segment's first frame of the lead."""
        return self._lead.ticks(time_ms)

    def leave_out(self, type_id: int) -> None:
        """What comes of this medium is not for this segment."""
        self._left_out.add(type_id)

    def add(self, type_id: int, time_ms: int, data: Buffer, composition_ms: int, is_sync: bool) -> bool:
        """One frame; whether a part has been finished by it."""
        samples = self._samples.get(type_id)
        if samples is None or type_id in self._left_out:
            return False
        dts = samples.place(time_ms)
        has_ended = samples is self._lead and bool(samples.frames) and self._end_parts(dts)
        samples.add(dts, data, composition_ms, is_sync)
        self._pending_bytes += len(data)
        return has_ended

    def finish(self, until: int | None) -> Segment:
        """No frame follows. ``until``: when the lead's first frame of the next segment comes, if it follows
        on this one."""
        frames = self._lead.frames
        if frames:
            self._end_too_long(frames[-1].dts + self._lead.frame_ticks if until is None else until)
            self._end_part(until)
        elif self._pending_bytes:
            self._end_part(None)
        return self.segment

    def _end_parts(self, until: int) -> bool:
        """The lead's next frame is at ``until``. Whether a part ends for that."""
        has_ended = self._end_too_long(until)
        if until - self._lead.frames[0].dts < self._least_ticks:
            return has_ended
        self._end_part(until)
        return True

    def _end_too_long(self, until: int) -> bool:
        """If the part were too long, end it before its last frame, which begins the next one."""
        frames = self._lead.frames
        if len(frames) < 2 or until - frames[0].dts <= self._most_ticks:
            return False
        last = frames.pop()
        self._end_part(last.dts)
        self._lead.frames.append(last)
        self._pending_bytes = len(last.data)
        return True

    def _end_part(self, until: int | None) -> None:
        lead = self._lead
        is_independent = any(frame.is_sync for frame in lead.frames)
        taken: list[tuple[Track, int, Sequence[Sample]]] = []
        lengths: dict[Track, int] = {}
        for samples in self._samples.values():
            if not samples.frames:
                continue
            track, start, made = samples.take(until if samples is lead else None)
            taken.append((track, start, made))
            lengths[track] = sum(sample.duration for sample in made)
        ticks = lengths.pop(lead.track, 0)
        if until is None:
            for other, length in lengths.items():
                ticks_of_other = length * lead.scale // other.timescale
                if not ticks or ticks_of_other - ticks > self._most_ticks:  # the lead has stopped
                    ticks = ticks_of_other
        segment = self.segment
        number = (segment.number * _PARTS_PER_SEGMENT + len(segment.parts)) % 2**32
        data = b"".join(fragment(number, taken))
        segment.add(Part(ticks, data, is_independent))
        self._pending_bytes = 0
