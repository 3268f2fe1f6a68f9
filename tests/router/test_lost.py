"""The workers that a router has lost are told of until they are back."""

from __future__ import annotations

from cluster.core.bus.bounds import LOST_SHOWN_S, MAX_LOST_WORKERS, WORKER_TIMEOUT_S
from cluster.core.bus.cluster_status import LOST
from cluster.core.bus.control import ClusterStatus, Goodbye, StatusRequest
from cluster.core.bus.identity import WorkerIdentity
from cluster.router.lost import LostWorkers
from support.registry_harness import A, B, C, Harness


def lost(harness: Harness) -> dict[str, int]:
    """The lost workers that the status tells of, and for how long they were silent."""
    [(_, status)] = harness.says("somebody", StatusRequest())
    assert isinstance(status, ClusterStatus)
    return {each.worker_id: each.silent_ms for each in status.workers if LOST in each.load}


def test_who_falls_silent_or_cannot_be_reached_is_lost_and_who_says_goodbye_is_not() -> None:
    harness = Harness()
    assert lost(harness) == {}
    harness.says(A, Goodbye())
    harness.registry.drop_worker(B, harness.now, harness.wall_ms)
    harness.tick(WORKER_TIMEOUT_S + 0.1)
    assert lost(harness) == {B: 1_600, C: 1_600}


def test_who_comes_back_is_lost_no_more() -> None:
    harness = Harness()
    harness.tick(WORKER_TIMEOUT_S + 0.1)
    assert lost(harness).keys() == {A, B, C}
    harness.hello(A)
    harness.hello("node/i/1/2")  # another process in the place of B
    assert lost(harness).keys() == {C}
    harness.hello("node/other/0/1")  # the node was started anew
    assert lost(harness) == {}


def test_it_is_told_of_for_some_minutes() -> None:
    harness = Harness()
    harness.tick(WORKER_TIMEOUT_S + 0.1)
    harness.now += LOST_SHOWN_S - WORKER_TIMEOUT_S - 0.2
    assert len(lost(harness)) == 3
    harness.now += 0.2
    assert lost(harness) == {}


def test_of_too_many_the_first_is_forgotten() -> None:
    workers = LostWorkers()
    for slot in range(MAX_LOST_WORKERS + 1):
        workers.went(WorkerIdentity("n", "i", slot, 1), 0.0)
    rows = workers.rows(1.0)
    assert len(rows) == MAX_LOST_WORKERS
    assert rows[0].worker_id == "n/i/1/1"


def test_nothing_is_kept_of_those_who_are_back() -> None:
    workers = LostWorkers()
    lost = [WorkerIdentity("n", "i", slot, 1) for slot in range(3)] + [WorkerIdentity("o", "i", 0, 1)]
    for each in lost:
        workers.went(each, 0.0)
    for each in lost:
        workers.came(each)
    assert not workers._heard_at
    assert not workers._named
    workers.went(lost[0], 0.0)
    assert workers.rows(LOST_SHOWN_S) == []
    assert not workers._named
