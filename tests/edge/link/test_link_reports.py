"""What workers report of their streams reaches every router: by their node, or by themselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus import bounds
from cluster.core.bus.cluster_status import StreamFacts
from cluster.core.bus.control import NodeReport, Report
from cluster.router import facts as facts_module
from cluster.router.repeater import Repeaters
from cluster.router.router import Router
from support.cluster_process import free_router_address
from support.routers import ANY_PORT, KEY, LinkedWorker, ScriptedRouter
from support.sockets import on_uvloop, until

NODE = "test-node/0a"


@pytest.fixture(autouse=True)
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the node; the workers here report as often as ``reporting`` has them."""
    monkeypatch.setattr(bounds, "REFUSED_RETRY_S", 0.05)
    monkeypatch.setattr(bounds, "REPORT_INTERVAL_S", 0.1)
    monkeypatch.setattr(facts_module, "REPORTS_FETCHED_S", 1.0)


@pytest.fixture
def own_address(tmp_path: Path) -> str:
    """Where a node's own router is."""
    return f"ipc://{tmp_path}/r"


def played(players: int) -> list[StreamFacts]:
    return [StreamFacts(KEY, players, "", 0)]


def known(router: Router) -> dict[str, int]:
    """The players of KEY by node, as this router has them."""
    return router._registry.facts.players().get(KEY, {})


def reporters(router: Router, node: str = NODE) -> set[str]:
    """Whose reports of a node this router has: workers', or the node's (an empty name)."""
    node_known = router._registry.facts._nodes.get(node)
    return set() if node_known is None else set(node_known.reports)


def node_said(router: Router, players: int) -> bool:
    """Whether the node has told of so many, and its workers have not."""
    return reporters(router) == {""} and known(router) == ({NODE: players} if players else {})


@contextlib.contextmanager
def a_node(address: str, key: ClusterKey | None, *routers: Router) -> Iterator[Router]:
    """The own router of a node, which tells ``routers`` what is reported there."""
    with (
        Router(address) as own,
        Repeaters([each.endpoint for each in routers], own.endpoint, key, own.node_reports),
    ):
        yield own


@contextlib.asynccontextmanager
async def reporting(
    routers: Sequence[str], *streams: list[StreamFacts], own_router: str | None = None,
    key: ClusterKey | None = None,
) -> AsyncIterator[list[LinkedWorker]]:  # fmt: skip
    """Workers of a node, each of which says of ``streams`` what it has, again and again."""
    workers = [
        LinkedWorker(routers, slot, own_router=own_router, key=key) for slot in range(len(streams))
    ]
    async with asyncio.TaskGroup() as tasks:
        for worker in workers:
            await worker.link.start()

        async def report() -> None:
            while True:
                for worker, facts in zip(workers, streams, strict=True):
                    worker.link.report(facts)
                await asyncio.sleep(0.02)

        task = tasks.create_task(report())
        try:
            yield workers
        finally:
            task.cancel()
            for worker in workers:
                await worker.link.close()


@pytest.mark.parametrize("key", [None, ClusterKey(bytes(32))])
def test_a_node_tells_every_router_and_its_workers_only_their_own(
    own_address: str, key: ClusterKey | None
) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            routers = [stack.enter_context(Router(ANY_PORT, key=key)) for _ in range(2)]
            own = stack.enter_context(a_node(own_address, key, *routers))
            names = [router.endpoint for router in routers]
            first, second = played(2), played(3)
            async with reporting(names, first, second, own_router=own.endpoint, key=key):
                for router in routers:
                    await until(lambda r=router: node_said(r, 5), "the players of both workers")
                second.clear()
                for router in routers:
                    await until(lambda r=router: node_said(r, 2), "those that are left")
                first.clear()
                for router in routers:
                    await until(lambda r=router: node_said(r, 0), "none are left")

    on_uvloop(main())


def test_a_router_that_is_restarted_is_told_again(own_address: str) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(free_router_address()))
            own = stack.enter_context(a_node(own_address, None, router))
            async with reporting([router.endpoint], played(2), played(3), own_router=own.endpoint):
                await until(lambda: node_said(router, 5), "the players")
                router.close()
                again = stack.enter_context(Router(router.endpoint))
                await until(lambda: node_said(again, 5), "the players again")

    on_uvloop(main())


def _fails_later(own: Router, has_ended: asyncio.Event) -> Callable[[], list[NodeReport] | None]:
    def fetch() -> list[NodeReport] | None:
        if has_ended.is_set():
            raise RuntimeError("as a bug would end the thread")
        return own.node_reports()

    return fetch


def test_workers_report_by_themselves_when_nobody_does_so_for_them(
    own_address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(ANY_PORT))
            own = stack.enter_context(Router(own_address))
            has_ended = asyncio.Event()
            fetch = _fails_later(own, has_ended)
            stack.enter_context(Repeaters([router.endpoint], own.endpoint, None, fetch))
            first = played(2)
            async with reporting([router.endpoint], first, played(3), own_router=own.endpoint) as workers:
                await until(lambda: node_said(router, 5), "the players")
                has_ended.set()
                await until(lambda: "no longer looked after" in caplog.text, "the end of the thread")
                ids = {worker.worker_id for worker in workers}
                await until(lambda: reporters(router) == ids, "by the workers")
                first.clear()
                await until(lambda: known(router) == {NODE: 3}, "what is true now")

    on_uvloop(main())


def test_workers_report_by_themselves_when_their_own_router_has_ended(own_address: str) -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router, a_node(own_address, None, router) as own:
            first = played(2)
            async with reporting([router.endpoint], first, played(3), own_router=own.endpoint) as workers:
                await until(lambda: node_said(router, 5), "the players")
                own.close()
                assert own.node_reports() is None
                ids = {worker.worker_id for worker in workers}
                await until(lambda: reporters(router) == ids, "by the workers")
                first.clear()
                await until(lambda: known(router) == {NODE: 3}, "what is true now")

    on_uvloop(main())


def test_a_worker_by_itself_reports_streams_always_and_none_once() -> None:
    async def main() -> None:
        base = free_router_address()
        router = ScriptedRouter(base)
        worker = LinkedWorker([base], 0)
        await worker.link.start()
        try:
            await until(lambda: worker.link.live_routers, "the router")
            for streams in ([], [], played(1), played(1), [], []):
                worker.link.report(streams)
            worker.link.watch("the last")
            await until(lambda: len(router.received) == 5, "what it says")
            reports = [message.streams for message in router.heard(Report) if isinstance(message, Report)]
            assert reports == [[], played(1), played(1), []]
        finally:
            await worker.link.close()
            await router.close()

    on_uvloop(main())
