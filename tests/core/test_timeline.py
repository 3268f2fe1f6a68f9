"""The stream's clock: each medium passes as stamped, one shift for all, and nothing goes back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.amf import amf0
from cluster.core.media.classify import flags_of
from cluster.core.media.timeline import (
    MAX_DATA_OFFSET_MS,
    MAX_STEP_BACK_MS,
    RESTART_GAP_MS,
    SETTLED_MS,
    Timeline,
)
from cluster.core.message import Message
from cluster.core.rtmp import aggregate
from cluster.core.rtmp.message_stream import deliver

WRAP = 1 << 32
AUDIO, VIDEO, DATA = 8, 9, 18

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
AAC_HEADER = bytes.fromhex("af001190")
KEY = bytes.fromhex("1701000000") + b"key"
SOUND = bytes.fromhex("af01") + b"sound"
TRACK_1 = bytes.fromhex("9601") + b"avc1\x01" + bytes(8)
META = amf0.encode("onMetaData", {"width": 1.0})
CUE = amf0.encode("onCuePoint", {"name": "a"})
TEXT = amf0.encode("onTextData", {"text": "a"})


def place_all(timeline, steps):
    """The places of frames given as (medium, stamp)."""
    return [timeline.place(medium, stamp) for medium, stamp in steps]


def video_at(*stamps):
    return [(VIDEO, stamp) for stamp in stamps]


def frames(first_ms, count, *, skew_ms=0, step_ms=40):
    """Video, and audio ``skew_ms`` ahead of it, in turns."""
    return [
        step
        for number in range(count)
        for step in (
            (VIDEO, first_ms + number * step_ms),
            (AUDIO, first_ms + number * step_ms + skew_ms),
        )
    ]


# ---- one medium ------------------------------------------------------------------------------


def test_timestamps_pass_through():
    stamps = [0, 33, 66, 1_000_000]
    assert place_all(Timeline(), video_at(*stamps)) == stamps


def test_wraps_past_32_bits_without_a_jump():
    assert place_all(Timeline(), video_at(WRAP - 20, WRAP - 1, 19, 40)) == [
        WRAP - 20, WRAP - 1, WRAP + 19, WRAP + 40,
    ]  # fmt: skip


def test_fault_17_no_timestamp_is_a_marker():
    """Neither the highest one nor 2,000,000,000 means anything but itself."""
    stamps = [1_999_999_999, 2_000_000_000, 2_000_000_040, 4_000_000_000, WRAP - 1, 39]
    assert place_all(Timeline(), video_at(*stamps)) == [*stamps[:-1], WRAP + 39]


def test_already_unwrapped_timestamps_are_taken_as_they_are():
    assert place_all(Timeline(), video_at(WRAP + 5, WRAP + 38)) == [WRAP + 5, WRAP + 38]


def test_a_step_back_at_the_limit_stands_still_and_one_past_it_is_a_restart():
    back_ms = 5000 - MAX_STEP_BACK_MS
    assert place_all(Timeline(), video_at(5000, back_ms, 5000, 5040)) == [5000, 5000, 5000, 5040]
    restarted = place_all(Timeline(), video_at(5000, back_ms - 1, back_ms + 32))
    assert restarted == [5000, 5000 + RESTART_GAP_MS, 5033 + RESTART_GAP_MS]


def test_many_small_steps_back_are_a_restart_too():
    stamps = [5000, 4100, 3900, 3000]
    assert place_all(Timeline(), video_at(*stamps)) == [5000, 5000, 5040, 5040]


# ---- media apart -----------------------------------------------------------------------------


@pytest.mark.parametrize("skew_ms", [500, 1500, 5000, 60_000, -500, -1500, -5000, -60_000])
@pytest.mark.parametrize("first", ["audio", "video"])
def test_media_pass_as_stamped_however_far_apart(skew_ms, first):
    steps = frames(100_000, 50, skew_ms=skew_ms)
    if first == "audio":
        steps = [step for pair in zip(steps[1::2], steps[::2], strict=True) for step in pair]
    timeline = Timeline()
    assert place_all(timeline, steps) == [stamp for _, stamp in steps]
    assert timeline.progress_ms == 49 * 40  # whatever the skew


@pytest.mark.parametrize("skew_ms", [0, 500, 1500, 5000, 60_000, -500, -1500, -5000, -60_000])
@pytest.mark.parametrize("first", [AUDIO, VIDEO])
def test_a_publisher_that_returns_goes_on_with_all_media_at_once(skew_ms, first):
    timeline = Timeline()
    steps = frames(100_000, 50, skew_ms=skew_ms)
    last = dict(zip((VIDEO, AUDIO), place_all(timeline, steps)[-2:], strict=True))
    timeline.restart(700)
    shifts = {medium: set() for medium in (AUDIO, VIDEO)}
    for medium, stamp in steps if first == VIDEO else steps[1:]:
        placed = timeline.place(medium, stamp)
        assert placed >= last[medium]
        last[medium] = placed
        shifts[medium].add(placed - stamp)
    assert shifts[AUDIO] == shifts[VIDEO]
    assert len(shifts[AUDIO]) == 1


def test_media_that_were_less_far_apart_before_move_on_together():
    timeline = Timeline()
    place_all(timeline, frames(100_000, 50))
    timeline.restart(700)
    # The new publisher's audio is a minute ahead: by its shift alone, video would go back.
    first, *later = place_all(timeline, [(AUDIO, 60_000), *frames(0, 3, skew_ms=60_000)])
    assert first == 101_960 + 700
    assert later[0] == 101_960 + RESTART_GAP_MS
    assert [place - later[0] for place in later] == [0, 60_000, 40, 60_040, 80, 60_080]


def test_media_before_the_beginning_stand_at_zero():
    steps = [(AUDIO, 20), (VIDEO, WRAP - 60), (VIDEO, WRAP - 20), (VIDEO, 20)]
    assert place_all(Timeline(), steps) == [20, 0, 0, 20]


def test_a_medium_that_ended_long_ago_is_not_where_the_next_publisher_begins():
    timeline = Timeline()
    place_all(timeline, frames(0, 5))
    place_all(timeline, [(AUDIO, stamp) for stamp in range(200, 60_000, 20)])
    timeline.restart(500)
    place_all(timeline, [(AUDIO, 0), (AUDIO, 20)])  # a publisher of audio alone
    timeline.restart(500)
    placed = place_all(timeline, frames(0, 3))
    assert placed[0] >= 60_000 + 500
    assert {after - before for (_, before), after in zip(frames(0, 3), placed, strict=True)} == {placed[0]}


# ---- restarts in mid-stream ------------------------------------------------------------------


@pytest.mark.parametrize("first", [AUDIO, VIDEO])
@pytest.mark.parametrize("pause_ms", [0, 40, 3000])
@pytest.mark.parametrize("skew_ms", [0, 1500, -1500])
def test_a_restarted_clock_moves_all_media_by_one_constant(first, pause_ms, skew_ms):
    """Media come back one after the other: the second one when the first has gone on for a while."""
    timeline = Timeline()
    ended = place_all(timeline, frames(200_000, 50, skew_ms=skew_ms))[-2:]
    last = dict(zip((VIDEO, AUDIO), ended, strict=True))
    steps = frames(2000, 200, skew_ms=skew_ms)
    late = VIDEO + AUDIO - first
    late_from = min(stamp for medium, stamp in steps if medium == late) + pause_ms
    shifts = set()
    for medium, stamp in steps:
        if medium == late and stamp < late_from:
            continue
        placed = timeline.place(medium, stamp)
        assert placed >= last[medium]
        last[medium] = placed
        shifts.add(placed - stamp)
    assert len(shifts) == 1


def test_the_medium_that_restarts_later_may_go_on_meanwhile():
    timeline = Timeline()
    place_all(timeline, frames(100_000, 50))
    audio = place_all(timeline, [(AUDIO, stamp) for stamp in range(0, 1000, 20)])
    assert audio[0] == 101_960 + RESTART_GAP_MS
    video = place_all(timeline, video_at(*range(102_000, 103_000, 40)))
    assert video == list(range(102_000, 103_000, 40))
    assert place_all(timeline, video_at(1000, 1040)) == [103_000, 103_040]


@pytest.mark.parametrize("stray_ms", [0, 50_000, 98_000])
@pytest.mark.parametrize("count", [1, 4])
def test_a_stray_does_not_move_the_clock(stray_ms, count):
    """An aggregate on stamp 0, say: audio and video fall back, and are where they were at once."""
    timeline = Timeline()
    place_all(timeline, frames(100_000, 50))
    strays = place_all(timeline, frames(stray_ms, count))
    assert all(101_960 <= place <= 102_000 + 40 * count for place in strays)
    steps = frames(102_000, 50)
    placed = place_all(timeline, steps)
    assert placed == sorted(placed)
    assert placed[2 * count + 2 :] == [stamp for _, stamp in steps][2 * count + 2 :]


def test_a_clock_that_has_settled_leaps_where_it_says():
    timeline = Timeline()
    place_all(timeline, video_at(100_000, 100_040))
    place_all(timeline, video_at(*range(0, SETTLED_MS + 40, 40)))
    assert place_all(timeline, video_at(100_080)) == [200_120 + RESTART_GAP_MS]


def test_strays_among_strays_do_not_move_the_clock():
    timeline = Timeline()
    stamps = (100_000, 50_000, 0, 100_120)
    assert place_all(timeline, video_at(*stamps)) == [100_000, 100_040, 100_080, 100_120]


@given(
    first=st.integers(0, WRAP - 1),
    steps=st.lists(st.tuples(st.sampled_from((AUDIO, VIDEO)), st.integers(0, 100_000)), max_size=60),
    skew=st.integers(-60_000, 60_000),
)
@settings(deadline=None, max_examples=300)
def test_any_interleaving_of_clocks_that_only_go_on_passes_with_one_constant(first, steps, skew):
    clocks = {VIDEO: first + 60_000, AUDIO: first + 60_000 + skew}
    timeline, shifts, progress = Timeline(), set(), 0
    for medium, step in steps:
        clocks[medium] += step
        shifts.add((timeline.place(medium, clocks[medium] % WRAP) - clocks[medium]) % WRAP)
        assert timeline.progress_ms >= progress
        progress = timeline.progress_ms
    assert shifts <= {0}


@given(
    skew=st.integers(-60_000, 60_000),
    before=st.lists(st.sampled_from((AUDIO, VIDEO)), min_size=1, max_size=20),
    after=st.lists(st.sampled_from((AUDIO, VIDEO)), min_size=1, max_size=40),
    new_first=st.integers(60_000, WRAP - 100_000),
    gap=st.integers(1, 20_000),
)
@settings(deadline=None, max_examples=300)
def test_after_any_return_all_media_have_one_new_constant(skew, before, after, new_first, gap):
    timeline, last = Timeline(), {}
    clocks = {VIDEO: 60_000, AUDIO: 60_000 + skew}
    for medium in [AUDIO, VIDEO, *before]:  # in step, as an encoder interleaves
        clocks = {each: clock + 20 for each, clock in clocks.items()}
        last[medium] = timeline.place(medium, clocks[medium])
    timeline.restart(max(gap, 20 * len(before) + 40))
    clocks = {VIDEO: new_first, AUDIO: new_first + skew}
    shifts = set()
    for medium in after:
        clocks = {each: clock + 20 for each, clock in clocks.items()}
        placed = timeline.place(medium, clocks[medium] % WRAP)
        assert placed >= last[medium]
        last[medium] = placed
        shifts.add((placed - clocks[medium]) % WRAP)
    assert len(shifts) == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from((AUDIO, VIDEO, VIDEO | 1 << 8)), st.integers(0, WRAP - 1)),
            st.tuples(st.just("restart"), st.integers(-5, 20_000)),
            st.tuples(st.sampled_from((AVC_HEADER, AAC_HEADER, b"", CUE, META)), st.integers(0, WRAP - 1)),
        ),
        max_size=60,
    )
)
@settings(deadline=None, max_examples=300)
def test_nothing_ever_goes_back_in_any_medium(steps):
    timeline, last, begun = Timeline(), {}, set()
    for what, stamp in steps:
        if what == "restart":
            timeline.restart(stamp)
            begun.clear()
        elif isinstance(what, bytes):
            type_id = DATA if what in (CUE, META) else AUDIO if what == AAC_HEADER else VIDEO
            place = timeline.place_other(type_id, flags_of(type_id, what), what, stamp)
            assert place >= 0
            if type_id in last:
                assert place >= last[type_id]
            if type_id in begun:
                last[type_id] = place
        else:
            place = timeline.place(what, stamp)
            assert place >= last.get(what, 0)
            last[what] = place
            begun.add(what)


# ---- what follows ----------------------------------------------------------------------------


FOLLOWERS = {
    "data": (DATA, TEXT), "cue point": (DATA, CUE),
    "empty audio": (AUDIO, b""), "empty video": (VIDEO, b""),
    "audio without data": (AUDIO, b"\xaf\x01"), "video without a unit": (VIDEO, b"\x17\x01\0\0\0"),
    "metadata": (DATA, META), "audio header": (AUDIO, AAC_HEADER), "video header": (VIDEO, AVC_HEADER),
    "end of video": (VIDEO, bytes.fromhex("1702000000")), "seek command": (VIDEO, bytes.fromhex("5700")),
}  # fmt: skip
STAMPS = {"stamped 0": 0, "far ahead": 700_000, "far behind": 3_000, "near": 101_980}


def interrupted(timeline, message, steps, every=10):
    """Place ``steps`` with ``message`` in front and after each ``every``; places by message type."""
    places = {"media": [], "message": []}
    for number, (medium, stamp) in enumerate(steps):
        if number % every == 0:
            places["message"].append(timeline.place_message(message))
        places["media"].append(timeline.place(medium, stamp))
    return places


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize(("type_id", "payload"), FOLLOWERS.values(), ids=FOLLOWERS)
@pytest.mark.parametrize("skew_ms", [0, 60_000, -60_000])
def test_what_is_no_frame_moves_no_clock(type_id, payload, stamp, skew_ms):
    steps = frames(100_000, 50, skew_ms=skew_ms)
    timeline = Timeline()
    place_all(timeline, steps[:20])
    places = interrupted(timeline, Message(type_id, stamp, payload), steps[20:])
    assert places["media"] == [placed for _, placed in steps[20:]]
    assert places["message"] == sorted(places["message"])
    if payload == META:
        assert set(places["message"]) == {0}
    else:
        earliest, latest = min(100_000, 100_000 + skew_ms), max(102_000, 102_000 + skew_ms)
        assert all(earliest <= place <= latest + MAX_DATA_OFFSET_MS for place in places["message"])


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
@pytest.mark.parametrize(("type_id", "payload"), FOLLOWERS.values(), ids=FOLLOWERS)
def test_what_is_no_frame_is_no_beginning_of_a_new_publisher(type_id, payload, stamp):
    steps = frames(100_000, 50)
    timeline = Timeline()
    place_all(timeline, steps)
    timeline.restart(600)
    places = interrupted(timeline, Message(type_id, stamp, payload), steps)
    assert places["media"] == [placed + 1960 + 600 for _, placed in steps]
    if payload != META:
        assert places["message"][0] == 101_960
        assert places["message"] == sorted(places["message"])


@pytest.mark.parametrize("stamp", [0, 700_000, 3_000, 101_980])
def test_aggregates_are_their_parts(stamp):
    """A stray one in mid-stream, as one of FMS that carries another clock: the media go on as they were."""
    parts = [Message(medium, at, KEY if medium == VIDEO else SOUND) for medium, at in frames(0, 3)]
    timeline = Timeline()
    place_all(timeline, frames(100_000, 50))
    received = []
    deliver(Message(22, stamp, aggregate_of(parts), 1), received)
    assert [m.timestamp - stamp for m in received] == [0, 0, 40, 40, 80, 80]
    placed = [timeline.place_message(message) for message in received]
    after = place_all(timeline, frames(102_100, 50))
    assert placed + after == sorted(placed + after)
    shift = after[-1] - (102_100 + 49 * 40)
    assert after[10:] == [at + shift for _, at in frames(102_100, 50)][10:]
    assert shift == 0 or stamp == 700_000  # media that leap ahead pass as stamped; behind them is a restart


def aggregate_of(parts):
    body = b""
    for type_id, at, payload, _ in parts:
        size = len(payload).to_bytes(3, "big")
        body += bytes((type_id,)) + size + (at & 0xFFFFFF).to_bytes(3, "big") + bytes(4) + payload
        body += (11 + len(payload)).to_bytes(4, "big")
    assert len(aggregate.split(Message(22, 0, body))[0]) == len(parts)
    return body


def test_data_keeps_its_distance_to_the_media_around_it():
    timeline = Timeline()
    place_all(timeline, frames(5000, 2))
    placed = [timeline.place_message(Message(DATA, at, CUE)) for at in (5040, 5500, 5300, 6040, 6041, 4039)]
    assert placed == [5040, 5500, 5500, 6040, 6040, 6040]


def test_data_before_any_media_stands_where_it_says():
    timeline = Timeline()
    assert timeline.place_message(Message(DATA, 7000, CUE)) == 7000
    assert place_all(timeline, frames(0, 1)) == [0, 0]


def test_empty_audio_goes_on_by_its_stamps_as_far_as_video_has_come():
    timeline = Timeline()
    place_all(timeline, frames(1000, 3))  # both at 1080
    place_all(timeline, video_at(1120, 1160))
    places = [timeline.place_message(Message(AUDIO, at, b"")) for at in (1100, 1120, 1400, 0)]
    assert places == [1100, 1120, 1120, 1120]
    assert timeline.place(AUDIO, 1125) == 1125


def test_headers_before_any_media_keep_their_time():
    """Found with FFmpeg, which gave up on headers at 0 in front of media at 16,777,215 ms."""
    timeline = Timeline()
    headers = [Message(VIDEO, stamp, AVC_HEADER) for stamp in (0, 0xFFFFFF, 0)]
    assert [timeline.place_message(header) for header in headers] == [0, 0xFFFFFF, 0xFFFFFF]
    assert place_all(timeline, video_at(0xFFFFFF, 0x1000010)) == [0xFFFFFF, 0x1000010]


def test_headers_before_media_that_are_apart_keep_their_distance():
    timeline = Timeline()
    headers = [Message(VIDEO, 101_000, AVC_HEADER), Message(AUDIO, 99_500, AAC_HEADER)]
    assert [timeline.place_message(header) for header in headers] == [101_000, 99_500]


def test_headers_of_a_medium_that_has_not_begun_stand_where_they_say_or_where_the_media_are():
    timeline = Timeline()
    place_all(timeline, [(AUDIO, 160_000)])
    stamps = (100_000, 0, 700_000, 160_010)
    assert [timeline.place_message(Message(VIDEO, at, AVC_HEADER)) for at in stamps] == [
        100_000, 160_000, 160_000, 160_010,
    ]  # fmt: skip
    assert timeline.place(VIDEO, 100_000) == 100_000


def test_each_track_has_a_clock_of_its_own():
    timeline = Timeline()
    steps = [
        message
        for number in range(10)
        for message in (
            Message(VIDEO, 5000 + number * 40, KEY),
            Message(VIDEO, 90_000 + number * 40, TRACK_1),
            Message(AUDIO, 40_000 + number * 40, SOUND),
        )
    ]
    assert [timeline.place_message(message) for message in steps] == [m.timestamp for m in steps]


def test_a_medium_is_silent_since_its_last_frame():
    timeline = Timeline()
    assert timeline.silent_ms(VIDEO) == 0
    place_all(timeline, frames(0, 2, skew_ms=30_000))
    assert (timeline.silent_ms(VIDEO), timeline.silent_ms(AUDIO)) == (0, 0)
    place_all(timeline, [(AUDIO, 30_040 + at) for at in range(0, 12_000, 40)])
    assert timeline.silent_ms(VIDEO) == 11_960
    assert timeline.silent_ms(AUDIO) == 0
    timeline.restart(5000)
    assert timeline.silent_ms(VIDEO) == 0  # the next publisher has not had time to send any


def test_where_a_medium_has_come_to():
    timeline = Timeline()
    assert timeline.now(VIDEO) == 0
    place_all(timeline, [(AUDIO, 5000)])
    assert timeline.now(VIDEO) == 5000
    place_all(timeline, video_at(4000))
    assert (timeline.now(VIDEO), timeline.now(AUDIO)) == (4000, 5000)
    place_all(timeline, [(AUDIO, at) for at in range(5020, 65_020, 20)])
    assert (timeline.now(VIDEO), timeline.now(AUDIO)) == (63_000, 65_000)
    timeline.restart(1)
    assert (timeline.now(VIDEO), timeline.now(AUDIO), timeline.now(VIDEO | 1 << 8)) == (4000, 65_000, 4000)


def test_the_step_from_the_last_frame_of_a_medium():
    timeline = Timeline()
    assert timeline.step_ms(Message(VIDEO, 40, KEY)) is None
    place_all(timeline, [(AUDIO, 60_000)])
    assert timeline.step_ms(Message(VIDEO, 60_040, KEY)) == 40
    place_all(timeline, video_at(100))
    assert timeline.step_ms(Message(VIDEO, 60, KEY)) == -40


@pytest.mark.parametrize(("gap_ms", "expected"), [(0, 1), (-5, 1), (1, 1), (700, 700)])
def test_a_new_publisher_goes_on_after_the_old_one(gap_ms, expected):
    timeline = Timeline()
    place_all(timeline, video_at(100, 200))
    timeline.restart(gap_ms)
    assert place_all(timeline, video_at(0, 40)) == [200 + expected, 240 + expected]


def test_publishers_that_sent_nothing_add_their_time():
    timeline = Timeline()
    timeline.restart(9000)  # before any media: nothing to go on after
    assert timeline.place(VIDEO, 42) == 42
    timeline.restart(500)
    timeline.restart(300)
    assert timeline.place(VIDEO, 42) == 842


def test_the_time_between_keyframes_is_known_from_the_second_of_a_publisher_on():
    timeline = Timeline()
    for stamp in (0, 2_000):
        timeline.note_keyframe()
        assert timeline.keyframe_interval_ms == 0
        timeline.place(VIDEO, stamp)
    assert timeline.note_keyframe() == 2_000
    assert timeline.keyframe_interval_ms == 2_000
    timeline.restart(60_000)
    timeline.note_keyframe()
    assert timeline.keyframe_interval_ms == 2_000  # not the pause between two publishers
