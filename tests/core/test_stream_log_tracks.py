"""Several tracks in one log: a header, a keyframe and a wait are the affair of their own track."""

import pytest

from cluster.core.amf import amf0
from cluster.core.amf.values import EcmaArray
from cluster.core.media.headers import MAX_HEADERS
from cluster.core.media.stream_log import GONE_AFTER_MS, LogLimits, StreamLog
from cluster.core.message import Message

AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x64\x00\x1f"
OTHER_AVC_HEADER = bytes.fromhex("1700000000") + b"\x01\x42\x00\x1f"
AAC_HEADER = bytes.fromhex("af001190")
KEY = bytes.fromhex("1701000000") + b"key"
INTER = bytes.fromhex("2701000000") + b"inter"
AUDIO = bytes.fromhex("af01") + b"sound"


def one_track(track, first=0x96, packet_type=1, body=b"\0\0\0frame"):
    """A OneTrack message: 0x96 begins a keyframe, 0xA6 an inter frame."""
    return bytes((first, packet_type)) + b"avc1" + bytes((track,)) + body


def header_of(track, body=b"config"):
    return one_track(track, packet_type=0, body=body)


def many_tracks(*tracks, first=0x96, packet_type=1):
    bodies = b"".join(bytes((track,)) + (8).to_bytes(3, "big") + b"\0\0\0frame" for track in tracks)
    return bytes((first, 0x10 | packet_type)) + b"avc1" + bodies


def passes(log, payload, ms=0, type_id=9):
    return log.append(Message(type_id, ms, payload)) is not None


def two_tracks():
    log = StreamLog()
    for payload in (AVC_HEADER, header_of(1), KEY, one_track(1)):
        assert passes(log, payload)
    return log


def test_each_track_begins_with_its_own_keyframe():
    log = StreamLog()
    assert not passes(log, one_track(1, 0xA6))
    assert passes(log, KEY)
    assert not passes(log, one_track(1, 0xA6))
    assert passes(log, INTER)
    assert passes(log, one_track(1))
    assert passes(log, one_track(1, 0xA6))
    assert log.dropped_before_keyframe == 2


def test_another_tracks_header_costs_track_0_nothing():
    log = two_tracks()
    joined = log.join_seq
    assert passes(log, header_of(1, b"other"))
    assert passes(log, INTER)
    assert not passes(log, one_track(1, 0xA6))
    assert passes(log, one_track(1))
    assert passes(log, one_track(1, 0xA6))
    assert log.join_seq == joined
    # Who joins at the keyframe gets what the frames from there need, each header in its place.
    assert [bytes(e.payload) for e in log.headers_for(joined)] == [AVC_HEADER, header_of(1)]
    assert [bytes(e.payload) for e in log.headers_for(log.next_seq)] == [AVC_HEADER, header_of(1, b"other")]


def test_track_0s_header_costs_other_tracks_nothing():
    log = two_tracks()
    assert passes(log, OTHER_AVC_HEADER)
    assert log.join_seq is None
    assert passes(log, one_track(1, 0xA6))
    assert not passes(log, INTER)
    assert passes(log, KEY)
    assert log.join_seq == log.next_seq - 1


def test_an_audio_tracks_header_costs_no_video():
    log = two_tracks()
    joined = log.join_seq
    of_track_1 = b"\x95\x00mp4a\x01"
    for payload in (AAC_HEADER, AAC_HEADER + b"\x56", of_track_1 + b"\x12\x10", of_track_1 + b"\x11\x90"):
        assert passes(log, payload, type_id=8)
    assert passes(log, INTER)
    assert passes(log, one_track(1, 0xA6))
    assert log.join_seq == joined


def test_a_message_of_several_tracks_passes_for_any_that_can_use_it():
    log = StreamLog()
    assert not passes(log, many_tracks(0, 1, first=0xA6))
    assert passes(log, many_tracks(0, 1))
    assert log.join_seq == 0
    assert passes(log, one_track(1, 0xA6))
    assert passes(log, many_tracks(1, 2, first=0xA6))
    assert not passes(log, one_track(2, 0xA6))
    assert passes(log, INTER)


@pytest.mark.parametrize("track", [0, 1])
def test_without_keyframes_video_is_kept_back_for_the_wait_and_no_longer(track):
    """An encoder with intra refresh that was connected again: its keyframe was long ago."""
    inter = INTER if track == 0 else one_track(1, 0xA6)
    log = StreamLog(LogLimits(keyframe_wait_ms=1000))
    passed = [at for at in range(0, 1400, 100) if passes(log, inter, at)]
    assert passed == [1000, 1100, 1200, 1300]
    assert log.join_seq is None
    assert passes(log, OTHER_AVC_HEADER if track == 0 else header_of(1), 1400)
    assert passes(log, inter, 1400)  # the first header is no change
    assert passes(log, AVC_HEADER if track == 0 else header_of(1, b"other"), 1400)
    passed = [at for at in range(1400, 2800, 100) if passes(log, inter, at)]
    assert passed == [2400, 2500, 2600, 2700]


def test_a_wait_of_nothing_drops_nothing():
    log = StreamLog(LogLimits(keyframe_wait_ms=0))
    assert passes(log, INTER)


def test_video_that_is_gone_is_no_place_to_join():
    log = two_tracks()
    passes(log, AUDIO, 0, type_id=8)
    log.note_gone()
    passes(log, AUDIO, GONE_AFTER_MS, type_id=8)
    log.note_gone()
    assert (log.join_seq, log.video_is_gone) == (2, False)
    passes(log, AUDIO, GONE_AFTER_MS + 1, type_id=8)
    log.note_gone()
    assert (log.join_seq, log.video_is_gone) == (None, True)
    assert log.headers_for(log.next_seq) == []
    returned = log.next_seq
    assert passes(log, one_track(1, 0xA6), GONE_AFTER_MS + 2)  # one track of video is enough
    assert not log.video_is_gone
    again = [bytes(entry.payload) for entry in log.read(returned, log.next_seq)]
    assert again == [AVC_HEADER, header_of(1), one_track(1, 0xA6)]


def test_what_returns_brings_its_own_headers_alone():
    log = two_tracks()
    passes(log, AAC_HEADER, 0, type_id=8)
    for at in (0, GONE_AFTER_MS + 1):
        passes(log, AUDIO, at, type_id=8)
        log.note_gone()
    returned = log.next_seq
    assert passes(log, KEY, GONE_AFTER_MS + 2)
    again = [bytes(entry.payload) for entry in log.read(returned, log.next_seq)]
    assert again == [AVC_HEADER, header_of(1), KEY]
    # And a joiner's audio header stands where the first audio after its keyframe does.
    passes(log, b"\x02\x00\x06onText", GONE_AFTER_MS + 10, type_id=18)
    passes(log, AUDIO, GONE_AFTER_MS + 30, type_id=8)
    stamps = {entry.type_id: entry.timestamp for entry in log.headers_for(log.join_seq)}
    assert stamps == {9: GONE_AFTER_MS + 2, 8: GONE_AFTER_MS + 30}


def test_a_keyframe_of_video_that_returns_is_where_joins_start():
    log = two_tracks()
    for at in (0, GONE_AFTER_MS + 1):
        passes(log, AUDIO, at, type_id=8)
        log.note_gone()
    assert passes(log, KEY, GONE_AFTER_MS + 2)
    assert bytes(log.read(log.join_seq, log.join_seq + 1)[0].payload) == KEY
    assert [bytes(entry.payload) for entry in log.headers_for(log.join_seq)] == [AVC_HEADER, header_of(1)]


def test_metadata_names_no_medium_that_is_gone():
    log = StreamLog()
    members = {"videocodecid": 7.0, "width": 2.0, "audiocodecid": 10.0}
    metadata = amf0.encode("onMetaData", EcmaArray(members))
    for payload, type_id in ((metadata, 18), (AVC_HEADER, 9), (AAC_HEADER, 8), (KEY, 9), (AUDIO, 8)):
        passes(log, payload, 0, type_id)
    log.note_gone()
    passes(log, AUDIO, GONE_AFTER_MS + 1, type_id=8)
    log.note_gone()
    for _ in range(2):
        shown, header = log.headers_for(log.next_seq)
        assert amf0.decode_all(shown.payload) == ["onMetaData", {"audiocodecid": 10.0}]
        assert (shown.timestamp, header.payload) == (0, AAC_HEADER)
    passes(log, b"\x02\x00\x0aonMetaData\x05", 0, type_id=18)  # not to be read
    assert [header.payload for header in log.headers_for(log.next_seq)] == [AAC_HEADER]
    log.restart(100)
    assert not log.video_is_gone


def test_a_log_is_as_long_as_its_media_however_far_apart_they_are_stamped():
    log = StreamLog(LogLimits(max_ms=1000))
    log.keep_from = 0
    for at in range(0, 900, 100):
        passes(log, KEY if at == 0 else INTER, at)
        passes(log, AUDIO, 60_000 + at, type_id=8)
    assert (log.first_seq, log.join_seq, log.duration_ms) == (0, 0, 800)
    assert log.lag_ms(0) == 800
    assert log.lag_ms(log.next_seq - 2) == 0


def test_headers_stand_with_the_first_of_their_medium_and_silent_ones_not_ahead():
    log = StreamLog()
    for type_id, payload in ((9, AVC_HEADER), (8, AAC_HEADER), (8, b"\x95\x00mp4a\x01\x12\x10")):
        passes(log, payload, 0, type_id)
    assert [header.timestamp for header in log.headers_for(log.next_seq)] == [0, 0, 0]
    passes(log, KEY, 5000)
    assert [header.timestamp for header in log.headers_for(log.join_seq)] == [5000, 5000, 5000]
    passes(log, AUDIO, 65_000, type_id=8)
    passes(log, KEY, 5040)
    assert [header.timestamp for header in log.headers_for(log.join_seq)] == [5040, 5040, 5040]
    passes(log, AUDIO, 65_040, type_id=8)
    assert [header.timestamp for header in log.headers_for(log.join_seq)] == [5040, 65_040, 65_040]


def test_a_wait_that_a_keyframe_ended_does_not_count_for_the_next_one():
    log = StreamLog()
    passes(log, AVC_HEADER)
    assert not passes(log, INTER)
    assert passes(log, KEY, 40)
    for ms in range(80, 20_000, 40):
        passes(log, INTER, ms)
    passes(log, OTHER_AVC_HEADER, 20_000)
    assert not passes(log, INTER, 20_040)


@pytest.mark.parametrize("with_keyframe", [True, False])
def test_headers_that_were_replaced_are_kept_up_to_a_bound(with_keyframe):
    log = StreamLog()
    if with_keyframe:
        passes(log, AVC_HEADER)
        passes(log, KEY)
    for track in range(1, 3 * MAX_HEADERS):
        passes(log, header_of(track))
        passes(log, header_of(track, b"other"))
    assert len(log._headers._at_join) == (MAX_HEADERS if with_keyframe else 0)
