"""Nodes that have one name: their workers exchange streams as those of any two nodes do."""

from __future__ import annotations

import contextlib

import pytest

from cluster.core.bus.control import BUSY, Refused
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, LinkedWorker, live_pair, node_of
from support.sockets import on_uvloop, until

OTHER_KEY = "live/b"


def test_namesakes_play_from_each_other_contest_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[str]:
        return [each.getMessage() for each in caplog.records if each.name == "cluster.edge.link.link"]

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(ANY_PORT))
            nodes = [
                [
                    LinkedWorker([router.endpoint], slot, node="host", instance=instance, own_router=own)
                    for slot in range(2)
                ]
                for instance in ("0a", "0b")
                for own in [stack.enter_context(node_of([router.endpoint])).endpoint]
            ]
            workers = [worker for node in nodes for worker in node]
            for worker in workers:
                await worker.link.start()
            try:
                for worker in workers:
                    await until(lambda w=worker: w.link.live_routers, "the router answers")
                (a, _), (b, other_b) = nodes
                await live_pair(a, b)
                await live_pair(b, a, OTHER_KEY)
                for origin, player, key in ((a, b, KEY), (b, a, OTHER_KEY)):
                    origin.append(key, 20)
                    await until(lambda p=player, k=key: len(p.played[k]) == 20, "all of it at the other")

                refused = await other_b.link.request_publish(KEY, replace=False)
                assert isinstance(refused, Refused)
                assert refused.reason == BUSY
                before = a.epochs[KEY]
                granted = await other_b.publish(KEY, replace=True)
                assert granted.epoch > before
                assert a.saw("contest", KEY, True)

                await until(lambda: len(told()) == 2, "a line from one worker of each node")
            finally:
                for worker in workers:
                    await worker.link.close()

    on_uvloop(main())
    for instance, line in zip(("0a", "0b"), sorted(told()), strict=True):
        assert line.startswith(f"2 nodes share the name host (this one is instance {instance}): ")
