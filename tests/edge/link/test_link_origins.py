"""The link of a worker and a real router: who publishes a stream key, and who hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cluster.core.bus import bounds
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
from cluster.router import registry
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, LinkedWorker, ScriptedRouter, linked
from support.sockets import on_uvloop, until


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


def test_a_worker_started_again_in_its_slot_replaces_the_dead_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "WORKER_TIMEOUT_S", 3_600.0)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint]) as (origin, player):
                player.link.watch(KEY)
                granted = await origin.publish(KEY)
                origin.link._timer.cancel()  # type: ignore[union-attr]
                successor = LinkedWorker([router.endpoint], 0, incarnation=2)
                await successor.link.start()
                try:
                    await until(lambda: player.saw("down", KEY, granted.epoch), "the old one is dropped")
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
