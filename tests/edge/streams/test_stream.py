"""Fan-out of one stream: joins, players in and out of step, slow players, a returning publisher."""

import itertools

import pytest
from stream_support import (
    AAC_HEADER,
    AUDIO,
    AVC_HEADER,
    FAILED,
    INTER,
    KEY,
    FakeOwner,
    begin,
    join,
    publish,
    video,
)

from cluster.core.media.stream_log import LogLimits
from cluster.core.message import Message, MessageType
from cluster.edge.streams.interfaces import EndOfRead
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.reader_states import ReaderState
from cluster.edge.streams.stream import Stream


@pytest.fixture
def owner():
    return FakeOwner()


@pytest.fixture
def stream(owner):
    return Stream("live/a", owner, LogLimits(), SlowRule(skip_ms=5000, close_s=30))


def test_the_owner_is_told_when_a_stream_is_first_and_last_heard(stream, owner):
    stream.begin(1, is_local=True)
    _, first = join(stream)
    _, second = join(stream)
    stream.set_wanted(True)
    first.leave()
    second.leave()
    stream.set_wanted(False)
    assert owner.heard == [True, False]


def test_a_program_that_taps_a_stream_hears_it(stream):
    assert not stream.is_heard
    stream.tap = lambda message: None
    assert stream.is_heard


def test_a_player_before_the_publisher_gets_everything(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, Message(8, 5, AUDIO + b"x"), video(0, KEY), video(33))
    owner.turn()
    assert [m.payload[:5] for m in connection.taken] == [
        AVC_HEADER[:5], AAC_HEADER, AUDIO + b"x", KEY, INTER,
    ]  # fmt: skip


def test_a_joiner_gets_headers_with_the_keyframes_time_then_the_gop(stream, owner):
    first, _ = join(stream)
    begin(stream)
    publish(stream, video(2000, KEY), video(2033))
    owner.turn()
    connection, _ = join(stream)
    assert [(m.timestamp, m.payload[:2]) for m in connection.taken] == [
        (2000, AVC_HEADER[:2]), (2000, AAC_HEADER[:2]), (2000, KEY[:2]), (2033, INTER[:2]),
    ]  # fmt: skip
    publish(stream, video(2066))
    owner.turn()
    assert connection.timestamps() == first.timestamps() == [2000, 2033, 2066]


def test_a_joiner_without_other_players_starts_at_the_keyframe(stream, owner):
    begin(stream)
    publish(stream, video(0, KEY), video(33))
    assert owner.dirty_streams == []  # nobody listens: appending is all there is to do
    connection, _ = join(stream)
    assert connection.timestamps() == [0, 33]


def test_joining_while_a_keyframe_waits_for_the_flush_loses_and_doubles_nothing(stream, owner):
    join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    publish(stream, video(33), video(66, KEY))
    connection, _ = join(stream)
    owner.turn()
    publish(stream, video(99))
    owner.turn()
    assert connection.timestamps() == [66, 99]


def test_a_flush_is_one_write_per_player(stream, owner):
    for _ in range(3):
        join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    before = owner.counters.writes
    publish(stream, video(33), video(66), video(99))
    owner.turn()
    assert owner.counters.writes - before == 3


@pytest.mark.parametrize("room", [0, 1, 11, 12, 13, 500, 1016, 1017, 1018, 2000, 3050])
def test_a_full_socket_is_cut_at_any_byte_and_goes_on_without_loss(stream, owner, room):
    connection, player = join(stream)
    other, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    connection.room = room
    publish(stream, video(33), video(66), video(99))
    owner.turn()
    assert sum(map(len, connection.pending)) <= 1017  # one message, not the flush
    publish(stream, video(132))
    owner.turn()
    assert other.timestamps() == [0, 33, 66, 99, 132]
    for _ in range(20):
        connection.writable(300)
    assert connection.timestamps() == [0, 33, 66, 99, 132]
    assert player.behind_since is None
    assert owner.counters.player_messages_dropped == 0
    publish(stream, video(165))
    owner.turn()
    assert connection.timestamps()[-1] == 165


def test_bytes_sent_counts_what_was_sent_and_what_is_pending(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    before = owner.counters.bytes_sent
    connection.room = 500
    publish(stream, video(0, KEY), video(33))
    owner.turn()
    connection.writable(1 << 20)
    assert connection.timestamps() == [0, 33]
    assert owner.counters.bytes_sent - before == 500 + (1 << 20) - connection.room


def test_a_player_that_lags_is_moved_to_the_newest_keyframe(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    connection.room = 0
    for ms in range(100, 8000, 100):
        publish(stream, video(ms, KEY if ms % 2000 == 0 else INTER))
        owner.turn()
    stream.sweep(owner.now)
    connection.writable(1 << 20)
    assert connection.timestamps()[:3] == [0, 100, 6000]
    assert owner.counters.player_skips == 1
    assert owner.counters.player_messages_dropped == 60  # two of them marks
    headers = [m.timestamp for m in connection.taken if m.payload[:5] == AVC_HEADER[:5]]
    assert headers == [0, 6000]


def test_at_the_skip_bound_nothing_is_dropped(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    connection.room = 0
    publish(stream, video(100))
    owner.turn()
    publish(stream, video(200, KEY), video(5200))
    owner.turn()
    stream.sweep(owner.now)
    assert owner.counters.player_skips == 0
    publish(stream, video(5201))
    owner.turn()
    stream.sweep(owner.now)
    assert owner.counters.player_skips == 1


def test_with_no_newer_keyframe_a_lagging_player_awaits_the_next(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    connection.room = 0
    for ms in range(100, 7000, 100):
        publish(stream, video(ms))
        owner.turn()
    stream.sweep(owner.now)
    connection.writable(1 << 20)
    assert connection.timestamps() == [0, 100]
    publish(stream, video(7000), video(7033, KEY), video(7066))
    owner.turn()
    assert connection.timestamps() == [0, 100, 7033, 7066]


def test_a_player_that_reads_nothing_pins_one_message_and_is_closed(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    connection.room = 0
    for second in range(61):
        for ms in range(0, 1000, 100):
            publish(stream, video(second * 1000 + ms + 100, KEY if ms == 0 else INTER))
            owner.turn()
        owner.now += 0.5
        stream.sweep(owner.now)
        assert sum(map(len, connection.pending)) <= 1017
        assert stream.log.bytes_held < 100 * 1005
    assert connection.ended is EndOfRead.SLOW


def test_a_broken_player_is_closed_and_the_others_go_on(stream, owner):
    broken, _ = join(stream)
    well, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    broken.broken = True
    publish(stream, video(33))
    owner.turn()
    assert broken.ended is FAILED
    assert well.timestamps() == [0, 33]
    assert list(stream.readers) == list(well.players.values())


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("wfbcw"))))
def test_each_player_of_a_flush_has_its_own_outcome(stream, owner, order):
    """Well, full, broken, cut in the middle of a message: in whatever order they are sent to."""
    joined = [(kind, join(stream)[0]) for kind in order]
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    for kind, connection in joined:
        connection.broken = kind == "b"
        if kind in "fc":
            connection.room = 0 if kind == "f" else 100
    publish(stream, video(33))
    owner.turn()
    for kind, connection in joined:
        assert connection.ended is (FAILED if kind == "b" else None)
        assert bool(connection.pending) is (kind in "fc")
        connection.writable(1 << 40)
    publish(stream, video(66))
    owner.turn()
    for kind, connection in joined:
        assert connection.timestamps() == ([0] if kind == "b" else [0, 33, 66])


def test_another_message_stream_id_is_encoded_for_itself(stream, owner):
    connection, _ = join(stream, stream_id=7)
    shared, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY), video(33))
    owner.turn()
    assert {m.stream_id for m in connection.taken} == {7}
    assert {m.stream_id for m in shared.taken} == {1}
    assert connection.timestamps() == shared.timestamps() == [0, 33]


def test_a_leap_of_stamps_loses_nothing_that_was_not_sent_yet(stream, owner):
    """It all came in one read: the log must not take what stands before the leap for old."""
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(0, KEY), video(40), video(100_000, KEY), video(100_040, KEY), video(100_080))
    owner.turn()
    assert connection.timestamps() == [0, 40, 100_000, 100_040, 100_080]
    assert owner.counters.player_skips == 0
    # Once it has been sent it is old.
    publish(stream, video(100_120, KEY))
    owner.turn()
    assert stream.log.first_seq > 2


@pytest.mark.parametrize("medium", ["audio", "video"])
def test_nothing_comes_twice_for_who_turns_a_medium_off_and_on(stream, owner, medium):
    connection, player = join(stream)
    begin(stream)
    for ms in range(0, 2000, 40):
        if ms in (800, 1200):
            wants = {"audio": True, "video": True, medium: ms == 1200}
            player.want(**wants)
        publish(stream, video(ms, KEY if ms in (0, 1600) else INTER), Message(8, ms, AUDIO + b"sound"))
        owner.turn()
    everything = list(range(0, 2000, 40))
    without = [ms for ms in everything if not 800 <= ms < 1200]
    shown = [ms for ms in everything if not 800 <= ms < 1600]  # its picture begins at the keyframe
    assert connection.timestamps() == (everything if medium == "audio" else shown)
    assert connection.timestamps(MessageType.AUDIO) == (without if medium == "audio" else everything)
    headers = [m.payload for m in connection.taken if m.payload in (AVC_HEADER, AAC_HEADER)]
    assert headers.count(AVC_HEADER if medium == "video" else AAC_HEADER) >= 2  # it may have changed
    assert player.state is ReaderState.IN_STEP


def test_a_pause_that_was_none_ends_with_nothing_sent_twice(stream, owner):
    connection, player = join(stream)
    begin(stream)
    publish(stream, video(0, KEY), video(40))
    owner.turn()
    player.resume()
    publish(stream, video(80))
    owner.turn()
    assert connection.timestamps() == [0, 40, 80]


def test_a_pause_within_a_group_of_pictures_goes_on_where_it_stopped(stream, owner):
    connection, player = join(stream)
    begin(stream)
    publish(stream, video(0, KEY), video(40))
    owner.turn()
    player.pause()
    player.want(audio=False, video=True)
    publish(stream, video(80), video(120))
    owner.turn()
    assert connection.timestamps() == [0, 40]
    player.resume()
    publish(stream, video(160))
    owner.turn()
    assert connection.timestamps() == [0, 40, 80, 120, 160]


def test_receive_video_off_and_on_again(stream, owner):
    connection, player = join(stream)
    begin(stream)
    publish(stream, video(0, KEY), Message(8, 10, AUDIO))
    owner.turn()
    player.want(audio=True, video=False)
    taken = len(connection.taken)
    publish(stream, video(33), Message(8, 31, AUDIO))
    owner.turn()
    frames = [m for m in connection.taken[taken:] if m.payload[1:2] == b"\x01"]
    assert MessageType.VIDEO not in {m.type_id for m in frames}
    player.want(audio=True, video=True)
    publish(stream, video(66, KEY))
    owner.turn()
    assert connection.timestamps()[-1] == 66


def test_a_paused_player_gets_nothing_and_goes_on_at_a_keyframe(stream, owner):
    connection, player = join(stream)
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    player.pause()
    publish(stream, video(33), video(66, KEY), video(99))
    owner.turn()
    assert connection.timestamps() == [0]
    player.resume()
    assert connection.timestamps() == [0, 66, 99]
    assert owner.counters.player_messages_dropped == 0


def test_a_returning_publisher_keeps_its_players_and_time_goes_on(stream, owner):
    connection, _ = join(stream)
    begin(stream)
    publish(stream, video(50_000, KEY), video(50_033))
    owner.turn()
    stream.sweep(owner.now)
    stream.end()
    owner.now += 3.0
    stream.begin(2, is_local=True)
    publish(stream, Message(9, 0, AVC_HEADER), video(0), video(33, KEY), video(66))
    owner.turn()
    # By as long as it was away, to its first frame, which no decoder could use.
    assert connection.timestamps() == [50_000, 50_033, 53_066, 53_099]


def test_a_player_that_joins_between_publishers_waits_for_the_next(stream, owner):
    begin(stream)
    publish(stream, video(0, KEY), video(33))
    stream.end()
    connection, _ = join(stream)
    assert connection.taken == []
    begin(stream, epoch=2)
    publish(stream, video(0, KEY))
    owner.turn()
    assert len(connection.timestamps()) == 1


def test_the_bus_gets_each_flush_once_and_only_when_wanted(stream, owner):
    begin(stream)
    publish(stream, video(0, KEY))
    owner.turn()
    assert owner.bus == []
    stream.set_wanted(True)
    join(stream)
    publish(stream, video(33), video(66))
    owner.turn()
    stream.set_wanted(False)
    publish(stream, video(99))
    owner.turn()
    assert owner.bus == [("live/a", 4, 2)]


def test_audio_only_joins_at_the_live_end_with_its_header(stream, owner):
    stream.begin(1, is_local=True)
    publish(stream, Message(8, 0, AAC_HEADER), Message(8, 21, AUDIO))
    connection, _ = join(stream)
    assert [m.payload for m in connection.taken] == [AAC_HEADER]
    publish(stream, Message(8, 42, AUDIO))
    owner.turn()
    assert [m.timestamp for m in connection.taken] == [21, 42]
