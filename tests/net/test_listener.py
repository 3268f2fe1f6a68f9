"""Listening sockets: accepting, sharing an address, running out of files."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from cluster.net import listener as listener_module
from cluster.net.latency_budget import BudgetRule, LatencyBudget
from cluster.net.listener import (
    MAX_UNSENT_BYTES,
    OUT_OF_FILES_PAUSE_S,
    UNACKNOWLEDGED_S,
    Listener,
    bound_socket,
)
from cluster.net.poller import Poller
from support.house import run_until

LOCALHOST = "127.0.0.1"


class Scene:
    """Listeners on one poller, and everything they accepted."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.turns: list[int] = []
        budget = LatencyBudget(BudgetRule(0))
        self.poller = Poller(self.loop, budget, lambda: self.turns.append(0), lambda: None)
        self.accepted: list[tuple[socket.socket, tuple[str, int]]] = []
        self.retries: list[tuple[float, Callable[[], None]]] = []
        #: As a supervisor holds them: the same sockets, whatever becomes of the listeners.
        self.bound: list[socket.socket] = []
        self._open: list[Listener | socket.socket] = []

    def listen(
        self, host: str = LOCALHOST, port: int = 0, into: list | None = None,
        unacknowledged_s: float = UNACKNOWLEDGED_S,
    ) -> Listener:  # fmt: skip
        def accept(accepted: socket.socket, peer: tuple[str, int]) -> None:
            self._open.append(accepted)
            self.turns[-1] += 1
            (self.accepted if into is None else into).append((accepted, peer))

        bound = bound_socket(host, port, unacknowledged_s)
        self.bound.append(bound.dup())
        listener = Listener(bound, self.poller, accept, lambda *retry: self.retries.append(retry))
        self._open.append(listener)
        return listener

    def connect(self, listener: Listener) -> socket.socket:
        peer = socket.create_connection(listener.address, timeout=30)
        self._open.append(peer)
        return peer

    def until(self, probe: Callable[[], object], what: str) -> None:
        run_until(self.loop, probe, what)

    def turn(self) -> None:
        """Time enough for what is ready to be served."""
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self) -> None:
        for each in (*self._open, *self.bound):
            each.close()
        self.poller.close()
        self.loop.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


# ---- accepting -------------------------------------------------------------------------------


def test_a_connection_is_accepted_with_its_peers_address(scene: Scene) -> None:
    listener = scene.listen()
    assert listener.address[1] > 0
    peer = scene.connect(listener)
    scene.until(lambda: scene.accepted, "a connection")
    accepted, address = scene.accepted[0]
    assert address == peer.getsockname()
    assert not accepted.getblocking()


def test_accepted_sockets_neither_delay_nor_hoard(scene: Scene) -> None:
    scene.connect(scene.listen())
    scene.until(lambda: scene.accepted, "a connection")
    accepted, _ = scene.accepted[0]
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == MAX_UNSENT_BYTES


def test_a_host_that_is_gone_will_be_found(scene: Scene) -> None:
    scene.connect(scene.listen())
    scene.until(lambda: scene.accepted, "a connection")
    accepted, _ = scene.accepted[0]
    tcp = {
        name: accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    }
    assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    found_after_s = tcp["TCP_KEEPIDLE"] + tcp["TCP_KEEPINTVL"] * tcp["TCP_KEEPCNT"]
    assert found_after_s == UNACKNOWLEDGED_S
    assert tcp["TCP_USER_TIMEOUT"] == UNACKNOWLEDGED_S * 1000


def test_a_host_that_takes_nothing_is_given_up(scene: Scene) -> None:
    """Its window is closed: it acknowledges, and nothing can be sent."""
    listener = scene.listen(unacknowledged_s=0.5)
    scene.connect(listener).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    scene.until(lambda: scene.accepted, "a connection")
    accepted, _ = scene.accepted[0]

    def given_up() -> bool:
        try:
            accepted.send(bytes(65_536))
        except BlockingIOError:
            return False
        except TimeoutError:
            return True
        return False

    scene.until(given_up, "the kernel to give it up")


def test_ipv6_is_listened_on_for_itself(scene: Scene) -> None:
    try:
        listener = scene.listen("::")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    peer = scene.connect(listener)
    scene.until(lambda: scene.accepted, "a connection")
    assert scene.accepted[0][1] == peer.getsockname()[:2]
    with pytest.raises(ConnectionRefusedError):  # IPv4 has a listener of its own
        socket.create_connection((LOCALHOST, listener.address[1]), timeout=30)


def test_a_storm_of_joiners_is_accepted_in_portions(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPTS_PER_TURN", 2)
    listener = scene.listen()
    for _ in range(5):
        scene.connect(listener)
    scene.until(lambda: len(scene.accepted) == 5, "five connections")
    assert [count for count in scene.turns if count] == [2, 2, 1]


def test_a_peer_that_gave_up_does_not_stop_the_others(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = scene.listen()
    calls = _failing_accept(monkeypatch, errno.ECONNABORTED)
    scene.connect(listener)
    scene.until(lambda: scene.accepted, "the connection behind the one that gave up")
    assert calls[:2] == [errno.ECONNABORTED, 0]
    assert len(scene.turns) == 1
    assert scene.retries == []


# ---- sharing an address ----------------------------------------------------------------------


def test_two_workers_share_one_address_and_both_are_given_connections(scene: Scene) -> None:
    second: list[tuple[socket.socket, tuple[str, int]]] = []
    listener = scene.listen()
    other = scene.listen(port=listener.address[1], into=second)
    assert other.address == listener.address
    for _ in range(64):  # the kernel picks by a hash of the addresses: all 64 to one is 2**-63
        scene.connect(listener)
    scene.until(lambda: len(scene.accepted) + len(second) == 64, "64 connections")
    assert scene.accepted
    assert second


def test_the_one_that_is_left_gets_all(scene: Scene) -> None:
    second: list[tuple[socket.socket, tuple[str, int]]] = []
    listener = scene.listen()
    other = scene.listen(port=listener.address[1], into=second)
    other.close()
    for _ in range(16):
        scene.connect(listener)
    scene.until(lambda: len(scene.accepted) == 16, "16 connections")
    assert second == []


def test_one_that_is_shut_down_from_outside_gets_nothing_until_it_runs_again(scene: Scene) -> None:
    """As the supervisor does it for a worker that is stuck."""
    second: list[tuple[socket.socket, tuple[str, int]]] = []
    with bound_socket(LOCALHOST, 0) as reserving:  # a port that is not 0, as the supervisor has it
        port = reserving.getsockname()[1]
        listener = scene.listen(port=port)
        scene.listen(port=port, into=second)
        scene.bound[0].shutdown(socket.SHUT_RD)
        for _ in range(16):
            scene.connect(listener)
        assert not scene.accepted
        scene.until(lambda: len(second) == 16, "16 connections at the other")
        for _ in range(64):
            scene.connect(listener)
        scene.until(lambda: len(scene.accepted) + len(second) == 80, "64 connections more")
        assert scene.accepted, "it has run since, and listens again"


def test_one_that_is_closed_gets_nothing_though_its_socket_is_still_held(scene: Scene) -> None:
    listener = scene.listen()
    address = listener.address
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_an_address_that_another_program_has_is_an_error(scene: Scene) -> None:
    with socket.create_server((LOCALHOST, 0)) as taken, pytest.raises(OSError, match="in use"):
        scene.listen(port=taken.getsockname()[1])


def test_a_closed_listener_refuses(scene: Scene) -> None:
    listener = scene.listen()
    address = listener.address
    listener.close()
    listener.close()  # and may be closed again
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=30)


# ---- out of files ----------------------------------------------------------------------------


def _failing_accept(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[int]:
    """Let the next calls of ``accept`` fail with these error numbers; the calls made so far."""
    calls: list[int] = []
    accept = socket.socket.accept
    failures = iter(numbers)

    def failing(listening: socket.socket) -> tuple[socket.socket, object]:
        number = next(failures, 0)
        calls.append(number)
        if number:
            raise OSError(number, "scripted")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", failing)
    return calls


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_files_it_pauses_and_then_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    listener = scene.listen()
    calls = _failing_accept(monkeypatch, number)
    scene.connect(listener)
    with caplog.at_level(logging.ERROR):
        scene.until(lambda: scene.retries, "a pause")
    assert "raise the limit on open files" in caplog.text
    scene.turn()
    assert calls == [number]  # the socket is still readable, yet nobody spins on it
    ((delay_s, resume),) = scene.retries
    assert delay_s == OUT_OF_FILES_PAUSE_S
    resume()
    scene.until(lambda: scene.accepted, "the connection that waited")


def test_it_pauses_again_if_there_are_still_no_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = scene.listen()
    _failing_accept(monkeypatch, errno.EMFILE, errno.EMFILE)
    scene.connect(listener)
    scene.until(lambda: len(scene.retries) == 1, "a pause")
    scene.retries[0][1]()
    scene.until(lambda: len(scene.retries) == 2, "a second pause")
    scene.retries[1][1]()
    scene.until(lambda: scene.accepted, "the connection that waited")


def test_a_listener_closed_in_its_pause_stays_closed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = scene.listen()
    _failing_accept(monkeypatch, errno.EMFILE)
    scene.connect(listener)
    scene.until(lambda: scene.retries, "a pause")
    listener.close()
    scene.retries[0][1]()
    scene.turn()
    assert scene.accepted == []
