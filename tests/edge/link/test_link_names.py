"""Routers by name: a name stands for a router at each of its addresses."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cluster.bus import router_names
from cluster.core.bus import bounds
from cluster.router.router import Router
from support.routers import KEY, LinkedWorker, RunningPublisher, linked, live_pair
from support.sockets import on_uvloop, until


@pytest.mark.parametrize("nodes", [None, "ab"])
def test_a_name_stands_for_a_router_at_each_of_its_addresses(
    monkeypatch: pytest.MonkeyPatch, nodes: str | None
) -> None:
    monkeypatch.setattr(bounds, "RESOLVE_INTERVAL_S", 0.05)
    known: list[str] = ["127.0.0.1"]

    async def addresses_of(host: str) -> list[str]:
        assert host == "routers.test"
        if not known:
            raise OSError("not found")
        return known

    monkeypatch.setattr(router_names, "addresses_of", addresses_of)

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(Router("tcp://127.0.0.1:0"))
            port = one.endpoint.rpartition(":")[2]
            two = Router(f"tcp://127.0.0.2:{port}")
            stack.callback(two.close)
            two.start()
            async with linked([f"tcp://routers.test:{port}"], nodes=nodes) as (origin, player):
                await live_pair(origin, player)
                publisher = RunningPublisher(origin, KEY)
                known.append("127.0.0.2")
                both = [one.endpoint, two.endpoint]
                await until(lambda: sorted(player.link.live_routers) == sorted(both), "the second address")
                await until(lambda: sorted(origin.link.live_routers) == sorted(both), "at the origin too")
                known.clear()  # the name server is away: nothing changes
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 50, "playing goes on")
                assert len(player.link.live_routers) == 2
                known.append("127.0.0.1")
                await until(lambda: len(player.played[KEY]) > played + 150, "gone from the name, but alive")
                assert len(player.link.live_routers) == 2
                two.close()
                await until(lambda: list(player.link.routers.cluster) == [one.endpoint], "gone, and dead")
                await until(lambda: two.endpoint not in origin.link.output._outlets, "no way to it")
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 50, "playing by the one left")
                await publisher.stop()
                sequence = [int(payload.split()[1]) for payload in player.played[KEY]]
                assert sequence == sorted(set(sequence))

    on_uvloop(main())


def test_a_name_that_nobody_knows_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "RESOLVE_INTERVAL_S", 0.05)
    known: list[str] = []
    asked = 0

    async def addresses_of(host: str) -> list[str]:
        nonlocal asked
        asked += 1
        if not known:
            raise OSError("not found")
        return known

    monkeypatch.setattr(router_names, "addresses_of", addresses_of)

    async def main() -> None:
        with Router("tcp://127.0.0.1:0") as router:
            name = f"tcp://routers.test:{router.endpoint.rpartition(':')[2]}"
            worker = LinkedWorker([name], 0)
            await worker.link.start()
            try:
                await worker.publish(KEY)  # by its own grant
                worker.play("live/other")
                await until(lambda: asked >= 3, "more than one look-up")
                assert worker.link.router_troubles() == {
                    name: "the name in --router cannot be looked up: not found"
                }
                known.append("127.0.0.1")
                await until(lambda: router.sizes()["streams"] == 1, "everything is told")
                assert router.sizes()["watched_keys"] == 1
                well = {router.endpoint: ""}
                await until(lambda: worker.link.router_troubles() == well, "its answer")
            finally:
                await worker.link.close()

    on_uvloop(main())


def test_ipv4_addresses_come_first() -> None:
    assert asyncio.run(router_names.addresses_of("127.0.0.1")) == ["127.0.0.1"]
    assert asyncio.run(router_names.addresses_of("::1")) == ["::1"]
    assert asyncio.run(router_names.addresses_of("localhost")) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"\w"):
        asyncio.run(router_names.addresses_of("name.invalid"))
