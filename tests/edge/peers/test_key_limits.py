"""[[limit]] and --max-bandwidth: players of a key, publishers of an app, bitrates, by all workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.core.rtmp.status import Code
from cluster.edge.peers.bandwidth import AVERAGED_S, Bandwidth
from cluster.edge.peers.key_limits import KeyLimit, LimitFaults, parse_limits
from cluster.edge.peers.shared_counts import CountsMemory, SharedCounts
from support.house import KEY, House, Peer, stepped_loop, video
from support.http_peer import HttpPeer

#: Makes the parts of a worker with these options; ``slot`` is that of one of two workers of a node.
Houses = Callable[..., House]


@pytest.fixture
def houses() -> Iterator[Houses]:
    made: list[House] = []
    memory = CountsMemory(2)
    with stepped_loop() as loop:

        def make(slot: int | None = None, **options: Any) -> House:
            counts = None if slot is None else SharedCounts(memory.fd, 2, slot, b"secret")
            made.append(House(loop, counts=counts, **options))
            return made[-1]

        yield make
        for house in made:
            house.close()
    memory.close()


def both(houses: Houses, **options: Any) -> tuple[House, House]:
    return houses(0, **options), houses(1, **options)


def told(peer: Peer) -> str:
    """The code with which the peer was closed, "" if it was not."""
    return peer.codes[-1] if peer.closed else ""


# ---- what is in the file ---------------------------------------------------------------------


def test_limits_are_read() -> None:
    tables = [{"match": "live/*", "players": 10}, {"match": "*", "publishers": 2, "bitrate": 1_000_000}]
    assert parse_limits(tables) == (
        KeyLimit("live/*", players=10), KeyLimit("*", publishers=2, bitrate=1_000_000),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "path", "text"),
    [
        ({"match": "*"}, ("limit",), "is written [[limit]]"),
        (["live/*"], ("limit", 0), "a table"),
        ([{"players": 1}], ("limit", 0, "match"), "match is missing"),
        ([{"match": 7, "players": 1}], ("limit", 0, "match"), "match is missing"),
        ([{"match": "*"}], ("limit", 0), "at least one of players, publishers, bitrate"),
        ([{"match": "*", "player": 1}], ("limit", 0, "player"), "unknown key 'player'"),
        ([{"match": "*", "players": 0}], ("limit", 0, "players"), "from 1 on; leave it out"),
        ([{"match": "*", "players": True}], ("limit", 0, "players"), "whole number"),
        ([{"match": "*", "bitrate": 2.5}], ("limit", 0, "bitrate"), "whole number"),
        ([{"match": "a", "players": 1}, {"match": "*", "players": "2"}], ("limit", 1, "players"), "is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tables: object, path: tuple[object, ...], text: str) -> None:
    with pytest.raises(LimitFaults) as caught:
        parse_limits(tables)
    assert [place for place, said in caught.value.faults if text in said] == [path]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(LimitFaults) as caught:
        parse_limits([{"players": 0}, {"match": "*", "bitrate": -1}])
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*", ["", "a", "live/a/b"], []),
        ("live/*", ["live/", "live/a", "live/a/b"], ["live", "alive/a"]),
        ("*/cam?", ["live/cam?"], ["live/cam1", "live/cam"]),
        ("live/*/a*", ["live/x/a", "live/x/y/abc"], ["live/a", "live/x/b"]),
        ("l.ve/[a]", ["l.ve/[a]"], ["live/a"]),
        ("*a*b", ["ab", "aab", "xaybzb", "abab"], ["ba", "abc"]),
    ],
)
def test_globs(pattern: str, names: list[str], others: list[str]) -> None:
    limit = KeyLimit(pattern, players=1)
    assert [name for name in names if not limit.matches(name)] == []
    assert [name for name in others if limit.matches(name)] == []


def test_a_glob_of_many_stars_costs_no_more_than_its_length() -> None:
    assert not KeyLimit("*a" * 300, players=1).matches("a" * 299 + "b" * 700)


# ---- players ---------------------------------------------------------------------------------

TWO_PLAYERS = (KeyLimit("live/a", players=2),)


def test_players_of_a_key_up_to_the_limit_play_and_one_more_is_refused(houses: Houses) -> None:
    house = houses(limits=TWO_PLAYERS)
    players = [house.player() for _ in range(3)]
    assert [told(player) for player in players] == ["", "", Code.PLAY_FAILED]
    assert not house.player("b").closed
    assert house.counters.closes == {CloseReason.TOO_MANY_OF_KEY: 1}
    assert house.counters.turned_away == {CloseReason.TOO_MANY_OF_KEY: 1}
    house.leave(players[0])
    assert not house.player().closed


def test_players_of_all_workers_and_of_http_count_together(houses: Houses) -> None:
    first, second = both(houses, limits=TWO_PLAYERS)
    publisher = first.publisher()
    first.send(publisher, video(0, KEY))
    over_http = HttpPeer(first).get("/live/a.flv")
    player = second.player()
    assert second.player().closed
    refused = HttpPeer(second).get("/live/a.flv")
    assert refused.answer.status == 503
    assert "live/a has 2 players" in refused.answer.body.decode()
    assert int(refused.answer.fields["retry-after"]) > 0
    assert not player.closed
    first.leave(over_http)
    assert not second.player().closed


def test_a_player_that_plays_another_key_gives_its_place_back(houses: Houses) -> None:
    first, second = both(houses, limits=TWO_PLAYERS)
    players = [first.player(), first.player()]
    players[0].session.close_stream(1)
    first.settle()
    assert not second.player().closed
    assert second.player().closed


def test_what_a_dead_worker_counted_is_gone(houses: Houses) -> None:
    first, second = both(houses, limits=TWO_PLAYERS)
    first.player()
    first.player()
    assert second.player().closed
    counts = first.key_limits._counts
    assert counts is not None
    for id in list(counts._slots):
        counts.forget(id)
    assert not second.player().closed


def test_other_limits_hold_for_those_who_come_next(houses: Houses) -> None:
    first, second = both(houses)
    players = [first.player() for _ in range(3)]
    for house in (first, second):
        house.key_limits.replace(TWO_PLAYERS)
    assert second.player().closed
    assert not any(player.closed for player in players)
    for house in (first, second):
        house.key_limits.replace(())
    assert not second.player().closed


def test_who_left_while_there_was_no_limit_is_not_counted_when_there_is_one_again(houses: Houses) -> None:
    limits = (*TWO_PLAYERS, KeyLimit("live", publishers=1))
    first, second = both(houses, limits=limits)
    peers = [first.player(), first.player(), first.publisher("b")]
    for house in (first, second):
        house.key_limits.replace(())
    for peer in peers:
        first.leave(peer)
    for house in (first, second):
        house.key_limits.replace(limits)
    assert not second.player().closed
    assert not second.publisher("c").closed


def test_the_first_table_that_names_a_limit_says_it(houses: Houses) -> None:
    limits = (KeyLimit("live/*", publishers=9), KeyLimit("live/a", players=1), KeyLimit("*", players=2))
    house = houses(limits=limits)
    assert [house.player().closed for _ in range(2)] == [False, True]
    assert [house.player("b").closed for _ in range(3)] == [False, False, True]


# ---- publishers ------------------------------------------------------------------------------


def test_publishers_of_an_app_up_to_the_limit_publish_and_one_more_is_refused(houses: Houses) -> None:
    first, second = both(houses, limits=(KeyLimit("live", publishers=2),))
    publishers = [first.publisher("a"), second.publisher("b")]
    refused = first.publisher("c")
    assert told(refused) == Code.PUBLISH_DENIED
    assert first.counters.closes == {CloseReason.TOO_MANY_PUBLISHERS: 1}
    assert first.counters.turned_away == {CloseReason.TOO_MANY_PUBLISHERS: 1}
    assert not first.peer(app="other").closed
    second.leave(publishers[1])
    assert not first.publisher("c").closed
    assert not publishers[0].closed


def test_who_takes_over_a_key_needs_no_more_room(houses: Houses) -> None:
    first, second = both(houses, limits=(KeyLimit("live", publishers=1),))
    publisher = first.publisher("a")
    assert not second.publisher("a").closed
    assert not first.publisher("a").closed
    assert publisher.closed
    assert first.publisher("b").closed


def test_those_who_wait_for_an_answer_count(houses: Houses) -> None:
    house = houses(limits=(KeyLimit("live", publishers=1),))
    house.link.holding = True
    waiting = house.publisher("a")
    assert house.publisher("b").closed
    house.leave(waiting)
    house.link.holding = False
    assert not house.publisher("b").closed


def test_publishers_from_before_count(houses: Houses) -> None:
    first, second = both(houses)
    publisher = first.publisher("a")
    for house in (first, second):
        house.key_limits.replace((KeyLimit("live", publishers=1),))
    assert second.publisher("b").closed
    assert not publisher.closed
    first.leave(publisher)
    assert not second.publisher("b").closed


# ---- bitrates --------------------------------------------------------------------------------


def publish_for(house: House, publisher: Peer, seconds: int, bytes_per_s: int) -> None:
    for second in range(seconds):
        if not publisher.closed:
            house.send(publisher, video(second * 1000, KEY, bytes_per_s - len(KEY)))
        house.advance(1)


def test_a_publisher_at_its_bitrate_goes_on_and_one_above_it_is_ended(houses: Houses) -> None:
    house = houses(limits=(KeyLimit("live/*", bitrate=10_000),))
    honest, greedy = house.publisher("a"), house.publisher("b")
    for second in range(30):
        house.send(honest, video(second * 1000, KEY, 9_900))
        if not greedy.closed:
            house.send(greedy, video(second * 1000, KEY, 10_100))
        house.advance(1)
        assert greedy.closed == (second >= 9)
    assert not honest.closed
    assert greedy.closed
    assert greedy.codes[-1] == Code.PUBLISH_DENIED
    assert house.counters.closes == {CloseReason.PUBLISHER_BITRATE: 1}
    assert house.counters.turned_away == {CloseReason.PUBLISHER_BITRATE: 1}


def test_much_at_once_is_not_waited_for(houses: Houses) -> None:
    house = houses(limits=(KeyLimit("live/*", bitrate=10_000),))
    publisher = house.publisher()
    publish_for(house, publisher, 2, 99_000)
    assert publisher.closed


def test_a_keyframe_that_is_large_does_not_count_as_more(houses: Houses) -> None:
    house = houses(limits=(KeyLimit("live/*", bitrate=10_000),))
    publisher = house.publisher()
    for second in range(30):
        house.send(publisher, video(second * 1000, KEY, 60_000 if second % 10 == 0 else 4_000))
        house.advance(1)
    assert not publisher.closed


def test_who_comes_back_begins_with_what_it_has_sent(houses: Houses) -> None:
    house = houses(limits=(KeyLimit("live/*", bitrate=10_000),))
    for _ in range(2):
        publisher = house.publisher()
        house.send(publisher, video(0, KEY, 60_000))
        assert not publisher.closed
        house.leave(publisher)
    publisher = house.publisher()
    house.advance(1)
    assert publisher.closed
    publish_for(house, publisher, 12, 1)
    assert not house.key_limits._meters
    publisher = house.publisher()
    publish_for(house, publisher, 3, 9_000)
    assert not publisher.closed


def test_a_verdict_says_another_bitrate(houses: Houses) -> None:
    from cluster.edge.peers.access import Access, Allow

    class Generous:
        def judge(self, access: Access) -> Allow:
            return Allow(most_bytes_per_s=50_000 if access.key == "live/a" else 5_000)

        def challenge(self, *_: object, **__: object) -> tuple[str, str]:
            return "", ""

    house = houses(limits=(KeyLimit("*", bitrate=10_000),))
    house.use_judge(Generous())
    more, less = house.publisher("a"), house.publisher("b")
    for second in range(15):
        house.send(more, video(second * 1000, KEY, 40_000))
        if not less.closed:
            house.send(less, video(second * 1000, KEY, 8_000))
        house.advance(1)
    assert not more.closed
    assert less.closed


# ---- bandwidth -------------------------------------------------------------------------------


class Sender:
    """What one worker sends, as it is told."""

    def __init__(self, most: int, for_players: int, counts: SharedCounts | None = None) -> None:
        self.sent = 0
        self.players = 0
        self.bandwidth = Bandwidth(
            most, for_players, bytes_sent=lambda: self.sent, players=lambda: self.players, counts=counts
        )

    def send_for(self, seconds: int, bytes_per_s: int) -> None:
        for _ in range(seconds):
            self.sent += bytes_per_s
            self.bandwidth.tick()


def test_what_is_sent_is_averaged() -> None:
    sender = Sender(1_000, 900)
    sender.send_for(3, 500)
    assert sender.bandwidth.bytes_per_s == 500
    sender.send_for(2, 1_000)
    assert sender.bandwidth.bytes_per_s == 700
    sender.send_for(AVERAGED_S, 1_000)
    assert sender.bandwidth.bytes_per_s == 1_000


def test_players_are_refused_before_publishers() -> None:
    sender = Sender(1_000, 900)
    has_room = []
    for rate in (899, 900, 999, 1_000):
        sender.send_for(AVERAGED_S, rate)
        has_room.append((sender.bandwidth.has_room_for_player(), sender.bandwidth.has_room_for_publisher()))
    assert has_room == [(True, True), (False, True), (False, True), (False, False)]


def test_who_has_just_come_counts_as_the_others_do() -> None:
    sender = Sender(1_000, 1_000)
    sender.players = 4
    sender.send_for(AVERAGED_S, 400)
    admitted = 0
    while sender.bandwidth.has_room_for_player():
        sender.bandwidth.player_comes()
        sender.players += 1
        admitted += 1
    assert admitted == 6
    for _ in range(2 * AVERAGED_S):
        sender.send_for(1, 1_000)
        assert round(sender.bandwidth.bytes_per_s) in range(990, 1_101)
    assert sender.bandwidth.bytes_per_s == 1_000


def test_who_comes_and_goes_without_end_takes_nothing_away() -> None:
    sender = Sender(1_000, 900)
    sender.players = 4
    sender.send_for(AVERAGED_S, 400)
    for _ in range(100):
        sender.bandwidth.player_comes()
        sender.players += 1
        sender.players -= 1  # it leaves
    assert sender.bandwidth.bytes_per_s == 400
    assert sender.bandwidth.has_room_for_player()


def test_who_has_just_come_counts_at_the_other_workers_too() -> None:
    memory = CountsMemory(2)
    first, second = (Sender(1_000, 600, SharedCounts(memory.fd, 2, slot, b"")) for slot in range(2))
    first.players = 4
    first.send_for(AVERAGED_S, 400)
    for _ in range(2):
        assert second.bandwidth.has_room_for_player()
        first.bandwidth.player_comes()
        first.players += 1
    assert not second.bandwidth.has_room_for_player()
    memory.close()


def test_workers_send_together() -> None:
    memory = CountsMemory(2)
    first, second = (Sender(1_000, 900, SharedCounts(memory.fd, 2, slot, b"")) for slot in range(2))
    first.send_for(AVERAGED_S, 500)
    assert second.bandwidth.has_room_for_player()
    second.send_for(AVERAGED_S, 400)
    assert not first.bandwidth.has_room_for_player()
    assert first.bandwidth.has_room_for_publisher()
    memory.close()


def test_a_player_without_bandwidth_is_told_so_and_who_is_there_stays(houses: Houses) -> None:
    house = houses(max_bandwidth=10_000, publisher_reserve=10)
    publisher = house.publisher()
    player = house.player()
    watching = HttpPeer(house).get("/live/a.flv")
    publish_for(house, publisher, 8, 4_600)
    refused = house.player()
    assert told(refused) == Code.PLAY_INSUFFICIENT_BANDWIDTH
    assert HttpPeer(house).get("/live/a.flv").answer.status == 503
    assert HttpPeer(house).get("/live/a.m3u8").answer.status == 503
    assert house.counters.turned_away == {CloseReason.NO_BANDWIDTH: 3}
    other = house.publisher("b")
    assert not other.closed
    publish_for(house, publisher, 8, 8_000)
    assert told(house.publisher("c")) == Code.PUBLISH_DENIED
    assert not any(peer.closed for peer in (publisher, other, player, watching))
    house.leave(player)
    house.leave(watching)
    publish_for(house, publisher, 8, 4_600)
    assert not house.player().closed
