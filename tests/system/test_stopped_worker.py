"""A worker that does not run (SIGSTOP) gets no new connections for longer than a second or two."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from support.cluster_process import Edge, StartEdge
from support.polling import wait_until

NEWCOMERS = 20
SERVED_WITHIN_S = 1.0
#: C0, C1: version 3, a time, four zeros, random bytes (RTMP 1.0, section 5.2).
HELLO = b"\x03" + bytes(1536)


@pytest.fixture
def edge(start_edge: StartEdge) -> Iterator[Edge]:
    edge = start_edge("--workers", "2")
    yield edge
    for pid in edge.workers().values():
        os.kill(pid, signal.SIGCONT)


def served(edge: Edge) -> int:
    """Of some newcomers at once, those whose handshake is answered in time."""
    deadline = time.monotonic() + SERVED_WITHIN_S
    peers = [socket.create_connection(("127.0.0.1", edge.port), timeout=5) for _ in range(NEWCOMERS)]
    answered = 0
    for peer in peers:
        with peer:
            peer.sendall(HELLO)
            peer.settimeout(max(0.001, deadline - time.monotonic()))
            with contextlib.suppress(OSError):
                answered += peer.recv(1) == b"\x03"
    return answered


def accepted_by_the_first(edge: Edge) -> float:
    return edge.metrics().total("connections_accepted_total", worker="0")


def test_newcomers_are_served_by_the_others_and_it_gets_its_share_back(edge: Edge) -> None:
    stopped = next(iter(edge.workers().values()))
    os.kill(stopped, signal.SIGSTOP)
    time.sleep(2)  # the point: what a stopped worker costs after so long
    assert served(edge) == NEWCOMERS
    assert len(edge.events("worker_silent")) == 1

    accepted_before = accepted_by_the_first(edge)
    os.kill(stopped, signal.SIGCONT)
    wait_until(
        lambda: served(edge) and accepted_by_the_first(edge) > accepted_before,
        "the worker to be given connections again",
    )
    assert stopped in edge.workers().values(), "it was not replaced"


def test_who_waits_for_a_stopped_worker_is_not_left_hanging(edge: Edge) -> None:
    """The kernel resets them once the worker is missed, and they find another at their next attempt."""
    stopped = next(iter(edge.workers().values()))
    os.kill(stopped, signal.SIGSTOP)
    peers = [socket.create_connection(("127.0.0.1", edge.port), timeout=5) for _ in range(NEWCOMERS)]
    reset = 0
    for peer in peers:
        with peer:
            try:
                peer.sendall(HELLO)
                assert peer.recv(1) == b"\x03"
            except ConnectionError:
                reset += 1
    assert reset < NEWCOMERS, "those that the other worker got"
    assert served(edge) == NEWCOMERS
