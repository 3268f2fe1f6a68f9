"""What makes a row: percentiles, silences, recovery, and the bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strangers.attack import FULL, SHORT
from strangers.bounds import MIB, Bounds
from strangers.healthy import Record
from strangers.rows import Row, Usage, delays_ms, judge, longest_silence_s, measure, percentile, weigh
from strangers.table import ATTACKS, short

EVERY_S = 0.04


def record(delay_s: float, late_from: float = 0.0, late_to: float = 0.0, late_s: float = 0.0) -> Record:
    """Ten seconds of frames in two streams; those sent in between came late."""
    sent = [each * EVERY_S for each in range(250)]
    frames = [(at, at + (late_s if late_from <= at < late_to else delay_s)) for at in sent]
    steady = [(at, at + delay_s) for at in sent]
    return Record([steady, frames], [], [(at, at + 0.001) for at in sent], [], 10.0)


def measured(seen: Record, began: float = 2.0, ended: float = 5.0) -> Row:
    row = Row("test")
    measure(row, seen, (0, 1), began, ended)
    return row


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0.0), ([7.0], 7.0), ([*range(100)], 99), ([*range(200)], 198)]
)
def test_the_percentile_is_one_of_the_values(values: list[float], expected: float) -> None:
    assert percentile(values, 0.99) == expected


def test_a_frame_that_never_came_is_as_late_as_it_is_now() -> None:
    assert delays_ms([(1.0, 1.5), (2.0, None)], 0.0, 5.0, 6.0) == [500.0, 4000.0]


def test_the_worst_stream_counts() -> None:
    row = measured(record(0.002, 3.0, 4.0, 0.5))
    assert row.p99_ms == pytest.approx(500)
    assert row.p99_before_ms == pytest.approx(2)


def test_silence_is_what_passes_between_two_arrivals() -> None:
    assert longest_silence_s([(0.0, 1.0), (0.0, 1.5), (0.0, 4.0)], 1.0, 5.0) == 2.5
    assert longest_silence_s([], 1.0, 5.0) == 4.0


def test_recovery_is_counted_from_the_end_of_the_attack() -> None:
    assert measured(record(0.002)).recover_s == 0.0
    late = measured(record(0.002, 4.0, 7.0, 0.5))
    assert late.recover_s is not None
    assert 1.9 < late.recover_s < 2.3
    assert measured(record(0.002, 4.0, 10.0, 0.5)).recover_s is None


def test_healthy_peers_that_were_closed_are_told_of_if_they_count() -> None:
    seen = record(0.002)
    seen.lost = [(1, "publisher")]
    assert measured(seen).complaints == ["the healthy publisher was closed"]
    row = Row("test")
    measure(row, seen, (0,), 2.0, 5.0)
    assert row.complaints == []


def test_honest_peers_that_came_during_the_attack_are_counted() -> None:
    seen = record(0.002)
    seen.joins = [(1.0, 0, None), (2.5, 0, 0.2), (3.0, None, None), (3.0, 1, 2.0)]
    row = Row("test")
    measure(row, seen, (0,), 2.0, 5.0)  # the stream of the other worker is not judged
    assert (row.joins, row.joins_failed, row.join_s) == (2, 1, 0.2)


BOUNDS = Bounds(64 * MIB)
FINE = Row(
    "fine", base=36 * MIB, peak=119 * MIB, router_base=40 * MIB, router_peak=168 * MIB, p99_ms=20.0,
    silence_s=1.0, recover_s=3.0, joins=4, join_s=1.0, log_bytes_per_s=65_536.0,
)  # fmt: skip


def test_a_row_at_its_bounds_passes() -> None:
    row = replace(FINE, complaints=[])
    judge(row, BOUNDS)
    assert row.complaints == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peak": 121 * MIB}, "a worker grew"),
        ({"router_peak": 169 * MIB}, "the router grew"),
        ({"p99_ms": 21.0}, "healthy p99"),
        ({"silence_s": 1.1}, "silent"),
        ({"recover_s": 3.2}, "well again after"),
        ({"recover_s": None}, "not well again"),
        ({"joins_failed": 1}, "1 of 4 honest peers"),
        ({"join_s": 1.1}, "an honest peer served after"),
        ({"log_bytes_per_s": 70_000.0}, "of log a second"),
        ({"reasons": {"internal_error": 1}}, "internal_error"),
    ],
)
def test_a_row_beyond_a_bound_fails_and_says_which(change: dict[str, object], said: str) -> None:
    row = replace(FINE, complaints=[], **change)
    judge(row, BOUNDS)
    assert len(row.complaints) == 1
    assert said in row.complaints[0]


def test_what_the_machine_is_late_is_not_held_against_the_edge() -> None:
    for noise in ({"machine_ms": 30.0}, {"p99_before_ms": 30.0}):
        row = replace(FINE, complaints=[], p99_ms=50.0, **noise)
        judge(row, BOUNDS)
        assert row.complaints == []


def test_memory_is_that_of_the_largest_worker_and_cpu_that_of_the_busiest() -> None:
    usages = [Usage(at, [at * 10, 5], at, [0.0, at * 0.5], 0.0) for at in (1, 2, 3, 4)]
    row = Row("test")
    weigh(row, usages, began=2.0, ended=4.0)
    assert (row.base, row.peak, row.router_base, row.router_peak) == (20, 40, 2, 4)
    assert row.cpu == pytest.approx(0.5)


def test_peers_that_only_hold_what_they_have_are_measured_apart() -> None:
    usages = [Usage(float(at), [1, 1], 0, [0.0, min(at, 6) * 0.5], 0.0) for at in range(11)]
    row = Row("test")
    row.tally.notes["held_from"] = 5.4
    weigh(row, usages, began=2.0, ended=10.0)
    assert row.held_cpu == 0.0
    judge(row, replace(BOUNDS, held_cpu=0.02))
    row.held_cpu = 0.6
    judge(row, replace(BOUNDS, held_cpu=0.02))
    assert [each for each in row.complaints if "do nothing" in each] == [
        "0.60 cores for peers that do nothing"
    ]


def test_each_attack_has_a_name_of_its_own_and_every_row_of_the_table_is_there() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    table = {*map(str, range(1, 17)), "9b", *(f"+{each}" for each in range(1, 19)), "="}
    assert {attack.row for attack in ATTACKS} == table
    assert {attack.row for attack in short()} == table


def test_the_short_form_is_short() -> None:
    assert sum(attack.lasts_s(SHORT) for attack in short()) < 120
    assert SHORT.worker_bytes < FULL.worker_bytes
