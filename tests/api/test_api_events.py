"""What has happened in a cluster, told from one look to the next."""

from __future__ import annotations

import asyncio

import pytest

from cluster.api import view
from cluster.api.asking import RouterAnswer
from cluster.api.events import MAX_EVENTS, Events, _place
from cluster.api.fresh import Fresh
from cluster.api.round import Known, RollCall
from cluster.api.sources import Sources
from cluster.core.bus.cluster_status import LOST, StreamStatus, WorkerStatus
from cluster.core.bus.control import ClusterStatus

STATUS = ClusterStatus([], [])


def known(
    *nodes: str, lost: str = "", draining: str = "", streams: dict[str, tuple[int, str]] | None = None,
    router: bool = True,
) -> Known:  # fmt: skip
    """Nodes by their names, with a worker each."""
    made = Known([RouterAnswer("tcp://r:1936", STATUS if router else None, 1.0)], is_answered=router)
    for name in (*nodes, *([lost] if lost else [])):
        worker_id = f"{name}/i{name}/0/1"
        load = {LOST: 1} if name == lost else {}
        made.workers[worker_id] = WorkerStatus(worker_id, name == draining, 0, load)
    for key, (epoch, node) in (streams or {}).items():
        made.streams[key] = StreamStatus(key, epoch, f"{node}/i{node}/0/1", 0, "", 0, {})
    return made


@pytest.fixture
def events() -> Events:
    events = Events(lambda: 1_800_000_000.5)
    events.look(known("a", "b", streams={"live/a": (1, "a")}))
    assert events.after(0).items == []
    return events


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([known("a", "b", "c")], ["node_joined"]),
        ([known("a")], ["node_left"]),
        ([known("a", lost="b")], ["node_lost"]),
        ([known("a", lost="b"), known("a")], ["node_lost"]),
        ([known("a", lost="b"), known("a", "b")], ["node_lost", "node_joined"]),
        ([known("a", "b", draining="b")], ["node_drained"]),
        ([known("a", "b", draining="b"), known("a", "b")], ["node_drained", "node_undrained"]),
        ([known("a", "b", draining="b"), known("a")], ["node_drained", "node_left"]),
        ([known("a", "b", router=False), known("a", "b")], ["router_lost", "router_back"]),
        ([known(router=False)], ["router_lost"]),  # who knows nothing has lost nobody
        ([known("a", router=False), known("a", "b")], ["router_lost", "router_back"]),  # so does a alone
        ([known("a", "b", streams={"live/a": (2, "b")})], ["stream_moved"]),
        ([known("a", "b", streams={"live/a": (2, "a")})], []),
        ([known("a", "b", streams={"live/b": (2, "b")})], []),
        ([known("a", "b")], []),
    ],
)
def test_events(events: Events, looks: list[Known], told: list[str]) -> None:
    for look in looks:
        events.look(look)
        events.look(look)
    assert [each.kind for each in events.after(0).items] == told


def test_what_an_event_says(events: Events) -> None:
    events.look(known("a", "b", streams={"live/a": (2, "b")}))
    [moved] = events.after(0).items
    assert (moved.number, moved.node, moved.id, moved.key) == (1, "b", "ib", "live/a")
    assert moved.text == "live/a is published at b now, and was at a"
    assert moved.at == "2027-01-15T08:00:00.500Z"


def test_a_stream_that_moves_to_another_worker_of_its_node() -> None:
    assert _place("edge/ia/1/7", "edge/ia/0/3") == "edge/1"
    assert _place("edge/ia/1/7", "edge/ib/1/7") == "edge"


def test_only_so_many_are_kept_and_one_asks_for_those_behind_the_last(events: Events) -> None:
    for turn in range(MAX_EVENTS + 5):
        events.look(known("a", "b") if turn % 2 else known("a"))
    kept = events.after(0)
    assert [each.number for each in kept.items] == list(range(6, MAX_EVENTS + 6))
    assert kept.last == MAX_EVENTS + 5
    assert [each.number for each in events.after(kept.last - 1).items] == [kept.last]


@pytest.mark.parametrize("learns", [False, True])
def test_workers_are_not_asked_for_what_happens(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The routers are, now and then. A router asks workers too, for the names of other routers."""
    looks, rolls, enough = list[Known](), list[Known](), asyncio.Event()

    async def ask_routers(routers: object, *, own_knows_all: bool) -> Known:
        looks.append(Known([]))
        if len(looks) > 2:
            enough.set()
        return looks[-1]

    async def call_roll(known: Known) -> RollCall:
        rolls.append(known)
        return RollCall(known, {}, [], [])

    for name, value in (("ask_routers", ask_routers), ("call_roll", call_roll), ("WATCH_EVERY_S", 0.01)):
        monkeypatch.setattr(view, name, value)

    async def main() -> None:
        watching = view.ClusterView(Sources((), learns=learns))
        watching._fresh = Fresh(fresh_s=0.0)
        await watching.start()
        async with asyncio.timeout(30):
            await enough.wait()
        await watching.close()

    asyncio.run(main())
    assert len(rolls) >= len(looks) - 1 if learns else not rolls
