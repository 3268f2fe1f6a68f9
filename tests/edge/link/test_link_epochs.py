"""Epochs that are too far ahead of the clock, and sources that no registry has named: a stream
outlives them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.core.bus.control import Announce, Granted, Publish, Snapshot, StreamUp, Unpublish
from cluster.core.bus.epochs import latest_epoch
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, LinkedWorker, ScriptedRouter, linked, live_pair, media
from support.sockets import on_uvloop, until

#: While a test runs the clock goes on: what is to be beyond the limit lies so far beyond it.
MARGIN_MS = 60_000
HIGHEST = 2**63 - 1


def limit() -> int:
    return latest_epoch(time.time_ns() // 1_000_000)


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


def test_an_origin_of_an_epoch_too_far_ahead_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with scripted(tmp_path) as (router, worker):
            worker.play(KEY)
            beyond = limit() + MARGIN_MS
            router.say(StreamUp(KEY, beyond, "forged/0/0/1"))
            router.say(Snapshot(KEY, HIGHEST, 0, [], [], "forged/0/0/1", 1, worker.worker_id))
            within = limit() - MARGIN_MS
            router.say(StreamUp(KEY, within, "node/0/0/1"))
            await until(lambda: worker.saw("up", KEY, within, "node/0/0/1"), "the one within the limit")
            assert not worker.saw("up", KEY, beyond, "forged/0/0/1")
            assert worker.counters.bus_epochs_refused == 2
            told = [record for record in caplog.records if getattr(record, "event", "") == "epoch_refused"]
            assert len(told) == 1

    on_uvloop(main())


def test_a_grant_of_an_epoch_too_far_ahead_is_given_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(tmp_path) as (router, worker):
            waiting = asyncio.ensure_future(worker.publish(KEY))
            await until(lambda: router.heard(Publish), "the request")
            request = router.heard(Publish)[0]
            assert isinstance(request, Publish)
            router.say(Granted(KEY, HIGHEST, request.request_id))
            await until(lambda: router.heard(Unpublish) == [Unpublish(KEY, HIGHEST)], "given back")
            assert (await waiting).epoch < limit()  # granted by the worker itself
            assert worker.counters.bus_epochs_refused == 1

    on_uvloop(main())


def test_forged_envelopes_end_no_stream() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 3) as (origin, player, stranger):
                await live_pair(origin, player)
                await until(lambda: stranger.link.wanted(KEY), "demand at the stranger")
                stranger.link.output.add_key(KEY, 0, None)  # it may send what it likes
                for epoch in (limit() - MARGIN_MS, HIGHEST):
                    stranger.link.publish(KEY, epoch, 0, [media(0)])
                await until(lambda: player.counters.bus_epochs_refused, "both have come")
                origin.append(KEY, 3)
                await until(lambda: len(player.played[KEY]) == 3, "the stream goes on")
                assert player.restarts == 1
                assert player.counters.bus_epochs_refused == 1  # the other is only no origin

    on_uvloop(main())


def test_a_key_recovers_from_an_origin_that_was_forged_within_the_limit() -> None:
    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], 3) as (origin, player, stranger):
                await live_pair(origin, player)
                forged = limit() - MARGIN_MS
                for peer in stranger.link.routers.all():
                    peer.send(Announce(KEY, forged))
                await until(lambda: player.saw("up", KEY, forged, stranger.worker_id), "the forged origin")
                await until(lambda: origin.saw("revoked", KEY, origin.epochs[KEY]), "the real one ends")
                await stranger.link.close()
                await until(lambda: player.saw("down", KEY, forged), "the forged one has left")
                restarts = player.restarts
                again = await origin.publish(KEY)
                await until(lambda: player.restarts > restarts, "the stream is played again")
                assert again.epoch > forged

    on_uvloop(main())
