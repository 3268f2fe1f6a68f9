"""The proxy's queues follow the size of what goes through, and nothing is lost when it is steered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from cluster.core.bus import bounds
from cluster.core.bus.endpoints import endpoints
from cluster.core.bus.probe import PROBE_TOPIC
from cluster.router import steering
from cluster.router.router import Router


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(0)


def linked(
    context: zmq.Context[zmq.Socket[bytes]], router: Router
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """A publisher at ``router``, and a player that is subscribed to what begins with ``t``."""
    where = endpoints(router.endpoint)
    publisher, player = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    for each in (publisher, player):
        each.rcvtimeo = 30_000
    publisher.connect(where.publish)
    player.connect(where.subscribe)
    player.subscribe(b"t")
    assert {publisher.recv(), publisher.recv()} == {b"\1t", b"\1" + PROBE_TOPIC}
    return publisher, player


def test_small_envelopes_raise_the_mark_and_nothing_is_lost(
    context: zmq.Context[zmq.Socket[bytes]], eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "ASK_EVERY_S", 0.05)
    with Router("tcp://127.0.0.1:0") as router:
        publisher, player = linked(context, router)
        sent = 0

        def mark_after(size_bytes: int) -> int:
            nonlocal sent
            for _ in range(50):
                publisher.send_multipart([b"t", b"%d" % sent, bytes(size_bytes)])
                assert player.recv_multipart()[1] == b"%d" % sent
                sent += 1
            return router._proxy.mark

        assert mark_after(100) == bounds.FIRST_HIGH_WATER_MARK
        for wanted, size_bytes in ((700, 45_000), (bounds.DATA_HIGH_WATER_MARK, 500)):
            eventually(lambda w=wanted, s=size_bytes: mark_after(s) >= w, f"room for {wanted}")
        mark_after(500)
        assert router.is_alive


def test_a_proxy_that_gives_up_is_begun_anew_and_nothing_is_lost(
    context: zmq.Context[zmq.Socket[bytes]], eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libzmq's proxy ends by EAGAIN when a readable socket had nothing that it may pass on."""
    real, failures = zmq.proxy_steerable, [zmq.Again(), zmq.Again()]

    def gives_up(*sockets: Any) -> None:
        if failures:
            raise failures.pop()
        real(*sockets)

    monkeypatch.setattr(zmq, "proxy_steerable", gives_up)
    with Router("tcp://127.0.0.1:0") as router:
        publisher, player = linked(context, router)
        publisher.send_multipart([b"t", b"1"])
        assert player.recv_multipart() == [b"t", b"1"]
        eventually(lambda: router.proxy_resumed == 2, "both to be counted")
        assert router.is_alive
