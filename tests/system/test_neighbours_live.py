"""Relays of other servers at an edge of several workers: those that stay after the end, and xiu's."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.core.message import Message
from support.cluster_process import Edge, StartEdge
from support.polling import wait_until
from support.rtmp_peer import GOP_FRAMES, Peers, make_frame
from support.wire_peer import Lal, WirePeer, Xiu

GRACE_S = 0.5
IDLE_S = 1.0
#: The first sequence number of a publisher that returns.
RETURNED = 100 * GOP_FRAMES
BACK_WITHIN_S = 2.0


@pytest.fixture
def relays() -> Iterator[list[WirePeer]]:
    entered: list[WirePeer] = []
    yield entered
    for relay in entered:
        relay.close()


@pytest.fixture
def edge(start_edge: StartEdge) -> Edge:
    return start_edge("--workers", "2", "--publish-grace", str(GRACE_S), "--idle-timeout", str(IDLE_S))


def dial(edge: Edge) -> socket.socket:
    return socket.create_connection(("127.0.0.1", edge.port), timeout=5)


def wait_for(probe: Callable[[], object], what: str, *relays: WirePeer) -> None:
    """Wait until ``probe`` is true, moving what the relays have to send and to receive."""

    def look() -> object:
        while any(relay.pump() for relay in relays):
            pass
        return probe()

    wait_until(look, what)


def worker_of(edge: Edge, relay: WirePeer) -> int:
    ours = relay.socket.getsockname()[1]
    return wait_until(lambda: edge.owner_of(ours) or 0, "a worker to accept")


@pytest.mark.alone
def test_a_relay_that_stays_has_media_soon_after_the_return_to_another_worker(
    edge: Edge, peers: Peers, relays: list[WirePeer]
) -> None:
    relay = Lal(dial(edge), "live", "returning")
    relays.append(relay)
    here = worker_of(edge, relay)
    there = next(pid for pid in edge.workers().values() if pid != here)
    for returns, worker in enumerate((there, here)):
        _one_publish(edge, peers, relay, worker, returns)
    stamps = [message.timestamp for message in relay.media(stream_id=1)]
    assert all(before <= after for before, after in itertools.pairwise(stamps))


def _one_publish(edge: Edge, peers: Peers, relay: WirePeer, worker: int, returns: int) -> None:
    """A publisher comes, leaves, and stays away for longer than a connection may be idle."""
    before = len(relay.media(stream_id=1))
    publisher = peers.publish(edge, "returning", worker=worker, first_sequence=returns * RETURNED)
    granted_at = time.monotonic()
    wait_for(lambda: len(relay.media(stream_id=1)) > before + 3, "media after the return", relay)
    assert time.monotonic() - granted_at < BACK_WITHIN_S
    assert relay.codes.count("NetStream.Play.Start") == returns + 1
    publisher.close()
    wait_for(lambda: relay.codes.count("NetStream.Play.Stop") == returns + 1, "the end", relay)
    idle_until = time.monotonic() + 2 * IDLE_S
    wait_for(lambda: relay.closed or time.monotonic() > idle_until, "idle time", relay)
    assert not relay.closed


def test_xiu_pushes_and_pulls(edge: Edge, relays: list[WirePeer]) -> None:
    puller = Xiu(dial(edge), "live", "x", publishes=False)
    pusher = Xiu(dial(edge), "live", "x", publishes=True)
    relays += [puller, pusher]
    wait_for(lambda: "NetStream.Publish.Start" in pusher.codes, "xiu to publish", *relays)
    frames = [Message(9, 40 * number, make_frame(number, bytes(50)), 0) for number in range(20)]
    pusher.send(*frames)
    wait_for(lambda: len(puller.media(stream_id=0)) >= len(frames), "xiu to get all", *relays)
    got = [(message.timestamp, bytes(message.payload)) for message in puller.media(stream_id=0)]
    assert got == [(message.timestamp, bytes(message.payload)) for message in frames]
    assert (pusher.set_ups, puller.set_ups) == (1, 1)
