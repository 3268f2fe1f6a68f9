"""Joins without a keyframe: headers and audio at once, video from the next keyframe, or after a bound."""

import pytest
from stream_support import AAC_HEADER, AUDIO, AVC_HEADER, INTER, KEY, FakeOwner, begin, join, publish, video

from cluster.core.amf import amf0
from cluster.core.media.stream_log import GONE_AFTER_MS, LogLimits
from cluster.core.message import Message, MessageType
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.stream import Stream

OTHER_AVC_HEADER = AVC_HEADER[:-1] + b"\x20"
METADATA = amf0.encode("onMetaData", {"videocodecid": 7.0, "audiocodecid": 10.0})
WAIT_S = 4.0


@pytest.fixture
def owner():
    return FakeOwner()


@pytest.fixture
def stream(owner):
    limits = LogLimits(max_ms=30_000, keyframe_wait_ms=int(WAIT_S * 1000))
    return Stream("live/a", owner, limits, SlowRule(skip_ms=5000, close_s=30))


def audio(ms):
    return Message(MessageType.AUDIO, ms, AUDIO + b"sound")


def run(stream, owner, from_ms, to_ms, *, picture=True, key_every_ms=None, step_ms=40):
    """Publish media in real time, a turn and a sweep for each frame."""
    for ms in range(from_ms, to_ms, step_ms):
        is_key = key_every_ms is not None and ms % key_every_ms == 0
        publish(stream, *([video(ms, KEY if is_key else INTER)] if picture else []), audio(ms))
        owner.turn()
        owner.now += step_ms / 1000
        stream.sweep(owner.now)


def started(stream, owner):
    """A stream with metadata, headers, one keyframe and half a second behind it."""
    begin(stream)
    publish(stream, Message(MessageType.DATA_AMF0, 0, METADATA), video(0, KEY), audio(0))
    owner.turn()
    run(stream, owner, 40, 520)


def sounds(connection):
    return connection.timestamps(MessageType.AUDIO)


def joined_headers(connection):
    return [m.payload for m in connection.taken[:3]]


# ---- no keyframe in the log ------------------------------------------------------------------


def intra_refresh(stream, owner):
    """One keyframe ever, and it has left the log."""
    early, _ = join(stream)
    started(stream, owner)
    run(stream, owner, 520, 32_000)
    assert stream.log.join_seq is None
    return early


def test_with_intra_refresh_a_joiner_hears_at_once_and_sees_after_the_bound(stream, owner):
    early = intra_refresh(stream, owner)
    late, _ = join(stream)
    assert joined_headers(late) == [METADATA, AVC_HEADER, AAC_HEADER]
    assert [m.timestamp for m in late.taken[:1]] == [0]
    run(stream, owner, 32_000, 40_000)
    assert sounds(late) == list(range(32_000, 40_000, 40))
    first = late.timestamps()[0]
    assert 32_000 + WAIT_S * 1000 - 40 <= first <= 32_000 + WAIT_S * 1000 + 80
    assert late.timestamps() == list(range(first, 40_000, 40))
    assert owner.counters.player_video_held_back == (first - 32_000) // 40
    assert early.timestamps() == list(range(0, 40_000, 40))  # nobody else notices


@pytest.mark.parametrize(("waited_s", "sees"), [(WAIT_S - 0.01, False), (WAIT_S, True)])
def test_the_wait_at_the_bound_and_before_it(stream, owner, waited_s, sees):
    intra_refresh(stream, owner)
    late, _ = join(stream)
    owner.now += waited_s
    stream.sweep(owner.now)
    publish(stream, video(32_000))
    owner.turn()
    assert bool(late.timestamps()) is sees


def test_a_keyframe_ends_the_wait_and_nothing_before_it_is_shown(stream, owner):
    intra_refresh(stream, owner)
    late, player = join(stream)
    run(stream, owner, 32_000, 33_000)
    publish(stream, video(33_000), video(33_040, KEY), video(33_080), audio(33_080))
    owner.turn()
    assert late.timestamps() == [33_040, 33_080]
    assert player.needs_keyframe_since is None
    writes = owner.counters.writes
    run(stream, owner, 33_120, 33_160)
    assert owner.counters.writes == writes + 2  # both players are in step: one write each
    assert late.timestamps()[-1] == 33_120


def test_a_player_on_another_message_stream_waits_alike(stream, owner):
    intra_refresh(stream, owner)
    late, _ = join(stream, stream_id=7)
    run(stream, owner, 32_000, 33_000)
    publish(stream, video(33_000), video(33_040, KEY), video(33_080))
    owner.turn()
    assert late.timestamps() == [33_040, 33_080]
    assert sounds(late) == list(range(32_000, 33_000, 40))
    assert {m.stream_id for m in late.taken} == {7}


def test_resuming_after_a_pause_and_with_other_media_waits_alike(stream, owner):
    intra_refresh(stream, owner)
    paused, player = join(stream)
    owner.now += WAIT_S
    stream.sweep(owner.now)
    run(stream, owner, 32_000, 32_200)
    player.pause()
    run(stream, owner, 32_200, 33_000)
    player.resume()
    run(stream, owner, 33_000, 34_000)
    assert sounds(paused) == [*range(32_000, 32_200, 40), *range(33_000, 34_000, 40)]
    assert paused.timestamps() == list(range(32_000, 32_200, 40))


def test_a_slow_player_goes_on_at_the_live_end_with_audio(stream, owner):
    intra_refresh(stream, owner)
    slow, player = join(stream)
    owner.now += WAIT_S
    stream.sweep(owner.now)
    run(stream, owner, 32_000, 32_200)
    slow.room = 0
    run(stream, owner, 32_200, 38_000)
    assert owner.counters.player_skips >= 1
    slow.writable(1 << 40)
    run(stream, owner, 38_000, 38_400)
    heard = [at for at in sounds(slow) if at >= 38_000]
    assert heard == list(range(38_000, 38_400, 40))
    assert max(slow.timestamps()) < 33_000  # its picture needs a keyframe
    publish(stream, video(38_400, KEY))
    owner.turn()
    assert slow.timestamps()[-1] == 38_400
    assert player.behind_since is None


def test_a_new_publisher_ends_the_wait(stream, owner):
    intra_refresh(stream, owner)
    late, player = join(stream)
    stream.end()
    begin(stream, epoch=2)
    publish(stream, video(0), video(40, KEY), video(80))
    owner.turn()
    assert player.needs_keyframe_since is None
    assert len(late.timestamps()) == 2  # from the keyframe on


def test_who_is_behind_at_a_new_publisher_gets_no_old_picture(stream, owner):
    intra_refresh(stream, owner)
    late, player = join(stream)
    late.room = 0
    run(stream, owner, 32_000, 34_000)
    stream.end()
    begin(stream, epoch=2)
    late.writable(1 << 40)
    publish(stream, video(0), video(40, KEY), video(80))
    owner.turn()
    assert len(late.timestamps()) == 2
    assert player.needs_keyframe_since is None


def test_moving_on_does_not_make_the_wait_longer(stream, owner):
    intra_refresh(stream, owner)
    slow, player = join(stream)
    since = player.needs_keyframe_since
    slow.room = 0
    run(stream, owner, 32_000, 38_000)
    assert owner.counters.player_skips >= 1
    assert player.needs_keyframe_since == since


def test_what_a_slow_player_is_not_sent_of_a_stream_that_ended_is_counted(stream, owner):
    slow, player = join(stream)
    started(stream, owner)
    slow.room = 0
    run(stream, owner, 520, 1000)
    stream.end()
    stream.park(player)
    assert owner.counters.player_messages_dropped == 23  # of 24, one stands in its socket


def test_headers_before_any_frame_are_no_reason_to_keep_audio_back(stream, owner):
    begin(stream)
    late, _ = join(stream)
    publish(stream, audio(0), audio(20))
    owner.turn()
    assert [m.payload for m in late.taken[:2]] == [AVC_HEADER, AAC_HEADER]
    assert sounds(late) == [0, 20]


# ---- the camera is off -----------------------------------------------------------------------


def camera_off(stream, owner):
    watcher, _ = join(stream)
    started(stream, owner)
    run(stream, owner, 520, 520 + GONE_AFTER_MS + 200, picture=False)
    return watcher, 520 + GONE_AFTER_MS + 200


def test_who_joins_while_the_camera_is_off_starts_at_the_live_end(stream, owner):
    _, now_ms = camera_off(stream, owner)
    late, _ = join(stream)
    metadata, header = [m.payload for m in late.taken]
    assert amf0.decode_all(metadata) == ["onMetaData", {"audiocodecid": 10.0}]
    assert header == AAC_HEADER  # FFmpeg would wait for a medium that it is told of
    writes = owner.counters.writes
    run(stream, owner, now_ms, now_ms + 40, picture=False)
    assert sounds(late) == [now_ms]
    assert owner.counters.writes == writes + 2  # in step, like the other


def test_a_pause_of_video_that_is_not_long_keeps_the_picture(stream, owner):
    join(stream)
    started(stream, owner)
    run(stream, owner, 520, 480 + GONE_AFTER_MS, picture=False)
    late, _ = join(stream)
    assert late.timestamps() == list(range(0, 520, 40))


def test_a_camera_that_returns_with_a_keyframe_is_seen_by_all(stream, owner):
    watcher, now_ms = camera_off(stream, owner)
    late, _ = join(stream)
    publish(stream, audio(now_ms), video(now_ms, KEY), video(now_ms + 40))
    owner.turn()
    assert late.timestamps() == [now_ms, now_ms + 40]
    assert watcher.timestamps()[-2:] == [now_ms, now_ms + 40]
    for connection in (late, watcher):
        returned = [m.payload for m in connection.taken][-4:-1]
        assert returned == [METADATA, AVC_HEADER, video(0, KEY).payload]


def test_a_microphone_that_is_off_is_not_waited_for_either(stream, owner):
    join(stream)
    started(stream, owner)
    for ms in range(520, 1000 + GONE_AFTER_MS, 40):
        publish(stream, video(ms, KEY if ms % 1000 == 0 else INTER))
        owner.turn()
        stream.sweep(owner.now)
    late, _ = join(stream)
    metadata, header, *frames = [m.payload for m in late.taken]
    assert amf0.decode_all(metadata) == ["onMetaData", {"videocodecid": 7.0}]
    assert header == AVC_HEADER
    assert frames[0] == video(0, KEY).payload
    publish(stream, audio(6000))
    owner.turn()
    assert [m.payload for m in late.taken][-3:] == [METADATA, AAC_HEADER, audio(0).payload]
    later, _ = join(stream)
    assert joined_headers(later) == [METADATA, AVC_HEADER, AAC_HEADER]


def test_a_camera_that_returns_without_one_is_seen_by_those_who_have_its_frames(stream, owner):
    watcher, now_ms = camera_off(stream, owner)
    late, _ = join(stream)
    run(stream, owner, now_ms, now_ms + 400)
    assert watcher.timestamps()[-1] == now_ms + 360
    assert late.timestamps() == []
    assert sounds(late) == list(range(now_ms, now_ms + 400, 40))
    publish(stream, video(now_ms + 400, KEY))
    owner.turn()
    assert late.timestamps() == [now_ms + 400]


def test_a_joiner_who_leaves_while_the_camera_is_off_leaves_nothing(stream, owner):
    _, now_ms = camera_off(stream, owner)
    late, player = join(stream)
    player.leave()
    run(stream, owner, now_ms, now_ms + 80)
    assert sounds(late) == []
    assert player not in stream.readers.pictureless


def test_a_joiner_whose_socket_is_full_while_the_camera_is_off_needs_its_keyframe_still(stream, owner):
    _, now_ms = camera_off(stream, owner)
    late, _ = join(stream)
    late.room = 3
    run(stream, owner, now_ms, now_ms + 200, picture=False)
    run(stream, owner, now_ms + 200, now_ms + 400)
    late.writable(1 << 40)
    assert sounds(late) == list(range(now_ms, now_ms + 400, 40))
    assert late.timestamps() == []
    publish(stream, video(now_ms + 400, KEY))
    owner.turn()
    assert late.timestamps() == [now_ms + 400]


# ---- headers that change ---------------------------------------------------------------------


def test_an_empty_audio_header_replaced_by_a_real_one_moves_no_join(stream, owner):
    stream.begin(1, is_local=True)
    publish(stream, Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER[:2]), video(0, KEY))
    publish(stream, Message(8, 0, AAC_HEADER), audio(20), video(40))
    late, _ = join(stream)
    assert late.timestamps() == [0, 40]
    assert [m.payload for m in late.taken[:2]] == [AVC_HEADER, AAC_HEADER]


def test_a_changed_audio_header_comes_where_it_changed(stream, owner):
    begin(stream)
    other = AAC_HEADER + b"\x56"
    publish(stream, video(0, KEY), audio(0), Message(8, 20, other), audio(40))
    late, _ = join(stream)
    heard = [m.payload for m in late.taken if m.type_id == MessageType.AUDIO]
    assert heard == [AAC_HEADER, audio(0).payload, other, audio(40).payload]


def test_a_changed_video_header_shows_nothing_until_its_keyframe(stream, owner):
    watcher, _ = join(stream)
    started(stream, owner)
    publish(stream, Message(9, 520, OTHER_AVC_HEADER), video(520), audio(520))
    late, _ = join(stream)
    owner.turn()
    assert late.timestamps() == []
    assert OTHER_AVC_HEADER in [m.payload for m in late.taken]
    publish(stream, video(560, KEY), video(600))
    owner.turn()
    assert late.timestamps() == [560, 600]
    assert watcher.timestamps()[-3:] == [480, 560, 600]


# ---- what FFmpeg sees ------------------------------------------------------------------------


def test_metadata_stands_at_zero_for_everyone_and_headers_with_their_media(stream, owner):
    early, _ = join(stream)
    begin(stream)
    metadata = Message(MessageType.DATA_AMF0, 90_000, METADATA)
    publish(stream, metadata, video(90_000, KEY), audio(30_000), metadata)  # audio is a minute behind
    owner.turn()
    late, _ = join(stream)
    for connection in (early, late):
        assert {m.timestamp for m in connection.taken if m.payload == METADATA} == {0}
    headers = [(m.payload, m.timestamp) for m in late.taken[1:3]]
    assert headers == [(AVC_HEADER, 90_000), (AAC_HEADER, 30_000)]


def test_access_goes_once_with_the_first_media_and_not_while_waiting(stream, owner):
    waiting, player = join(stream)
    assert (waiting.taken, waiting.greetings) == ([], [])
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    player.resume()
    assert waiting.greetings == [0]
