"""The stream log: what a joiner finds, what is kept, what goes."""

import pytest

from cluster.core.media.headers import MAX_HEADER_BYTES, MAX_HEADERS, MAX_METADATA_BYTES
from cluster.core.media.stream_log import ENTRY_BYTES, LogLimits, StreamLog
from cluster.core.message import Message

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
OTHER_AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x42\x00\x1f"
AAC_HEADER = bytes.fromhex("af001190")
METADATA = b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09"
KEY = bytes.fromhex("1701000000")
INTER = bytes.fromhex("2701000000")
AUDIO = bytes.fromhex("af01")


def video(ms, head=INTER, size=100):
    return Message(9, ms, head + bytes(size))


def audio(ms, size=20):
    return Message(8, ms, AUDIO + bytes(size))


def started(limits=None):
    """A log with metadata, both headers and a keyframe at 0 ms."""
    log = StreamLog(limits)
    for message in (
        Message(18, 0, METADATA), Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER), video(0, KEY),
    ):  # fmt: skip
        log.append(message)
    return log


def payloads(entries):
    return [bytes(entry.payload) for entry in entries]


def test_headers_come_in_replay_order_whatever_order_they_came_in():
    log = StreamLog()
    for message in (Message(8, 0, AAC_HEADER), Message(9, 0, AVC_HEADER), Message(18, 0, METADATA)):
        log.append(message)
    assert payloads(log.headers()) == [METADATA, AVC_HEADER, AAC_HEADER]


def test_a_joiner_starts_at_the_latest_keyframe():
    log = started()
    assert log.join_seq == 3
    log.append(video(33))
    log.append(video(66, KEY))
    assert log.start_of_join() == log.join_seq == 5
    assert [entry.timestamp for entry in log.read(log.join_seq, log.next_seq)] == [66]


def test_without_a_keyframe_a_joiner_starts_at_the_live_end():
    log = StreamLog()
    log.append(Message(9, 0, AVC_HEADER))
    log.append(audio(21))
    assert log.start_of_join() == log.next_seq == 2
    assert (log.has_video, log.join_seq) == (True, None)


def test_audio_only_starts_at_the_live_end():
    log = StreamLog()
    log.append(Message(8, 0, AAC_HEADER))
    log.append(audio(21))
    assert log.start_of_join() == log.next_seq == 2


def test_video_before_the_first_keyframe_is_dropped_and_counted():
    log = StreamLog()
    log.append(Message(9, 0, AVC_HEADER))
    assert log.append(video(0)) is None
    assert log.append(audio(0)) is not None
    assert log.append(video(33, KEY)) is not None
    assert log.dropped_before_keyframe == 1


def test_a_keyframe_trims_what_nobody_needs():
    log = started()
    log.keep_from = log.next_seq
    log.append(video(33))
    log.append(video(66, KEY))
    assert log.first_seq == log.keep_from == 4
    log.keep_from = log.next_seq
    log.append(video(99, KEY))
    assert log.first_seq == 6
    assert log.bytes_held == len(KEY) + 100


def test_a_slow_players_messages_are_kept():
    log = started()
    log.keep_from = 1
    for ms in range(100, 1000, 100):
        log.append(video(ms, KEY))
    assert log.first_seq == 1


@pytest.mark.parametrize("extra", [0, 1])
def test_the_bound_in_bytes_at_the_limit_and_one_past(extra):
    frame = len(KEY) + 100 + ENTRY_BYTES
    log = StreamLog(LogLimits(max_bytes=3 * frame, max_ms=1_000_000))
    log.append(video(0, KEY))
    log.append(video(10))
    log.append(video(20, size=100 + extra))
    assert log.first_seq == extra
    assert log.cost_bytes <= 3 * frame
    assert log.join_seq == (None if extra else 0)


@pytest.mark.parametrize("size", [0, 1])
def test_messages_without_bytes_are_bounded_too(size):
    log = StreamLog(LogLimits(max_bytes=100 * (ENTRY_BYTES + size), max_ms=1_000_000))
    log.append(video(0, KEY, size=0))
    for _ in range(1_000):
        log.append(Message(8, 0, bytes(size)))
    assert log.next_seq - log.first_seq == 100
    assert log.cost_bytes == 100 * (ENTRY_BYTES + size)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_bound_in_messages_at_the_limit_and_one_past(extra):
    log = StreamLog(LogLimits(max_entries=64))
    log.append(video(0, KEY))
    for ms in range(1, 64 + extra):
        log.append(Message(8, ms, AUDIO))
    log.shrink(1 << 20)
    assert (log.first_seq, log.join_seq) == (extra, None if extra else 0)


def test_what_a_joiner_is_sent_at_once_is_known():
    log = StreamLog()
    assert log.cost_since_join == 0
    for ms, head in ((0, KEY), (40, INTER), (80, KEY), (120, INTER)):
        entry = log.append(video(ms, head))
        assert entry.is_video_frame
    assert not log.append(Message(8, 130, AUDIO)).is_video_frame
    assert log.cost_since_join == 2 * (len(KEY) + 100 + ENTRY_BYTES) + len(AUDIO) + ENTRY_BYTES


def test_a_log_that_is_shrunk_keeps_its_newest_messages_and_its_headers():
    log = started()
    for ms in range(0, 1000, 100):
        log.append(video(ms, KEY if ms == 0 else INTER))
    appended = log.bytes_appended
    log.shrink(3 * (len(KEY) + 100 + ENTRY_BYTES))
    assert log.next_seq - log.first_seq == 3
    assert log.bytes_appended == appended
    assert payloads(log.headers()) == [METADATA, AVC_HEADER, AAC_HEADER]
    log.shrink(0)
    assert log.next_seq - log.first_seq == 1


@pytest.mark.parametrize("extra", [0, 1])
def test_the_bound_in_media_time_at_the_limit_and_one_past(extra):
    log = StreamLog(LogLimits(max_bytes=1 << 20, max_ms=1000))
    log.append(video(0, KEY))
    log.append(video(1000 + extra, KEY))
    log.keep_from = 0
    log.append(video(1000 + extra, KEY))
    assert log.first_seq == extra


def test_audio_only_keeps_little_when_nobody_reads():
    log = StreamLog()
    for ms in range(0, 20_000, 20):
        log.keep_from = log.next_seq
        log.append(audio(ms))
    assert log.next_seq - log.first_seq <= 128


def test_an_empty_header_never_replaces_a_good_one():
    log = StreamLog()
    good, empty = bytes.fromhex("9061763031") + b"\x81\x00\x0c\x00", bytes.fromhex("9061763031")
    log.append(Message(9, 0, empty))
    log.append(Message(9, 0, good))
    assert log.append(Message(9, 0, empty)) is None
    assert payloads(log.headers()) == [good]


def test_a_changed_header_ends_the_gop_an_equal_one_does_not():
    log = started()
    log.append(Message(9, 33, AVC_HEADER))
    assert log.join_seq == 3
    log.append(Message(9, 33, OTHER_AVC_HEADER))
    assert log.join_seq is None
    assert log.append(video(33)) is None
    log.append(video(66, KEY))
    assert log.start_of_join() == log.next_seq - 1
    assert OTHER_AVC_HEADER in payloads(log.headers())


def test_headers_are_bounded():
    log = StreamLog()
    for track in range(MAX_HEADERS + 1):
        log.append(Message(9, 0, b"\x96\x00hvc1" + bytes([track]) + b"\x01"))
    assert len(log.headers()) == MAX_HEADERS


def test_headers_stand_where_the_clock_is():
    log = started()
    log.append(video(5000, KEY))
    assert log.append(Message(8, 0, AAC_HEADER)).timestamp == 5000
    assert log.append(video(5033)).timestamp == 5033


def test_a_restart_forgets_the_old_publisher_but_not_the_clock():
    log = started()
    log.append(video(4000, KEY))
    log.restart(gap_ms=700)
    assert log.headers() == []
    assert log.start_of_join() == log.next_seq  # nothing is known of the new one's video yet
    log.append(Message(9, 0, OTHER_AVC_HEADER))
    assert log.join_seq is None
    assert log.append(video(0, KEY)).timestamp == 4700
    assert log.append(video(33)).timestamp == 4733


def test_lag_is_media_time_behind_live():
    log = started()
    log.keep_from = 0
    for ms in (100, 200, 300):
        log.append(video(ms))
    assert [log.lag_ms(seq) for seq in (0, 4, 6, 7)] == [300, 200, 0, 0]


def test_read_gives_as_many_as_fit_and_at_least_one():
    log = started()
    for ms in (10, 20, 30):
        log.append(video(ms))
    size = len(INTER) + 100 + ENTRY_BYTES
    assert len(log.read(4, 7)) == 3
    assert len(log.read(4, 7, 2 * size)) == 2
    assert len(log.read(4, 7, 2 * size - 1)) == 1
    assert len(log.read(4, 7, 1)) == 1
    assert log.read(7, 7, 1) == []


def test_empty_payloads_are_kept():
    log = started()
    assert log.append(Message(8, 21, b"")) is not None
    assert log.append(Message(9, 21, b"")) is not None


@pytest.mark.parametrize("extra", [0, 1])
def test_a_header_at_the_size_limit_is_cached_and_one_past_is_only_passed_on(extra):
    log = StreamLog()
    header = AVC_HEADER + bytes(MAX_HEADER_BYTES - len(AVC_HEADER) + extra)
    assert log.append(Message(9, 0, header)) is not None
    assert len(log.headers()) == 1 - extra


@pytest.mark.parametrize("extra", [0, 1])
def test_metadata_has_a_limit_of_its_own_for_the_index_of_a_recording(extra):
    log = StreamLog()
    name = b"\x02\x00\x0aonMetaData"
    assert log.append(Message(18, 0, name + bytes(MAX_METADATA_BYTES - len(name) + extra))) is not None
    assert len(log.headers()) == 1 - extra


def test_clear_data_frame_forgets_the_metadata_only():
    log = started()
    log.append(Message(18, 0, b"\x02\x00\x0f@clearDataFrame\x02\x00\x0aonMetaData"))
    assert payloads(log.headers()) == [AVC_HEADER, AAC_HEADER]


def test_of_two_headers_of_one_rank_the_newer_is_replayed_last():
    log = StreamLog()
    both = bytes.fromhex("9610") + b"hvc1" + b"\x00\x00\x00\x02\x01\x01\x01\x00\x00\x02\x01\x02"
    first = b"\x90hvc1\x01\x01"
    for header in (both, first, both):
        log.append(Message(9, 0, header))
    assert payloads(log.headers()) == [first, both]


def test_an_entry_is_a_message_again():
    log = started()
    log.append(video(40))
    assert log.read(4, 5)[0].message(7) == video(40)._replace(stream_id=7)
    assert log.headers()[0].message() == Message(18, 0, METADATA)


def test_duration_is_media_time_from_the_oldest_to_the_newest():
    log = StreamLog()
    assert log.duration_ms == 0
    log.append(video(1000, KEY))
    log.append(video(1400))
    assert log.duration_ms == 400


def test_a_changed_audio_header_is_no_affair_of_video():
    log = started()
    log.append(Message(8, 0, AAC_HEADER + b"\x56"))
    assert log.append(video(40)) is not None
    assert log.join_seq == 3
    # Who joins at the keyframe gets the header of the audio that follows it, and the new one in its place.
    assert payloads(log.headers_for(3)) == [METADATA, AVC_HEADER, AAC_HEADER]
    assert payloads(log.headers_for(log.next_seq)) == [METADATA, AVC_HEADER, AAC_HEADER + b"\x56"]
    log.append(video(80, KEY))
    assert payloads(log.headers_for(log.join_seq))[-1] == AAC_HEADER + b"\x56"


def test_data_that_is_not_metadata_forgets_nothing():
    log = started()
    log.append(Message(18, 5, b"\x02\x00\x0aonTextData\x05"))
    assert payloads(log.headers()) == [METADATA, AVC_HEADER, AAC_HEADER]


def test_a_restart_after_a_loss_keeps_the_clock():
    log = started()
    log.append(video(1000))
    log.restart(None)
    assert log.start_of_join() == log.next_seq
    assert log.append(video(5000, KEY)).timestamp == 5000


def test_bytes_appended_counts_what_was_trimmed_too():
    log = StreamLog(LogLimits(max_bytes=250 + 2 * ENTRY_BYTES))
    for number in range(5):
        log.append(video(40 * number, KEY if number == 0 else INTER))
    assert (log.bytes_held, log.bytes_appended) == (210, 525)


def test_a_log_that_is_forgotten_holds_its_headers_and_goes_on():
    log = started()
    log.append(video(33))
    appended, next_seq = log.bytes_appended, log.next_seq
    log.forget()
    assert (log.bytes_held, log.first_seq, log.next_seq, log.join_seq) == (0, next_seq, next_seq, None)
    assert log.bytes_appended == appended
    assert log.lag_ms(0) == 0, "whoever was behind is so no more"
    assert payloads(log.headers()) == [METADATA, AVC_HEADER, AAC_HEADER]
    log.append(video(66))
    assert log.join_seq is None, "the next keyframe"
    log.append(video(99, KEY))
    assert log.start_of_join() == log.join_seq == next_seq + 1


def test_a_log_that_is_cleared_holds_nothing_and_goes_on():
    log = started()
    next_seq = log.next_seq
    log.clear()
    assert (log.cost_bytes, log.headers()) == (0, [])
    assert log.start_of_join() == log.first_seq == next_seq
    log.append(video(66, KEY))
    assert log.start_of_join() == next_seq


def test_what_headers_cost_is_known_apart_from_the_messages():
    log = started()
    cost = sum(map(len, payloads(log.headers())))
    assert log.headers_cost_bytes == cost
    messages = log.read(0, log.next_seq)
    assert log.cost_bytes == cost + sum(len(entry.payload) + ENTRY_BYTES for entry in messages)
    log.append(video(33))
    assert log.headers_cost_bytes == cost


def test_the_headers_after_an_absence_longer_than_the_log_are_not_old():
    log = started(LogLimits(max_ms=30_000))
    log.keep_from = log.next_seq
    log.restart(70_000)
    start = log.next_seq
    for message in (Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER), video(0, KEY), video(40)):
        log.append(message)
    assert log.first_seq <= start
    assert payloads(log.read(start, start + 2)) == [AVC_HEADER, AAC_HEADER]
