"""Routers come and go under the links of workers."""

from __future__ import annotations

import asyncio
import contextlib
import functools

import pytest

from cluster.core.bus import bounds, placement
from cluster.core.bus import watch_budget as budget_module
from cluster.core.bus.control import Refused
from cluster.core.keys import MAX_KEY_BYTES
from cluster.router.router import Router
from support.cluster_process import free_router_address
from support.routers import ANY_PORT, KEY, LinkedWorker, RunningPublisher, linked, live_pair
from support.sockets import on_uvloop, until


def test_without_a_router_the_grant_is_local() -> None:
    async def main() -> None:
        with Router(free_router_address()) as router:
            endpoint = router.endpoint
        worker = LinkedWorker([endpoint], 0)
        await worker.link.start()
        try:
            loop = asyncio.get_running_loop()
            asked_at = loop.time()
            granted = await worker.publish(KEY)
            assert loop.time() - asked_at >= bounds.GRANT_TIMEOUT_S * 0.9, "it is waited for"
            await until(lambda: not worker.link.routers.may_answer(loop.time()), "it is given up")
            at_once = asyncio.ensure_future(worker.publish("live/at-once"))
            for _ in range(20):
                await asyncio.sleep(0)
            assert at_once.done(), "it is not waited for any more"
            busy = await worker.link.request_publish(KEY, replace=False)
            assert isinstance(busy, Refused)
            worker.yields = True
            again = await worker.publish(KEY)
            assert again.epoch > granted.epoch
            with Router(endpoint) as router:
                await until(lambda: router.sizes()["streams"] == 2, "they are announced later")
        finally:
            await worker.link.close()

    on_uvloop(main())


def test_a_router_killed_and_started_again_is_told_everything() -> None:
    async def main() -> None:
        with Router(free_router_address()) as router:
            endpoint = router.endpoint
            workers = [LinkedWorker([endpoint], slot) for slot in range(3)]
            for worker in workers:
                await worker.link.start()
            origin, player, late = workers
            await live_pair(origin, player)
            publisher = RunningPublisher(origin, KEY)
            await until(lambda: len(player.played[KEY]) > 50, "the stream is played")
        try:
            await until(lambda: not origin.link.live_routers and not player.link.live_routers, "its death")
            await until(lambda: not origin.link.wanted(KEY), "no demand without it")
            assert not any(event[0] == "down" for event in player.events)
            with Router(endpoint) as router:
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 50, "playing goes on by itself")
                whole = {"workers": 3, "streams": 1, "watched_keys": 1}
                await until(lambda: router.sizes() == whole, "it is whole again")
                assert isinstance(await late.link.request_publish(KEY, replace=False), Refused)
                late.play(KEY)
                await until(lambda: len(late.played[KEY]) > 50, "a new player finds the stream")
                await publisher.stop()
                sequence = [int(payload.split()[1]) for payload in player.played[KEY]]
                assert sequence == sorted(set(sequence))  # nothing came twice, nothing went back
                assert not any(event[0] == "down" for event in player.events)
                for worker in workers:
                    await worker.link.close()
        finally:
            for worker in workers:
                await worker.link.close()

    on_uvloop(main())


def test_a_stream_that_ended_while_the_router_was_away_goes_down() -> None:
    async def main() -> None:
        with Router(free_router_address()) as router:
            endpoint = router.endpoint
            origin, player = (LinkedWorker([endpoint], slot) for slot in range(2))
            await origin.link.start()
            await player.link.start()
            player.link.watch(KEY)
            granted = await origin.publish(KEY)
            await until(lambda: player.saw("up", KEY, granted.epoch, origin.worker_id), "stream up")
        try:
            await origin.link.close()
            assert not player.saw("down", KEY, granted.epoch)
            with Router(endpoint):
                await until(lambda: player.saw("down", KEY, granted.epoch), "nobody confirms it")
                await player.link.close()
        finally:
            await origin.link.close()
            await player.link.close()

    on_uvloop(main())


@pytest.mark.parametrize("nodes", [None, "ab"])
def test_one_of_two_routers_dies_and_returns(nodes: str | None) -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            both = [stack.enter_context(Router(free_router_address())) for _ in range(2)]
            routers = {router.endpoint: router for router in both}
            names = list(routers)
            async with linked(names, nodes=nodes) as (origin, player):
                for router in routers.values():
                    await until(lambda r=router: r.sizes()["workers"] == 2, "both know both workers")
                await live_pair(origin, player)
                for router in routers.values():
                    await until(lambda r=router: r.sizes()["streams"] == 1, "announced to every router")
                origin.snapshot_messages = 10_000
                publisher = RunningPublisher(origin, KEY)
                first, second = placement.rank(KEY, names)
                home = functools.partial(player.link.watches.feed, KEY)
                assert home().name == first
                await until(lambda: len(player.played[KEY]) > 20, "playing")

                routers[first].close()
                await until(lambda: player.link.live_routers == [second], "its death is noticed")
                assert home().name == second
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 20, "playing by the other")
                assert routers[second].sizes()["watched_keys"] == 1

                stack.enter_context(Router(first))
                await until(lambda: home().name == first, "home again")
                await until(lambda: routers[second].sizes()["watched_keys"] == 0, "the overlap ends")
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 20, "playing by the first")
                await publisher.stop()
                sequence = [int(payload.split()[1]) for payload in player.played[KEY]]
                assert sequence == sorted(set(sequence))
                assert player.restarts == 1  # what the death cost was filled from a snapshot
                assert not any(event[0] == "down" for event in player.events)

    on_uvloop(main())


def test_after_a_partition_the_higher_epoch_wins_and_the_loser_is_told() -> None:
    async def main() -> None:
        with Router(free_router_address()) as router:
            endpoint = router.endpoint
        workers = [LinkedWorker([endpoint], slot) for slot in range(2)]
        for worker in workers:
            await worker.link.start()
        try:
            loser, winner = workers
            lower = await loser.publish(KEY)
            higher = await winner.publish(KEY)
            assert higher.epoch > lower.epoch
            with Router(endpoint) as router:
                await until(lambda: loser.saw("revoked", KEY, lower.epoch), "the loser is told")
                await until(lambda: router.sizes()["workers"] == 2, "both are there")
                assert not any(event[0] == "revoked" for event in winner.events)
                assert isinstance(await loser.link.request_publish(KEY, replace=False), Refused)
        finally:
            for worker in workers:
                await worker.link.close()

    on_uvloop(main())


def test_a_message_lost_with_a_connection_is_said_again() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                granted = await origin.publish(KEY)
                await until(lambda: player.saw("up", KEY, granted.epoch, origin.worker_id), "stream up")
                peer = next(iter(origin.link.routers.cluster.values()))
                # As after a reconnect in between two heartbeats: sent, as far as the worker knows.
                del origin.link._origins.epochs[KEY]
                peer._sent += 1
                await until(lambda: player.saw("down", KEY, granted.epoch), "the counts differ: a hello")

    on_uvloop(main())


def test_a_router_that_returns_is_told_of_very_many_keys() -> None:
    """More than fit into one message that it reads."""
    keys = [f"{number:0{MAX_KEY_BYTES}}" for number in range(3_000)]

    async def main() -> None:
        with Router(free_router_address()) as router:
            address = router.endpoint
            async with linked([address]) as (origin, player):
                for number, key in enumerate(keys):
                    player.link.watch(key)
                    if number % 500 == 0:
                        await asyncio.sleep(0)
                await until(lambda: router.sizes()["watched_keys"] == len(keys), "all are watched")
                router.close()
                with Router(address) as again:
                    await until(lambda: again.sizes()["watched_keys"] == len(keys), "and again")
                    assert again.counters["control_malformed"] == 0
                    epoch = (await origin.publish(keys[-1])).epoch
                    await until(lambda: player.saw("up", keys[-1], epoch, origin.worker_id), "up")

    on_uvloop(main())


def test_a_key_too_many_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MAX_WATCHES", 2)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (_, player):
                for key in ("one", "two", "two", "three"):
                    player.link.watch(key)
                assert player.counters.watches_refused == 1
                player.link.unwatch("three")
                player.link.unwatch("one")
                player.link.watch("three")
                assert player.counters.watches_refused == 1
                await until(lambda: router.sizes()["watched_keys"] == 2, "both are watched")

    on_uvloop(main())
