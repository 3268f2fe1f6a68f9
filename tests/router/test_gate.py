"""The gate of a router: with the right key in, anything else out, and one line about it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import control, control_coding
from cluster.core.bus.endpoints import endpoints
from cluster.process import stranger_lines
from cluster.process.stranger_lines import LINES_PER_SECOND
from cluster.router import gate as gate_module
from cluster.router.gate import Gate, _Door
from cluster.router.router import Router

ANY_PORT = "tcp://127.0.0.1:0"
KEY, OTHER = ClusterKey(bytes(32)), ClusterKey(bytes(31) + b"\1")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(0)


HELLO = control.Hello("n", "i", 0, 1, False, {}, [], [])


def worker_of(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """Not connected yet."""
    worker = context.socket(zmq.DEALER)
    worker.routing_id = b"n/i/0/1"
    worker.rcvtimeo = 30_000
    worker.reconnect_ivl = 20
    return worker


def hello(worker: zmq.Socket[bytes], router: Router) -> control.ControlMessage:
    """The answer to it."""
    worker.connect(endpoints(router.endpoint).control)
    worker.send_multipart(control_coding.encode(HELLO))
    return control_coding.decode(worker.recv_multipart())


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == gate_module.__name__]


def test_a_worker_with_the_key_is_served(
    context: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    with Router(ANY_PORT, key=KEY) as router:
        worker = worker_of(context)
        KEY.secure_worker(worker)
        assert hello(worker, router) == control.Welcome()
        worker.close(0)
    assert refusals(caplog) == []


def _assert_one_line_for_each_host(lines: list[str]) -> None:
    """A peer that has left before it could be asked for its address counts as another."""
    hosts = [line.split(":")[0] for line in lines]
    assert set(hosts) <= {"refused 127.0.0.1", "refused a peer that has left"}
    assert 1 <= len(hosts) == len(set(hosts))


def _right_router_wrong_worker(socket: zmq.Socket[bytes]) -> None:
    KEY.secure_worker(socket)
    socket.curve_publickey, socket.curve_secretkey = OTHER._worker


@pytest.mark.parametrize(
    ("secure", "why"),
    [
        (lambda socket: None, "--cluster-key"),  # the end that hangs up first may hide why
        (OTHER.secure_worker, "it has another cluster key"),
        (_right_router_wrong_worker, "it has another cluster key"),
    ],
)
def test_a_worker_without_it_is_refused_in_one_line(
    context: zmq.Context[zmq.Socket[bytes]],
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., Any],
    secure: Callable[[zmq.Socket[bytes]], None],
    why: str,
) -> None:
    with Router(ANY_PORT, key=KEY) as router:

        def is_told() -> bool:
            return bool(refusals(caplog)) or router._gate._nameless is not None

        for attempt in itertools.count(1):
            assert attempt < 1_000, "of one that hangs up first there is nothing to tell, but not of all"
            worker = worker_of(context)
            worker.reconnect_ivl = -1  # a second try, cut off in its handshake, would have another reason
            secure(worker)
            worker.connect(endpoints(router.endpoint).control)
            with contextlib.suppress(zmq.Again):  # it has been refused by now
                worker.send_multipart(control_coding.encode(HELLO), zmq.DONTWAIT)
            eventually(lambda n=attempt: router._gate.refused >= n, "the attempt to be refused")
            worker.close(0)
            if attempt >= 5 and is_told():
                break
        assert router.counters["control_received"] == 0
    # Many that have hung up first are summed as other strangers are.
    lines = [line for line in refusals(caplog) if " more in " not in line]
    assert all(why in line for line in lines)
    _assert_one_line_for_each_host(lines)


def test_a_keyed_worker_at_a_router_without_a_key(
    context: zmq.Context[zmq.Socket[bytes]],
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., Any],
) -> None:
    with Router(ANY_PORT) as router:

        def tried() -> list[str]:
            """Once more: libzmq gives up for good, and whichever end hangs up first may hide why."""
            with contextlib.closing(worker_of(context)) as worker:
                KEY.secure_worker(worker)
                before = router._gate.refused
                worker.connect(endpoints(router.endpoint).control)
                eventually(lambda: router._gate.refused > before, "a refusal")
            return refusals(caplog)

        assert "this router has none" in eventually(tried, "a line")[0]
        assert hello(worker_of(context), router) == control.Welcome()


@pytest.mark.parametrize(
    "data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f", bytes(9_000)]
)
def test_garbage(
    context: zmq.Context[zmq.Socket[bytes]],
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., Any],
    data: bytes,
) -> None:
    with Router(ANY_PORT, key=KEY) as router:
        where = endpoints(router.endpoint)
        for endpoint in (where.publish, where.subscribe, where.control):
            port = int(endpoint.rpartition(":")[2])
            with (
                socket.create_connection(("127.0.0.1", port)) as scanner,
                contextlib.suppress(OSError),  # it may have been shown the door already
            ):
                scanner.sendall(data)
                scanner.shutdown(socket.SHUT_WR)
        eventually(lambda: router._gate.refused == 3, "three refusals")
        assert router.is_alive
    assert refusals(caplog) == [], "whoever hangs up by himself may be a health check"


def test_each_host_has_a_line_whatever_its_ports(
    context: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(context, [], None)
    for peer in ("a:1", "a:2", "b:1", "b:2"):
        gate._refuse(peer, 0, 0)
    why = "it is no worker"
    assert refusals(caplog) == [f"refused a:1: {why}", f"refused b:1: {why}"]
    assert [(record.event, record.args) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("peer_refused", {"peer": "a:1", "why": why}),
        ("peer_refused", {"peer": "b:1", "why": why}),
    ]
    assert gate.refused == 4


def test_of_many_hosts_a_few_have_lines_and_the_others_a_sum(
    context: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(context, [], None)
    for host in ["10.0.0.1"] * 50 + [f"10.0.0.{number}" for number in range(2, 30)]:
        gate._refuse(f"{host}:5", 0, 0)  # a worker that tries again takes no other's line away
    hosts = [line.split(":")[0] for line in refusals(caplog)]
    assert hosts == [f"refused 10.0.0.{number}" for number in range(1, LINES_PER_SECOND + 1)]
    gate.close()
    told = caplog.records[-1]
    assert told.event == "strangers_summed"  # type: ignore[attr-defined]
    assert told.args["count"] == 29 - LINES_PER_SECOND  # type: ignore[index, call-overload]
    assert told.args["networks"] == {"10.0.0.0/24": 29 - LINES_PER_SECOND}  # type: ignore[index, call-overload]
    assert gate.refused == 78


def test_a_router_tells_the_sum_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr(stranger_lines, "SUM_EVERY_S", 0.1)
    monkeypatch.setattr(stranger_lines, "LINES_PER_SECOND", 0)
    with Router(ANY_PORT) as router:
        port = int(endpoints(router.endpoint).control.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
        eventually(lambda: "refused 1 more in" in caplog.text, "the sum")


def test_a_success_that_could_be_anyones_is_nobodys_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "_peer_of", lambda fd: f"peer-{fd}:1")
    door = _Door(None)  # type: ignore[arg-type]
    accepted, ended = zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED
    success, failure = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH
    for fd in (1, 2):
        assert door.event(accepted, fd) is None
    assert door.event(success, 0) is None
    assert door.event(ended, 1) is None
    assert door.event(ended, 2) is None
    door.event(accepted, 3)
    door.event(failure, 400)
    assert door.event(ended, 3) == ("peer-3:1", failure, 400)
    door.event(accepted, 4)
    assert door.event(ended, 4) == ("peer-4:1", ended, 0)


def test_a_health_check_has_no_line_and_a_flood_of_them_a_sum(
    context: zmq.Context[zmq.Socket[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(context, [], KEY)
    caplog.set_level(logging.DEBUG)
    gate._refuse("10.0.0.1:5", zmq.EVENT_DISCONNECTED, 0)
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    for _ in range(LINES_PER_SECOND + 5):
        gate._refuse("10.0.0.1:5", zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, 32)
    gate.close()
    told = caplog.records[-1]
    assert (told.levelname, told.__dict__["event"]) == ("WARNING", "strangers_summed")
    assert told.args["count"] == 6  # type: ignore[index, call-overload]
