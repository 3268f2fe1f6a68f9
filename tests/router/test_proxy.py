"""libzmq's proxy, as routers and repeaters run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from cluster.core.bus.endpoints import endpoints
from cluster.core.bus.probe import PROBE_TOPIC
from cluster.router.router import Router


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(0)


def test_a_proxy_that_gives_up_is_begun_anew_and_nothing_is_lost(
    context: zmq.Context[zmq.Socket[bytes]], eventually: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libzmq's proxy ends by EAGAIN when a readable socket had nothing that it may pass on."""
    real, failures = zmq.proxy, [zmq.Again(), zmq.Again()]

    def gives_up(*sockets: Any) -> None:
        if failures:
            raise failures.pop()
        real(*sockets)

    monkeypatch.setattr(zmq, "proxy", gives_up)
    with Router("tcp://127.0.0.1:0") as router:
        where = endpoints(router.endpoint)
        publisher, player = context.socket(zmq.XPUB), context.socket(zmq.SUB)
        for each in (publisher, player):
            each.rcvtimeo = 30_000
        publisher.connect(where.publish)
        player.connect(where.subscribe)
        player.subscribe(b"t")
        assert {publisher.recv(), publisher.recv()} == {b"\1t", b"\1" + PROBE_TOPIC}
        publisher.send_multipart([b"t", b"1"])
        assert player.recv_multipart() == [b"t", b"1"]
        eventually(lambda: router.proxy_resumed == 2, "both to be counted")
        assert router.is_alive
