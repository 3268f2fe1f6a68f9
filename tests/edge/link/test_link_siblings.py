"""Workers of one node: what one publishes the others play over the node's own router, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from cluster.core.bus import bounds
from cluster.core.bus.control import BUSY, Granted, Refused
from cluster.core.bus.envelope import topic
from cluster.router.repeater import Repeaters
from cluster.router.router import Router
from support.cluster_process import free_router_address
from support.routers import (
    ANY_PORT,
    KEY,
    LinkedWorker,
    RunningPublisher,
    flowing,
    linked,
    live_pair,
    node_of,
)
from support.sockets import on_uvloop, until


def numbers(player: LinkedWorker) -> list[int]:
    """The sequence numbers that were played."""
    return [int(payload.split()[1]) for payload in player.played[KEY]]


def is_whole(player: LinkedWorker) -> bool:
    """Nothing is missing, nothing came twice, and the player was moved once: when it joined."""
    follows = all(after == before + 1 for before, after in itertools.pairwise(numbers(player)))
    return follows and (player.restarts, player.gaps) == (1, 0)


def feed(worker: LinkedWorker) -> str:
    peer = worker.link.watches.feed(KEY)
    assert peer is not None
    return peer.name


async def plays_on(player: LinkedWorker, count: int = 50) -> None:
    played = len(player.played[KEY])
    await until(lambda: len(player.played[KEY]) > played + count, "playing goes on")


# ---- media -----------------------------------------------------------------------------------


def test_siblings_play_over_the_router_of_their_node_alone() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aa") as (origin, sibling):
                own = origin.link._own_router
                await live_pair(origin, sibling)
                assert feed(sibling) == own
                outlets = origin.link.output._outlets
                demand = origin.link.output._subscribed[topic(KEY)]
                await until(lambda: demand == [outlets[own]], "the overlap ends")
                sent = origin.counters.bus_envelopes_sent
                origin.append(KEY, 20)
                await until(lambda: len(sibling.played[KEY]) == 20, "every message")
                assert origin.counters.bus_envelopes_sent == sent + 20
                assert is_whole(sibling)
                assert router.sizes()["watched_keys"] == 1, "a later publisher elsewhere would be heard of"
                sibling.link.unwatch(KEY)
                await until(lambda: not origin.link.wanted(KEY), "demand ends")
                await until(lambda: router.sizes()["watched_keys"] == 0, "everywhere")

    on_uvloop(main())


def test_a_stream_leaves_its_node_once_whoever_plays_it() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aabbbc") as (origin, *players):
                await origin.publish(KEY)
                for player in players:
                    player.play(KEY)
                for player in players:
                    await until(lambda p=player: p.restarts, "the snapshot")
                outlets = origin.link.output._outlets
                demand = origin.link.output._subscribed[topic(KEY)]
                await flowing(origin, *players)
                await until(lambda: len(demand) == 2, "wanted by the sibling, and elsewhere")
                assert outlets[router.endpoint] in demand
                before = [(player.restarts, player.gaps) for player in players]
                sent = origin.counters.bus_envelopes_sent
                origin.append(KEY, 20)
                last = bytes(origin.logs[KEY][-1].payload)
                for player in players:
                    await until(lambda p=player: p.played[KEY][-1] == last, "every message")
                assert origin.counters.bus_envelopes_sent == sent + 2 * 20
                # A subscription that took longer than its player's snapshot has cost it a gap before.
                assert [(player.restarts, player.gaps) for player in players] == before
                total = len(origin.logs[KEY])
                assert all(numbers(player)[-20:] == list(range(total - 20, total)) for player in players)

    on_uvloop(main())


def test_siblings_do_not_notice_that_every_router_dies_and_returns() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            routers = [stack.enter_context(Router(free_router_address())) for _ in range(2)]
            names = [router.endpoint for router in routers]
            async with linked(names, nodes="aab") as (origin, sibling, elsewhere):
                await origin.publish(KEY)
                publisher = RunningPublisher(origin, KEY)
                for player in (sibling, elsewhere):
                    player.play(KEY)
                    await until(lambda p=player: p.restarts, "the snapshot")
                await plays_on(sibling)
                for router in routers:
                    router.close()
                await until(lambda: not origin.link.live_routers, "their death is noticed")
                await plays_on(sibling, 200)
                late = elsewhere.played[KEY][-1]
                assert sibling.played[KEY][-1] != late, "nothing comes to the other node"
                for name in names:
                    stack.enter_context(Router(name))
                await until(lambda: len(sibling.link.live_routers) == 2, "both are back")
                await plays_on(sibling, 200)
                assert feed(sibling) == sibling.link._own_router
                await until(lambda: elsewhere.played[KEY][-1] != late, "the other node goes on")
                await publisher.stop()
                assert is_whole(sibling)
                assert not any(event[0] == "down" for event in sibling.events)

    on_uvloop(main())


def test_without_the_router_of_their_node_siblings_play_over_the_others() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(ANY_PORT))
            own = stack.enter_context(node_of([router.endpoint]))
            origin, sibling = (
                LinkedWorker([router.endpoint], slot, own_router=own.endpoint) for slot in range(2)
            )
            for worker in (origin, sibling):
                await worker.link.start()
            try:
                origin.snapshot_messages = 10_000
                await live_pair(origin, sibling)
                publisher = RunningPublisher(origin, KEY)
                await plays_on(sibling)
                assert feed(sibling) == own.endpoint
                own.close()
                await until(lambda: feed(sibling) == router.endpoint, "its death is noticed")
                await plays_on(sibling)
                stack.enter_context(Router(own.endpoint))
                await until(lambda: feed(sibling) == own.endpoint, "its return, too")
                await plays_on(sibling)
                await publisher.stop()
                assert numbers(sibling) == sorted(set(numbers(sibling)))
                assert sibling.restarts == 1
                assert not any(event[0] == "down" for event in sibling.events)
            finally:
                for worker in (origin, sibling):
                    await worker.link.close()

    on_uvloop(main())


# ---- publishers move -------------------------------------------------------------------------


def test_a_publisher_moves_between_a_sibling_and_another_node() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aab") as (sibling, player, elsewhere):
                player.play(KEY)
                for origin in (elsewhere, sibling, elsewhere, sibling):
                    granted = await origin.publish(KEY, replace=True)
                    up = ("up", KEY, granted.epoch, origin.worker_id)
                    await until(lambda up=up: player.saw(*up), "the new origin")
                    played = len(player.played[KEY])
                    publisher = RunningPublisher(origin, KEY)
                    await until(lambda n=played: len(player.played[KEY]) > n + 100, "its messages")
                    await publisher.stop()
                    is_here = origin is sibling
                    assert feed(player) == (player.link._own_router if is_here else router.endpoint)
                restarts = player.restarts
                assert restarts == 4, "once for each publisher"
                assert player.gaps == 0

    on_uvloop(main())


def test_the_end_of_a_siblings_stream_is_told_once() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aa") as (origin, player):
                await live_pair(origin, player)
                own = player.link._own_router
                for _ in range(3):
                    await until(lambda: feed(player) == own, "the node's own router has told of it")
                    epoch = origin.epochs[KEY]
                    origin.link.unpublish(KEY, epoch)
                    await until(lambda e=epoch: player.saw("down", KEY, e), "its end")
                    granted = await origin.publish(KEY)
                    up = ("up", KEY, granted.epoch, origin.worker_id)
                    await until(lambda up=up: player.saw(*up), "up again")
                downs = [event for event in player.events if event[0] == "down"]
                assert len(downs) == 3

    on_uvloop(main())


# ---- who publishes ---------------------------------------------------------------------------


def test_the_routers_of_the_cluster_decide_who_publishes_while_one_of_them_lives() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aab") as (one, _, elsewhere):
                await elsewhere.publish(KEY)
                answer = await one.link.request_publish(KEY, replace=False)
                assert isinstance(answer, Refused), "the node's own router would not know better"
                assert answer.reason == BUSY

    on_uvloop(main())


def test_without_any_of_them_the_node_decides() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            router = stack.enter_context(Router(free_router_address()))
            async with linked([router.endpoint], nodes="aa") as (one, other):
                router.close()
                await until(lambda: not (one.link.live_routers or other.link.live_routers), "its death")
                asked_at = asyncio.get_running_loop().time()
                granted = await one.publish(KEY)
                assert asyncio.get_running_loop().time() - asked_at < bounds.GRANT_TIMEOUT_S + 20
                answer = await other.link.request_publish(KEY, replace=False)
                assert isinstance(answer, Refused), "two workers of one node do not both get a key"
                assert one.saw("contest", KEY, False)
                taken = await other.publish(KEY, replace=True)
                assert taken.epoch > granted.epoch
                again = stack.enter_context(Router(router.endpoint))
                await until(lambda: again.sizes()["workers"] == 2, "both tell the router that is back")
                await until(lambda: again.sizes()["streams"] == 1, "and what is published")
                answer = await one.link.request_publish(KEY, replace=False)
                assert isinstance(answer, Refused)

    on_uvloop(main())


def test_without_any_router_at_all_the_worker_decides() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            own = stack.enter_context(node_of(["tcp://127.0.0.1:1"]))
            worker = LinkedWorker(["tcp://127.0.0.1:1"], 0, own_router=own.endpoint)
            await worker.link.start()
            try:
                await until(lambda: worker.link.routers.live_own(), "its own router")
                assert worker.link.live_routers == []
                own.close()
                assert isinstance(await worker.publish(KEY), Granted)
            finally:
                await worker.link.close()

    on_uvloop(main())


# ---- routers by name -------------------------------------------------------------------------


def test_a_router_is_not_used_before_there_is_a_repeater_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams would move to it, and nothing come from there."""
    monkeypatch.setattr(bounds, "RESOLVE_INTERVAL_S", 0.05)

    async def main() -> None:
        with Router(ANY_PORT) as router, node_of([]) as own:
            name = router.endpoint.replace("127.0.0.1", "localhost")
            worker = LinkedWorker([name], 0, own_router=own.endpoint)
            resolved = 0
            found = worker.link._names._on_resolved

            def count(names: set[str]) -> None:
                nonlocal resolved
                resolved += 1
                found(names)

            worker.link._names._on_resolved = count
            await worker.link.start()
            try:
                await until(lambda: resolved > 3, "more than one look")
                assert worker.link.routers.cluster == {}
                worker.play(KEY)
                assert isinstance(await worker.publish("live/b"), Granted), "by the node's own"
                with Repeaters([router.endpoint], own.endpoint, None):
                    await until(lambda: worker.link.live_routers == [router.endpoint], "its repeater")
            finally:
                await worker.link.close()

    on_uvloop(main())
