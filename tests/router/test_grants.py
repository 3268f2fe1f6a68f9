"""The registry above grants that answer later: nothing else waits, and what comes too late goes back."""

from __future__ import annotations

import threading

import pytest
import zmq

from cluster.core.bus import control_coding
from cluster.core.bus.bounds import GRANT_TIMEOUT_S, MAX_PENDING_CLAIMS, MAX_WAITING_PUBLISHERS
from cluster.core.bus.control import (
    BUSY,
    DRAINING,
    Contest,
    Contested,
    ContestReply,
    Goodbye,
    Granted,
    Heartbeat,
    Hello,
    Publish,
    Refused,
    Revoked,
    StreamDown,
    StreamUp,
    Unpublish,
    Watch,
)
from cluster.core.bus.leases import Holder, Lease
from cluster.router.memory_grants import MemoryGrants
from cluster.router.router import Router
from tests.support.registry_harness import KEY, A, B, C, Harness
from tests.support.slow_grants import SlowGrants

OTHER = "live/other"


@pytest.fixture
def grants() -> SlowGrants:
    return SlowGrants(KEY)


@pytest.fixture
def harness(grants: SlowGrants) -> Harness:
    return Harness(grants)


# ---- leases in memory ------------------------------------------------------------------------


def test_only_the_lease_that_stands_is_replaced_or_released() -> None:
    grants = MemoryGrants()
    changes: list[tuple[str, Lease | None]] = []
    answers: list[Lease | Holder] = []
    grants.watch(lambda key, lease: changes.append((key, lease)), lambda: None)
    grants.claim(KEY, A, 5, answers.append)
    first, second = Lease(KEY, A, 5), Lease(KEY, B, 6)
    grants.claim(KEY, B, 5, answers.append)
    grants.claim(KEY, B, 5, answers.append, replace=second)
    grants.claim(KEY, B, 5, answers.append, replace=first)
    assert answers == [first, Holder(first), Holder(first), second]
    grants.release(first)
    assert changes == [(KEY, first), (KEY, second)]
    grants.release(second)
    assert changes[2:] == [(KEY, None)]


# ---- answers that come later -----------------------------------------------------------------


def test_heartbeats_and_other_keys_go_on_meanwhile(grants: SlowGrants, harness: Harness) -> None:
    assert harness.publish(A) == []
    assert harness.says(A, Heartbeat(messages=1)) == [(A, Heartbeat())]
    assert grants.renewed == [A]
    assert harness.publish(B, OTHER) == [(B, Granted(OTHER, 1_000, 1))]
    harness.says(C, Watch(KEY))
    grants.answer(KEY)
    assert harness.settle() == [(C, StreamUp(KEY, 1_000, A)), (A, Granted(KEY, 1_000, 1, True))]


def test_who_asks_for_the_same_key_waits(grants: SlowGrants, harness: Harness) -> None:
    harness.publish(A)
    for number in range(MAX_WAITING_PUBLISHERS):
        assert harness.publish(B, request_id=number) == [(B, Contested(KEY, number))]
    assert harness.publish(B, request_id=99) == [(B, Refused(KEY, BUSY, 99))]
    grants.answer(KEY)
    assert harness.settle()[0] == (A, Granted(KEY, 1_000, 1))
    grants.answer(KEY)
    assert harness.settle() == [(B, Contested(KEY, 0)), (A, Contest(KEY, False, 1))]


def test_a_key_that_was_yielded_is_asked_for_again(grants: SlowGrants, harness: Harness) -> None:
    harness.publish(A)
    grants.answer(KEY)
    harness.settle()
    harness.publish(B)
    grants.answer(KEY)
    assert (A, Contest(KEY, False, 1)) in harness.settle()
    assert harness.says(A, ContestReply(KEY, 1, True)) == []
    assert harness.says(A, Unpublish(KEY, 1_000)) == [], "nobody watches"
    grants.answer(KEY)
    assert harness.settle() == [(B, Granted(KEY, 1_001, 1))]


def test_another_holder_than_the_one_who_yielded_is_asked(grants: SlowGrants, harness: Harness) -> None:
    harness.publish(A)
    grants.answer(KEY)
    harness.settle()
    harness.publish(B)
    grants.answer(KEY)
    harness.settle()
    harness.says(A, ContestReply(KEY, 1, True))
    grants.adopt(Lease(KEY, C, 2_000), lambda _: None)
    grants.answer(KEY)
    assert harness.settle() == [
        (A, Revoked(KEY, 1_000)),
        (B, Contested(KEY, 1)),
        (C, Contest(KEY, False, 2)),
    ]


def test_a_late_lease_of_a_worker_that_has_gone_is_given_back(grants: SlowGrants, harness: Harness) -> None:
    harness.publish(A)
    harness.publish(B, request_id=2)
    harness.says(C, Watch(KEY))
    harness.says(A, Goodbye())
    grants.answer(KEY)
    assert harness.settle() == [(C, StreamUp(KEY, 1_000, A)), (C, StreamDown(KEY, 1_000))]
    grants.answer(KEY)
    assert harness.settle()[-1] == (B, Granted(KEY, 1_001, 2, True)), "who waited behind it"


def test_a_late_lease_of_a_worker_that_drains_is_given_back(grants: SlowGrants, harness: Harness) -> None:
    harness.publish(A)
    harness.says(A, Heartbeat(draining=True))
    grants.answer(KEY)
    assert harness.settle() == [(A, Refused(KEY, DRAINING, 1))]
    assert harness.registry.sizes()["streams"] == 0


def test_a_claim_is_forgotten_and_its_lease_given_back(grants: SlowGrants, harness: Harness) -> None:
    """The worker has become the origin by itself meanwhile, or through another router."""
    harness.publish(A)
    harness.tick(GRANT_TIMEOUT_S - 0.001)
    assert harness.publish(B) == [(B, Contested(KEY, 1))], "not yet"
    assert harness.tick(0.002) == []
    assert harness.publish(B) == [], "asks the grants"
    grants.answer(KEY)
    assert harness.settle() == []
    assert harness.registry.sizes()["streams"] == 0
    grants.answer(KEY)
    assert harness.settle() == [(B, Granted(KEY, 1_001, 1))]


def test_so_many_claims_are_pending() -> None:
    keys = [f"live/{number}" for number in range(MAX_PENDING_CLAIMS + 1)]
    grants = SlowGrants(*keys)
    harness = Harness(grants)
    for key in keys[:-1]:
        assert harness.publish(A, key) == []
    assert harness.publish(A, keys[-1]) == [(A, Refused(keys[-1], BUSY, 1))]
    grants.answer(keys[0])
    assert harness.settle() == [(A, Granted(keys[0], 1_000, 1))]
    assert harness.publish(A, keys[-1]) == [], "there is room again"


# ---- through a router ------------------------------------------------------------------------


def test_an_answer_from_another_thread_wakes_the_router() -> None:
    grants = SlowGrants(KEY)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, Router("tcp://127.0.0.1:0", grants=grants) as router:
        host, port = router.endpoint.rsplit(":", 1)
        with context.socket(zmq.DEALER) as worker:
            worker.linger, worker.rcvtimeo = 0, 5_000
            worker.routing_id = A.encode()
            worker.connect(f"{host}:{int(port) + 2}")
            for message in (
                Hello("node", "i", 0, 1, False, {}, [], []),
                Publish(KEY, False, 1),
                Heartbeat(messages=1),
                Publish(OTHER, False, 2),
            ):
                worker.send_multipart(control_coding.encode(message))
            answers = [control_coding.decode(worker.recv_multipart()) for _ in range(3)]
            assert [type(each) for each in answers[1:]] == [Heartbeat, Granted]
            thread = threading.Thread(target=grants.answer, args=(KEY,))
            thread.start()
            thread.join()
            granted = control_coding.decode(worker.recv_multipart())
            assert isinstance(granted, Granted)
            assert (granted.key, granted.request_id) == (KEY, 1)
