"""What becomes of an order whose worker, or whose routers, are away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.api.asking import RouterAnswer
from cluster.api.orders import NoAnswer, NotThere, Orders
from cluster.api.round import Known, ask_routers
from cluster.core.bus.cluster_status import LOST, StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.questions import Done

HERE, GONE = "a/1f2e/0/1", "b/3d4c/0/1"
WORKERS = [WorkerStatus(HERE, False, 0, {}), WorkerStatus(GONE, False, 9_000, {LOST: 1.0})]
STATUS = ClusterStatus(WORKERS, [])


class FakeRouter:
    """Answers what it knows, which is nothing if it hangs."""

    def __init__(self, status: ClusterStatus | None, *, is_own: bool = False) -> None:
        self.is_own = is_own
        self._status = status

    async def status(self, timeout_s: float) -> RouterAnswer:
        return RouterAnswer("tcp://r:1936", self._status, 1.0)


def known(*routers: FakeRouter, own_knows_all: bool = False) -> Known:
    asked: Any = routers
    return asyncio.run(ask_routers(asked, own_knows_all=own_knows_all))


def given(found: Known, order: str, *arguments: Any) -> None:
    """The order, to a cluster of which that is known."""

    async def answer() -> Known:
        return found

    view: Any = SimpleNamespace(known=answer, routers=[])
    asyncio.run(getattr(Orders(view), order)(*arguments))


def test_a_nodes_own_router_alone_does_not_know_of_a_cluster() -> None:
    own, hung = FakeRouter(STATUS, is_own=True), FakeRouter(None)
    assert not known(own, hung).is_answered
    assert not known(own).is_answered  # the names of the others cannot be looked up
    assert known(own, FakeRouter(STATUS)).is_answered
    assert known(own, own_knows_all=True).is_answered
    assert not known(hung, own_knows_all=True).is_answered


ORDERS = [
    ("kick", "5e6f-0.1-3", ""), ("drain", "c", 60.0), ("undrain", "c"), ("reload", "c"),
]  # fmt: skip


@pytest.mark.parametrize(("order", "arguments"), [(each[0], each[1:]) for each in ORDERS])
def test_what_no_router_has_told_of_may_be_there(order: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NoAnswer, match="no router of the cluster answers"):
        given(known(FakeRouter(STATUS, is_own=True), FakeRouter(None)), order, *arguments)
    with pytest.raises(NotThere):
        given(known(FakeRouter(STATUS)), order, *arguments)


def test_no_key_is_closed_while_no_router_answers() -> None:
    with pytest.raises(NoAnswer, match="no router of the cluster answers"):
        given(known(FakeRouter(STATUS, is_own=True), FakeRouter(None)), "end_stream", "live/a", 10, "")


def test_a_publisher_that_has_just_come_is_ended_too() -> None:
    """It came after the routers were asked the last time, and before its key was closed."""
    stream = StreamStatus("live/a", 1, HERE, 0, "", 0, {})
    seen = [known(FakeRouter(STATUS)), known(FakeRouter(ClusterStatus(WORKERS, [stream])))]
    told = []

    class View:
        routers: tuple[FakeRouter, ...] = ()

        async def known(self) -> Known:
            return seen[0]

        def forget(self) -> None:
            seen[:] = seen[-1:]

    async def ask(self: Known, worker_id: str, question: Any, timeout_s: float) -> Done:
        told.append((worker_id, question.key))
        return Done(is_found=True)

    view: Any = View()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Known, "ask", ask)
        assert asyncio.run(Orders(view).end_stream("live/a", 10, ""))
    assert told == [(HERE, "live/a")]


def test_the_session_of_a_lost_worker_may_be_there() -> None:
    with pytest.raises(NoAnswer, match=f"worker {GONE} of session"):
        given(known(FakeRouter(STATUS)), "kick", "3d4c-0.1-7", "")
