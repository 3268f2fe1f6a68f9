"""Where segments begin, and their numbers: the same for whoever reads the marks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.headers import MAX_HEADER_BYTES
from cluster.core.media.marks import (
    NUMBERED_SINCE_MS,
    Mark,
    Marker,
    MarkError,
    decode_mark,
    encode_mark,
    longest_ms,
)
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message, MessageType

WALL_MS = NUMBERED_SINCE_MS + 1_000_000_000
NUMBER = 1_000_000  # half segments of 2 s since then

KEY = bytes.fromhex("1701000000") + bytes(8)
INTER = bytes.fromhex("2701000000") + bytes(8)
AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f" + bytes(4)
OTHER_AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x4d\x00\x1f" + bytes(4)
AV1_HEADER = b"\x90av01\x81\x00\x0c\x00"
EMPTY_AV1_HEADER = b"\x90av01"
AUDIO = bytes.fromhex("af01") + bytes(8)
AAC_HEADER = bytes.fromhex("af001190")


def marker(last: Mark | None = None, wall_ms: int = WALL_MS) -> Marker:
    return Marker(2000, lambda: wall_ms, last)


@given(
    st.builds(
        Mark, st.integers(0, 2**63), st.integers(0, 3 * 2**30), st.integers(0, 2**63),
        st.booleans(), st.booleans(), st.booleans(),
    )
)  # fmt: skip
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    assert decode_mark(encode_mark(mark)) == mark


@pytest.mark.parametrize("payload", [b"", bytes(21), bytes(22), b"\2" + bytes(21), bytes(23)])
def test_bytes_that_are_no_mark(payload: bytes) -> None:
    with pytest.raises(MarkError):
        decode_mark(payload)


@pytest.mark.parametrize("mark", [Mark(2**63, 9, 9, True, True), Mark(9, 3 * 2**30, 2**63, True, True)])
def test_an_origin_goes_on_from_whatever_mark_has_come(mark: Mark) -> None:
    made = marker(decode_mark(encode_mark(mark)))
    assert made.at_keyframe(100)
    assert made.at_keyframe(5000)


@pytest.mark.parametrize("mark", [Mark(2**64 - 1, 9, 9, True, True), Mark(9, 2**32 - 1, 9, True, True)])
def test_a_mark_that_nobody_could_go_on_from_is_none(mark: Mark) -> None:
    with pytest.raises(MarkError):
        decode_mark(encode_mark(mark))


def test_numbers_go_on_by_one_and_no_segment_is_shorter_than_the_target() -> None:
    made = marker()
    marks = [made.at_keyframe(ms) for ms in range(0, 9000, 1000)]
    assert [bool(mark) for mark in marks] == [True, False, True, False, True, False, True, False, True]
    decoded = [decode_mark(mark) for mark in marks if mark]
    assert [mark.number for mark in decoded] == [NUMBER + n for n in range(5)]
    assert [mark.date_ms - WALL_MS for mark in decoded] == [0, 2000, 4000, 6000, 8000]
    assert [mark.follows for mark in decoded] == [False, True, True, True, True]
    assert len({mark.discontinuity for mark in decoded}) == 1


def test_a_keyframe_that_comes_a_little_early_is_in_time() -> None:
    made = marker()
    made.at_keyframe(20)  # audio was ahead
    assert made.at_keyframe(2_000)
    assert not made.at_keyframe(3_740)
    assert made.at_keyframe(3_750)


def test_a_publisher_that_returns_goes_on_from_the_last_number_with_a_discontinuity() -> None:
    last = Mark(NUMBER, 7, WALL_MS - 20_000, is_independent=True, follows=True)
    assert decode_mark(marker(last).at_keyframe(0)) == Mark(NUMBER + 1, 8, WALL_MS, True, False)


def test_after_a_long_time_the_clock_tells_a_number_that_nobody_can_have_used() -> None:
    last = Mark(NUMBER - 100, 7, WALL_MS - 120_000, is_independent=True, follows=True)
    mark = decode_mark(marker(last).at_keyframe(0))
    assert (mark.number, mark.discontinuity) == (NUMBER, WALL_MS // 60_000 % 2**15)
    ahead = Mark(NUMBER + 100, 2**15, WALL_MS - 120_000, is_independent=True, follows=True)
    mark = decode_mark(marker(ahead).at_keyframe(0))
    assert (mark.number, mark.discontinuity) == (NUMBER + 101, 2**15 + 1)


def test_discontinuities_of_a_stream_that_nobody_remembers_are_small_numbers() -> None:
    """hls.js keeps an array that is as long as the number is high, and walks through it again and again."""
    assert decode_mark(marker().at_keyframe(0)).discontinuity < 40_000


def test_a_stream_with_rare_keyframes_is_cut_without_one() -> None:
    made = marker()
    assert not made.overdue(50_000, 0, False)  # it has not begun
    made.at_keyframe(0)
    assert not made.overdue(4_199, 0)  # a keyframe every 4 s may be a little late
    mark = decode_mark(made.overdue(4_200, 0))
    assert mark.follows
    assert not mark.is_independent


def test_what_does_not_follow_is_cut_no_later() -> None:
    """Audio changes, and the next keyframe is far off, or never comes."""
    made = marker()
    made.at_keyframe(0)
    made.header(8, AAC_HEADER)
    assert not made.overdue(4_199, 0)
    mark = decode_mark(made.overdue(4_200, 0))
    assert (mark.number, mark.follows, mark.is_independent) == (NUMBER + 1, False, False)
    assert decode_mark(made.overdue(8_400, 0)).follows


def test_video_that_never_has_a_keyframe_is_cut_without_one() -> None:
    """As of an encoder that renews its picture column by column, and was heard too late. It is held back
    for a while; behind that there are segments."""
    log = StreamLog()
    log.marker = marker()
    log.append(Message(9, 0, AVC_HEADER))
    marked = []
    for ms in range(0, 20_000, 40):
        log.append(Message(9, ms, INTER))
        if ms % 200 == 0 and log.mark_overdue():
            marked.append(ms)
    assert marked == [10_000, 14_200, 18_400]


def test_a_rare_keyframe_begins_a_segment_however_short_the_present_one_is() -> None:
    made = marker()
    made.at_keyframe(0)
    made.overdue(4_200, 0)
    made.overdue(8_400, 0)
    mark = decode_mark(made.at_keyframe(8_440))
    assert (mark.number, mark.is_independent, mark.follows) == (NUMBER + 3, True, True)
    assert not made.at_keyframe(8_480)


def test_no_segment_with_keyframes_in_time_is_as_long_as_the_longest() -> None:
    made = marker()
    began = [ms for ms in range(0, 60_000, 1_999) if made.at_keyframe(ms)]
    assert max(after - before for before, after in pairwise(began)) < longest_ms(2000) == 4000


def test_a_segment_behind_a_leap_of_time_does_not_follow() -> None:
    made = marker()
    made.at_keyframe(0)
    mark = decode_mark(made.at_keyframe(1_000_000))
    assert (mark.number, mark.follows, mark.date_ms) == (NUMBER + 1, False, WALL_MS)


def test_segments_whose_media_change_do_not_follow() -> None:
    made = marker()
    first = decode_mark(made.at_keyframe(0))
    assert not made.overdue(1_000, 1_000)
    silent = decode_mark(made.overdue(2_500, 2_500))
    again = decode_mark(made.overdue(4_500, 4_500))
    back = decode_mark(made.at_keyframe(5_000))
    assert [mark.follows for mark in (first, silent, again, back)] == [False, False, True, False]
    assert [mark.number - first.number for mark in (silent, again, back)] == [1, 2, 3]
    assert back.discontinuity == first.discontinuity + 2


def test_a_header_that_says_nothing_changes_nothing() -> None:
    """FFmpeg's first AV1 header is empty, and its second whole."""
    made = marker()
    made.at_keyframe(0)
    made.header(9, EMPTY_AV1_HEADER)
    assert decode_mark(made.at_keyframe(2_000)).follows
    made.header(9, AV1_HEADER)
    assert not decode_mark(made.at_keyframe(4_000)).follows
    made.header(9, EMPTY_AV1_HEADER)
    assert decode_mark(made.at_keyframe(6_000)).follows


@pytest.mark.parametrize("type_id", [8, 9])
def test_a_header_that_no_joiner_is_given_changes_nothing(type_id: int) -> None:
    made = marker()
    made.at_keyframe(0)
    made.header(type_id, {8: AAC_HEADER, 9: AVC_HEADER}[type_id] + bytes(MAX_HEADER_BYTES))
    assert decode_mark(made.at_keyframe(2000)).follows


def test_audio_alone_is_cut_at_the_target() -> None:
    made = marker()
    assert not made.overdue(1_999, 1_999)  # video may still come
    assert decode_mark(made.overdue(2_000, 2_000)).is_independent
    assert not made.overdue(3_999, 3_999)
    assert made.overdue(4_000, 4_000)


# ---- in a log --------------------------------------------------------------------------------


def origin() -> StreamLog:
    log = StreamLog()
    log.marker = marker()
    return log


def feed(log: StreamLog, *messages: tuple[int, int, bytes]) -> None:
    for type_id, timestamp, payload in messages:
        log.append(Message(type_id, timestamp, payload))


def marks_in(log: StreamLog) -> list[tuple[int, Mark]]:
    """Each mark, and the timestamp of the message behind it."""
    entries = log.read(log.first_seq, log.next_seq)
    return [
        (after.timestamp, decode_mark(entry.payload))
        for entry, after in pairwise(entries)
        if entry.type_id == MessageType.MARK
    ]


def test_joins_start_at_the_mark_in_front_of_the_keyframe() -> None:
    log = origin()
    feed(log, (9, 0, AVC_HEADER), (9, 0, KEY), (9, 40, INTER), (9, 2000, KEY), (9, 2040, INTER))
    joined = log.read(log.start_of_join(), log.next_seq)
    assert [entry.type_id for entry in joined] == [MessageType.MARK, 9, 9]
    assert [entry.timestamp for entry in joined[1:]] == [2000, 2040]
    assert [at for at, _ in marks_in(log)][-1] == 2000
    held = sum(len(entry.payload) for entry in log.read(log.first_seq, log.next_seq))
    assert log.bytes_held == held


def test_a_keyframe_too_early_for_a_segment_is_joined_at_by_itself() -> None:
    log = origin()
    feed(log, (9, 0, AVC_HEADER), (9, 0, KEY), (9, 1000, KEY))
    assert [entry.payload for entry in log.read(log.start_of_join(), log.next_seq)] == [KEY]


def test_a_codec_that_changes_begins_a_segment_that_does_not_follow() -> None:
    log = origin()
    log.keep_from = 0
    feed(
        log, (9, 0, AVC_HEADER), (9, 0, KEY), (9, 500, AVC_HEADER), (9, 500, KEY),
        (9, 1000, OTHER_AVC_HEADER), (9, 1000, KEY),
    )  # fmt: skip
    (first_at, first), (second_at, second) = marks_in(log)
    assert (first_at, second_at) == (0, 1000)
    assert (second.number, second.discontinuity) == (first.number + 1, first.discontinuity + 1)
    assert not second.follows


def test_audio_that_stops_is_not_in_segments_that_follow() -> None:
    log = origin()
    log.keep_from = log.unsent_from = 0
    feed(log, (9, 0, AVC_HEADER), (8, 0, AAC_HEADER), (9, 0, KEY), (8, 0, AUDIO))
    for ms in range(1000, 12_000, 1000):
        feed(log, (9, ms, KEY))
        log.note_gone()
    feed(log, (8, 12_000, AUDIO), (9, 12_000, KEY))
    marks = [mark for _, mark in marks_in(log)]
    assert [mark.has_audio for mark in marks] == [True, True, True, True, False, False, True]
    assert [mark.follows for mark in marks] == [False, True, True, True, False, True, False]


def test_audio_that_begins_late_begins_a_segment_that_does_not_follow() -> None:
    log = origin()
    log.keep_from = 0
    feed(log, (9, 0, AVC_HEADER), (9, 0, KEY), (8, 100, AAC_HEADER), (8, 100, AUDIO), (9, 400, KEY))
    feed(log, (8, 410, AAC_HEADER), (9, 800, KEY))  # what is known changes nothing
    marks = marks_in(log)
    assert [at for at, _ in marks] == [0, 400]
    assert not marks[1][1].follows


def test_audio_alone_is_marked_from_time_to_time() -> None:
    log = origin()
    log.keep_from = 0
    log.unsent_from = 0
    feed(log, (8, 0, AAC_HEADER))
    for ms in range(0, 5000, 20):
        feed(log, (8, ms, AUDIO))
        log.mark_overdue()
    assert [at for at, _ in marks_in(log)] == [2020, 4020]


def test_only_the_origin_begins_segments() -> None:
    log = StreamLog()
    log.keep_from = log.unsent_from = 0
    feed(log, (9, 0, AVC_HEADER), (9, 0, KEY))
    for ms in range(1000, 20_000, 1000):
        feed(log, (9, ms, INTER))
        assert not log.mark_overdue()
    assert marks_in(log) == []


def test_another_worker_takes_over_the_marks_as_they_are() -> None:
    here, there = origin(), StreamLog()
    here.keep_from = there.keep_from = 0
    feed(here, (9, 0, AVC_HEADER), (9, 0, KEY), (9, 2000, KEY))
    for entry in here.read(0, here.next_seq):
        there.append(entry.message())
    assert marks_in(there) == marks_in(here)
    assert there.join_seq == here.join_seq
    assert there.last_mark == here.last_mark


def test_the_stamp_that_a_message_came_with_is_kept() -> None:
    log = StreamLog()
    feed(log, (9, 5000, AVC_HEADER), (9, 5000, KEY))
    log.restart(100)
    feed(log, (9, 70, AVC_HEADER), (9, 70, KEY))
    last = log.read(log.next_seq - 1, log.next_seq)[0]
    assert (last.wire_ms, last.timestamp) == (70, 5100)
