"""The link of a worker and a real router, over real sockets, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from link_support import LinkedWorker, RunningPublisher, ScriptedRouter, media
from zmq_support import on_asyncio, on_uvloop, until

from cluster import router_names
from cluster.cluster_key import ClusterKey
from cluster.core.bus import bounds, placement
from cluster.core.bus.control import (
    BUSY,
    DRAINING,
    Announce,
    Contest,
    Contested,
    Granted,
    Publish,
    Refused,
    Unpublish,
)
from cluster.core.bus.endpoints import EndpointError
from cluster.router.router import Router

KEY = "live/a"
ANY_PORT = "tcp://127.0.0.1:0"


@contextlib.asynccontextmanager
async def linked(routers: list[str], count: int = 2) -> AsyncIterator[list[LinkedWorker]]:
    """``count`` workers whose links know every router in ``routers``."""
    workers = [LinkedWorker(routers, slot) for slot in range(count)]
    for worker in workers:
        await worker.link.start()
    try:
        for worker in workers:
            await until(lambda w=worker: len(w.link.live_routers) == len(routers), "every router answers")
        yield workers
    finally:
        for worker in workers:
            await worker.link.close()


@pytest.fixture(params=["tcp", "ipc"])
def bind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ANY_PORT if request.param == "tcp" else f"ipc://{tmp_path}/r"


async def _live_pair(origin: LinkedWorker, player: LinkedWorker, key: str = KEY) -> None:
    """``origin`` publishes ``key`` and ``player`` plays it, as far as the first snapshot."""
    await origin.publish(key)
    player.play(key)
    await until(lambda: player.restarts, "the first snapshot")
    await until(lambda: origin.link.wanted(key), "demand at the origin")


# ---- media -----------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [on_uvloop, on_asyncio])
def test_an_envelope_crosses_only_when_wanted(bind: str, run: object) -> None:
    async def main() -> None:
        with Router(bind) as router:
            async with linked([router.endpoint]) as (origin, player):
                await origin.publish(KEY)
                origin.append(KEY, 5)
                assert not origin.link.wanted(KEY)
                assert origin.counters.bus_envelopes_sent == 0
                player.play(KEY)
                await until(lambda: player.restarts, "the first snapshot")
                origin.append(KEY, 5)
                await until(lambda: len(player.played[KEY]) == 10, "snapshot and live messages")
                assert origin.counters.bus_envelopes_sent == 5
                assert origin.counters.bus_messages_sent == 5
                sizes = [len(media(seq).payload) for seq in range(5, 10)]
                assert origin.counters.bus_bytes_sent == sum(sizes)
                assert player.counters.bus_envelopes_received == 5
                player.link.unwatch(KEY)
                await until(lambda: origin.saw("demand", KEY, False), "demand ends")
                origin.append(KEY, 5)
                assert origin.counters.bus_envelopes_sent == 5

    run(main())  # type: ignore[operator]


def test_an_envelope_crosses_once_for_each_worker_that_plays() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 4) as (origin, first, second, idle):
                await origin.publish(KEY)
                for player in (first, second):
                    player.play(KEY)
                    await until(lambda p=player: p.restarts, "the snapshot")
                origin.append(KEY, 20)
                for player in (first, second):
                    await until(lambda p=player: len(p.played[KEY]) == 20, "every message")
                assert origin.counters.bus_envelopes_sent == 20
                received = [w.counters.bus_envelopes_received for w in (first, second, idle, origin)]
                assert received == [20, 20, 0, 0]

    on_uvloop(main())


def test_a_key_that_is_the_beginning_of_another() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await _live_pair(origin, player, "live/a")
                await origin.publish("live/ab")
                origin.append("live/ab", 3)
                assert not origin.link.wanted("live/ab")
                await origin.publish("live/")
                assert not origin.link.wanted("live/")
                origin.append("live/a", 1)
                await until(lambda: player.envelopes, "the one that is played")
                assert {envelope.key for envelope in player.envelopes} == {"live/a"}

    on_uvloop(main())


def test_snapshot_and_live_messages_join_without_gap_or_double_under_a_running_publisher() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 5) as (origin, *players):
                await origin.publish(KEY)
                publisher = RunningPublisher(origin, KEY)
                for joined, player in enumerate(players, 1):
                    await until(lambda n=joined: len(origin.logs[KEY]) >= 30 * n, "the stream goes on")
                    player.play(KEY)
                for player in players:
                    await until(lambda p=player: len(p.played[KEY]) > 100, "the stream is played")
                await publisher.stop()
                last = bytes(origin.logs[KEY][-1].payload)
                for player in players:
                    await until(lambda p=player: p.played[KEY][-1] == last, "the last message")
                    first_seq = int(player.played[KEY][0].split()[1])
                    expected = [bytes(message.payload) for message in origin.logs[KEY][first_seq:]]
                    assert player.played[KEY] == expected
                    assert (player.restarts, player.gaps) == (1, 0)

    on_uvloop(main())


def test_a_worker_never_hears_its_own_envelopes() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                origin.play(KEY)  # before it publishes: it is subscribed then
                await _live_pair(origin, player)
                origin.append(KEY, 3)
                await until(lambda: len(player.played[KEY]) == 3, "the other worker hears them")
                assert origin.envelopes == []
                player.link.unwatch(KEY)
                await until(lambda: not origin.link.wanted(KEY), "no demand is left: not its own either")
                origin.link.unpublish(KEY, origin.epochs.pop(KEY))
                epoch = (await player.publish(KEY)).epoch
                await until(lambda: origin.saw("up", KEY, epoch, player.worker_id), "it watches again")
                player.append(KEY, 3)
                await until(lambda: len(origin.played[KEY]) == 3, "and plays again")

    on_uvloop(main())


def test_a_snapshot_is_not_held_back_for_ever() -> None:
    """No demand is ever seen (the asker does not subscribe): it comes after the hold all the same."""

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await origin.publish(KEY)
                player.link.watch(KEY)
                await until(lambda: origin.link.wanted(KEY), "demand at the origin")
                origin.link._output._demands.clear()  # as if the subscription were still on its way
                player.link.request_snapshot(KEY)
                loop = asyncio.get_running_loop()
                asked_at = loop.time()
                await until(lambda: player.saw("snapshot", KEY, 0), "the snapshot")
                assert loop.time() - asked_at > bounds.SNAPSHOT_HOLD_S * 0.9

    on_uvloop(main())


def test_a_full_queue_drops_whole_envelopes_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "DATA_HIGH_WATER_MARK", 10)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await _live_pair(origin, player)
                payload = media(0)._replace(payload=bytes(200_000))
                for seq in range(2_000):  # the loop does not turn: nobody reads
                    origin.link.publish(KEY, origin.epochs[KEY], seq, [payload])
                sent, dropped = origin.counters.bus_envelopes_sent, origin.counters.bus_envelopes_dropped
                assert dropped > 0
                assert sent + dropped == 2_000
                origin.logs[KEY] = [media(seq) for seq in range(2_000)]
                origin.append(KEY)

                def made_whole() -> bool:
                    origin.append(KEY)
                    return player.played[KEY][-1:] == [bytes(origin.logs[KEY][-2].payload)]

                await until(made_whole, "the gap is seen and a snapshot makes the stream whole")
                assert player.gaps > 0

    on_uvloop(main())


# ---- who publishes ---------------------------------------------------------------------------


def test_watchers_hear_of_publishers() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                granted = await origin.publish(KEY)
                await until(lambda: player.saw("up", KEY, granted.epoch, origin.worker_id), "stream up")
                origin.link.unpublish(KEY, granted.epoch)
                await until(lambda: player.saw("down", KEY, granted.epoch), "stream down")
                again = await origin.publish(KEY)
                assert again.epoch > granted.epoch
                await until(lambda: player.saw("up", KEY, again.epoch, origin.worker_id), "up again")

    on_uvloop(main())


def test_an_origin_that_keeps_its_publisher() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, other):
                await origin.publish(KEY)
                answer = await other.link.request_publish(KEY, replace=False)
                assert isinstance(answer, Refused)
                assert answer.reason == BUSY
                assert origin.saw("contest", KEY, False)
                own = await origin.link.request_publish(KEY, replace=False)
                assert isinstance(own, Refused)

    on_uvloop(main())


@pytest.mark.parametrize("same_worker", [False, True])
def test_an_origin_that_yields(same_worker: bool) -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 3) as (origin, other, player):
                player.play(KEY)
                before = await origin.publish(KEY)
                requester = origin if same_worker else other
                after = await requester.publish(KEY, replace=True)
                assert after.epoch > before.epoch
                assert origin.saw("contest", KEY, True)
                up = ("up", KEY, after.epoch, requester.worker_id)
                await until(lambda: player.saw(*up), "the new origin")
                requester.append(KEY, 3)
                await until(lambda: len(player.played[KEY]) == 3, "its messages")
                assert not origin.saw("revoked", KEY, before.epoch)

    on_uvloop(main())


def test_an_origin_that_does_not_answer_yields() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, other):
                await origin.publish(KEY)
                del origin.link._reactions[Contest]
                answer = await other.link.request_publish(KEY, replace=False)
                assert isinstance(answer, Granted)
                await until(lambda: any(e[0] == "revoked" for e in origin.events), "it is told")

    on_uvloop(main())


def test_a_draining_worker_is_granted_nothing() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, _):
                origin.link.set_draining()
                answer = await origin.link.request_publish(KEY, replace=True)
                assert answer == Refused(KEY, DRAINING, 0)

    on_uvloop(main())


def test_a_request_given_up_leaves_no_stream_behind() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                request = asyncio.ensure_future(origin.link.request_publish(KEY, replace=False))
                await asyncio.sleep(0)  # it has been sent
                request.cancel()
                await until(lambda: any(e[0] == "down" for e in player.events), "granted, and given back")
                assert router.sizes()["streams"] == 0
                assert isinstance(await player.link.request_publish(KEY, replace=False), Granted)

    on_uvloop(main())


def test_a_lost_worker_takes_its_streams_down() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                granted = await origin.publish(KEY)
                await until(lambda: player.saw("up", KEY, granted.epoch, origin.worker_id), "stream up")
                origin.link._timer.cancel()  # type: ignore[union-attr]  # it hangs: no heartbeat, no goodbye
                await until(lambda: player.saw("down", KEY, granted.epoch), "its heartbeats are missed")
                assert router.sizes()["workers"] == 1
                origin.link._tick()
                await until(
                    lambda: player.events.count(("up", KEY, granted.epoch, origin.worker_id)) == 2,
                    "it goes on, and says everything again",
                )

    on_uvloop(main())


def test_a_worker_started_again_in_its_slot_replaces_the_dead_one_at_once() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                granted = await origin.publish(KEY)
                origin.link._timer.cancel()  # type: ignore[union-attr]
                loop = asyncio.get_running_loop()
                started_at = loop.time()
                successor = LinkedWorker([router.endpoint], 0, incarnation=2)
                await successor.link.start()
                try:
                    await until(lambda: player.saw("down", KEY, granted.epoch), "the old one is dropped")
                    assert loop.time() - started_at < bounds.WORKER_TIMEOUT_S
                finally:
                    await successor.link.close()

    on_uvloop(main())


@contextlib.asynccontextmanager
async def scripted(directory: Path) -> AsyncIterator[tuple[ScriptedRouter, LinkedWorker]]:
    base = f"ipc://{directory}/s"
    router, worker = ScriptedRouter(base), LinkedWorker([base], 0)
    await worker.link.start()
    try:
        await until(lambda: worker.link.live_routers, "the router answers")
        yield router, worker
    finally:
        await worker.link.close()
        await router.close()


def test_a_grant_that_comes_too_late_gives_way_to_a_higher_local_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(tmp_path) as (router, worker):
            granted = await worker.publish(KEY)
            await until(lambda: router.heard(Announce), "announced")
            request = router.heard(Publish)[0]
            assert isinstance(request, Publish)
            router.say(Granted(KEY, granted.epoch - 1, request.request_id))
            await until(lambda: router.heard(Announce) == [Announce(KEY, granted.epoch)] * 2, "insisted on")
            assert not worker.events

    on_uvloop(main())


def test_a_grant_that_comes_too_late_and_is_higher_ends_the_local_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(tmp_path) as (router, worker):
            granted = await worker.publish(KEY)
            request = router.heard(Publish)[0]
            assert isinstance(request, Publish)
            higher = granted.epoch + 1
            router.say(Granted(KEY, higher, request.request_id))
            await until(lambda: worker.saw("revoked", KEY, granted.epoch), "the publisher is ended")
            await until(lambda: router.heard(Unpublish) == [Unpublish(KEY, higher)], "given back")

    on_uvloop(main())


def test_a_contested_request_waits_longer_than_for_a_silent_router(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(tmp_path) as (router, worker):
            answer = asyncio.ensure_future(worker.link.request_publish(KEY, replace=False))
            await until(lambda: router.heard(Publish), "the request")
            request = router.heard(Publish)[0]
            assert isinstance(request, Publish)
            router.say(Contested(KEY, request.request_id))
            loop = asyncio.get_running_loop()
            later = loop.time() + bounds.GRANT_TIMEOUT_S * 1.5
            await until(lambda: loop.time() > later, "more than the grant timeout")
            assert not answer.done()
            router.say(Refused(KEY, BUSY, request.request_id))
            assert await answer == Refused(KEY, BUSY, request.request_id)
            again = asyncio.ensure_future(worker.link.request_publish(KEY, replace=False))
            await until(lambda: len(router.heard(Publish)) == 2, "the second request")
            router.say(Contested(KEY, request.request_id + 1))
            assert isinstance(await again, Granted)  # a router that falls silent even then

    on_uvloop(main())


# ---- routers come and go ---------------------------------------------------------------------


def test_without_a_router_the_grant_is_local() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            endpoint = router.endpoint
        worker = LinkedWorker([endpoint], 0)
        await worker.link.start()
        try:
            loop = asyncio.get_running_loop()
            asked_at = loop.time()
            granted = await worker.publish(KEY)
            assert loop.time() - asked_at < bounds.GRANT_TIMEOUT_S + 0.5
            busy = await worker.link.request_publish(KEY, replace=False)
            assert isinstance(busy, Refused)
            worker.yields = True
            again = await worker.publish(KEY)
            assert again.epoch > granted.epoch
            with Router(endpoint) as router:
                await until(lambda: router.sizes()["streams"] == 1, "it is announced later")
        finally:
            await worker.link.close()

    on_uvloop(main())


def test_a_router_killed_and_started_again_is_told_everything() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            endpoint = router.endpoint
            workers = [LinkedWorker([endpoint], slot) for slot in range(3)]
            for worker in workers:
                await worker.link.start()
            origin, player, late = workers
            await _live_pair(origin, player)
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
        with Router(ANY_PORT) as router:
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


def test_one_of_two_routers_dies_and_returns() -> None:
    async def main() -> None:
        with contextlib.ExitStack() as stack:
            routers = {r.endpoint: r for r in (stack.enter_context(Router(ANY_PORT)) for _ in range(2))}
            names = list(routers)
            async with linked(names) as (origin, player):
                for router in routers.values():
                    await until(lambda r=router: r.sizes()["workers"] == 2, "both know both workers")
                await _live_pair(origin, player)
                for router in routers.values():
                    await until(lambda r=router: r.sizes()["streams"] == 1, "announced to every router")
                origin.snapshot_messages = 10_000
                publisher = RunningPublisher(origin, KEY)
                first, second = placement.rank(KEY, names)
                home = functools.partial(player.link._watches.feed, KEY)
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
        with Router(ANY_PORT) as router:
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
                peer = next(iter(origin.link._routers.cluster.values()))
                # As after a reconnect in between two heartbeats: sent, as far as the worker knows.
                del origin.link._origins.epochs[KEY]
                peer._sent += 1
                await until(lambda: player.saw("down", KEY, granted.epoch), "the counts differ: a hello")

    on_uvloop(main())


def test_a_router_that_takes_nothing_does_not_stop_the_media_through_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "DATA_HIGH_WATER_MARK", 10)

    async def main() -> None:
        with contextlib.ExitStack() as stack:
            names = [stack.enter_context(Router(ANY_PORT)).endpoint for _ in range(2)]
            stuck, well = names
            some = [f"live/{number}" for number in range(99)]
            at = {placement.first(key, names): key for key in some}
            keys = {name: at[name] for name in names}
            async with linked(names) as (origin, player):
                for key in keys.values():
                    await _live_pair(origin, player, key)
                outlet = origin.link._output._outlets[stuck]
                monkeypatch.setattr(outlet, "send", lambda topic, header, body: False)
                origin.append(keys[stuck], 20)
                origin.append(keys[well], 5)
                await until(lambda: len(player.played[keys[well]]) == 5, "the other stream")
                assert origin.counters.bus_envelopes_dropped == 20
                assert player.played[keys[stuck]] == []

    on_uvloop(main())


def test_the_queue_to_a_router_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FIRST_HIGH_WATER_MARK", 20)
    monkeypatch.setattr(bounds, "DATA_HIGH_WATER_BYTES", 8_000_000)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await _live_pair(origin, player)
                payload = media(0)._replace(payload=bytes(400_000))
                for seq in range(2_000):  # the loop does not turn: nobody reads
                    origin.link.publish(KEY, origin.epochs[KEY], seq, [payload])
                outlet = origin.link._output._outlets[router.endpoint]
                assert outlet._socket.sndhwm == 20
                assert origin.counters.bus_envelopes_dropped > 1_000
                small = media(0)

                def room() -> bool:
                    for seq in range(2_000, 2_064):
                        origin.link.publish(KEY, origin.epochs[KEY], seq, [small])
                    return outlet._socket.sndhwm == bounds.DATA_HIGH_WATER_MARK

                await until(room, "room for more of the small ones")

    on_uvloop(main())


# ---- routers by name -------------------------------------------------------------------------


def test_a_name_stands_for_a_router_at_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
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
            async with linked([f"tcp://routers.test:{port}"]) as (origin, player):
                await _live_pair(origin, player)
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
                await until(lambda: list(player.link._routers.cluster) == [one.endpoint], "gone, and dead")
                await until(lambda: list(origin.link._output._outlets) == [one.endpoint], "no way to it")
                played = len(player.played[KEY])
                await until(lambda: len(player.played[KEY]) > played + 50, "playing by the one left")
                await publisher.stop()
                sequence = [int(payload.split()[1]) for payload in player.played[KEY]]
                assert sequence == sorted(set(sequence))

    on_uvloop(main())


def test_a_name_that_nobody_knows_yet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
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
            worker = LinkedWorker([f"tcp://routers.test:{router.endpoint.rpartition(':')[2]}"], 0)
            await worker.link.start()
            try:
                await worker.publish(KEY)  # by its own grant
                worker.play("live/other")
                await until(lambda: asked >= 3, "more than one look-up")
                known.append("127.0.0.1")
                await until(lambda: router.sizes()["streams"] == 1, "everything is told")
                assert router.sizes()["watched_keys"] == 1
            finally:
                await worker.link.close()

    on_uvloop(main())
    assert sum("cannot be looked up" in record.getMessage() for record in caplog.records) == 1


def test_ipv4_addresses_come_first() -> None:
    assert asyncio.run(router_names.addresses_of("127.0.0.1")) == ["127.0.0.1"]
    assert asyncio.run(router_names.addresses_of("::1")) == ["::1"]
    assert asyncio.run(router_names.addresses_of("localhost")) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"\w"):
        asyncio.run(router_names.addresses_of("name.invalid"))


# ---- encrypted -------------------------------------------------------------------------------


def test_everything_works_with_a_key(bind: str) -> None:
    key = ClusterKey(bytes(32))

    async def main() -> None:
        with Router(bind, key=key) as router:
            workers = [LinkedWorker([router.endpoint], slot, key=key) for slot in range(2)]
            for worker in workers:
                await worker.link.start()
            try:
                await until(lambda: router.sizes()["workers"] == 2, "both are let in")
                await _live_pair(*workers)
                workers[0].append(KEY, 5)
                await until(lambda: len(workers[1].played[KEY]) == 5, "its messages")
            finally:
                for worker in workers:
                    await worker.link.close()

    on_uvloop(main())


@pytest.mark.parametrize(
    ("router_key", "worker_key", "why"),
    [
        (b"1", None, "this node has none"),
        (b"1", b"2", "its cluster key is another"),
        (None, b"1", "or it has none|it has no cluster key"),
    ],
)
def test_a_worker_that_is_not_let_in_says_so_once(
    router_key: bytes | None, worker_key: bytes | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [None if secret is None else ClusterKey(secret * 32) for secret in (router_key, worker_key)]

    async def main() -> None:
        with Router(ANY_PORT, key=keys[0]) as router:
            worker = LinkedWorker([router.endpoint], 0, key=keys[1])
            await worker.link.start()
            try:
                await until(lambda: router._gate.refused >= 6, "attempts at all three sockets, again")
                assert worker.link.live_routers == []
                assert isinstance(await worker.publish(KEY), Granted)  # its own
            finally:
                await worker.link.close()

    on_uvloop(main())
    lines = [record.getMessage() for record in caplog.records if "no link to router" in record.getMessage()]
    assert len(lines) == 1
    assert re.search(why, lines[0])


# ---- the interface ---------------------------------------------------------------------------


def test_a_bad_router_address_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(EndpointError, match="not a router address"):
        LinkedWorker(["http://example.org"], 0)


def test_a_link_that_was_not_started_can_be_closed() -> None:
    on_asyncio(LinkedWorker([ANY_PORT.replace(":0", ":1")], 0).link.close())


def test_publishers_that_wait_when_the_link_closes_are_refused() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            endpoint = router.endpoint
        worker = LinkedWorker([endpoint], 0)
        await worker.link.start()
        request = asyncio.ensure_future(worker.link.request_publish(KEY, replace=False))
        await asyncio.sleep(0)
        await worker.link.close()
        answer = await request
        assert isinstance(answer, Refused)
        assert answer.reason == DRAINING

    on_uvloop(main())
