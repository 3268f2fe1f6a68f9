"""Publishing and playing within one worker: waiting, grace, one publisher per key, grants that take time.

Players and publishers are sessions of the client role over socket pairs; the clock moves by hand.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from cluster.core.bus.control import BUSY, DRAINING
from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.events import StatusReceived, StreamEventReceived
from cluster.core.rtmp.status import Code
from cluster.process.logs import JsonFormatter, TextFormatter
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, Peer, audio, stepped_loop, video

PLAY_WAIT_S = 30.0
GRACE_S = 15.0
PUBLISHER_TIMEOUT_S = 10.0
STREAM = "live/a"


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


@pytest.fixture
def replacing() -> Iterator[House]:
    """A worker under ``--on-duplicate replace``."""
    with stepped_loop() as loop:
        made = House(loop, on_duplicate="replace")
        yield made
        made.close()


def headers() -> list[Message]:
    return [Message(9, 0, AVC_HEADER, 1), Message(8, 0, AAC_HEADER, 1)]


def closes(house: House) -> dict[str, int]:
    return house.counters.closes


def last_status(peer: Peer) -> tuple[str, str]:
    status = peer.events(StatusReceived)[-1]
    return status.level, status.code


# ---- playing ---------------------------------------------------------------------------------


def test_play_before_publish_starts_with_the_first_message(house: House) -> None:
    player = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), audio(0), video(0, KEY), video(33))
    payloads = [m.payload for m in player.media if m.type_id in (8, 9)]
    assert payloads == [AVC_HEADER, AAC_HEADER, audio(0).payload, video(0, KEY).payload, video(33).payload]
    assert player.times() == [0, 33]


def test_a_late_player_starts_at_the_keyframe(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY), video(33), video(66, KEY), video(99))
    player = house.player()
    assert player.times() == [66, 99]
    assert [m.payload for m in player.media[:3] if m.type_id in (8, 9)] == [AVC_HEADER, AAC_HEADER]
    assert Code.PLAY_START in player.codes


def test_a_player_waits_as_long_as_the_play_wait_and_no_longer(house: House) -> None:
    player = house.player()
    house.advance(PLAY_WAIT_S - 0.1)
    assert not player.closed
    house.advance(0.1)
    assert last_status(player) == ("error", Code.PLAY_STREAM_NOT_FOUND)
    assert player.closed
    house.leave(player)
    assert closes(house) == {CloseReason.STREAM_NOT_FOUND: 1}
    assert house.counters.players == 0


def test_each_player_waits_for_itself(house: House) -> None:
    first = house.player()
    house.advance(20)
    second = house.player()
    house.advance(PLAY_WAIT_S - 20)
    assert first.closed
    assert not second.closed
    house.advance(20)
    assert second.closed


def test_a_play_wait_of_zero_ends_with_the_next_sweep() -> None:
    with stepped_loop() as loop:
        house = House(loop, play_wait_s=0.0)
        player = house.player()
        house.advance(0.25)
        assert last_status(player) == ("error", Code.PLAY_STREAM_NOT_FOUND)
        house.close()


# ---- a publisher leaves ----------------------------------------------------------------------


def test_after_the_grace_period_players_are_told_that_the_stream_has_ended(house: House) -> None:
    player = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    house.advance(1)
    house.leave(publisher)
    house.advance(GRACE_S - 0.1)
    assert Code.PLAY_UNPUBLISH_NOTIFY not in player.codes
    house.advance(0.1)
    assert player.codes[-2:] == [Code.PLAY_UNPUBLISH_NOTIFY, Code.PLAY_STOP]
    assert StreamEventReceived(1, UserControlEvent.STREAM_EOF) in player.received
    assert not player.closed  # the stream may return, or it may play something else
    assert house.counters.players == 1


def test_a_publisher_that_returns_keeps_its_players_and_time_goes_on(house: House) -> None:
    player = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), video(50_000, KEY), video(50_033))
    house.advance(0)  # a sweep sees that it sends
    house.leave(publisher)
    house.advance(3)
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0), video(33, KEY), video(66))
    assert player.times() == [50_000, 50_033, 53_066, 53_099]
    house.advance(GRACE_S)
    assert Code.PLAY_STOP not in player.codes


def test_who_joins_in_the_grace_period_waits_for_its_own_play_wait(house: House) -> None:
    witness = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    house.advance(1)
    house.leave(publisher)
    house.advance(10)
    joiner = house.player()
    assert joiner.times() == []  # nothing of a publisher that is gone
    house.advance(GRACE_S - 10)
    assert Code.PLAY_STOP in witness.codes
    house.advance(PLAY_WAIT_S - (GRACE_S - 10) - 0.1)
    assert not joiner.closed
    house.advance(0.1)
    assert last_status(joiner) == ("error", Code.PLAY_STREAM_NOT_FOUND)
    assert joiner.closed


def test_unpublish_and_publish_again_on_the_same_connection(house: House) -> None:
    player = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    publisher.session.close_stream(1)
    house.settle()
    assert house.counters.publishers == 0
    publisher.session.publish("a", stream_id=1)
    house.send(publisher, *headers(), video(0, KEY))
    assert len(player.times()) == 2
    assert house.counters.publishers == 1


# ---- one publisher per key -------------------------------------------------------------------


def test_a_second_publisher_is_refused(house: House) -> None:
    first = house.publisher()
    house.link.refusal = BUSY
    second = house.publisher()
    assert last_status(second) == ("error", Code.PUBLISH_BAD_NAME)
    assert second.closed
    house.leave(second)
    assert closes(house) == {CloseReason.PUBLISH_REFUSED: 1}
    assert not first.closed
    assert house.counters.publishers == 1
    assert house.link.calls.count(("request_publish", STREAM, False)) == 2


def test_a_worker_that_drains_says_so(house: House) -> None:
    house.link.refusal = DRAINING
    publisher = house.publisher()
    assert last_status(publisher) == ("error", Code.PUBLISH_DENIED)
    assert publisher.closed


def test_a_key_that_nobody_publishes_here_is_yielded(house: House) -> None:
    assert house.streams.remote.contest(STREAM, replace=False)


def test_a_publisher_that_sends_does_not_yield(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, video(0, KEY))
    for second in range(1, 15):
        house.advance(1)
        house.send(publisher, video(second * 1000))
    assert not house.streams.remote.contest(STREAM, replace=False)
    house.settle()
    assert not publisher.closed


def test_a_publisher_that_is_silent_yields_once_its_timeout_is_over(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, video(0, KEY))
    house.advance(0)
    house.loop.advance(PUBLISHER_TIMEOUT_S - 0.1)
    assert not house.streams.remote.contest(STREAM, replace=False)
    house.loop.advance(0.1)
    assert house.streams.remote.contest(STREAM, replace=False)
    house.settle()
    _was_replaced(house, publisher)


def test_a_publisher_yields_to_a_replacement_at_once(replacing: House) -> None:
    player = replacing.player()
    publisher = replacing.publisher()
    replacing.send(publisher, *headers(), video(0, KEY))
    assert replacing.streams.remote.contest(STREAM, replace=True)
    replacing.settle()
    _was_replaced(replacing, publisher)
    replacement = replacing.publisher()
    assert replacing.link.calls.count(("request_publish", STREAM, True)) == 2
    replacing.send(replacement, *headers(), video(0, KEY))
    assert len(player.times()) == 2


def _was_replaced(house: House, publisher: Peer) -> None:
    assert last_status(publisher) == ("error", Code.PUBLISH_BAD_NAME)
    assert publisher.closed
    house.leave(publisher)
    assert closes(house) == {CloseReason.PUBLISHER_REPLACED: 1}
    assert house.counters.publishers == 0
    assert any(call[:2] == ("unpublish", STREAM) for call in house.link.calls)


def test_who_is_granted_the_key_has_it(house: House) -> None:
    """Two requests at once: the link answered the second before the first was known to publish."""
    house.link.holding = True
    first, second = house.publisher(), house.publisher()
    first_epoch, second_epoch = house.link.grant(), house.link.grant()
    house.settle()
    assert last_status(first) == ("error", Code.PUBLISH_BAD_NAME)
    assert first.closed
    assert house.counters.publishers == 1
    assert Code.PUBLISH_START in second.codes
    assert house.streams.by_key[STREAM].epoch == second_epoch
    assert house.link.count("unpublish", STREAM, first_epoch) == 1
    assert house.link.count("unpublish", STREAM, second_epoch) == 0


def test_the_loser_of_a_partition_is_closed(house: House) -> None:
    publisher = house.publisher()
    epoch = house.streams.by_key[STREAM].epoch
    assert epoch is not None
    house.streams.remote.revoked(STREAM, epoch + 1)
    house.streams.remote.revoked("live/other", epoch)
    house.settle()
    assert not publisher.closed
    house.streams.remote.revoked(STREAM, epoch)
    house.settle()
    _was_replaced(house, publisher)


# ---- grants that take time -------------------------------------------------------------------


def test_messages_sent_before_the_grant_are_not_lost(house: House) -> None:
    house.link.holding = True
    player = house.player()
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    house.send(publisher, video(33), video(66))
    assert player.times() == []
    assert Code.PUBLISH_START not in publisher.codes
    house.link.grant()
    house.settle()
    house.send(publisher, video(99))
    assert player.times() == [0, 33, 66, 99]
    assert Code.PUBLISH_START in publisher.codes


def test_the_request_of_a_publisher_that_left_is_taken_back(house: House) -> None:
    house.link.holding = True
    publisher = house.publisher()
    assert house.requests.waiting == 1
    house.leave(publisher)
    [(_, answer)] = house.link.held
    assert answer.cancelled()
    assert (house.requests.waiting, house.counters.publishers) == (0, 0)
    assert STREAM not in house.streams.by_key


@pytest.mark.parametrize("how", ["close_stream", "delete_stream"])
def test_a_publish_that_was_taken_back_before_the_grant_is_not_granted(house: House, how: str) -> None:
    house.link.holding = True
    publisher = house.publisher()
    getattr(publisher.session, how)(1)
    house.settle()
    assert house.link.held[0][1].cancelled()
    assert Code.PUBLISH_START not in publisher.codes
    assert house.counters.publishers == 0
    assert not publisher.closed


@pytest.mark.parametrize("name", ["b", "a"])
def test_another_publish_on_the_stream_before_the_grant_of_the_first(house: House, name: str) -> None:
    house.link.holding = True
    player = house.player(name)
    publisher = house.publisher("a")
    publisher.session.close_stream(1)
    publisher.session.publish(name, stream_id=1)
    house.send(publisher, *headers(), video(0, KEY))
    taken_back = house.link.held.pop(0)
    assert taken_back[1].cancelled()
    house.link.grant()
    house.settle()
    assert player.times() == [0]
    assert house.counters.publishers == 1
    assert not publisher.closed


def test_closing_cancels_what_waits_for_a_grant(house: House) -> None:
    house.link.holding = True
    house.publisher()
    house.loop.run_until_complete(house.requests.close())
    assert house.link.held[0][1].cancelled()


# ---- demand ----------------------------------------------------------------------------------


def test_a_stream_published_elsewhere_is_watched_once_for_all_players(house: House) -> None:
    first, second = house.player(), house.player()
    assert house.link.calls == [("watch", STREAM)]
    house.leave(first)
    house.advance(0.25)
    assert house.link.count("unwatch", STREAM) == 0
    house.leave(second)
    house.advance(0.25)
    assert house.link.calls == [("watch", STREAM), ("unwatch", STREAM)]


def test_a_stream_published_here_is_not_watched(house: House) -> None:
    house.publisher()
    house.player()
    assert house.link.count("watch", STREAM) == 0


def test_a_local_publisher_ends_the_watch_and_its_leaving_begins_it_again(house: House) -> None:
    player = house.player()
    publisher = house.publisher()
    assert house.link.calls[-1] == ("unwatch", STREAM)
    house.leave(publisher)
    assert house.link.calls[-1] == ("watch", STREAM)
    house.leave(player)
    house.advance(0.25)
    assert house.link.calls[-1] == ("unwatch", STREAM)


def test_a_publisher_without_players_leaves_nothing_behind(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    house.advance(0.25)
    assert house.counters.streams == 1
    house.leave(publisher)
    house.advance(0.25)
    assert house.link.count("watch", STREAM) == 0
    assert house.streams.by_key == {}
    assert (house.counters.streams, house.counters.publishers, house.counters.connections) == (0, 0, 0)


def test_only_what_is_wanted_goes_to_the_bus(house: House) -> None:
    publisher = house.publisher()
    house.send(publisher, *headers(), video(0, KEY))
    assert house.link.published == []
    house.streams.remote.demand_changed(STREAM, True)
    house.streams.remote.demand_changed("live/other", True)
    house.send(publisher, video(33), video(66))
    house.streams.remote.demand_changed(STREAM, False)
    house.send(publisher, video(99))
    (envelope,) = house.link.published
    assert (envelope.key, envelope.first_seq) == (STREAM, 4)
    assert [m.timestamp for m in envelope.messages] == [33, 66]


def test_demand_from_before_the_publish_counts(house: House) -> None:
    house.link.wanted_keys.add(STREAM)
    publisher = house.publisher()
    house.send(publisher, *headers())
    (envelope,) = house.link.published
    assert (envelope.epoch, envelope.first_seq) == (house.streams.by_key[STREAM].epoch, 0)


# ---- two players on one connection -----------------------------------------------------------


def _two_plays(house: House, other: str) -> Peer:
    player = house.player("a")
    player.session.play(other)
    house.settle()
    return player


def test_one_connection_plays_two_streams(house: House) -> None:
    player = _two_plays(house, "b")
    a, b = house.publisher("a"), house.publisher("b")
    house.send(a, *headers(), video(0, KEY), video(33))
    house.send(b, *headers(), video(1000, KEY), video(1033))
    assert (player.times(1), player.times(2)) == ([0, 33], [1000, 1033])
    assert house.counters.players == 2
    player.session.delete_stream(1)
    house.settle()
    house.send(a, video(66))
    house.send(b, video(1066))
    assert (player.times(1), player.times(2)) == ([0, 33], [1000, 1033, 1066])
    assert house.counters.players == 1


def test_one_connection_plays_one_stream_twice(house: House) -> None:
    player = _two_plays(house, "a")
    publisher = house.publisher("a")
    house.send(publisher, *headers(), video(0, KEY), video(33))
    assert player.times(1) == player.times(2) == [0, 33]


def test_two_players_behind_one_full_socket_lose_nothing(house: House) -> None:
    player = _two_plays(house, "b")
    a, b = house.publisher("a"), house.publisher("b")
    house.send(a, *headers(), video(0, KEY))
    house.send(b, *headers(), video(0, KEY))
    player.reading = False
    expected = [0]
    for ms in range(100, 4000, 100):
        house.send(a, video(ms, size=30_000))
        house.send(b, video(ms, size=30_000))
        expected.append(ms)
    assert player.times(1) != expected  # the socket is full
    player.reading = True
    house.settle()
    assert player.times(1) == player.times(2) == expected
    assert house.counters.player_messages_dropped == 0


def test_a_play_that_ends_by_time_leaves_the_other_on_the_connection(house: House) -> None:
    player = _two_plays(house, "b")
    a, b = house.publisher("a"), house.publisher("b")
    house.send(a, *headers(), video(0, KEY))
    house.send(b, *headers(), video(0, KEY))
    house.advance(1)
    house.leave(a)
    house.advance(GRACE_S)
    stops = [each.stream_id for each in player.events(StatusReceived) if each.code == Code.PLAY_STOP]
    assert stops == [1]
    house.send(b, video(33))
    assert player.times(2) == [0, 33]


# ---- logging ---------------------------------------------------------------------------------


def test_what_happens_is_logged_once_with_its_stream_key(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        house.player("a?token=secret")
        publisher = house.publisher("a?key=secret")
        house.leave(publisher)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert [(line["event"], line["role"], line["stream"]) for line in lines] == [
        ("play", "player", STREAM), ("publish", "publisher", STREAM), ("unpublish", "publisher", STREAM),
        ("connection_closed", "publisher", STREAM),
    ]  # fmt: skip
    assert [TextFormatter().format(record).count(STREAM) for record in caplog.records] == [1] * 4
    assert "secret" not in caplog.text
