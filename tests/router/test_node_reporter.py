"""What a node tells a router of its streams: again while there are some, and once that there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import bounds, control_coding
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import NodeReport
from cluster.core.bus.endpoints import Endpoints, endpoints
from cluster.router.node_reporter import NodeReporter, cut_to_fit

NODE = "node/i"
NONE = [NodeReport(NODE, [])]
SOME = [NodeReport(NODE, [StreamFacts("live/a", 3, "avc1", 8_000)])]
RIGHT, WRONG = ClusterKey(b"1" * 32), ClusterKey(b"2" * 32)

Eventually = Callable[..., Any]
Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.destroy(0)


@pytest.fixture
def router(tmp_path: Any) -> Endpoints:
    return endpoints(f"ipc://{tmp_path}/r")


class Listener:
    """The control endpoint of a router, bare."""

    def __init__(self, context: Context, endpoint: str, key: ClusterKey | None = None) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.rcvtimeo = 10_000
        if key is not None:
            key.secure_router(self.socket)
        self.socket.bind(endpoint)

    def heard(self) -> NodeReport:
        _, *frames = self.socket.recv_multipart()
        message = control_coding.decode(frames)
        assert isinstance(message, NodeReport)
        return message

    def is_silent(self) -> bool:
        return not self.socket.poll(100)


def bound_again(context: Context, endpoint: str, key: ClusterKey | None) -> Listener | None:
    """One at the place of another, which libzmq closes a moment later."""
    try:
        return Listener(context, endpoint, key)
    except zmq.ZMQError:
        return None


def tells(reporter: NodeReporter, listener: Listener, reports: list[NodeReport]) -> Callable[[], bool]:
    """A probe: whether ``reports`` are told, and have come; at once after another they may be left out."""

    def probe() -> bool:
        reporter.look()
        reporter.tell(reports)
        return bool(listener.socket.poll(20))

    return probe


def test_streams_are_told_again_and_again_and_none_once(
    context: Context, router: Endpoints, eventually: Eventually
) -> None:
    listener, reporter = Listener(context, router.control), NodeReporter(context, router, None)
    for reports in (NONE, SOME, SOME, NONE):
        eventually(tells(reporter, listener, reports), "a report")
        assert listener.heard() == reports[0]
        while listener.socket.poll(20):
            listener.heard()
    for _ in range(3):
        reporter.tell(NONE)
    assert listener.is_silent()
    reporter.close()


def test_that_there_are_none_is_told_again_when_the_router_may_know_better(
    context: Context, router: Endpoints, eventually: Eventually
) -> None:
    listener, reporter = Listener(context, router.control), NodeReporter(context, router, None)
    eventually(tells(reporter, listener, NONE), "a first report")
    assert listener.heard() == NONE[0]
    reporter.tell(None)
    assert listener.is_silent()
    eventually(tells(reporter, listener, NONE), "workers may have reported by themselves meanwhile")
    listener.socket.close(0)
    again = eventually(lambda: bound_again(context, router.control, None), "its place")
    eventually(tells(reporter, again, NONE), "over a new connection")
    reporter.close()


def test_a_router_that_does_not_read_has_few_reports_queued(
    context: Context, router: Endpoints, eventually: Eventually
) -> None:
    listener, reporter = Listener(context, router.control), NodeReporter(context, router, None)
    listener.socket.rcvhwm = 1
    eventually(tells(reporter, listener, NONE), "a first report")
    for _ in range(10_000):
        reporter.tell(SOME)  # and it waits for nobody
    reporter.close()


def test_a_router_that_is_gone_is_told_nothing(context: Context, router: Endpoints) -> None:
    reporter = NodeReporter(context, router, None)
    for _ in range(10):
        reporter.look()
        reporter.tell(SOME)
    listener = Listener(context, router.control)
    assert listener.is_silent(), "nothing has queued for it"
    reporter.close()


def test_one_that_was_refused_is_let_in_once_the_key_is_right(
    context: Context, eventually: Eventually
) -> None:
    listener = Listener(context, "tcp://127.0.0.1:*", WRONG)
    control = listener.socket.getsockopt_string(zmq.LAST_ENDPOINT)
    reporter = NodeReporter(context, Endpoints("", "", "", control), RIGHT)
    first = reporter._socket

    def is_refused() -> bool:
        reporter.look()
        return reporter._socket is not first

    eventually(is_refused, "a refusal")
    assert first.closed
    listener.socket.close(0)
    again = eventually(lambda: bound_again(context, control, RIGHT), "its port")
    eventually(tells(reporter, again, SOME), "it is let in")
    assert again.heard() == SOME[0]
    reporter.close()


def test_a_report_is_cut_to_fit_into_a_message() -> None:
    rows = [StreamFacts(f"live/{'x' * 1_000}{number}", 3, "avc1", 8_000) for number in range(2_000)]
    (cut,) = cut_to_fit([NodeReport(NODE, rows)])
    assert 0 < len(cut.streams) < len(rows)
    assert cut.streams == rows[: len(cut.streams)]
    (frame,) = control_coding.encode(cut)
    assert bounds.HELLO_PART_BYTES * 0.9 < len(frame) < bounds.MAX_CONTROL_BYTES
    assert cut_to_fit(SOME) == SOME
