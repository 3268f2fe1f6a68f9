"""What the tests of the bus share: no socket may be left open, and waiting on a running loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
import zmq

_POLL_INTERVAL_S = 0.005


@pytest.fixture(autouse=True)
def no_socket_left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails the test that leaves a ZeroMQ socket open: its context could never be ended."""
    opened: list[zmq.Socket[bytes]] = []
    open_socket = zmq.Context.socket

    def remember(context: zmq.Context[Any], *args: Any, **options: Any) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = open_socket(context, *args, **options)
        opened.append(socket)
        return socket

    monkeypatch.setattr(zmq.Context, "socket", remember)
    yield
    left = [socket for socket in opened if not socket.closed]
    for socket in left:
        socket.close(0)
    assert not left, f"sockets left open: {left}"


async def until(probe: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Polls on the running loop until ``probe()`` is truthy and returns that."""
    deadline = time.monotonic() + timeout_s
    while not (value := probe()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
        await asyncio.sleep(_POLL_INTERVAL_S)
    return value


def on_uvloop(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` on the loop that workers use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def on_asyncio(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` on the standard loop."""
    asyncio.run(main)
