"""Repeaters over real sockets: one subscription upstream for many, through everything a router can do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from cluster.bus import router_names
from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import bounds
from cluster.core.bus.endpoints import EndpointError, at_repeater, endpoints
from cluster.core.errors import EnvironmentFault
from cluster.router import repeater as repeater_module
from cluster.router.repeater import Repeaters
from cluster.router.router import Router
from support.cluster_process import free_router_address

ANY_PORT = "tcp://127.0.0.1:0"
PATIENCE_MS = 30_000
A, B = b"live/a\0", b"live/b\0"

Eventually = Callable[..., Any]
Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(0)


class Upstream:
    """The subscribe endpoint of a router, bare: it hears which subscriptions come, and how often."""

    def __init__(self, context: Context, base: str) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.rcvtimeo = PATIENCE_MS
        self.socket.xpub_verboser = True  # tells of repeated ones, too
        self.socket.bind(endpoints(base).subscribe)

    def heard(self, count: int) -> list[bytes]:
        return sorted(self.socket.recv() for _ in range(count))

    def is_silent(self) -> bool:
        return not self.socket.poll(100)


@pytest.fixture
def own_router(tmp_path: Path) -> str:
    """The address of the node's own router; nobody needs to be there."""
    return f"ipc://{tmp_path}/own"


def worker(context: Context, router: str, own_router: str, *topics: bytes) -> zmq.Socket[bytes]:
    """The SUB of a worker at the repeater of ``router``."""
    made = context.socket(zmq.SUB)
    made.rcvtimeo = PATIENCE_MS
    made.reconnect_ivl = 20
    made.connect(at_repeater(endpoints(router), own_router).subscribe)
    for each in topics:
        made.subscribe(each)
    return made


def flows(publisher: zmq.Socket[bytes], *workers: zmq.Socket[bytes]) -> Callable[[], bool]:
    """A probe: something is sent, and whether it has come to each of ``workers``."""

    def probe() -> bool:
        publisher.send_multipart([A, b"probe"])
        return all(each.poll(50) and each.recv_multipart() for each in workers)

    return probe


def drain(socket: zmq.Socket[bytes]) -> None:
    while socket.poll(50):
        socket.recv_multipart()


# ---- one for many ----------------------------------------------------------------------------


def test_one_subscription_and_one_copy_for_every_worker(
    context: Context, tmp_path: Path, own_router: str
) -> None:
    base = f"ipc://{tmp_path}/r"
    upstream = Upstream(context, base)
    with Repeaters([base], own_router, None):
        workers = [worker(context, base, own_router, A)]
        assert upstream.heard(1) == [b"\1" + A]
        workers += [worker(context, base, own_router, A) for _ in range(3)]
        workers.append(worker(context, base, own_router, B))
        assert upstream.heard(1) == [b"\1" + B], "those of the first topic are there already"
        upstream.socket.send_multipart([A, b"header", b"body"])
        for each in workers[:4]:
            assert each.recv_multipart() == [A, b"header", b"body"]
        for each in workers[:3]:
            each.close(0)
        assert upstream.is_silent(), "one is left"
        workers[3].unsubscribe(A)
        assert upstream.heard(1) == [b"\0" + A]
        upstream.socket.send_multipart([A, b"unwanted"])
        upstream.socket.send_multipart([B, b"wanted"])
        assert workers[4].recv_multipart() == [B, b"wanted"]
        assert upstream.is_silent()


def test_a_worker_that_does_not_read_costs_the_others_nothing(
    context: Context, tmp_path: Path, own_router: str
) -> None:
    base = f"ipc://{tmp_path}/r"
    upstream = Upstream(context, base)
    upstream.socket.sndhwm = 0
    body = bytes(60_000)
    with Repeaters([base], own_router, None):
        stuck, reads = (worker(context, base, own_router, A) for _ in range(2))
        stuck.rcvhwm = 1
        assert upstream.heard(1) == [b"\1" + A]
        for each in (stuck, reads):
            upstream.socket.send_multipart([A, b"first"])
            while each.recv_multipart() != [A, b"first"]:
                pass
        drain(stuck)
        count = 4 * bounds.DATA_HIGH_WATER_MARK
        for number in range(count):
            upstream.socket.send_multipart([A, b"%d" % number, body])
            while reads.recv_multipart()[1] != b"%d" % number:
                pass
        numbers = []
        while stuck.poll(200):
            numbers.append(stuck.recv_multipart()[1])
        assert 0 < len(numbers) < count, "it lost some, and has the others whole"


# ---- routers come and go ---------------------------------------------------------------------


def test_a_router_that_returns_hears_what_is_wanted_then(
    context: Context, tmp_path: Path, own_router: str
) -> None:
    base = f"ipc://{tmp_path}/r"
    with Repeaters([base], own_router, None):
        upstream = Upstream(context, base)
        first, second = worker(context, base, own_router, A, B), worker(context, base, own_router, A)
        assert upstream.heard(2) == [b"\1" + A, b"\1" + B]
        upstream.socket.send_multipart([A, b"1"])
        assert first.recv_multipart() == [A, b"1"]
        upstream.socket.close(0)
        first.unsubscribe(B)  # while it is away
        third = worker(context, base, own_router, b"live/c\0")
        again = Upstream(context, base)
        assert again.heard(2) == [b"\1" + A, b"\1live/c\0"]
        assert again.is_silent(), "nothing that nobody wants any more, and nothing twice"
        again.socket.send_multipart([A, b"2"])
        again.socket.send_multipart([b"live/c\0", b"3"])
        drained = [first.recv_multipart(), second.recv_multipart(), third.recv_multipart()]
        assert drained[0] == [A, b"2"]
        assert drained[2] == [b"live/c\0", b"3"]


@pytest.mark.parametrize("key", [None, ClusterKey(bytes(32))])
def test_a_router_killed_and_started_again(
    context: Context, own_router: str, eventually: Eventually, key: ClusterKey | None
) -> None:
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(Router(free_router_address(), key=key))
        base = router.endpoint
        stack.enter_context(Repeaters([base], own_router, key))
        workers = [worker(context, base, own_router, A) for _ in range(2)]
        publisher = context.socket(zmq.PUB)
        publisher.reconnect_ivl = 20
        if key is not None:
            key.secure_worker(publisher)
        publisher.connect(endpoints(base).publish)
        eventually(flows(publisher, *workers), "media at both")
        router.close()
        for each in workers:
            drain(each)
        stack.enter_context(Router(base, key=key))
        eventually(flows(publisher, *workers), "media at both again")


def test_a_repeater_that_was_refused_comes_back_once_it_is_let_in(
    context: Context, own_router: str, eventually: Eventually
) -> None:
    right, wrong = ClusterKey(b"1" * 32), ClusterKey(b"2" * 32)
    with contextlib.ExitStack() as stack:
        router = stack.enter_context(Router(free_router_address(), key=wrong))
        base = router.endpoint
        stack.enter_context(Repeaters([base], own_router, right))
        workers = [worker(context, base, own_router, A) for _ in range(2)]
        eventually(lambda: router._gate.refused >= 2, "it is refused, and tries again")
        router.close()
        stack.enter_context(Router(base, key=right))
        publisher = context.socket(zmq.PUB)
        right.secure_worker(publisher)
        publisher.connect(endpoints(base).publish)
        eventually(flows(publisher, *workers), "it is let in, and workers need do nothing")


def test_a_repeater_whose_proxy_failed_is_made_anew(
    context: Context, tmp_path: Path, own_router: str, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bounds, "REFUSED_RETRY_S", 0.05)
    base = f"ipc://{tmp_path}/r"
    upstream = Upstream(context, base)
    with Repeaters([base], own_router, None) as repeaters:
        made = worker(context, base, own_router, A)
        upstream.heard(1)
        failed = repeaters._repeaters[base]
        failed._proxy._failed = True
        eventually(lambda: repeaters._repeaters.get(base) not in (failed, None), "another one")
        eventually(flows(upstream.socket, made), "it works again")
        assert repeaters._repeaters[base].is_alive


def test_a_repeater_that_cannot_be_bound_now_is_tried_again(
    context: Context, tmp_path: Path, own_router: str, eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(bounds, "REFUSED_RETRY_S", 0.05)
    base = f"ipc://{tmp_path}/r"
    upstream = Upstream(context, base)
    with Repeaters([base], own_router, None) as repeaters:
        with monkeypatch.context() as broken:
            broken.setattr(repeater_module, "at_repeater", lambda *_: endpoints("ipc:///nowhere/at/all"))
            eventually(lambda: repeaters._repeaters[base].idle_s(0) == 0, "its connection")
            repeaters._repeaters[base].is_refused = True
            eventually(lambda: not repeaters._repeaters, "it is gone")
            eventually(lambda: caplog.records, "a line about it")
        eventually(flows(upstream.socket, worker(context, base, own_router, A)), "it works again")
    told = [record.getMessage() for record in caplog.records if "no repeater of" in record.getMessage()]
    assert len(told) == 1
    assert "cannot bind" in told[0]


# ---- routers by name -------------------------------------------------------------------------


def test_a_name_has_a_repeater_for_each_of_its_addresses(
    context: Context, own_router: str, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "RESOLVE_INTERVAL_S", 0.1)
    monkeypatch.setattr(bounds, "REFUSED_RETRY_S", 0.05)
    known = ["127.0.0.1"]

    async def addresses_of(_: str) -> list[str]:
        return list(known)

    monkeypatch.setattr(router_names, "addresses_of", addresses_of)
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(Router(ANY_PORT))
        port = one.endpoint.rpartition(":")[2]
        two = stack.enter_context(Router(f"tcp://127.0.0.2:{port}"))
        repeaters = stack.enter_context(Repeaters([f"tcp://routers.test:{port}"], own_router, None))
        there = {base: Path(at_repeater(endpoints(base), own_router).subscribe.removeprefix("ipc://"))
                 for base in (one.endpoint, two.endpoint)}  # fmt: skip
        assert there[one.endpoint].exists(), "from the beginning: workers look for it"
        assert not there[two.endpoint].exists()
        known[:] = ["127.0.0.2"]
        eventually(lambda: two.endpoint in repeaters._repeaters, "the second address")
        assert there[two.endpoint].exists()
        kept = repeaters._repeaters[one.endpoint]
        eventually(lambda: repeaters._repeaters[two.endpoint].idle_s(0) == 0, "its connection")
        assert repeaters._repeaters.get(one.endpoint) is kept, "gone from the name, and connected"
        one.close()
        eventually(lambda: not there[one.endpoint].exists(), "gone, and without a connection")
        assert repeaters._repeaters.keys() == {two.endpoint}


def test_a_path_that_is_too_long_for_repeaters(tmp_path: Path) -> None:
    with (
        pytest.raises(EndpointError, match="an ipc path has"),
        Repeaters(["tcp://127.0.0.1:1936"], f"ipc://{tmp_path}/{'x' * 80}", None),
    ):
        pass


def test_a_directory_that_is_not_there() -> None:
    with (
        pytest.raises(EnvironmentFault, match="cannot bind"),
        Repeaters(["tcp://127.0.0.1:1936"], "ipc:///nowhere/at/all", None),
    ):
        pass
