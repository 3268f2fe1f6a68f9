"""What ends is freed by reference counts: a garbage collection of very much would stop a worker."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from cluster.net.outbox import LINGER_S
from support.house import KEY, House, audio, stepped_loop, unix_pair, video

PLAY_WAIT_S = 1.0


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop, play_wait_s=PLAY_WAIT_S)
        yield made
        made.close()


def waits_in_vain(house: House) -> None:
    player = house.player("nobody")
    for _ in range(4):
        house.advance(PLAY_WAIT_S + 1)
    assert player.closed
    house.leave(player)


def leaves_while_it_waits(house: House) -> None:
    house.leave(house.player("nobody"))
    house.advance(1)


def says_nothing_more(house: House) -> None:
    house.leave(house.peer())
    house.advance(1)


def speaks_another_protocol(house: House) -> None:
    accepted, peer = unix_pair()
    house.sessions.accept(accepted, ("192.0.2.9", 40_000))
    with peer:
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        house.advance(1)
    house.advance(LINGER_S)
    assert len(house.sessions) == 0


def publishes_and_is_played(house: House) -> None:
    publisher, player = house.publisher("x"), house.player("x")
    house.send(publisher, video(0, KEY), audio(10))
    house.leave(player)
    house.leave(publisher)
    house.advance(1)
    house.advance(house.config.publish_grace_s)
    house.advance(1)


@pytest.mark.parametrize(
    "happens",
    [
        waits_in_vain, leaves_while_it_waits, says_nothing_more, speaks_another_protocol,
        publishes_and_is_played,
    ],
)  # fmt: skip
def test_a_connection_and_its_streams_leave_no_circle_behind(
    house: House, happens: Callable[[House], None]
) -> None:
    happens(house)  # once for what is made at the first use
    house.peers.clear()
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        happens(house)
        house.peers.clear()
        gc.collect()
        left = [type(each).__name__ for each in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
    assert not house.streams.by_key
