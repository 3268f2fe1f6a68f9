"""A Hello in parts: nothing is lost, and each part fits into what a router reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.core.bus import control_coding
from cluster.core.bus import watch_budget as budget_module
from cluster.core.bus.bounds import MAX_CONTROL_BYTES, MAX_WATCHED_BYTES, MAX_WATCHES
from cluster.core.bus.control import Hello, HelloPart
from cluster.core.bus.hello_parts import parts_of
from cluster.core.bus.watch_budget import WatchBudget
from cluster.core.keys import MAX_KEY_BYTES

HELLO = Hello("node", "1a2b", 3, 9, True, {"cpu": 0.5}, [("live/a", 7), ("live/b", 8)], ["c", "d", "e"])
#: Of all the keys in it, 16 bytes more for each.
SIZE = 6 + 6 + 3 + 5 * 16


def test_what_fits_is_one_part() -> None:
    assert parts_of(HELLO) == [HELLO]
    assert parts_of(HELLO, SIZE) == [HELLO]


def test_a_part_of_nothing_is_left_out() -> None:
    only_watches = replace(HELLO, origins=[])
    assert parts_of(only_watches, 34) == [
        replace(only_watches, watches=[], parts=2), HelloPart([], ["c", "d"]), HelloPart([], ["e"]),
    ]  # fmt: skip


def test_what_does_not_fit_is_cut() -> None:
    assert parts_of(HELLO, SIZE - 1) == [
        replace(HELLO, origins=[], watches=[], parts=2),
        HelloPart(HELLO.origins, []),
        HelloPart([], HELLO.watches),
    ]
    assert parts_of(HELLO, 34) == [
        replace(HELLO, origins=[], watches=[], parts=4),
        HelloPart([("live/a", 7)], []),
        HelloPart([("live/b", 8)], []),
        HelloPart([], ["c", "d"]),
        HelloPart([], ["e"]),
    ]


@pytest.mark.parametrize(("size", "count"), [(1, 100_000), (MAX_KEY_BYTES, 3_000)])
def test_every_part_is_one_that_a_router_reads(size: int, count: int) -> None:
    keys = [f"{number:0{size}}" for number in range(count)]
    highest = 2**63 - 1
    hello = replace(HELLO, origins=[(key, highest) for key in keys], watches=keys)
    parts = parts_of(hello)
    heads = [bytes(control_coding.encode(part)[0]) for part in parts]
    assert max(map(len, heads)) <= MAX_CONTROL_BYTES
    assert len(parts) > 3
    assert [row for part in parts for row in part.origins] == hello.origins
    assert [key for part in parts for key in part.watches] == keys


def test_so_many_keys_may_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (MAX_WATCHES, MAX_WATCHED_BYTES) == (200_000, 64 * 1024 * 1024)
    monkeypatch.setattr(budget_module, "MAX_WATCHES", 2)
    budget = WatchBudget()
    assert [budget.take("k") for _ in range(3)] == [True, True, False]
    budget.give_back("k")
    assert budget.take("k")


def test_so_many_bytes_of_keys_may_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MAX_WATCHED_BYTES", 4)
    budget = WatchBudget()
    assert [budget.take(key) for key in ("é", "k", "kk", "k", "")] == [True, True, False, True, True]
    budget.give_back("é")
    assert [budget.take(key) for key in ("kkk", "kk")] == [False, True]
