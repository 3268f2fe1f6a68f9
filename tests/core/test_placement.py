"""Placement: the same everywhere, even, and stable when routers come and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.bus.placement import first, rank

ROUTERS = [f"tcp://r{number}:1936" for number in range(5)]
KEYS = [f"live/{number}" for number in range(2_000)]

router_sets = st.sets(st.text(max_size=8), min_size=1, max_size=6)


def test_the_ranking_is_the_same_in_every_process_and_version() -> None:
    assert rank("live/a", ROUTERS) == [
        "tcp://r2:1936", "tcp://r3:1936", "tcp://r0:1936", "tcp://r1:1936", "tcp://r4:1936",
    ]  # fmt: skip


def test_no_router_no_place() -> None:
    assert first("live/a", []) is None
    assert rank("live/a", []) == []


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape")), router_sets)
def test_first_is_the_head_of_the_ranking_in_whatever_order(key: str, routers: set[str]) -> None:
    ranking = rank(key, sorted(routers))
    assert sorted(ranking) == sorted(routers)
    assert rank(key, sorted(routers, reverse=True)) == ranking
    assert first(key, routers) == ranking[0]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=8), router_sets)
def test_a_router_that_goes_does_not_reorder_the_others(key: str, routers: set[str]) -> None:
    ranking = rank(key, routers)
    for gone in ranking:
        assert rank(key, routers - {gone}) == [router for router in ranking if router != gone]


def test_keys_spread_evenly_and_only_a_share_moves() -> None:
    before = {key: first(key, ROUTERS) for key in KEYS}
    shares = Counter(before.values())
    assert set(shares) == set(ROUTERS)
    assert all(300 < share < 500 for share in shares.values())
    after = {key: first(key, ROUTERS[:-1]) for key in KEYS}
    moved = [key for key in KEYS if before[key] != after[key]]
    assert moved == [key for key in KEYS if before[key] == ROUTERS[-1]]


def test_key_and_router_are_kept_apart() -> None:
    keys = [f"{number}" for number in range(64)]
    joined = [first(f"1{key}", ["r", "s"]) for key in keys]
    split = [first(key, ["r1", "s1"]) for key in keys]
    assert joined != [router[0] for router in split if router]


@pytest.mark.parametrize("count", [3, 5, 9])
def test_ten_thousand_streams_over_many_routers(count: int, record_property: Callable[..., None]) -> None:
    """Balance, and what moves when a router is lost or added: its own share and nothing else."""
    routers = [f"tcp://10.0.0.{number}:1936" for number in range(1, count + 1)]
    keys = [f"live/stream-{number}" for number in range(10_000)]
    placed = {key: first(key, routers) for key in keys}
    shares = Counter(placed.values())
    fair = len(keys) / count
    deviations = [abs(share - fair) / fair for share in shares.values()]
    assert len(shares) == count
    assert max(deviations) < 0.1

    for lost in routers:
        rest = [router for router in routers if router != lost]
        moved = {key: first(key, rest) for key in keys if first(key, rest) != placed[key]}
        assert len(moved) == shares[lost]
        taken_over = Counter(moved.values())
        assert set(taken_over) == set(rest), "every other router takes a part"
        assert max(taken_over.values()) < 1.25 * len(moved) / len(rest)

    added = "tcp://10.0.0.99:1936"
    now = {key: first(key, [*routers, added]) for key in keys}
    moved_to = [now[key] for key in keys if now[key] != placed[key]]
    assert set(moved_to) == {added}
    assert abs(len(moved_to) - len(keys) / (count + 1)) < 0.1 * len(keys) / (count + 1)
    record_property("largest_deviation", max(deviations))
