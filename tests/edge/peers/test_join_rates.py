"""How often one address may ask to play or publish: what is too much waits, and nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.edge.peers import join_rates
from cluster.edge.peers.join_rates import JOINS_AT_ONCE, JOINS_PER_S, JoinRates, sender_of
from support.house import KEY, House, stepped_loop, video


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


@pytest.mark.parametrize(
    ("peer", "sender"),
    [
        ("192.0.2.7:40000", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]:40000", "2001:db8:1:2::"),
        ("[2001:db8:1:2::1]:9", "2001:db8:1:2::"),
        ("[::ffff:192.0.2.7]:40000", "192.0.2.7"),
        ("[fe80::1%eth0]:1935", "fe80::"),
    ],
)
def test_whom_a_peer_is_counted_for(peer: str, sender: str) -> None:
    assert sender_of(peer) == sender


def test_a_burst_passes_and_one_more_waits() -> None:
    rates = JoinRates()
    assert [rates.wait_s("192.0.2.7:1", 50.0) for _ in range(JOINS_AT_ONCE)] == [0.0] * JOINS_AT_ONCE
    assert rates.wait_s("192.0.2.7:2", 50.0) == pytest.approx(1 / JOINS_PER_S)
    assert rates.wait_s("192.0.2.8:1", 50.0) == 0, "another address"


def test_the_rate_for_ever_never_waits() -> None:
    rates = JoinRates()
    for number in range(10 * JOINS_AT_ONCE):
        assert rates.wait_s("192.0.2.7:1", 50.0 + number / JOINS_PER_S) == 0


def test_the_number_of_addresses_is_bounded_and_who_waits_is_forgotten_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join_rates, "MAX_ADDRESSES", 10)
    rates = JoinRates()
    for _ in range(JOINS_AT_ONCE + 1):
        rates.wait_s("192.0.2.7:1", 50.0)
    for number in range(100):
        now = 52.0 + number / 10
        rates.wait_s(f"198.51.100.{number}:1", now)
        assert len(rates._paid_until) <= 10
    rates = JoinRates()
    for number in range(9):
        rates.wait_s(f"198.51.100.{number}:1", 50.0)
    for _ in range(JOINS_AT_ONCE + 100):
        rates.wait_s("192.0.2.7:1", 60.0)
    rates.wait_s("198.51.100.99:1", 60.2)
    assert rates.wait_s("192.0.2.7:1", 60.2) > 0, "who has used its burst is not forgotten"


def test_a_player_that_has_to_wait_plays_then(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = house.publisher()
    house.send(publisher, video(0, KEY))
    monkeypatch.setattr(JoinRates, "wait_s", lambda self, peer, now: 0.5)
    player = house.player()
    assert player.times() == []
    assert house.counters.joins_paced == 1
    house.advance(0.6)
    assert player.times() == [0]


def test_a_publisher_that_has_to_wait_publishes_then(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JoinRates, "wait_s", lambda self, peer, now: 0.5)
    house.publisher()
    assert house.counters.publishers == 0
    house.advance(0.6)
    assert house.counters.publishers == 1


def test_who_leaves_while_it_waits_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JoinRates, "wait_s", lambda self, peer, now: 0.5)
    player = house.player()
    house.leave(player)
    house.advance(0.6)
    assert house.counters.players == 0
    assert house.counters.connections == 0
