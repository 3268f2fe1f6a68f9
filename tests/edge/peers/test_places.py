"""Who holds a place: half-open connections, the publishers' reserve, networks, publishes without media."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.core.message import Message
from cluster.core.rtmp.events import StatusReceived
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage
from cluster.core.rtmp.status import Code
from cluster.edge.node.config import EdgeConfig
from cluster.edge.peers import addresses as addresses_module
from cluster.edge.peers.access import Allow, Deny, Verdict
from cluster.edge.peers.addresses import BURST_S, Addresses, network_of
from cluster.edge.peers.places import Place, PlaceBounds, Places
from cluster.edge.peers.shared_counts import CountsMemory, SharedCounts
from cluster.edge.rtmp.sessions import TICKS_PER_BUSY_SESSION
from support.house import KEY, House, Peer, audio, stepped_loop, unix_pair, video

NOW = 1000.0

#: Makes a worker's parts with these options.
Houses = Callable[..., House]


class Book:
    """Places whose holders, named, leave when they are evicted."""

    def __init__(self, counts: SharedCounts | None = None, **bounds: Any) -> None:
        many = {"connections": 1_000_000, "players": 1_000_000, "half_open": 1_000_000}
        self.places = Places(PlaceBounds(**{**many, **bounds}), counts)
        self.held: dict[str, Place] = {}
        self.evicted: list[str] = []
        self.now = NOW
        self._numbers = itertools.count()

    def take(self, host: str = "192.0.2.1") -> CloseReason | None:
        """Another connection, named by the order it came in; the reason if it is refused."""
        name = str(next(self._numbers))
        taken = self.places.take(host, self.now)
        if not isinstance(taken, Place):
            return taken
        self.held[name] = taken

        def evict() -> None:
            self.evicted.append(name)
            self.leave(name)

        taken.evict = evict
        return None

    def leave(self, name: str) -> None:
        self.places.leave(self.held.pop(name), self.now)


def some_hosts() -> Iterator[str]:
    return (f"198.51.100.{number}" for number in range(256))


# ---- half-open -------------------------------------------------------------------------------


def test_half_open_ones_up_to_the_bound_stay_and_one_more_evicts_the_oldest() -> None:
    book, hosts = Book(half_open=4), some_hosts()
    for _ in range(4):
        assert book.take(next(hosts)) is None
    assert book.evicted == []
    for _ in range(3):
        assert book.take(next(hosts)) is None
    assert book.evicted == ["0", "1", "2"]
    assert len(book.places) == book.places.half_open == 4


def test_one_network_evicts_its_own_once_it_has_its_share() -> None:
    book, hosts = Book(half_open=8), some_hosts()
    book.take(next(hosts))
    for _ in range(4):
        book.take()
    assert book.evicted == []
    for _ in range(100):
        book.take()
    assert "0" not in book.evicted
    assert len(book.evicted) == 100
    assert book.evicted[:2] == ["1", "2"]


def test_who_plays_or_publishes_is_not_evicted() -> None:
    book, hosts = Book(half_open=4), some_hosts()
    for _ in range(4):
        book.take(next(hosts))
    assert book.places.may_play(book.held["0"])
    book.places.publishes(book.held["1"])
    for _ in range(10):
        book.take(next(hosts))
    assert {"0", "1"} < book.held.keys()
    assert book.evicted[:2] == ["2", "3"]


def test_a_full_worker_gives_a_newcomer_the_place_of_one_that_is_half_open() -> None:
    book, hosts = Book(connections=3, half_open=100), some_hosts()
    for _ in range(3):
        book.take(next(hosts))
    book.places.publishes(book.held["0"])
    assert book.take(next(hosts)) is None
    assert book.evicted == ["1"]
    for name in list(book.held):
        book.places.publishes(book.held[name])
    assert book.take(next(hosts)) is CloseReason.TOO_MANY_CONNECTIONS
    assert len(book.places) == 3


def test_a_flood_costs_the_same_however_many_it_is() -> None:
    """No walks: a hundred thousand come and go in a moment, and nothing is left of them."""
    book = Book(half_open=4_000)
    for number in range(100_000):
        book.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert book.places.half_open == 4_000
    for name in list(book.held):
        book.leave(name)
    assert len(book.places) == book.places.half_open == len(book.places.addresses) == 0


# ---- the reserve -----------------------------------------------------------------------------


def test_players_are_let_in_up_to_the_reserve_and_publishers_beyond() -> None:
    book = Book(connections=5, players=3)
    for _ in range(5):
        book.take()
    places = [book.held[str(number)] for number in range(5)]
    assert [book.places.may_play(place) for place in places[:4]] == [True, True, True, False]
    assert book.places.may_play(places[0]), "more of who plays already costs no place"
    book.places.publishes(places[4])
    assert book.places.may_play(places[4]), "nor of who publishes"
    book.leave("1")
    assert book.places.may_play(places[3])


def test_a_player_that_begins_to_publish_gives_up_a_players_place() -> None:
    book = Book(players=1)
    book.take()
    book.take()
    assert book.places.may_play(book.held["0"])
    assert not book.places.may_play(book.held["1"])
    book.places.publishes(book.held["0"])
    assert book.places.may_play(book.held["1"])


def test_the_reserve_is_a_share_of_all_connections() -> None:
    assert EdgeConfig().place_bounds().players == 9_500
    assert EdgeConfig(max_connections=10, publisher_reserve=50).place_bounds().players == 5
    assert EdgeConfig(max_connections=10).place_bounds().players == 10
    assert EdgeConfig(publisher_reserve=0).place_bounds().players == 10_000


# ---- networks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_what_counts_as_one_network(host: str, network: str) -> None:
    assert network_of(host) == network


def test_connections_of_one_network_up_to_the_bound() -> None:
    book = Book(from_one_network=3)
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8::3"):
        assert book.take(host) is None
    assert book.take("2001:db8::4") is CloseReason.TOO_MANY_FROM_ADDRESS
    assert book.take("2001:db8:0:1::4") is None
    book.leave("0")
    assert book.take("2001:db8::4") is None


def test_new_connections_of_one_network_up_to_the_rate() -> None:
    book = Book(new_per_s=20)
    at_once = round(20 * BURST_S)
    for number in range(at_once):
        assert book.take() is None
        book.leave(str(number))
    assert book.take() is CloseReason.TOO_MANY_FROM_ADDRESS
    assert book.take("198.51.100.1") is None
    book.now += 1
    assert [book.take() for _ in range(21)] == [None] * 20 + [CloseReason.TOO_MANY_FROM_ADDRESS]


def test_a_thousand_players_of_one_address_pass_with_the_defaults() -> None:
    book = Book()
    book.places = Places(EdgeConfig().place_bounds())
    for _ in range(1_000):
        assert book.take() is None
    assert all(book.places.may_play(place) for place in book.held.values())
    assert book.evicted == []


def test_a_network_is_forgotten_with_its_last_connection() -> None:
    book = Book()
    book.take("192.0.2.1")
    book.take("192.0.2.1")
    book.take("192.0.2.2")
    assert len(book.places.addresses) == 2
    for name in ("0", "1", "2"):
        book.leave(name)
    assert len(book.places.addresses) == 0


def test_a_network_with_a_rate_is_remembered_for_as_long_as_that_matters() -> None:
    book = Book(new_per_s=1)
    book.take("192.0.2.1")
    book.leave("0")
    assert len(book.places.addresses) == 1, "or it would begin anew with each connection"
    book.now += BURST_S + 1
    book.take("192.0.2.2")
    assert len(book.places.addresses) == 1


def test_networks_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "MAX_REMEMBERED", 10)
    book = Book(new_per_s=1)
    for host, number in zip(some_hosts(), range(20), strict=False):
        book.take(host)
        book.leave(str(number))
    assert len(book.places.addresses) == 10


def test_who_is_refused_leaves_nothing_behind() -> None:
    book = Book(connections=1)
    book.take("192.0.2.1")
    book.places.publishes(book.held["0"])
    assert book.take("192.0.2.2") is CloseReason.TOO_MANY_CONNECTIONS
    assert len(book.places.addresses) == 1
    networks = Addresses(per_s=0)
    networks.tidy(networks.network("192.0.2.3"), NOW)
    assert len(networks) == 0


# ---- several workers -------------------------------------------------------------------------


@pytest.fixture
def regions() -> Iterator[list[SharedCounts]]:
    memory = CountsMemory(2)
    yield [SharedCounts(memory.fd, 2, slot, b"secret") for slot in range(2)]
    memory.close()


def test_connections_of_a_network_are_those_of_all_workers(regions: list[SharedCounts]) -> None:
    first, second = (Book(counts, from_one_network=3) for counts in regions)
    assert [first.take("2001:db8::1"), second.take("2001:db8::2"), first.take("2001:db8::3")] == [None] * 3
    assert second.take("2001:db8::4") is CloseReason.TOO_MANY_FROM_ADDRESS
    assert second.take("2001:db8:0:1::4") is None
    first.leave("0")
    assert second.take("2001:db8::4") is None
    assert first.take("2001:db8::1") is CloseReason.TOO_MANY_FROM_ADDRESS


def test_new_ones_of_a_network_are_those_of_all_workers(regions: list[SharedCounts]) -> None:
    books = [Book(counts, new_per_s=2) for counts in regions]
    taken = [books[number % 2].take() for number in range(24)]
    assert taken == [None] * 20 + [CloseReason.TOO_MANY_FROM_ADDRESS] * 4
    for book in books:
        book.now += 1
    assert [book.take() for book in (*books, *books)] == [None, None] + [
        CloseReason.TOO_MANY_FROM_ADDRESS
    ] * 2


def test_nothing_is_left_of_networks_that_have_gone(regions: list[SharedCounts]) -> None:
    book = Book(regions[0], new_per_s=2, from_one_network=3)
    for host in some_hosts():
        book.take(host)
    for name in list(book.held):
        book.leave(name)
    book.now += BURST_S + 1
    book.take()
    assert len(regions[0]._slots) == 1


def test_what_is_not_limited_is_not_shared(regions: list[SharedCounts]) -> None:
    book = Book(regions[0])
    book.take()
    assert not regions[0]._slots


# ---- in a worker -----------------------------------------------------------------------------


@pytest.fixture
def houses() -> Iterator[Houses]:
    made: list[House] = []
    with stepped_loop() as loop:

        def make(**options: Any) -> House:
            made.append(House(loop, **options))
            return made[-1]

        yield make
        for house in made:
            house.close()


def half_handshake(house: House, host: str = "203.0.113.1") -> object:
    """A stranger that sends a byte and no more; its end of the connection."""
    ours, peer = unix_pair()
    peer.sendall(b"\x03")
    house.sessions.accept(ours, (host, 40_000))
    return peer


def test_a_flood_of_half_handshakes_shuts_nobody_out(houses: Houses) -> None:
    house = houses(max_connections=20, max_half_open=10)
    publisher = house.publisher()
    early = house.player()
    flood = [half_handshake(house, f"203.0.113.{number}") for number in range(50)]
    house.settle()
    late = house.player()
    house.send(publisher, video(0, KEY))
    assert early.times() == late.times() == [0]
    assert not publisher.closed
    assert house.counters.closes == {CloseReason.HALF_OPEN_EVICTED: 41}
    assert house.counters.connections_half_open == 9
    for peer in flood:
        peer.close()
    house.settle()
    assert house.counters.connections_half_open == 0
    assert house.counters.connections == 3


def test_peers_that_connect_and_ask_for_nothing_are_half_open_too(houses: Houses) -> None:
    house = houses(max_half_open=4)
    idle = [house.peer(host=f"203.0.113.{number}") for number in range(5)]
    assert [peer.closed for peer in idle] == [True, False, False, False, False]
    idle[1].session.play("a")
    house.settle()
    house.peer(host="203.0.113.9")
    assert not idle[2].closed


def test_a_player_past_the_reserve_is_told_so_and_a_publisher_is_not(houses: Houses) -> None:
    house = houses(max_connections=4, publisher_reserve=50)
    players = [house.player(), house.player()]
    refused = house.player()
    assert refused.closed
    status = refused.events(StatusReceived)[-1]
    assert (status.level, status.code) == ("error", Code.PLAY_FAILED)
    assert "room" in status.description
    house.leave(refused)
    assert house.counters.closes == {CloseReason.TOO_MANY_PLAYERS: 1}
    publishers = [house.publisher("a"), house.publisher("b")]
    assert not any(peer.closed for peer in (*players, *publishers))
    house.send(publishers[0], video(0, KEY))
    assert players[0].times() == [0]
    assert house.peer().closed
    assert house.counters.closes[CloseReason.TOO_MANY_CONNECTIONS] == 1


def test_users_of_shared_objects_take_places_of_players(houses: Houses) -> None:
    house = houses(max_connections=4, publisher_reserve=50)
    house.player()
    users = [house.peer(), house.peer()]
    for user in users:
        use = SharedObjectMessage("chat", 0, False, (SharedEvent(SharedEventType.USE),))
        user.session.send_shared_object(use)
        house.settle()
    assert [user.closed for user in users] == [False, True]
    assert house.counters.closes == {CloseReason.TOO_MANY_PLAYERS: 1}


def test_too_many_from_one_address_are_refused_and_counted(houses: Houses) -> None:
    house = houses(max_from_address=2)
    house.player()
    house.player()
    assert house.peer().closed
    assert house.peer(host="198.51.100.1").connected
    assert house.counters.closes == {CloseReason.TOO_MANY_FROM_ADDRESS: 1}


def test_the_three_connections_of_the_adobe_dialogue_are_one_at_once(houses: Houses) -> None:
    """Each is sent away with what it has to show, and the next comes before it has gone."""
    admission = Asks()
    house = houses(max_from_address=1, new_from_address=1, admission=admission)
    peers = [house.peer() for _ in range(3)]
    assert [peer.connected for peer in peers] == [False, False, True]
    assert house.counters.closes == {CloseReason.CONNECT_REJECTED: 2}
    assert house.peer().closed


class Asks:
    """Rejects ``connect`` twice, as the dialogue does."""

    def __init__(self) -> None:
        self._asked = 0

    async def connect(self, connection: object, request: object) -> Verdict:
        self._asked += 1
        return Allow() if self._asked == 3 else Deny("authmod=adobe")

    async def publish(self, connection: object, key: str, request: object) -> Verdict:
        return Allow()

    async def play(self, connection: object, key: str, request: object) -> Verdict:
        return Allow()


# ---- publishes without media -----------------------------------------------------------------


def idle_for(house: House, seconds: float) -> None:
    """Let time pass as a worker does."""
    for _ in range(round(seconds)):
        house.advance(1)


def codes(peer: Peer) -> list[str]:
    return [status.code for status in peer.events(StatusReceived)]


def test_a_publish_without_media_ends(houses: Houses) -> None:
    house = houses()
    publisher = house.publisher()
    idle_for(house, 29)
    assert not publisher.closed
    idle_for(house, 1 + TICKS_PER_BUSY_SESSION)
    assert publisher.closed
    assert codes(publisher)[-1] == Code.PUBLISH_IDLE
    house.leave(publisher)
    assert house.counters.closes == {CloseReason.PUBLISH_IDLE: 1}
    assert house.counters.publishes_idle == 1
    assert house.counters.publishers == 0
    assert not house.publisher().closed


@pytest.mark.parametrize(
    "message", [audio(0), Message(18, 0, b"\x02\x00\x04data\x05", 1)], ids=["audio", "data"]
)
def test_an_encoder_whose_video_pauses_is_alive(houses: Houses, message: Message) -> None:
    house = houses()
    publisher = house.publisher()
    house.send(publisher, video(0, KEY))
    for second in range(8):
        idle_for(house, 20)
        house.send(publisher, message._replace(timestamp=second * 20_000))
    assert not publisher.closed
    idle_for(house, 30 + TICKS_PER_BUSY_SESSION)
    assert publisher.closed


def test_media_that_stops_is_missed_from_then_on(houses: Houses) -> None:
    house = houses(publish_idle_s=60.0)
    publisher = house.publisher()
    idle_for(house, 50)
    house.send(publisher, video(0, KEY))
    idle_for(house, 55)
    assert not publisher.closed
    idle_for(house, 6 + TICKS_PER_BUSY_SESSION)
    assert publisher.closed


def test_one_of_two_publishes_ends_and_the_connection_goes_on(houses: Houses) -> None:
    house = houses()
    publisher = house.peer()
    for name in ("a", "b"):
        publisher.session.publish(name)
        house.settle()
    for second in range(40):
        house.send(publisher, audio(second * 1000, stream_id=2))
        idle_for(house, 1)
    assert codes(publisher)[-1] == Code.PUBLISH_IDLE
    assert not publisher.closed
    assert house.counters.publishers == house.counters.publishes_idle == 1


def test_nobody_is_idle_without_a_bound(houses: Houses) -> None:
    house = houses(publish_idle_s=0.0)
    publisher = house.publisher()
    idle_for(house, 300)
    assert not publisher.closed
