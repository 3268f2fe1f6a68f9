"""What a router tells Prometheus."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import control, control_coding
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.endpoints import endpoints
from cluster.process import usage
from cluster.router import metrics
from cluster.router.counters import REFUSALS
from cluster.router.metrics import RouterNumbers
from cluster.router.router import Router

ANY_PORT = "tcp://127.0.0.1:0"
WORKER = b"n/i/0/1"


def told(numbers: RouterNumbers) -> dict[str, float]:
    """Samples by name, with the reason behind a slash if there is one."""
    samples = [sample for family in numbers.collect() for sample in family.samples]
    return {
        "/".join([each.name.removeprefix("rtmp_cluster_router_"), *each.labels.values()]): each.value
        for each in samples
    }


def told_with(numbers: RouterNumbers, name: str) -> dict[str, float] | None:
    """All of them once there is one of this name. A worker that says nothing more is soon forgotten."""
    found = told(numbers)
    return found if found.get(name) else None


def test_what_it_counts_and_knows_is_told(eventually: Callable[..., Any]) -> None:
    with zmq.Context() as context, Router(ANY_PORT) as router, context.socket(zmq.DEALER) as worker:
        numbers = RouterNumbers(router)
        worker.routing_id = WORKER
        worker.linger = 0
        worker.rcvtimeo = 30_000
        worker.connect(endpoints(router.endpoint).control)
        worker.send_multipart(control_coding.encode(control.Hello("n", "i", 0, 1, False, {}, [], [])))
        worker.recv_multipart()
        worker.send_multipart(control_coding.encode(control.Watch("live/a")))
        found = eventually(lambda: told_with(numbers, "watched_keys"), "the watch")
    assert (found["workers"], found["streams"]) == (1, 0)
    assert (found["control_received_total"], found["control_sent_total"]) == (2, 1)
    assert found["control_malformed_total"] == found["peers_refused_total"] == 0


def test_a_stranger_at_the_gate_is_counted(eventually: Callable[..., Any]) -> None:
    with Router(ANY_PORT, key=ClusterKey(bytes(32))) as router:
        host, _, port = endpoints(router.endpoint).control.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        eventually(lambda: told(RouterNumbers(router))["peers_refused_total"] == 1, "the refusal")


def test_each_reason_of_the_registry_has_a_number_of_its_own() -> None:
    router = Router(ANY_PORT)
    for count, reason in enumerate(REFUSALS, 1):
        for _ in range(count):
            router._registry._refusals.note(reason, "n/i/0/1")
    numbers = told(RouterNumbers(router))
    assert [numbers[f"refused_total/{reason}"] for reason in REFUSALS] == [1, 2, 3, 4, 5, 6]


def test_its_process_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "lines_lost", lambda: 3)
    monkeypatch.setattr(usage, "memory_bytes", lambda: 1_000)
    monkeypatch.setattr(usage, "cpu_seconds", lambda: 2.5)
    numbers = told(RouterNumbers(Router(ANY_PORT)))
    assert numbers["log_lines_lost_total"] == 3
    assert (numbers["process_memory_bytes"], numbers["process_cpu_seconds_total"]) == (1_000, 2.5)


def test_streams_are_told_of_with_the_players_of_all_workers(eventually: Callable[..., Any]) -> None:
    with zmq.Context() as context, Router(ANY_PORT) as router, context.socket(zmq.DEALER) as worker:
        numbers = RouterNumbers(router)
        worker.routing_id = WORKER
        worker.linger = 0
        worker.connect(endpoints(router.endpoint).control)
        worker.send_multipart(control_coding.encode(control.Hello("n", "i", 0, 1, False, {}, [], [])))
        report = [StreamFacts("live/a", 3, "avc1", 8_000), StreamFacts("live/\udcff", 1, "", 0)]
        worker.send_multipart(control_coding.encode(control.Report(report)))
        found = eventually(lambda: told_with(numbers, "stream_players/live/a"), "the report")
    assert found["stream_players/live/a"] == 3
    assert found["stream_players/live/\ufffd"] == 1
    assert found["stream_bytes_per_second/live/a"] == 1_000
    assert found["stream_players/"] == found["streams_unlisted"] == 0
