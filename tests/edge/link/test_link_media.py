"""The link of a worker and a real router: media crosses where it is wanted, whole and once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cluster.core.bus import bounds
from cluster.core.bus.envelope import topic
from cluster.core.bus.probe import PROBE_TOPIC
from cluster.edge.link import snapshots
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, RunningPublisher, flowing, linked, live_pair, media
from support.sockets import on_asyncio, on_uvloop, until


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a router may be silent for a while, and a subscription slow."""
    for name in ("ROUTER_TIMEOUT_S", "LOCAL_ROUTER_TIMEOUT_S"):
        monkeypatch.setattr(bounds, name, 20.0)
    monkeypatch.setattr(snapshots, "SNAPSHOT_HOLD_S", 20.0)


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
                payloads = sum(len(media(seq).payload) for seq in range(5, 10))
                assert payloads < origin.counters.bus_bytes_sent < payloads + 5 * 100
                assert player.counters.bus_bytes_received == origin.counters.bus_bytes_sent
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
                await flowing(origin, first, second)
                workers = (origin, first, second, idle)
                sent = origin.counters.bus_envelopes_sent
                before = [worker.counters.bus_envelopes_received for worker in workers]
                origin.append(KEY, 20)
                last = bytes(origin.logs[KEY][-1].payload)
                for player in (first, second):
                    await until(lambda p=player: p.played[KEY][-1] == last, "every message")
                assert origin.counters.bus_envelopes_sent == sent + 20
                received = [worker.counters.bus_envelopes_received for worker in workers]
                more = [after - then for then, after in zip(before, received, strict=True)]
                assert more == [0, 20, 20, 0]
                assert received[0] == received[3] == 0

    on_uvloop(main())


def test_a_key_that_is_the_beginning_of_another() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await live_pair(origin, player, "live/a")
                await origin.publish("live/ab")
                origin.append("live/ab", 3)
                assert not origin.link.wanted("live/ab")
                await origin.publish("live/")
                assert not origin.link.wanted("live/")
                origin.append("live/a", 1)
                await until(lambda: player.envelopes, "the one that is played")
                assert {envelope.key for envelope in player.envelopes} == {"live/a"}

    on_uvloop(main())


@pytest.mark.parametrize("nodes", [None, "aabbc"])
def test_snapshot_and_live_messages_join_without_gap_or_double_under_a_running_publisher(
    nodes: str | None,
) -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 5, nodes=nodes) as (origin, *players):
                origin.snapshot_messages = 10_000  # as a log since its keyframe: it fills any gap
                await origin.publish(KEY)
                publisher = RunningPublisher(origin, KEY)
                for joined, player in enumerate(players, 1):
                    await until(lambda n=joined: len(origin.logs[KEY]) >= 30 * n, "the stream goes on")
                    player.play(KEY)
                for player in players:
                    await until(lambda p=player: len(p.played[KEY]) > 100, "the stream is played")
                await publisher.stop()
                await flowing(origin, *players)  # so far one may have had no more than its snapshot
                for player in players:
                    first_seq = int(player.played[KEY][0].split()[1])
                    expected = [bytes(message.payload) for message in origin.logs[KEY][first_seq:]]
                    assert player.played[KEY] == expected
                    # A subscription may take longer than the snapshot; what it missed is filled in.
                    assert player.restarts == 1

    on_uvloop(main())


def test_a_worker_never_hears_its_own_envelopes() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                origin.play(KEY)  # before it publishes: it is subscribed then
                await live_pair(origin, player)
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


def test_a_snapshot_is_not_held_back_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """No demand is ever seen (the asker does not subscribe): it comes after the hold all the same."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_HOLD_S", bounds.SNAPSHOT_HOLD_S)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                await origin.publish(KEY)
                player.link.watch(KEY)
                await until(lambda: origin.link.wanted(KEY), "demand at the origin")
                origin.link.output._subscribed.clear()  # as if the subscription were still on its way
                player.link.request_snapshot(KEY)
                loop = asyncio.get_running_loop()
                asked_at = loop.time()
                await until(lambda: player.saw("snapshot", KEY, 0), "the snapshot")
                assert loop.time() - asked_at > bounds.SNAPSHOT_HOLD_S * 0.9

    on_uvloop(main())


def test_a_key_that_is_waited_for_costs_no_subscription() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes="aab") as (origin, *players):
                for player in players:
                    player.play(KEY)
                    player.play("live/nobody")
                await until(lambda: router.sizes()["watched_keys"] == 2, "both are watched")
                subscribed = origin.link.output._subscribed
                assert subscribed.keys() <= {PROBE_TOPIC}
                await origin.publish(KEY)
                await until(lambda: all(player.restarts for player in players), "it is played")
                await until(lambda: len(subscribed[topic(KEY)]) == 1 + 1, "subscribed to, here and there")
                assert subscribed.keys() == {topic(KEY), PROBE_TOPIC}
                for player in players:
                    pending = player.link.watches._pending
                    await until(lambda p=pending: p == set(), "nothing is left that a beat must look at")

    on_uvloop(main())


@pytest.mark.parametrize("nodes", [None, "aabbc"])
def test_who_waited_has_a_stream_from_its_first_message(
    nodes: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it has no keyframe, and its snapshot none of it: the subscription is only on its way."""
    monkeypatch.setattr(bounds, "EARLY_S", 20.0)  # on a busy machine for long

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 5, nodes=nodes) as (origin, *players):
                for player in players:
                    player.play(KEY)
                watchers = router._registry._watchers._by_key
                await until(lambda: len(watchers.get(KEY, ())) == len(players), "all to wait for it")
                origin.snapshot_messages = 0
                await origin.publish(KEY)
                origin.append(KEY, 30)
                publisher = RunningPublisher(origin, KEY)
                for player in players:
                    await until(lambda p=player: len(p.played[KEY]) > 50, "the stream is played")
                await publisher.stop()
                log = [bytes(message.payload) for message in origin.logs[KEY]]
                for player in players:
                    assert player.played[KEY] == log[: len(player.played[KEY])]

    on_uvloop(main())


@pytest.mark.parametrize("bind", [ANY_PORT, "ipc"])
def test_a_stamp_says_how_long_an_envelope_was_on_its_way(bind: str, tmp_path: Path) -> None:
    async def main() -> None:
        with Router(f"ipc://{tmp_path}/r" if bind == "ipc" else bind) as router:
            async with linked([router.endpoint]) as (origin, player):
                await origin.publish(KEY)
                player.play(KEY)
                await until(lambda: player.restarts, "the first snapshot")
                peers = [next(iter(each.link.routers.cluster.values())) for each in (origin, player)]

                def is_known() -> bool:  # half a round trip may be wrong, and the best of eight counts
                    offsets = [peer.clock_offset_us for peer in peers]
                    return all(offset is not None and abs(offset) < 50_000 for offset in offsets)

                await until(is_known, "the router's clock")
                origin.link.publish(KEY, origin.epochs[KEY], 0, [media(0)], waited_s=0.125)
                await until(lambda: player.stamps, "the stamp")
                [(key, waited_s, crossed_s)] = player.stamps
                assert (key, waited_s) == (KEY, 0.125)
                assert -0.1 < crossed_s < 20
                assert player.counters.bus_bytes_received == origin.counters.bus_bytes_sent
                if bind != "ipc":
                    await until(lambda: peers[0].round_trip_s, "a round trip")
                    await until(lambda: abs(peers[0].wall_offset_s or 0.0) < 0.5, "the time of day there")
                    assert peers[0].wall_offset_s is not None

    on_uvloop(main())
