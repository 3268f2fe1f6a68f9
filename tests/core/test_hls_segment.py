"""One segment: when its audio goes by the count of its samples, and when by its stamps."""

from __future__ import annotations

import pytest

from cluster.core.media.classify import flags_of
from cluster.core.media.fmp4 import tracks_of
from cluster.core.media.hls_segment import Segment, SegmentBuilder
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import Mark

AUDIO_TYPE = 8
AAC_HEADER = bytes.fromhex("af001190")  # AAC-LC, 48 kHz, two channels
RATE = 48  # samples in a millisecond
FRAME = 1024


def audio_segment(stamps_ms: list[int]) -> Segment:
    """A segment of audio alone, one frame at each of the stamps."""
    header = LogEntry(AUDIO_TYPE, 0, AAC_HEADER, flags_of(AUDIO_TYPE, AAC_HEADER), 0, 0)
    (track,) = tracks_of([header])
    segment = Segment(Mark(1, 1, 1, True, True), "init", track.timescale)
    builder = SegmentBuilder(segment, {AUDIO_TYPE: track}, AUDIO_TYPE, part_ms=250)
    for stamp_ms in stamps_ms:
        builder.add(AUDIO_TYPE, stamp_ms, bytes(9), 0, True)
    return builder.finish(None)


@pytest.mark.parametrize(
    ("off_ms", "last_at"),
    [
        (0, 10 * FRAME),
        (21, 10 * FRAME),  # late by less than a frame
        (22, (213 + 22) * RATE),
        (-99, 10 * FRAME),  # stamped in a burst
        (-100, 9 * FRAME + 1),  # so far back: where its stamp says, but behind the one before
        (500, (213 + 500) * RATE),  # silence
    ],
)
def test_audio_is_counted_while_its_stamps_agree(off_ms: int, last_at: int) -> None:
    """Ten frames where they belong, and then one that is ``off_ms`` from there."""
    stamps_ms = [n * FRAME // RATE for n in range(10)]
    segment = audio_segment([*stamps_ms, 10 * FRAME // RATE + off_ms])
    assert segment.ticks == last_at + FRAME
