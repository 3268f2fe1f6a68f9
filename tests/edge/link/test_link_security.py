"""Links with a cluster key, and without the right one."""

from __future__ import annotations

import contextlib

import pytest

from cluster.bus.cluster_key import ClusterKey
from cluster.bus.reach import Reach
from cluster.core.bus.control import Granted
from cluster.router.router import Router
from support.cluster_process import free_router_address
from support.routers import ANY_PORT, KEY, LinkedWorker, RunningPublisher, linked, live_pair, node_of
from support.sockets import on_uvloop, until


@pytest.mark.parametrize("nodes", [None, "ab"])
def test_everything_works_with_a_key(bind: str, nodes: str | None) -> None:
    key = ClusterKey(bytes(32))

    async def main() -> None:
        with Router(bind, key=key) as router:
            async with linked([router.endpoint], nodes=nodes, key=key) as (origin, player):
                await live_pair(origin, player)
                origin.append(KEY, 5)
                await until(lambda: len(player.played[KEY]) == 5, "its messages")

    on_uvloop(main())


def test_nodes_that_are_let_in_later_need_not_be_started_again() -> None:
    right, wrong = ClusterKey(b"1" * 32), ClusterKey(b"2" * 32)

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(free_router_address(), key=wrong))
            own = {node: stack.enter_context(node_of([router.endpoint], right)).endpoint for node in "ab"}
            workers = [
                LinkedWorker([router.endpoint], 0, key=right, node=node, own_router=own[node])
                for node in own
            ]
            for worker in workers:
                await worker.link.start()
            try:
                # Three sockets of a worker, and that of its repeater besides.
                await until(lambda: router._gate.refused >= 2 * 4, "attempts of both nodes")
                router.close()
                router = stack.enter_context(Router(router.endpoint, key=right))
                await until(lambda: router.sizes()["workers"] == 2, "both are let in")
                origin, player = workers
                await live_pair(origin, player)
                publisher = RunningPublisher(origin, KEY)
                await until(lambda: len(player.played[KEY]) > 50, "its messages")
                await publisher.stop()
            finally:
                for worker in workers:
                    await worker.link.close()

    on_uvloop(main())


@pytest.mark.parametrize(
    ("router_key", "worker_key", "why", "guess"),
    [
        (b"1", None, Reach.KEY_WANTED, Reach.NO_ROUTER),
        (b"1", b"2", Reach.KEY_WRONG, None),
        (None, b"1", Reach.KEY_NOT_WANTED, Reach.KEY_WRONG),
    ],
)
def test_a_worker_that_is_not_let_in_knows_why(
    router_key: bytes | None, worker_key: bytes | None, why: Reach, guess: Reach | None
) -> None:
    keys = [None if secret is None else ClusterKey(secret * 32) for secret in (router_key, worker_key)]

    async def main() -> None:
        with Router(ANY_PORT, key=keys[0]) as router:
            worker = LinkedWorker([router.endpoint], 0, key=keys[1])
            await worker.link.start()
            try:
                # Who is told to go before it has read what the router speaks can only guess why; it says
                # the key first.
                reasons = [why, *([guess] if guess else [])]
                told = [{router.endpoint: reason.why} for reason in reasons]
                await until(lambda: worker.link.router_troubles() in told, "the reason")
                await until(lambda: router._gate.refused >= 6, "attempts at all three sockets, again")
                assert worker.link.live_routers == []
                assert all(worker.link.router_troubles().values())
                assert isinstance(await worker.publish(KEY), Granted)  # its own
            finally:
                await worker.link.close()

    on_uvloop(main())
