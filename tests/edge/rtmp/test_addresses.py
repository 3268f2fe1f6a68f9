"""Addresses as people type them: the server's side of the tables in docs/addresses.md, row by row."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cluster.core.keys import NO_STREAM, joined
from cluster.core.rtmp.status import Code
from support.addresses import SENT, TYPED
from support.house import House, stepped_loop
from support.wire_peer import WirePeer

EVERYTHING = [*SENT, *(row[1:] for row in TYPED)]


class Sender(WirePeer):
    """Connects, makes a message stream and, if it has a ``verb``, says that on it."""

    def __init__(self, sock: socket.socket, app: str, name: str, verb: str) -> None:
        super().__init__(sock, app, name)
        self._verb = verb

    def on_result(self, transaction_id: float) -> None:
        if transaction_id == 1:
            self.command("createStream", 2.0)
        elif transaction_id == 2:
            named = {"streamName": self.name} if self._verb == "play2" else self.name
            self.command(self._verb, 3.0, named, stream_id=1)


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def enter(house: House, app: str, name: str, verb: str) -> Sender:
    accepted, ours = socket.socketpair()
    accepted.setblocking(False)
    peer = Sender(ours, app, name, verb)
    house.peers.append(peer)  # type: ignore[arg-type]
    house.sessions.accept(accepted, ("192.0.2.9", 40_000))
    house.settle()
    return peer


def test_the_tables_are_there() -> None:
    assert len(SENT) > 15
    assert len(TYPED) > 8


@pytest.mark.parametrize(("app", "name", "key"), EVERYTHING)
def test_a_publish_means_the_key_of_the_table(house: House, app: str, name: str, key: str) -> None:
    assert joined(app, name) == key
    peer = enter(house, app, name, "publish")
    if not key:
        refused(peer, Code.PUBLISH_DENIED)
        return
    assert peer.codes == [Code.PUBLISH_START]
    assert list(house.streams.by_key) == [key]
    peer.command("FCUnpublish", 4.0, name)
    house.settle()
    assert peer.codes[-1] == Code.UNPUBLISH_SUCCESS


@pytest.mark.parametrize("verb", ["play", "play2"])
@pytest.mark.parametrize(("app", "name", "key"), EVERYTHING)
def test_a_play_means_the_key_of_the_table(
    house: House, app: str, name: str, key: str, verb: str
) -> None:
    peer = enter(house, app, name, verb)
    if not key:
        refused(peer, Code.PLAY_FAILED)
        return
    assert peer.codes[-1] == Code.PLAY_START
    assert list(house.streams.by_key) == [key]


def refused(peer: Sender, code: str) -> None:
    assert peer.codes == [code]
    assert peer.closed
    info = peer.commands[-1].arg(0)
    assert isinstance(info, dict)
    assert str(info["description"]).startswith(NO_STREAM)
