"""What does not fit into the queues of a link is dropped whole, counted, and seen."""

from __future__ import annotations

import contextlib

import pytest

from cluster.core.bus import bounds, placement
from cluster.router.router import Router
from support.routers import ANY_PORT, KEY, linked, live_pair, media
from support.sockets import on_uvloop, until


@pytest.mark.parametrize("nodes", [None, "ab"])
def test_a_full_queue_drops_whole_envelopes_and_counts_them(
    monkeypatch: pytest.MonkeyPatch, nodes: str | None
) -> None:
    monkeypatch.setattr(bounds, "DATA_HIGH_WATER_MARK", 10)

    async def main() -> None:
        with Router(ANY_PORT) as router:
            async with linked([router.endpoint], nodes=nodes) as (origin, player):
                await live_pair(origin, player)
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
                    await live_pair(origin, player, key)
                outlet = origin.link.output._outlets[stuck]
                monkeypatch.setattr(outlet, "send", lambda envelope: False)
                origin.append(keys[stuck], 20)
                origin.append(keys[well], 5)
                await until(lambda: len(player.played[keys[well]]) == 5, "the other stream")
                assert origin.counters.bus_envelopes_dropped == 20
                assert player.played[keys[stuck]] == []

    on_uvloop(main())
