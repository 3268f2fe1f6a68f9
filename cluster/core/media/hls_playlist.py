"""HLS playlists as text: what there is of a stream, for players that ask again and again.

RFC 8216 and its successor, draft-pantos-hls-rfc8216bis-16, whose sections are cited. Addresses are relative
to the playlist, and all names follow from numbers that the stream's origin gives.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from cluster.core.media.fmp4 import Track
from cluster.core.media.hls_segment import Segment

MEDIA_SUFFIX: Final = ".m4s"
INIT_SUFFIX: Final = ".mp4"

#: EXT-X-SKIP (4.4.5.2) needs 9.
_VERSION = 9

#: Parts are listed for segments that end within so many target durations of the end (6.2.2).
_PARTS_TARGETS = 3

#: What is further from the end, in target durations, may be skipped in an update (4.4.3.8).
_SKIP_TARGETS = 6

#: Players of low latency stay so many part durations behind: at least two, and better three (4.4.3.8).
_HOLD_BACK_PARTS = 3

#: Bit rates are told in steps, so that workers that have other segments mostly tell the same.
_RATE_STEP = 1.1

#: The last segment of a publisher may be hardly more than a keyframe, and tells no rate.
_RATE_OVER_S = 1.0

#: No segment may take longer than the target duration, in whole seconds (4.4.3.1), and some players end at
#: one that does. Where keyframes are rare and messages come in bursts, one may: it is told as less.
_ROUNDED_DOWN_S = 0.499

_EPOCH = datetime.datetime(1970, 1, 1)
_LATEST_MS = 253_402_300_799_999  # the last millisecond that a date can have


class Listing(NamedTuple):
    """``segments`` are whole; ``partial`` is the one behind them, of which there are parts so far."""

    segments: Sequence[Segment]
    partial: Segment | None
    target_s: int
    part_ms: int
    is_over: bool


def segment_name(number: int) -> str:
    return f"{number}{MEDIA_SUFFIX}"


def part_name(number: int, part: int) -> str:
    return f"{number}.{part}{MEDIA_SUFFIX}"


def init_name(init: str) -> str:
    return f"{init}{INIT_SUFFIX}"


def media_playlist(listing: Listing, *, skip: bool) -> str:
    """The list of segments. ``skip``: older ones are only counted, if there are any so old."""
    segments = list(listing.segments)
    first = segments[0].mark
    part_s = listing.part_ms / 1000
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_VERSION}",
        f"#EXT-X-TARGETDURATION:{listing.target_s}",
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={listing.target_s * _SKIP_TARGETS:.1f},"
        f"PART-HOLD-BACK={part_s * _HOLD_BACK_PARTS:.3f}",
        f"#EXT-X-PART-INF:PART-TARGET={part_s:.3f}",
        f"#EXT-X-MEDIA-SEQUENCE:{first.number}",
        # Players add the tags that stand before a segment, and the first one may have one (6.2.2).
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{max(0, first.discontinuity - (not first.follows))}",
    ]  # fmt: skip
    if all(each.mark.is_independent for each in (*segments, listing.partial or segments[0])):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")  # whoever joins may begin with any of them (4.4.2.1)
    skipped = _skippable(segments, listing.target_s) if skip else 0
    if skipped:
        lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
    behind_s = sum(segment.duration_s for segment in segments[skipped:])
    init = segments[skipped - 1].init if skipped else ""
    for segment in segments[skipped:]:
        behind_s -= segment.duration_s
        lines += _opening(segment, init)
        if behind_s < listing.target_s * _PARTS_TARGETS:
            lines += _parts(segment, part_s)
        told_s = min(segment.duration_s, listing.target_s + _ROUNDED_DOWN_S)
        lines += (f"#EXTINF:{told_s:.5f},", segment_name(segment.number))
        init = segment.init
    lines += _end(listing, init)
    return "\n".join(lines) + "\n"


def master_playlist(segments: Sequence[Segment], tracks: Sequence[Track], media_uri: str) -> str:
    """The multivariant playlist, of one variant; ``tracks`` are those of the last segment."""
    usual = [segment for segment in segments if segment.duration_s >= _RATE_OVER_S] or segments
    peak = max(segment.size * 8 / segment.duration_s for segment in usual)
    average = sum(segment.size for segment in segments) * 8 / sum(s.duration_s for s in segments)
    codecs = ",".join(track.codecs for track in tracks)
    variant = f'BANDWIDTH={_step(peak)},AVERAGE-BANDWIDTH={_step(average)},CODECS="{codecs}"'
    for track in tracks:
        if track.width and track.height:
            variant += f",RESOLUTION={track.width}x{track.height}"
    lines = ("#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", f"#EXT-X-STREAM-INF:{variant}", media_uri)
    return "\n".join(lines) + "\n"


def _skippable(segments: Sequence[Segment], target_s: int) -> int:
    """How many of the oldest end before the skip boundary (4.4.3.8)."""
    behind_s = 0.0
    for index in range(len(segments) - 1, -1, -1):
        if behind_s >= target_s * _SKIP_TARGETS:
            return index + 1
        behind_s += segments[index].duration_s
    return 0


def _opening(segment: Segment, init: str) -> Iterator[str]:
    """What stands before the parts of ``segment``; ``init`` is what the one before it needs."""
    if not segment.mark.follows:
        yield "#EXT-X-DISCONTINUITY"
    if segment.init != init:
        yield f'#EXT-X-MAP:URI="{init_name(segment.init)}"'
    yield f"#EXT-X-PROGRAM-DATE-TIME:{_date(segment.mark.date_ms)}"


def _parts(segment: Segment, longest_s: float) -> Iterator[str]:
    """All of them in one, unless there are none. They are spelled once, for all lists that have them."""
    count, text = segment.text
    if count != len(segment.parts):
        spelled = [_part(segment, index, longest_s) for index in range(count, len(segment.parts))]
        text = "\n".join([text, *spelled] if count else spelled)
        segment.text = len(segment.parts), text
    if text:
        yield text


def _part(segment: Segment, index: int, longest_s: float) -> str:
    """No part may be longer than the list says once and for all (4.4.3.7). One that is, is a single frame
    that nothing followed: players are told that it takes as long as a part may. The segment's duration is
    the true one."""
    part = segment.parts[index]
    duration_s = min(part.ticks / segment.timescale, longest_s)
    independent = ",INDEPENDENT=YES" if part.is_independent else ""
    name = part_name(segment.number, index)
    return f'#EXT-X-PART:DURATION={duration_s:.5f},URI="{name}"{independent}'


def _end(listing: Listing, init: str) -> Iterator[str]:
    """The segment that is being made; the next part can be asked for, and its answer waits for it."""
    partial = listing.partial
    if listing.is_over:
        yield "#EXT-X-ENDLIST"
    elif partial is not None:
        yield from _opening(partial, init)
        yield from _parts(partial, listing.part_ms / 1000)
        yield f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{part_name(partial.number, len(partial.parts))}"'


def _step(rate: float) -> int:
    """``rate`` rounded up to the next step."""
    return math.ceil(_RATE_STEP ** math.ceil(math.log(max(1.0, rate), _RATE_STEP)))


def _date(date_ms: int) -> str:
    date = _EPOCH + datetime.timedelta(milliseconds=min(date_ms, _LATEST_MS))
    return f"{date.isoformat(timespec='milliseconds')}Z"
