"""HLS that any worker makes: the same bytes under the same names, and lists that keep the rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.media.headers import MAX_HEADER_BYTES
from cluster.core.media.hls import HlsMuxer, target_duration_s
from cluster.core.media.log_entry import LogEntry
from cluster.core.media.marks import Mark, decode_mark, encode_mark
from cluster.core.media.stream_log import StreamLog
from cluster.core.message import Message, MessageType
from support.hls_checker import Checker, parse
from support.hls_workers import PART_MS, TARGET_MS, WALL_MS, Worker, Workers
from support.media_clips import packets_of

AVC_HEADER = bytes.fromhex(
    "17000000000164001fffe1001b6764001facd9405005bb011000000300100000030320f183196001000668ebe3cb22c0"
)
OTHER_AVC_HEADER = AVC_HEADER.replace(bytes.fromhex("64001f"), bytes.fromhex("4d001f"))
MP3_FRAME = bytes.fromhex("fffb9464") + bytes(380)  # layer III, 48 kHz, 24 ms
AC3_FRAME = bytes.fromhex("0b77e4b5144043") + bytes(100)
AAC_HEADER = bytes.fromhex("af001190")  # AAC-LC, 48 kHz, two channels
KEY = bytes.fromhex("1701000000")
INTER = bytes.fromhex("2701000000")
FPS_25_MS = 40
AAC_MS = 1024 / 48


def video(ms: int, head: bytes = INTER, size: int = 100) -> Message:
    return Message(9, ms, head + size.to_bytes(4, "big") + bytes((ms % 251,)) * size)


def audio(ms: int, size: int = 30) -> Message:
    return Message(8, ms, b"\xaf\x01" + bytes((ms % 249,)) * size)


def stream(
    seconds: float, *, start_ms: int = 0, gop_ms: int = 2000, frame_ms: float = FPS_25_MS,
    has_audio: bool = True, has_video: bool = True,
) -> list[Message]:  # fmt: skip
    """Frames as they come from an encoder, by time."""
    found: list[tuple[float, Message]] = []
    count = int(seconds * 1000 / frame_ms) if has_video else 0
    gop = round(gop_ms / frame_ms)
    for n in range(count):
        ms = start_ms + int(n * frame_ms)
        found.append((n * frame_ms, video(ms, KEY if n % gop == 0 else INTER)))
    if has_audio:
        for n in range(int(seconds * 1000 / AAC_MS)):
            found.append((n * AAC_MS + 0.5, audio(start_ms + int(n * AAC_MS))))
    return [message for _, message in sorted(found, key=lambda each: each[0])]


def headers(*, has_audio: bool = True, has_video: bool = True) -> list[Message]:
    made = [Message(9, 0, AVC_HEADER)] if has_video else []
    return [*made, Message(8, 0, AAC_HEADER)] if has_audio else made


def check(worker: Worker, frame_ms: float = FPS_25_MS) -> Checker:
    checker = Checker(frame_ms / 1000)
    for text in worker.texts:
        checker.check(text)
    return checker


def assert_same(workers: Workers) -> None:
    """No worker has said anything that the origin, which says most, has not."""
    for other in workers.others:
        assert other.texts
        unknown = [text for text in other.texts if text not in workers.origin.texts]
        assert not unknown, unknown[0]
        assert other.files.items() <= workers.origin.files.items()


def test_a_minute_is_the_same_on_all_workers_whatever_they_flush() -> None:
    workers = Workers(1, 7, 50)
    workers.publish()
    workers.send(*headers(), *stream(60))
    workers.end()
    checker = check(workers.origin)
    assert checker.count > 200
    assert all("INDEPENDENT-SEGMENTS" in text for text in workers.origin.texts)
    assert_same(workers)
    last = parse(workers.origin.texts[-1])
    assert last.is_over
    assert last.target == 4
    assert {each.duration for each in last.segments[:-1]} == {2.0}
    assert last.segments[-1].number - last.segments[0].number == len(last.segments) - 1
    assert len(last.segments) == 14
    assert [part[1] for part in last.segments[-2].parts] == [0.24] * 8 + [0.08]


@pytest.mark.parametrize(
    "frame_ms",
    [1000 / 24, 1001 / 24, 40, 1000 / 30, 1001 / 30, 20, 1000 / 60, 50, 1000 / 15, 80, 100, 200, 250],
)
def test_parts_are_as_long_as_the_frame_rate_lets_them_be(frame_ms: float) -> None:
    workers = Workers(3)
    workers.publish()
    workers.send(*headers(), *stream(20, frame_ms=frame_ms))
    workers.end()
    check(workers.origin, frame_ms if frame_ms >= 100 else 0)
    assert_same(workers)
    for text in workers.origin.texts:
        assert parse(text).part_target == PART_MS / 1000


@pytest.mark.parametrize("frame_ms", [280, 500, 1000])
def test_a_frame_that_lasts_longer_than_a_part_is_one(frame_ms: int) -> None:
    """What a part says of itself stays within what the list has said; the segment tells the whole."""
    workers = Workers(3)
    workers.publish()
    workers.send(*headers(), *stream(20, frame_ms=frame_ms, gop_ms=4 * frame_ms))
    workers.end()
    assert_same(workers)
    for text in workers.origin.texts:
        parsed = parse(text)
        assert parsed.part_target == PART_MS / 1000
        durations = [part[1] for each in parsed.segments for part in each.parts]
        assert max(durations) == parsed.part_target
    whole = sum(each.duration for each in parse(workers.origin.texts[-1]).segments)
    assert whole == pytest.approx(20, abs=1.1)


@pytest.mark.parametrize("gap_ms", [260, 300, 700, 1900])
def test_an_interruption_does_not_change_what_lists_say_of_parts(gap_ms: int) -> None:
    workers = Workers(1, 5)
    workers.publish()
    workers.send(*headers())
    workers.send(*(each for each in stream(12) if not 0 <= each.timestamp - 4_500 < gap_ms))
    workers.end()
    assert_same(workers)
    check(workers.origin, frame_ms=PART_MS)


def test_a_worker_that_joins_late_has_fewer_segments_with_the_same_names() -> None:
    workers = Workers(1)
    late = Worker(is_origin=False)
    workers.publish()
    minute = stream(30)
    workers.send(*headers(), *minute[:1000])
    for entry in workers.origin.log.headers():
        late.log.append(entry.message())
    start = workers.origin.log.start_of_join()
    for entry in workers.origin.log.read(start, workers.origin.log.next_seq):
        late.log.append(entry.message())
    late.join()
    workers.others.append(late)
    workers.send(*minute[1000:])
    assert late.files.items() <= workers.origin.files.items()
    ours, theirs = parse(workers.origin.texts[-1]), parse(late.texts[-1])
    assert 1 < len(theirs.segments) < len(ours.segments)
    assert theirs.segments == ours.segments[-len(theirs.segments) :]
    assert theirs.partial == ours.partial
    check(late)


def test_a_publisher_that_returns_goes_on_in_the_same_list() -> None:
    workers = Workers(1, 9)
    workers.publish()
    workers.send(*headers(), *stream(9))
    workers.publish(gap_ms=3000)
    workers.send(*headers(), *stream(20))
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert [each.is_discontinuous for each in segments].count(True) == 2
    again = next(each for each in segments[1:] if each.is_discontinuous)
    before = segments[segments.index(again) - 1]
    assert before.duration == 1.0  # what there was of it
    assert (again.date - before.date).total_seconds() == pytest.approx(4.0, abs=0.1)


def test_headers_that_come_twice_of_a_publisher_that_returns_leave_what_was_before() -> None:
    """A snapshot has them, and so has what follows it."""
    workers = Workers(1, 9)
    workers.publish()
    workers.send(*headers(), *stream(9))
    workers.publish(gap_ms=300)
    workers.send(*headers(), *headers(), *stream(20))
    check(workers.origin)
    assert_same(workers)
    assert [worker.muxer.given_up for worker in workers.all] == [0, 0, 0]
    numbers = [each.number for each in parse(workers.origin.texts[-1]).segments]
    assert numbers == list(range(numbers[0], numbers[0] + 14))
    assert len({parse(text).media_sequence for text in workers.origin.texts}) == 1


def test_what_a_publisher_sends_before_its_first_keyframe_is_not_added_to_the_one_before() -> None:
    """Another codec, mostly; and who is given a snapshot, which begins at the keyframe, has none of it."""
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(), *stream(9))
    workers.publish(gap_ms=3000)
    other = [Message(8, ms, b"\x2f" + MP3_FRAME) for ms in range(0, 96, 24)]
    workers.send(Message(9, 0, AVC_HEADER), *other)
    workers.send(*headers(), *stream(9, start_ms=96))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert [each.number - segments[0].number for each in segments] == list(range(10))
    found: list[bytes] = []
    for each in segments:
        data = workers.origin.files[each.init] + workers.origin.files[each.uri]
        found += [packet.data for packet in packets_of(data, "mp4")["audio"]]
    sounds = [each.payload[2:] for each in stream(9) + stream(9, start_ms=96) if each.type_id == 8]
    assert found == sounds


def test_nothing_is_new_while_the_publisher_is_gone() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(), *stream(9))
    said = len(workers.origin.texts)
    text = workers.origin.muxer.playlist()
    workers.publish(gap_ms=500)
    assert workers.origin.muxer.playlist() == text
    assert len(workers.origin.texts) == said
    assert b"ENDLIST" not in text


def test_a_codec_that_changes_has_another_init_file_and_a_discontinuity() -> None:
    workers = Workers(1, 5)
    workers.publish()
    workers.send(*headers(), *stream(5), Message(9, 5000, OTHER_AVC_HEADER), *stream(8, start_ms=5000))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    inits = [each.init for each in segments]
    assert len(set(inits)) == 2
    changed = next(each for each in segments if each.init != inits[0])
    assert changed.is_discontinuous
    assert b'CODECS="avc1.4d001f,mp4a.40.2"' in workers.origin.muxer.master("x/media.m3u8")


def test_an_init_file_is_forgotten_with_its_last_segment() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(5))
    before = parse(workers.origin.texts[-1]).segments[-1].init.removesuffix(".mp4")
    workers.send(Message(9, 5000, OTHER_AVC_HEADER), *stream(30, start_ms=5000))
    assert workers.origin.muxer.init(before) is not None
    workers.send(*stream(60, start_ms=35_000))
    assert workers.origin.muxer.init(before) is None


@pytest.mark.parametrize(("has_video", "codecs"), [(True, "avc1.64001f"), (False, "mp4a.40.2")])
def test_one_medium_alone(has_video: bool, codecs: str) -> None:
    kinds = {"has_video": has_video, "has_audio": not has_video}
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(**kinds), *stream(30, **kinds))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    last = parse(workers.origin.texts[-1])
    assert all(independent for each in last.segments for *_, independent in each.parts) != has_video
    assert f'CODECS="{codecs}"' in workers.origin.muxer.master("a/media.m3u8").decode()


def test_audio_that_begins_late_is_in_segments_that_do_not_follow() -> None:
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(has_audio=False), *stream(5, has_audio=False))
    workers.send(Message(8, 5000, AAC_HEADER), *stream(10, start_ms=5000))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert len({each.init for each in segments}) == 2
    assert sum(each.is_discontinuous for each in segments) == 2


@pytest.mark.parametrize("late_ms", [0, 60, 160, 700, 3_000])
@pytest.mark.parametrize("has_header", [False, True])
def test_audio_without_a_header_that_begins_late_is_in_segments_that_do_not_follow(
    late_ms: int, has_header: bool
) -> None:
    """MP3, and AC-3 of whatever header: until the first frame comes, nobody knows that it does."""
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(has_audio=False))
    if has_header:
        workers.send(Message(8, 0, b"\x90ac-3"))
    heads, frame = (b"\x91ac-3", AC3_FRAME) if has_header else (b"\x2f", MP3_FRAME)
    sound = [Message(8, ms, heads + frame) for ms in range(late_ms, 10_000, 24)]
    workers.send(*sorted([*stream(10, has_audio=False), *sound], key=lambda each: each.timestamp))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert len({each.init for each in segments}) == (1 if late_ms < 100 else 2)
    assert sum(each.is_discontinuous for each in segments) == (1 if late_ms < 100 else 2)


def test_video_that_stops_leaves_segments_of_audio_alone() -> None:
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(), *stream(4), *stream(20, start_ms=4000, has_video=False))
    workers.send(*stream(8, start_ms=24_000))
    workers.end()
    assert_same(workers)
    check(workers.origin)
    segments = parse(workers.origin.texts[-1]).segments
    assert [each.is_discontinuous for each in segments].count(True) >= 1
    assert segments[-1].init != segments[len(segments) // 2].init


def test_video_that_stops_between_keyframes_leaves_no_hole_in_the_list() -> None:
    """The segment that begins while nobody knows yet whether video comes back has sound alone."""
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(), *stream(3), *stream(12, start_ms=3000, has_video=False))
    workers.send(*stream(8, start_ms=15_000))
    workers.end()
    assert_same(workers)
    listed = [parse(text) for text in workers.origin.texts]
    assert len({each.media_sequence for each in listed}) == 1
    segments = listed[-1].segments
    assert [each.number for each in segments] == list(range(segments[0].number, segments[-1].number + 1))
    assert all(each.hint or each.is_over for each in listed)
    before, sound, after = segments[1:4]
    assert sound.init == before.init != after.init
    assert before.duration > 4
    assert sound.duration > 1
    data = workers.origin.files[sound.init] + workers.origin.files[sound.uri]
    packets = packets_of(data, "mp4")
    assert packets["video"] == []
    assert len(packets["audio"]) == round(sound.duration * 1000 / AAC_MS)


def test_a_segment_of_which_nothing_can_be_played_is_in_no_list() -> None:
    """Video has stopped, and the audio has no header."""
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(has_audio=False), *stream(3), *stream(12, start_ms=3000, has_video=False))
    workers.send(*stream(6, start_ms=15_000))
    workers.end()
    assert_same(workers)
    check(workers.origin)
    assert all(each.duration for each in parse(workers.origin.texts[-1]).segments)


@pytest.mark.parametrize("frame_ms", [1500, 3000, 5000, 7000])
def test_pictures_that_come_once_in_seconds(frame_ms: int) -> None:
    """Slides with a voice: some segments have no picture, and the list goes on."""
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(), *stream(40, frame_ms=frame_ms, gop_ms=frame_ms))
    workers.end()
    assert_same(workers)
    for parsed in map(parse, workers.origin.texts):
        assert parsed.hint or parsed.is_over
        assert all(round(each.duration) <= parsed.target for each in parsed.segments)
        assert parsed.media_sequence == parse(workers.origin.texts[0]).media_sequence or parsed.segments[6:]


def test_audio_that_stops_leaves_segments_of_video_alone_also_for_who_joins_then() -> None:
    workers = Workers(1)
    late = Worker(is_origin=False)
    workers.publish()
    workers.send(*headers(), *stream(4), *stream(10, start_ms=4000, has_audio=False))
    log = workers.origin.log
    start = log.start_of_join()
    for entry in (*log.headers_for(start), *log.read(start, log.next_seq)):
        late.log.append(entry.message())
    late.join()
    workers.others.append(late)
    workers.send(*stream(6, start_ms=14_000, has_audio=False), *stream(9, start_ms=20_000))
    workers.end()
    check(workers.origin)
    check(late)
    assert late.files.items() <= workers.origin.files.items()
    ours, theirs = (parse(worker.texts[-1]).segments for worker in (workers.origin, late))
    assert theirs == ours[-len(theirs) :]
    assert len({each.init for each in theirs}) == 2


def test_rare_keyframes_make_segments_that_are_not_independent() -> None:
    workers = Workers(1, 4)
    workers.publish()
    workers.send(*headers(), *stream(40, gop_ms=10_000))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert max(each.duration for each in segments) < 4.5
    assert [each.parts[0][2] for each in segments[-3:]] == [True, False, False]
    assert "INDEPENDENT-SEGMENTS" not in workers.origin.texts[-1]


def test_a_segment_that_comes_in_one_burst_is_told_no_longer_than_may_be() -> None:
    """A keyframe every 10 s, and a network that stands still for 4 s: nobody looks meanwhile."""
    workers = Workers(1, 4)
    workers.publish()
    media = stream(30, gop_ms=10_000)
    workers.send(*headers(), *media[:140])
    workers.send(*media[140:460], is_late=True)
    workers.send(*media[460:])
    workers.end()
    check(workers.origin)
    assert_same(workers)
    longest = max(each.duration for each in parse(workers.origin.texts[-1]).segments)
    assert longest == 4.499


def test_video_that_is_held_back_for_a_keyframe_is_missed() -> None:
    """One keyframe ever, and a worker that joins when nobody has it any more: for ten seconds it has audio
    alone. It says nothing of segments that others have in whole."""
    workers = Workers()
    late = Worker(is_origin=False)
    workers.publish()
    media = stream(60, gop_ms=100_000)
    workers.send(*headers(), *media[:1200])
    log = workers.origin.log
    for header in log.headers():
        late.log.append(header.message())
    late.join()
    workers.others.append(late)
    workers.send(*media[1200:1300])
    workers.origin.muxer.miss()  # what its log holds back is in nobody's segments
    workers.send(*media[1300:])
    workers.end()
    check(late)
    assert workers.origin.muxer.given_up == 0
    assert late.files.items() <= workers.origin.files.items()
    ours, theirs = (parse(worker.texts[-1]).segments for worker in (workers.origin, late))
    assert len(theirs) > 3
    assert theirs == ours[-len(theirs) :]


def test_missed_messages_are_in_no_segment() -> None:
    workers = Workers(1)
    other = workers.others[0]
    workers.publish()
    media = stream(30)
    workers.send(*headers(), *media[:700])
    numbers = other.muxer.next_number
    start = workers.origin.log.start_of_join()
    workers.others.remove(other)
    workers.send(*media[700:720])  # the other worker is not given these, and then a snapshot
    other.log.restart(None)
    other.begin([], [], gap=True)
    for entry in workers.origin.log.headers_for(start):
        made = other.log.append(entry.message())
        assert made is not None
        other.give([made])
    for entry in workers.origin.log.read(start, workers.origin.log.next_seq):
        made = other.log.append(entry.message())
        assert made is not None
        other.give([made])
    assert other.muxer.given_up == 1
    workers.others.append(other)
    workers.send(*media[720:])
    workers.end()
    assert other.files.items() <= workers.origin.files.items()
    assert numbers is not None
    assert other.texts[-1] == workers.origin.texts[-1]


def test_segments_that_are_listed_are_not_made_again_from_a_snapshot_that_begins_before_them() -> None:
    workers = Workers(1)
    other = workers.others[0]
    workers.publish()
    media = stream(30)
    workers.send(*headers(), *media[:680])
    log = workers.origin.log
    marked = [
        log.first_seq + index
        for index, entry in enumerate(log.read(log.first_seq, log.next_seq))
        if entry.type_id == MessageType.MARK
    ]
    listed = list(other.muxer.window.listed)
    workers.others.remove(other)
    workers.send(*media[680:700])  # the other worker is not given these
    start = marked[-3]
    other.log.restart(None)
    snapshot = [
        other.log.append(entry.message())
        for entry in (*log.headers_for(start), *log.read(start, log.next_seq))
    ]
    other.begin([], [entry for entry in snapshot if entry is not None], gap=True)
    assert list(other.muxer.window.listed) == listed
    assert other.muxer.given_up == 1  # it lacks the messages that were missed, and is made anew
    workers.others.append(other)
    workers.send(*media[700:])
    workers.end()
    assert_same(workers)
    assert other.texts[-1] == workers.origin.texts[-1]


def test_the_log_may_begin_in_the_middle_of_a_segment() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(3))
    late = Worker(is_origin=True)
    late.begin(workers.origin.log.headers(), workers.origin.log.read(10, 100))
    assert not late.muxer.is_ready
    assert late.muxer.bytes_held == 0


@pytest.mark.parametrize("over_the_bus", [False, True])
def test_a_header_within_the_segment_of_a_join_leaves_that_segment_out(over_the_bus: bool) -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(has_audio=False), *stream(1, has_audio=False), Message(8, 1000, AAC_HEADER))
    log = workers.origin.log
    start = log.start_of_join()
    snapshot = log.headers_for(start), log.read(start, log.next_seq)
    late = Worker(is_origin=False)
    if over_the_bus:
        late.begin([], [])
        for entry in (*snapshot[0], *snapshot[1]):
            made = late.log.append(entry.message())
            late.give([made] if made is not None else [])
    else:
        late.begin(*snapshot)
    assert late.muxer.next_number is None
    assert late.muxer.given_up == 1


def test_media_of_which_no_header_is_known_are_in_no_segment() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*stream(5, has_audio=False))
    for worker in workers.all:
        muxer = worker.muxer
        assert (muxer.next_number, muxer.bytes_held, muxer.given_up) == (None, 0, 0)
    workers.send(*headers(has_audio=False), *stream(7, start_ms=5000, has_audio=False))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    assert sum(each.duration for each in parse(workers.origin.texts[-1]).segments) == pytest.approx(7.0)


def test_a_header_too_large_for_joiners_changes_no_init_file_and_spoils_no_segment() -> None:
    workers = Workers(1)
    workers.publish()
    too_large = Message(8, 5000, AAC_HEADER + bytes(MAX_HEADER_BYTES))
    workers.send(*headers(), *stream(5), too_large, *stream(5, start_ms=5000))
    workers.end()
    check(workers.origin)
    assert_same(workers)
    segments = parse(workers.origin.texts[-1]).segments
    assert len({each.init for each in segments}) == 1
    assert sum(each.duration for each in segments) == pytest.approx(10.0)
    assert workers.origin.muxer.given_up == 0


def test_a_mark_of_another_version_spoils_the_segment_it_stands_in_and_no_other() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(), *stream(5))
    listed = [each.number for each in workers.origin.muxer.window.listed]
    workers.send(Message(int(MessageType.MARK), 5000, b"\xff" + encode_mark(Mark(5, 5, 5, True, True))[1:]))
    assert [each.number for each in workers.origin.muxer.window.listed] == listed
    workers.send(*stream(9, start_ms=5000))
    workers.end()
    assert_same(workers)
    assert [worker.muxer.given_up for worker in workers.all] == [1, 1]
    numbers = [each.number for each in parse(workers.origin.texts[-1]).segments]
    assert numbers[0] == listed[-1] + 2  # the list begins anew behind what is missing
    assert len(numbers) >= 4


def test_a_stream_that_ends_before_its_first_segment_leaves_nothing() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers())
    workers.end()
    for muxer in (worker.muxer for worker in workers.all):
        assert (muxer.is_over, muxer.is_ready, muxer.bytes_held) == (True, False, 0)
        assert not muxer.may_come(0)


def test_a_publisher_that_repeats_its_headers_loses_one_segment_at_most() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers())
    for message in stream(20):
        repeated = headers()[1:] if message.payload[:1] == INTER[:1] else []
        workers.send(message, *repeated)
    workers.end()
    check(workers.origin)
    assert_same(workers)
    assert workers.origin.muxer.given_up == 1
    assert len(parse(workers.origin.texts[-1]).segments) == 9


def test_removed_segments_can_be_fetched_for_a_while() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(90))
    muxer = workers.origin.muxer
    first = parse(workers.origin.texts[-1]).media_sequence
    assert [muxer.segment(number) is not None for number in (first, first - 1, first - 14)] == [True] * 3
    assert muxer.segment(first - 17) is None


def test_segments_that_have_left_the_list_are_the_first_to_be_forgotten() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(90))
    muxer = workers.origin.muxer
    text, listed = muxer.playlist(), muxer.window.listed
    oldest = min(n for n in range(listed[0].number - 50, listed[0].number) if muxer.segment(n) is not None)
    muxer.shrink(muxer.bytes_held - 1)
    assert (muxer.segment(oldest), muxer.window.dropped) == (None, 1)
    assert muxer.segment(oldest + 1) is not None
    assert muxer.playlist() == text
    muxer.shrink(muxer.bytes_held - muxer.window.size + sum(each.size for each in listed))
    assert muxer.segment(listed[0].number - 1) is None
    assert muxer.playlist() == text


def test_what_is_held_keeps_to_its_bound_and_is_counted() -> None:
    worker = Worker(is_origin=True, max_bytes=60_000)
    workers = Workers()
    workers.origin = worker
    workers.publish()
    workers.send(*headers(), *stream(60))
    assert worker.muxer.bytes_held <= 60_000 + 1500  # what is in no part yet
    assert worker.muxer.window.dropped > 10
    assert worker.muxer.is_ready
    worker.muxer.shrink(0)
    assert len(parse(worker.muxer.playlist().decode()).segments) == 1


def test_large_frames_are_not_kept_until_it_is_known_whether_there_is_audio() -> None:
    """With stamps that stand still it is never known: other frames are kept by the dozen."""
    workers = Workers()
    workers.publish()
    workers.origin.begin([], [])
    workers.send(*headers(has_audio=False), video(0, KEY, 1 << 20))
    for _ in range(9):
        workers.send(video(0, INTER, 1 << 20))
    assert workers.origin.muxer.bytes_held > 9 << 20


def test_a_segment_too_large_to_keep_is_given_up() -> None:
    workers = Workers()
    workers.origin = Worker(is_origin=True, max_bytes=1000)
    workers.publish()
    workers.send(*headers(), *stream(9))
    assert workers.origin.muxer.bytes_held <= 1000
    assert workers.origin.muxer.given_up > 0
    assert not workers.origin.muxer.is_ready


def test_updates_leave_out_what_is_old() -> None:
    workers = Workers()
    workers.publish()
    media = stream(60)
    workers.send(*headers(), *media)
    muxer = workers.origin.muxer
    checker = Checker()
    whole = checker.check(muxer.playlist().decode())
    update = muxer.playlist(skip=True).decode()
    checker.check_update(update, whole)
    assert "SKIPPED-SEGMENTS=2" in update
    assert "EXT-X-MAP" not in update


def test_an_update_of_a_list_with_nothing_old_is_the_whole_list() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(20))
    muxer = workers.origin.muxer
    assert muxer.playlist(skip=True) == muxer.playlist()


def test_before_the_first_segment_is_whole_there_is_nothing() -> None:
    workers = Workers()
    workers.publish()
    workers.send(*headers(), *stream(1))
    muxer = workers.origin.muxer
    number = muxer.next_number
    assert number is not None
    assert muxer.part(number, 0) is not None  # it is being made, and no list shows it
    assert not muxer.is_ready
    assert not any(muxer.has(each, part) for each in (0, number) for part in (None, 0))
    assert muxer.may_come(number)


def test_what_can_be_asked_for_and_what_is_there() -> None:
    workers = Workers()
    workers.publish()
    muxer = workers.origin.muxer
    assert muxer.may_come(0)  # nothing is known
    workers.send(*headers(), *stream(4.9))
    number = muxer.next_number
    assert number is not None
    assert muxer.has(number - 1, None)
    assert muxer.has(number - 1, 8)
    assert muxer.has(number - 1, 9)  # no such part: the first of the next one
    assert muxer.has(number, 0)
    assert not muxer.has(number, None)
    assert not muxer.has(number, 3)
    assert muxer.may_come(number + 2)
    assert not muxer.may_come(number + 3)
    assert not muxer.may_come(number - 1)
    assert muxer.part(number, 2) is not None
    assert muxer.part(number, 3) is None


def test_a_stream_that_comes_back_after_its_end_begins_a_new_list() -> None:
    workers = Workers(2)
    workers.publish()
    workers.send(*headers(), *stream(9))
    workers.end()
    before = parse(workers.origin.texts[-1])
    workers.publish(gap_ms=100_000)
    workers.send(*headers(), *stream(9))
    after = parse(workers.origin.texts[-1])
    assert after.media_sequence > before.segments[-1].number
    assert not after.is_over
    assert_same(workers)


def test_an_origin_that_does_not_know_the_last_number_begins_the_list_anew() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(), *stream(9))
    before = parse(workers.origin.texts[-1])
    workers.origin.log.last_mark = b""
    workers.publish(gap_ms=30_000)
    workers.send(*headers(), *stream(9))
    after = parse(workers.origin.texts[-1])
    assert after.media_sequence > before.segments[-1].number + 1
    check(workers.origin)
    assert_same(workers)


def test_an_origin_whose_clock_is_behind_is_believed() -> None:
    workers = Workers(1)
    workers.publish()
    workers.send(*headers(), *stream(9))
    before = parse(workers.origin.texts[-1])
    workers.origin.log.last_mark = b""
    workers.wall_ms = WALL_MS - 1_000_000
    workers.publish()
    workers.send(*headers(), *stream(9))
    after = parse(workers.origin.texts[-1])
    assert after.segments[-1].number < before.media_sequence
    assert_same(workers)


@pytest.mark.parametrize(("target_ms", "seconds"), [(2000, 4), (1000, 2), (1500, 3), (1200, 3), (4000, 8)])
def test_the_target_duration_follows_from_the_option_alone(target_ms: int, seconds: int) -> None:
    assert target_duration_s(target_ms) == seconds


def test_the_target_duration_is_in_every_list() -> None:
    muxer = HlsMuxer(TARGET_MS, PART_MS, 1 << 20)
    assert muxer.target_s == 4


@pytest.mark.parametrize("gap_ms", [2_100, 3_000, 4_500, 7_900, 9_000])
@pytest.mark.parametrize("at_ms", [700, 1_960, 2_000])
def test_an_interruption_makes_no_segment_longer_than_the_target_duration(gap_ms: int, at_ms: int) -> None:
    """An encoder that loses its network for seconds leaves frames out, and its clock goes on."""
    workers = Workers(1)
    workers.publish()
    media = stream(24)
    workers.send(*headers())
    workers.send(*(each for each in media if not 0 <= each.timestamp - 6_000 - at_ms < gap_ms))
    workers.end()
    assert_same(workers)
    for text in workers.origin.texts:
        parsed = parse(text)
        assert all(round(each.duration) <= parsed.target for each in parsed.segments)
        assert parsed.part_target == PART_MS / 1000


def test_times_that_leap_are_in_no_list() -> None:
    workers = Workers(3)
    workers.publish()
    workers.send(*headers(), *stream(5), *stream(20, start_ms=1_900_000_000))
    workers.end()
    assert_same(workers)
    check(workers.origin)
    assert max(each.duration for each in parse(workers.origin.texts[-1]).segments) < 4.5


def test_a_publisher_that_was_thought_gone_and_never_was_goes_on() -> None:
    workers = Workers(1)
    other = workers.others[0]
    workers.publish()
    media = stream(12, gop_ms=1000)
    workers.send(*headers(), *media[:400])  # behind a keyframe that begins no segment
    start = other.log.start_of_join()
    entries = other.log.read(start, other.log.next_seq)
    assert decode_mark_or_none(entries[0]) is None
    other.begin(other.log.headers_for(start), entries, gap=True)
    workers.send(*media[400:])
    assert other.muxer.given_up == 0
    assert other.texts == workers.origin.texts


def decode_mark_or_none(entry: LogEntry) -> Mark | None:
    return decode_mark(entry.payload) if entry.type_id == MessageType.MARK else None


_BODIES = [
    AVC_HEADER, OTHER_AVC_HEADER, AAC_HEADER, KEY + bytes(9), INTER + bytes(9), b"\xaf\x01" + bytes(9), b"",
    bytes.fromhex("af00"), bytes.fromhex("af000f80000000"), b"\x2f" + bytes(20),
    bytes.fromhex("2ffffb9064") + bytes(99),
    bytes.fromhex("9068766331") + bytes(40), bytes.fromhex("9168766331000000") + bytes(40),
    bytes.fromhex("904f707573") + b"OpusHead" + bytes(11), bytes.fromhex("914f707573fc") + bytes(9),
    bytes.fromhex("1701800000") + bytes(9), encode_mark(Mark(5, 5, 5, True, True)),
    encode_mark(Mark(2**64 - 1, 2**32 - 1, 2**64 - 1, True, False)),
    encode_mark(Mark(6, 5, 9, False, True)),
]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.sampled_from([8, 9, 18, int(MessageType.MARK)]),
            st.integers(0, 2**32 - 1) | st.integers(0, 9999),
            st.sampled_from(_BODIES) | st.binary(max_size=40),
        ),
        max_size=60,
    ),
    st.booleans(),
)  # fmt: skip
def test_nothing_that_comes_raises(messages: list[tuple[int, int, bytes]], from_wire: bool) -> None:
    log = StreamLog()
    log.keep_from = log.unsent_from = 0
    worker = Worker(is_origin=not from_wire)
    worker.begin([], [])
    for type_id, timestamp, payload in messages:
        entry = log.append(Message(type_id, timestamp, payload))
        worker.give([] if entry is None else [entry])
    worker.begin(log.headers(), log.read(0, log.next_seq))
    worker.end()
    if worker.muxer.is_ready:
        assert worker.muxer.master("x")
