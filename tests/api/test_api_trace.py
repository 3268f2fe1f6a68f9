"""The way of a stream: what workers and routers say, put together hop by hop, and drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cluster.api.resources import Trace
from cluster.api.round import Known, RouterAnswer
from cluster.api.trace import Way, trace_routers, uplinks
from cluster.commands.trace_tree import tree
from cluster.core.bus.cluster_status import UPLINK_S, WorkerStatus
from cluster.core.bus.control import ClusterStatus
from cluster.core.bus.questions import (
    AskTrace,
    decode_answer,
    decode_question,
    encode_answer,
    encode_question,
)
from cluster.core.bus.trace import RouterWay, TraceRow

ORIGIN, SIBLING, FAR, FARTHER = "a/1f/0/1", "a/1f/1/1", "b/2e/0/1", "b/2e/1/1"
ROUTER = "tcp://r1:1936"
OWN = RouterWay("ipc:///tmp/r", is_own=True, is_live=True)
AT_ORIGIN = TraceRow(
    True, 7, True, 2_000_000, 8, 1.5, 0.0, 0.25, peer="10.0.0.7:50312", peer_round_trip_ms=2.0, players=1,
    players_round_trip_ms=0.5, ways=(OWN, RouterWay(ROUTER, is_own=False, is_live=True, round_trip_ms=1.0)),
)  # fmt: skip
ELSEWHERE = TraceRow(
    True, 7, False, 2_000_000, 8, 1.5, 60.0, 0.5, router=ROUTER, lost=3, players=2, players_behind=1,
    behind_ms=1_200, players_dropped=9, ways=(OWN,),
)  # fmt: skip
BESIDE = dataclasses.replace(ELSEWHERE, router=OWN.router, bus_ms=0.25, lost=0)


def way(rows: dict[str, TraceRow], uplinks: dict[str, float], *, several: bool = True) -> Way:
    return Way(ORIGIN, rows, uplinks, {"a/1f": True, "b/2e": several})


def shown(way: Way) -> list[tuple[int, str, str, float | None, float | None]]:
    return [(hop.from_hop, hop.kind, hop.name, hop.delay_ms, hop.total_ms) for hop in way.hops]


def test_a_router_that_has_seen_probes_tells_the_way_to_it_from_that_behind_it() -> None:
    assert shown(way({ORIGIN: AT_ORIGIN, FAR: ELSEWHERE}, {ROUTER: 50.0, "tcp://r2:1936": 1.0})) == [
        (-1, "publisher", "10.0.0.7:50312", 0.0, None),
        (0, "origin", "a", 1.0, 1.0),
        (1, "players", "", 0.5, 3.0),
        (1, "router", ROUTER, 50.0, 52.5),
        (3, "repeater", "b", None, 52.5),
        (4, "worker", "b", 10.0, 62.5),
        (5, "players", "", 0.5, 63.0),
    ]


def test_workers_of_a_node_share_its_repeater_and_its_own_router() -> None:
    rows = {ORIGIN: AT_ORIGIN, SIBLING: BESIDE, FAR: ELSEWHERE, FARTHER: ELSEWHERE}
    kinds = [(hop.kind, hop.from_hop) for hop in way(rows, {ROUTER: 50.0}).hops]
    assert kinds == [
        ("publisher", -1), ("origin", 0), ("players", 1), ("router", 1), ("worker", 3), ("players", 4),
        ("router", 1), ("repeater", 6), ("worker", 7), ("players", 8), ("worker", 7), ("players", 10),
    ]  # fmt: skip


def test_a_node_of_one_worker_has_no_repeater() -> None:
    hops = way({ORIGIN: AT_ORIGIN, FAR: ELSEWHERE}, {ROUTER: 50.0}, several=False).hops
    assert "repeater" not in [hop.kind for hop in hops]


@pytest.mark.parametrize(
    ("seen", "to_router", "from_router"),
    [({}, None, 60.0), ({"tcp://elsewhere:1936": 50.0}, 50.0, 10.0), ({ROUTER: 61.0}, 60.0, 0.0)],
    ids=["no probe has come", "by another address", "the clocks differ a little"],
)
def test_what_is_not_known_of_the_router_is_with_the_worker(
    seen: dict[str, float], to_router: float | None, from_router: float
) -> None:
    by_kind = {hop.kind: hop for hop in way({ORIGIN: AT_ORIGIN, FAR: ELSEWHERE}, seen).hops}
    assert (by_kind["router"].delay_ms, by_kind["worker"].delay_ms) == (to_router, from_router)
    assert by_kind["worker"].total_ms == 62.5


def test_an_origin_that_has_not_answered_leaves_the_rest() -> None:
    hops = way({FAR: ELSEWHERE}, {}).hops
    assert [hop.kind for hop in hops] == ["publisher", "origin", "router", "repeater", "worker", "players"]


def test_the_delays_to_each_router_that_tells_them() -> None:
    def answer(router: str, load: dict[str, float]) -> RouterAnswer:
        row = WorkerStatus(ORIGIN, False, 0, load)
        return RouterAnswer(router, ClusterStatus([row, row._replace(worker_id=FAR)], []), 1.0)

    silent = RouterAnswer("tcp://r3:1936", None, 0.0)
    known = Known([answer(ROUTER, {UPLINK_S: 0.05}), answer("tcp://r2:1936", {"connections": 3}), silent])
    assert uplinks(known, ORIGIN) == {ROUTER: 50.0}


def test_a_row_crosses_the_bus() -> None:
    assert decode_answer(encode_answer(AT_ORIGIN)) == AT_ORIGIN
    assert decode_question(encode_question(AskTrace("live/a"))) == AskTrace("live/a")


# ---- drawn -----------------------------------------------------------------------------------


def drawn(rows: dict[str, TraceRow], uplinks: dict[str, float]) -> list[str]:
    found = Trace(
        key="live/a", epoch=7, hops=way(rows, uplinks).hops, routers=trace_routers(rows)
    )  # fmt: skip
    as_json: dict[str, Any] = dataclasses.asdict(found)
    return list(tree(as_json))


def test_the_tree() -> None:
    assert drawn({ORIGIN: AT_ORIGIN, FAR: ELSEWHERE}, {ROUTER: 50.0}) == [
        "live/a: 3 players, the slowest way takes 63.0 ms",
        "",
        "publisher 10.0.0.7:50312",
        "└─ origin a/0                                   1.0 ms  then 1.5 ms in it  2.00 Mbit/s",
        "   ├─ 1 player                                  0.5 ms  = 3.0 ms",
        "   └─ router tcp://r1:1936                     50.0 ms  <-- most of it",
        "      └─ repeater b",
        "         └─ worker b/0                         10.0 ms  2.00 Mbit/s  3 messages missing",
        "            └─ 2 players                        0.5 ms  9 messages not sent  "
        "1 behind, by 1.2 s at most  = 63.0 ms",
    ]


def test_nothing_is_marked_where_nothing_is_slow() -> None:
    lines = drawn({ORIGIN: AT_ORIGIN}, {})
    assert lines[0] == "live/a: 1 player, the slowest way takes 3.0 ms"
    assert not any("<--" in line for line in lines)


def test_a_stream_without_players() -> None:
    assert drawn({ORIGIN: dataclasses.replace(AT_ORIGIN, players=0)}, {})[0] == "live/a: 0 players"


def test_what_is_wrong_with_routers_is_told() -> None:
    ways = (
        RouterWay("tcp://r1:1936", is_own=False, is_live=False),
        RouterWay("tcp://r2:1936", is_own=False, is_live=True, clock_offset_ms=-2_500.0, dropped=4),
        RouterWay("tcp://r3:1936", is_own=False, is_live=True, clock_offset_ms=99.0),
    )
    assert drawn({ORIGIN: dataclasses.replace(AT_ORIGIN, ways=ways)}, {})[-3:] == [
        "! worker a/0, router tcp://r1:1936: it does not answer",
        "! worker a/0, router tcp://r2:1936: 4 envelopes had no room in the queue to it",
        "! worker a/0, router tcp://r2:1936: its clock is -2.5 s off",
    ]
