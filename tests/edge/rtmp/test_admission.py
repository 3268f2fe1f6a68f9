"""Verdicts that take their time: they delay nobody else, are bounded, and leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.core.rtmp import events
from cluster.core.rtmp.status import Code
from cluster.edge.peers.access import Allow, Deny, Verdict
from cluster.edge.rtmp import request_book
from cluster.edge.rtmp.request_book import MAX_WAITING_OF_ADDRESS, MAX_WAITING_REQUESTS, RequestBook
from support.house import House, SteppedLoop, stepped_loop, video

SLOW_S = 1.0


class Judge:
    """Takes a second over every publish and play of a stream whose key has ``slow`` in it."""

    def __init__(self) -> None:
        self.verdict: Verdict = Allow()

    async def connect(self, connection: Any, request: Any) -> Verdict:
        return Allow()

    async def publish(self, connection: Any, key: str, request: Any) -> Verdict:
        if "slow" in key:
            await asyncio.sleep(SLOW_S)
        return self.verdict

    async def play(self, connection: Any, key: str, request: Any) -> Verdict:
        return await self.publish(connection, key, request)


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def house(loop: SteppedLoop, judge: Judge) -> Iterator[House]:
    house = House(loop, judge)
    yield house
    house.close()


def test_a_verdict_that_takes_a_second_delays_nobody_else(house: House) -> None:
    slow_publisher, slow_player = house.publisher("slow"), house.player("slow")
    assert house.requests.waiting == 2
    player, publisher = house.player("quick"), house.publisher("quick")
    house.send(publisher, video(0, bytes.fromhex("1701000000")))
    assert player.times() == [0]
    assert (house.counters.publishers, house.counters.players) == (1, 1)
    assert not slow_publisher.codes
    assert not slow_player.codes
    house.advance(SLOW_S)
    assert (house.counters.publishers, house.counters.players) == (2, 2)
    assert house.requests.waiting == 0


@pytest.mark.parametrize("role", ["publisher", "player"])
def test_who_waits_for_a_verdict_is_half_open_until_it_is_let_in(house: House, role: str) -> None:
    getattr(house, role)("slow")
    assert house.counters.connections_half_open == 1
    house.advance(SLOW_S)
    assert house.counters.connections_half_open == 0


def test_strangers_who_wait_for_verdicts_make_room_for_others(loop: SteppedLoop, judge: Judge) -> None:
    house = House(loop, judge, max_connections=4, max_half_open=4)
    waiting = [house.publisher("slow") for _ in range(4)]
    player = house.player("quick")
    assert not player.closed
    assert [peer.closed for peer in waiting].count(True) >= 1
    house.close()


@pytest.mark.parametrize("role", ["publisher", "player"])
def test_who_leaves_meanwhile_leaves_nothing_behind(house: House, role: str) -> None:
    peer = getattr(house, role)("slow")
    assert house.requests.waiting == 1
    house.leave(peer)
    assert house.requests.waiting == 0
    house.advance(SLOW_S)
    assert (house.counters.publishers, house.counters.players, house.counters.connections) == (0, 0, 0)
    assert house.link.calls == []


def test_who_is_allowed_another_key_publishes_that(house: House, judge: Judge) -> None:
    judge.verdict = Allow(key="live/other")
    house.publisher("asked")
    assert list(house.streams.by_key) == ["live/other"]


@pytest.mark.parametrize(
    ("role", "code"), [("publisher", Code.PUBLISH_DENIED), ("player", Code.PLAY_FAILED)]
)
def test_who_is_denied_is_told_why(house: House, judge: Judge, role: str, code: Code) -> None:
    judge.verdict = Deny("not you")
    peer = getattr(house, role)("a")
    [told] = peer.events(events.StatusReceived)
    assert (told.code, told.description) == (code, "not you")
    assert peer.closed


def test_a_request_too_many_is_denied_and_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = house.peer(), house.peer()
    monkeypatch.setattr(request_book, "MAX_WAITING_REQUESTS", 1)
    for peer, name in ((first, "slow-1"), (second, "slow-2")):
        peer.session.publish(name)
        house.settle()
    assert (first.closed, second.closed) == (False, True)
    assert second.codes == [Code.PUBLISH_DENIED]


class _Peer:
    def __init__(self, peer: str) -> None:
        self.peer = peer


def test_who_asks_without_end_from_one_address_leaves_room_for_others(loop: SteppedLoop) -> None:
    book = RequestBook(loop)
    asker, other = _Peer("192.0.2.7:1"), _Peer("192.0.2.8:1")

    async def wait() -> None:
        await asyncio.Event().wait()

    def start(peer: _Peer, stream_id: int) -> bool:
        return book.start(peer, stream_id, wait)  # type: ignore[arg-type]

    assert all(start(asker, number) for number in range(MAX_WAITING_OF_ADDRESS))
    assert not start(asker, MAX_WAITING_OF_ADDRESS)
    assert start(other, 1)
    book.take_back(asker, 1)  # type: ignore[arg-type]
    assert start(asker, MAX_WAITING_OF_ADDRESS)
    loop.turn()
    loop.run_until_complete(book.close())


def test_ten_thousand_wait_and_no_more(loop: SteppedLoop) -> None:
    book = RequestBook(loop)
    peers = [_Peer(f"192.0.2.{number % 8}:1") for number in range(MAX_WAITING_REQUESTS + 1)]

    async def wait() -> None:
        await asyncio.Event().wait()

    started = [book.start(peer, 1, wait) for peer in peers]  # type: ignore[arg-type]
    assert started == [True] * MAX_WAITING_REQUESTS + [False]
    loop.turn()
    for peer in peers:
        book.take_back_all(peer)  # type: ignore[arg-type]
    loop.turn()
    assert len(book) == 0
    assert book.start(peers[-1], 1, wait)  # type: ignore[arg-type]
    loop.run_until_complete(book.close())
