"""Sockets that are full most of the time: what a peer gets is what was sent, whole and once."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cluster.core.errors import CloseReason
from cluster.core.message import Buffer, Message
from cluster.core.rtmp.events import CallSucceeded
from cluster.net.poller import WRITABLE
from support.house import AVC_HEADER, INTER, KEY, House, stepped_loop, video

#: As small as the kernel makes it: a few messages fill it.
_SEND_BUFFER_BYTES = 1


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


@pytest.mark.parametrize("seed", range(8))
def test_fault_30_short_writes_lose_and_repeat_nothing(house: House, seed: int) -> None:
    """The player reads now and then; media, and answers between it, are cut wherever the socket is full."""
    choose = random.Random(seed)
    publisher, player = house.publisher(), house.player()
    connection = next(each for each in house.sessions._connections if each.players)
    connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    sent = [Message(9, 0, AVC_HEADER, 1), video(0, KEY, 500)]
    sent += [video(40 * number, INTER, choose.randrange(4000)) for number in range(1, 80)]
    calls = cut = 0
    for message in sent:
        player.reading = choose.random() < 0.3
        house.send(publisher, message)
        cut += bool(connection.pending)
        if choose.random() < 0.2:
            player.session.call("getStreamLength", "a")
            calls += 1
    player.reading = True
    house.settle()
    assert cut, "the socket was never full"
    assert _video(player.media) == _video(sent)
    assert len(player.events(CallSucceeded)) == calls


class TakesOnce:
    """In the place of ``real``: takes all of one write, and fails at the next."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self._writes = 0

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        self._writes += 1
        if self._writes > 1:
            raise ConnectionResetError
        return sum(map(len, buffers))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_socket_that_fails_while_one_of_its_players_catches_up_ends_them_all(house: House) -> None:
    publisher, player = house.publisher(), house.peer()
    house.send(publisher, Message(9, 0, AVC_HEADER, 1), video(0, KEY, 500))
    for stream_id in (1, 2):
        player.session.create_stream()
        player.session.send_command("play", "a", stream_id=stream_id)
        house.settle()
    connection = next(each for each in house.sessions._connections if each.players)
    player.reading = False
    for number in range(1, 30):
        house.send(publisher, video(number * 40, INTER, 60_000))
    assert connection.pending
    assert len(connection.players) == 2
    connection._socket = TakesOnce(connection._socket)  # type: ignore[arg-type]
    connection.on_ready(WRITABLE)
    assert not connection.players
    assert house.counters.closes == {CloseReason.PEER_RESET: 1}
    house.leave(player)


def _video(messages: list[Message]) -> list[tuple[int, bytes]]:
    return [(message.timestamp, bytes(message.payload)) for message in messages if message.type_id == 9]
