"""How far a connection to a router has come: by events, and with routers that are as they should not be."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import CRYPTOGRAPHIC, EVENTS, MECHANISM_MISMATCH, Reach, Reached
from cluster.bus.sockets import uplink_socket
from cluster.core.bus.endpoints import endpoints
from cluster.router.router import Router

CONNECTED, CLOSED, ENDED = zmq.EVENT_CONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED
SHAKEN, PROTOCOL = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
AUTH, NO_DETAIL = zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
CONNECT, REFUSED = (CONNECTED, 0, 0.1), (NO_DETAIL, 32, 0.2)
MISMATCH, AGAIN = (PROTOCOL, MECHANISM_MISMATCH, 0.2), (CONNECTED, 0, 0.6)
KEY, OTHER = ClusterKey(bytes(32)), ClusterKey(b"1" * 32)


@pytest.mark.parametrize(
    ("has_key", "events", "reach"),
    [
        (False, [], Reach.NOBODY),
        (False, [(CLOSED, 0, 0.1)], Reach.NOBODY),
        (False, [CONNECT], Reach.SILENT),
        (False, [CONNECT, (SHAKEN, 0, 0.2)], Reach.SHAKEN),
        (False, [CONNECT, (SHAKEN, 0, 0.2), (ENDED, 0, 0.3)], Reach.NOBODY),
        (False, [CONNECT, (ENDED, 0, 0.2)], Reach.NO_ROUTER),
        (False, [CONNECT, (ENDED, 0, 9.9)], Reach.NOBODY),  # it hung, and was ended
        (False, [CONNECT, MISMATCH], Reach.KEY_WANTED),
        (True, [CONNECT, MISMATCH], Reach.KEY_NOT_WANTED),
        (True, [CONNECT, (PROTOCOL, CRYPTOGRAPHIC, 0.2)], Reach.KEY_WRONG),
        (True, [CONNECT, (AUTH, 400, 0.2)], Reach.KEY_WRONG),
        (True, [CONNECT, (PROTOCOL, 1, 0.2)], Reach.NO_ROUTER),
        (True, [CONNECT, REFUSED], Reach.KEY_WRONG),
        (False, [CONNECT, REFUSED], Reach.NO_ROUTER),
        (True, [CONNECT, (NO_DETAIL, 11, 5.1)], Reach.SILENT),  # libzmq has given it up
        (True, [CONNECT, (NO_DETAIL, 11, 5.1), (ENDED, 0, 5.1)], Reach.SILENT),
        # What was told once holds until something else is known.
        (True, [CONNECT, REFUSED, (ENDED, 0, 0.2), AGAIN], Reach.KEY_WRONG),
        (False, [CONNECT, MISMATCH, AGAIN, (ENDED, 0, 0.7)], Reach.KEY_WANTED),
        (True, [CONNECT, REFUSED, (CLOSED, 0, 0.6)], Reach.NOBODY),
        (True, [CONNECT, REFUSED, AGAIN, (SHAKEN, 0, 0.7)], Reach.SHAKEN),
    ],
)  # fmt: skip
def test_what_the_events_mean(has_key: bool, events: list[tuple[int, int, float]], reach: Reach) -> None:
    reached = Reached(has_key)
    for event, value, now in events:
        reached.event(event, value, now)
    assert reached.reach is reach


def test_every_state_has_a_word_and_says_what_to_do() -> None:
    assert len({reach.word for reach in Reach}) == len(Reach)
    assert all(len(reach.word) <= 14 for reach in Reach), "a column of the status"
    for reach in Reach:
        assert "--router" in reach.why or "--cluster-key" in reach.why or "the router hangs" in reach.why


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def _nobody() -> Iterator[str]:
    with _silent() as endpoint:
        pass
    yield endpoint


@contextlib.contextmanager
def _router(key: ClusterKey | None, port: str = "control") -> Iterator[str]:
    with Router("tcp://127.0.0.1:0", key=key) as router:
        yield getattr(endpoints(router.endpoint), port)


@pytest.mark.parametrize(
    ("server", "key", "reaches"),
    [
        (_nobody, None, {Reach.NOBODY}),
        (_silent, KEY, {Reach.SILENT}),
        (lambda: _router(None), None, {Reach.SHAKEN}),
        (lambda: _router(KEY), KEY, {Reach.SHAKEN}),
        (lambda: _router(KEY), OTHER, {Reach.KEY_WRONG}),
        # The end that hangs up first may keep the other from reading why.
        (lambda: _router(KEY), None, {Reach.KEY_WANTED, Reach.NO_ROUTER}),
        (lambda: _router(None), KEY, {Reach.KEY_NOT_WANTED, Reach.KEY_WRONG}),
        (lambda: _router(None, "subscribe"), None, {Reach.NO_ROUTER}),
    ],
)
def test_what_is_told_of_a_real_one(
    server: Callable[[], contextlib.AbstractContextManager[str]],
    key: ClusterKey | None,
    reaches: set[Reach],
    eventually: Callable[..., Any],
) -> None:
    with server() as endpoint:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        dealer = uplink_socket(context, zmq.DEALER, 10, endpoint, key)
        monitor = dealer.get_monitor_socket(EVENTS)
        dealer.connect(endpoint)
        reached = Reached(key is not None)
        seen = 0

        def told() -> bool:
            nonlocal seen
            while monitor.poll(0):
                event = parse_monitor_message(monitor.recv_multipart())
                reached.event(event["event"], event["value"], time.monotonic())
                seen += 1
            return seen > 0 and reached.reach in reaches

        try:
            eventually(told, f"one of {reaches}")
        finally:
            dealer.disable_monitor()  # before its other end: libzmq would wait for ever for a reader
            monitor.close(0)
            dealer.close(0)
            context.term()
