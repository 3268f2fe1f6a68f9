"""A player of the generator by itself, at the end of a socket pair."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from cluster.core.limits import Limits
from cluster.core.message import MessageType
from cluster.core.rtmp import control
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.url import RtmpUrl
from cluster.load.dialogue import Dialogue
from cluster.load.job import ServerAddress
from cluster.load.loop import Loop
from cluster.load.peer import Common, State, Target
from cluster.load.player import Player
from cluster.load.tally import Role

SECOND_NS = 1_000_000_000
NOBODY = Target(ServerAddress(socket.AF_INET, ("127.0.0.1", 9)), "nobody")


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_who_only_drops_what_it_gets_still_shows_that_it_lives(loop: Loop) -> None:
    """It sees no ping, so every ten seconds a pong goes with the acknowledgement."""
    player = Player(
        Common(loop, 4096, publish_to=NOBODY, play_from=NOBODY),
        partial(Dialogue, Role.PLAYER, RtmpUrl.parse("rtmp://h/live/x"), 4096),
        sampled=False, by_timer=False, slow_bytes_per_s=0, media_starts_ns=None,
    )  # fmt: skip
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        player._sock, player.state, player._parsing = ours, State.FLOWING, False
        now_ns = time.monotonic_ns()
        player.check(now_ns + 9 * SECOND_NS)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        player.check(now_ns + 11 * SECOND_NS)
        acknowledged, pong = ChunkReader(Limits()).feed(theirs.recv(100))
    assert acknowledged.type_id == MessageType.ACKNOWLEDGEMENT
    assert control.read_user_control(pong).event == UserControlEvent.PING_RESPONSE
