"""The router over real sockets: its endpoints, its proxy, and what it makes of bad peers."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from cluster.core.bus import bounds, control, control_coding
from cluster.core.bus.endpoints import EndpointError, endpoints
from cluster.core.bus.probe import PROBE_TOPIC
from cluster.core.errors import EnvironmentFault, MisuseError
from cluster.router import router as router_module
from cluster.router.router import Router
from support.cluster_process import free_router_address

Eventually = Callable[..., Any]
ANY_PORT = "tcp://127.0.0.1:0"
PATIENCE_MS = 30_000


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(0)


def dealer(context: zmq.Context[zmq.Socket[bytes]], router: Router, name: bytes) -> zmq.Socket[bytes]:
    made = context.socket(zmq.DEALER)
    made.routing_id = name
    made.rcvtimeo = PATIENCE_MS
    made.connect(endpoints(router.endpoint).control)
    return made


def say(worker: zmq.Socket[bytes], message: control.ControlMessage) -> control.ControlMessage:
    """Send ``message`` and wait for the next answer."""
    worker.send_multipart(control_coding.encode(message))
    return control_coding.decode(worker.recv_multipart())


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


HELLO = control.Hello("n", "i", 0, 1, False, {}, [], [])


@pytest.mark.parametrize("kind", ["tcp", "ipv6", "ipc"])
def test_media_and_control_at_the_three_endpoints(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path, kind: str
) -> None:
    if kind == "ipv6" and not has_ipv6():
        pytest.skip("this host has no IPv6")
    bind = {"tcp": ANY_PORT, "ipv6": "tcp://[::1]:0", "ipc": f"ipc://{tmp_path}/r"}[kind]
    with Router(bind) as router:
        assert router.is_alive
        where = endpoints(router.endpoint)
        publisher, subscriber = context.socket(zmq.XPUB), context.socket(zmq.SUB)
        for made, endpoint in ((publisher, where.publish), (subscriber, where.subscribe)):
            made.rcvtimeo = PATIENCE_MS
            made.ipv6 = kind == "ipv6"
            made.connect(endpoint)
        subscriber.subscribe(b"live/a\0")
        # Demand crosses the proxy, and so does the router's own.
        assert {publisher.recv(), publisher.recv()} == {b"\1live/a\0", b"\1" + PROBE_TOPIC}
        publisher.send_multipart([b"live/ab\0", b"not this"])
        publisher.send_multipart([b"live/a\0", b"header", b"body"])
        assert subscriber.recv_multipart() == [b"live/a\0", b"header", b"body"]
        if kind != "ipv6":
            assert say(dealer(context, router, b"n/i/0/1"), HELLO) == control.Welcome()
            assert router.sizes()["workers"] == 1
    assert not router.is_alive


def test_bad_control_messages_are_counted(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with Router(ANY_PORT) as router:
        worker = dealer(context, router, b"n/i/0/1")
        for frames in ([b""], [b"\xc1"], [b"a", b"b", b"c"], [b"\x91\x01"]):
            worker.send_multipart(frames)
        assert say(worker, HELLO) == control.Welcome()
        assert router.counters["control_malformed"] == 4
        assert say(worker, control.Heartbeat()) == control.Heartbeat()


def test_a_name_that_is_no_text_is_only_a_name(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    with Router(ANY_PORT) as router:
        assert say(dealer(context, router, b"\xff/i/0/1"), control.Heartbeat()) == control.HelloWanted()


def test_a_worker_that_cannot_be_reached_is_dropped_at_once(
    context: zmq.Context[zmq.Socket[bytes]], eventually: object
) -> None:
    with Router(ANY_PORT) as router:
        origin, other = dealer(context, router, b"n/i/0/1"), dealer(context, router, b"n/i/1/1")
        hello = control.Hello("n", "i", 0, 1, False, {}, [("live/a", 5)], [])
        assert say(origin, hello) == control.Welcome()
        assert say(other, control.Hello("n", "i", 1, 1, False, {}, [], ["live/a"])) == control.Welcome()
        assert control_coding.decode(other.recv_multipart()) == control.StreamUp("live/a", 5, "n/i/0/1")
        origin.close(0)

        def asked() -> bool:
            # The router finds out when it has something to say to it; until then it is merely silent.
            other.send_multipart(control_coding.encode(control.SnapshotRequest("live/a", 1)))
            return bool(router.counters["control_unreachable"])

        eventually(asked, "the request cannot be passed on")  # type: ignore[operator]
        # Its watcher is told first; what was asked after that is answered with NoStream.
        assert control_coding.decode(other.recv_multipart()) == control.StreamDown("live/a", 5)


def test_a_silent_worker_is_dropped_by_the_clock(
    context: zmq.Context[zmq.Socket[bytes]], eventually: object
) -> None:
    with Router(ANY_PORT) as router:
        assert say(dealer(context, router, b"n/i/0/1"), HELLO) == control.Welcome()
        eventually(lambda: router.sizes()["workers"] == 0, "its heartbeats are missed")  # type: ignore[operator]


def test_nodes_that_share_a_name_are_told_of_in_one_line(
    context: zmq.Context[zmq.Socket[bytes]], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.__dict__.get("event") == "name_shared"]

    with Router(ANY_PORT) as router:
        nodes = {instance: dealer(context, router, f"n/{instance}/0/1".encode()) for instance in "ij"}
        for instance, node in nodes.items():
            assert say(node, dataclasses.replace(HELLO, instance=instance)) == control.Welcome()

        def both_beat() -> bool:
            for node in nodes.values():
                node.send_multipart(control_coding.encode(control.Heartbeat()))
            return bool(told())

        eventually(both_beat, "a line about it")
        for node in nodes.values():
            answer = control_coding.decode(node.recv_multipart())
            while not isinstance(answer, control.NameShared):
                answer = control_coding.decode(node.recv_multipart())
            assert answer == control.NameShared("n", ["i", "j"])
        assert [line.partition(":")[0] for line in told()] == [
            "2 nodes share the name n (instances i, j)"
        ]


def test_a_failed_registry_shows(
    context: zmq.Context[zmq.Socket[bytes]], eventually: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Router(ANY_PORT) as router:
        monkeypatch.setattr(router_module, "_wall_ms", lambda: 1 / 0)
        dealer(context, router, b"n/i/0/1").send_multipart(control_coding.encode(HELLO))
        eventually(lambda: not router.is_alive, "the router is seen to have failed")  # type: ignore[operator]


# ---- binding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_taken_port_is_named(offset: int) -> None:
    base = int(free_router_address().rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", base + offset)),
        pytest.raises(EnvironmentFault, match=f"cannot bind tcp://127.0.0.1:{base + offset}"),
    ):
        Router(f"tcp://127.0.0.1:{base}").start()


def test_port_0_gives_every_router_ports_of_its_own() -> None:
    with Router(ANY_PORT) as one, Router(ANY_PORT) as other:
        ports = [int(router.endpoint.rpartition(":")[2]) for router in (one, other)]
        assert abs(ports[0] - ports[1]) >= 3


@pytest.mark.parametrize("bind", ["r1:1936", "tcp://*:65534", "ipc://"])
def test_a_bad_address(bind: str) -> None:
    with pytest.raises(EndpointError):
        Router(bind).start()


@pytest.mark.parametrize("bind", ["tcp://192.0.2.1:0", "tcp://192.0.2.1:1936", "ipc:///nowhere/at/all"])
def test_an_address_that_is_not_ours(bind: str) -> None:
    with pytest.raises(EnvironmentFault, match="cannot bind"):
        Router(bind).start()


def test_a_path_whose_router_hangs_is_taken_and_not_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "r.pub")
    with contextlib.ExitStack() as stack:
        hangs = stack.enter_context(socket.socket(socket.AF_UNIX))
        hangs.bind(path)
        hangs.listen(0)
        with contextlib.suppress(BlockingIOError):
            for _ in range(10):  # until there is no room for more
                waits = stack.enter_context(socket.socket(socket.AF_UNIX))
                waits.setblocking(False)
                waits.connect(path)
        with pytest.raises(EnvironmentFault, match="it is taken"):
            Router(f"ipc://{tmp_path}/r").start()


def test_a_router_is_closed_more_than_once_and_started_once() -> None:
    router = Router(ANY_PORT)
    router.close()
    router = Router(ANY_PORT)
    router.start()
    with pytest.raises(MisuseError):
        router.start()
    router.close()
    router.close()


def test_a_flood_that_leaves_no_time_for_ticks_is_no_stall(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(router_module, "TICK_S", 0.01)
    monkeypatch.setattr(router_module, "_STALLED_S", 0.1)
    monkeypatch.setattr(Router, "_receive_all", lambda self, socket: False)
    with Router(ANY_PORT):
        time.sleep(0.3)
    told = [record for record in caplog.records if record.__dict__.get("event") == "router_stalled"]
    assert len(told) < 20, "at most one for each time at which this host had no CPU for it"


def test_its_ports_are_free_once_it_is_closed() -> None:
    with Router(free_router_address()) as router:
        endpoint = router.endpoint
    with Router(endpoint) as again:
        assert again.endpoint == endpoint


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:0", "ipc"])
def test_closing_does_not_wait_for_a_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bind: str
) -> None:
    monkeypatch.setattr(router_module, "TICK_S", 60.0)
    monkeypatch.setattr(router_module, "LOCAL_TICK_S", 60.0)
    router = Router(f"ipc://{tmp_path}/r" if bind == "ipc" else bind)
    router.start()
    started = time.monotonic()
    router.close()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("more", [0, 1])
def test_a_subscription_has_a_longest_topic(
    context: zmq.Context[zmq.Socket[bytes]], more: int
) -> None:
    """Every byte of it is a node in a trie. A larger one closes the connection that it came on."""
    with Router(ANY_PORT) as router:
        subscriber = context.socket(zmq.SUB)
        monitor = subscriber.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        subscriber.connect(endpoints(router.endpoint).subscribe)
        monitor.recv_multipart()
        # ZMTP 3.1 section 3.3.2: a command, its name after one byte of length.
        subscriber.subscribe(b"t" * (bounds.MAX_SUBSCRIPTION_BYTES - len("\x09SUBSCRIBE") + more))
        assert monitor.poll(PATIENCE_MS if more else 300) == (zmq.POLLIN if more else 0)
        subscriber.disable_monitor()
        monitor.close(0)
