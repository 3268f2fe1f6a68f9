"""A router sees how long media takes to it, and says so of each worker that publishes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from cluster.core.bus.bounds import PROBE_INTERVAL_S
from cluster.core.bus.cluster_status import UPLINK_S, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.probe import PROBE_TOPIC, Probe, encode_probe
from cluster.router import probes as probes_module
from cluster.router.probes import Probes
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, linked
from support.sockets import on_uvloop, until

A, B = "node/i/0/1", "node/i/1/1"


@pytest.fixture
def probes() -> Iterator[Probes]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield Probes(context, context.socket(zmq.XPUB))
    context.destroy(0)


def uplinks(probes: Probes, now: float) -> list[float | None]:
    status = ClusterStatus([WorkerStatus(each, False, 0, {"streams": 1}) for each in (A, B)], [])
    return [row.load.get(UPLINK_S) for row in probes.told(status, now).workers]


def test_the_median_of_a_workers_last_probes_is_told(probes: Probes) -> None:
    for crossed_ms in (900, 5, 30, 7, 9):
        probes.heard(encode_probe(Probe(A, 100_000_000 - crossed_ms * 1_000)), 100.0)
    assert uplinks(probes, 101.0) == [0.008, None]
    assert sum(probes.delays.numbers[1:]) == 5


def test_a_worker_that_publishes_no_more_has_no_delay(probes: Probes) -> None:
    probes.heard(encode_probe(Probe(A, 99_000_000)), 100.0)
    assert uplinks(probes, 109.0) == [1.0, None]
    assert uplinks(probes, 110.0) == [None, None]


def test_a_clock_that_is_a_little_ahead_makes_no_negative_time(probes: Probes) -> None:
    probes.heard(encode_probe(Probe(A, 100_001_000)), 100.0)
    assert uplinks(probes, 100.0) == [0.0, None]


def test_what_is_no_probe_is_ignored(probes: Probes) -> None:
    probes.heard(PROBE_TOPIC, 100.0)
    assert sum(probes.delays.numbers[1:]) == 0


def test_of_too_many_workers_the_one_that_was_silent_longest_is_forgotten(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes_module, "MAX_PROBED_WORKERS", 2)
    for worker in (A, B, A, "node/i/2/1"):
        probes.heard(encode_probe(Probe(worker, 99_000_000)), 100.0)
    assert uplinks(probes, 100.0) == [1.0, None]


def test_a_worker_that_publishes_sends_probes_and_another_none() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await origin.publish(KEY)
                player.play(KEY)
                await until(lambda: player.restarts, "the first snapshot")
                await until(lambda: PROBE_TOPIC in origin.link.output._subscribed, "the router's ears")
                origin.append(KEY, 5)
                await until(lambda: sum(router.publish_delays[1:]), "a probe")
                origin.append(KEY, 5)
                assert sum(router.publish_delays[1:]) == 1  # the next one PROBE_INTERVAL_S later
                assert PROBE_INTERVAL_S > 1
                assert list(router._probes._crossed) == [origin.worker_id]
                assert router.publish_delays[0] < 20
                assert not player.link.output._outlets[router.endpoint].has_sent

    on_uvloop(main())


def test_a_router_that_has_not_begun_has_seen_nothing() -> None:
    assert sum(Router(ANY_PORT).publish_delays) == 0
