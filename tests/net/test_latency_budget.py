"""The latency budget: how it is written, and how it follows the load of a worker."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.net import latency_budget
from cluster.net.latency_budget import (
    AIM,
    MOST_MS,
    NEAR,
    BudgetRule,
    LatencyBudget,
    parse_budget,
    running_s,
)

LOOK_EVERY_S = 0.25


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0", BudgetRule(0)),
        ("20", BudgetRule(20)),
        ("0.5", BudgetRule(0.5)),
        ("1000", BudgetRule(1000)),
        ("auto", BudgetRule(MOST_MS, auto=True)),
        ("auto:20", BudgetRule(20, auto=True)),
    ],
)
def test_a_budget_is_a_number_or_sets_itself(text: str, rule: BudgetRule) -> None:
    assert parse_budget(text) == rule
    assert parse_budget(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1001", "1001 is not from 0 to 1000"),
        ("-1", "-1 is not from 0 to 1000"),
        ("nan", "nan is not from 0 to 1000"),
        ("auto:1001", "auto:1001 is not from 0 to 1000"),
        ("auto:", "'auto:' is not auto, auto:MS or a number"),
        ("automatic", "'automatic' is not auto"),
        ("autos:5", "autos:5 is not from 0 to 1000 milliseconds, auto, or auto:MS"),
        ("20ms", "'20ms' is not auto"),
        ("", "'' is not auto"),
    ],
)
def test_what_is_no_budget_says_what_is(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_budget(text)


class Worker:
    """Work that a budget makes less. ``load_at``: the share of its time by the budget in seconds."""

    def __init__(self, load_at: Callable[[float], float], rule: BudgetRule) -> None:
        self.load_at = load_at
        self._ran_s = 0.0
        self._now = 1000.0
        self._waited_s = 0.0
        self.budget = LatencyBudget(rule, lambda: (self._ran_s, self._waited_s))
        self.budget.look(self._now)

    def run(self, seconds: float, waiting: float = 0.0) -> list[float]:
        """The budget after each look, in ms. ``waiting``: the share of its time without a CPU."""
        shown = []
        for _ in range(round(seconds / LOOK_EVERY_S)):
            self._now += LOOK_EVERY_S
            self._ran_s += LOOK_EVERY_S * min(1.0 - waiting, self.load_at(self.budget.seconds))
            self._waited_s += LOOK_EVERY_S * waiting
            self.budget.look(self._now)
            shown.append(self.budget.seconds * 1000)
        return shown


def batching(demand: float) -> Callable[[float], float]:
    """Half of the work is by the message, and half by the wake-up, of which a budget leaves few."""
    return lambda budget_s: demand * (0.5 + 0.5 / (1 + 200 * budget_s))


def test_while_there_is_time_nothing_waits() -> None:
    assert set(Worker(batching(AIM), BudgetRule(50, auto=True)).run(60)) == {0.0}


def test_a_worker_without_time_gets_to_the_bound_within_seconds_and_no_further() -> None:
    shown = Worker(lambda budget_s: 2.0, BudgetRule(20, auto=True)).run(60)
    assert max(shown) == shown[-1] == 20
    assert shown[40] == 20, "after ten seconds"


def test_it_settles_at_what_the_load_needs_and_does_not_swing() -> None:
    worker = Worker(batching(1.1), BudgetRule(50, auto=True))
    worker.run(30)
    later = worker.run(60)
    assert min(later) > 0
    assert max(later) - min(later) < 0.1 * max(later)
    assert AIM - 2 * NEAR < worker.load_at(later[-1] / 1000) < AIM + 2 * NEAR


def test_it_goes_when_the_load_goes() -> None:
    worker = Worker(lambda budget_s: 2.0, BudgetRule(50, auto=True))
    worker.run(30)
    worker.load_at = batching(0.5)
    assert worker.run(30)[-1] == 0


def test_a_noisy_load_near_the_aim_does_not_move_it_much() -> None:
    noise = random.Random(1)
    worker = Worker(lambda s: batching(1.1)(s) * noise.uniform(0.85, 1.15), BudgetRule(50, auto=True))
    worker.run(30)
    later = worker.run(60)
    assert max(later) < 3 * min(later)


def test_a_burst_of_a_quarter_second_is_no_load() -> None:
    worker = Worker(lambda budget_s: 1.0, BudgetRule(50, auto=True))
    assert worker.run(LOOK_EVERY_S) == [0.0]
    worker.load_at = lambda budget_s: 0.2
    assert set(worker.run(5)) == {0.0}


def test_a_host_that_is_busy_otherwise_is_no_load_of_the_worker() -> None:
    """It waits for a CPU half of the time, and still has half of the rest left."""
    worker = Worker(lambda budget_s: 0.25, BudgetRule(50, auto=True))
    assert set(worker.run(30, waiting=0.5)) == {0.0}


def test_what_comes_after_media_is_no_load() -> None:
    worker = Worker(lambda budget_s: 1.0, BudgetRule(50, auto=True))
    look = worker.budget.look

    def strangers_take_most(now: float) -> None:
        worker.budget.served_aside(0.6 * LOOK_EVERY_S)
        look(now)

    worker.budget.look = strangers_take_most  # type: ignore[method-assign]
    assert set(worker.run(30)) == {0.0}


def test_a_worker_that_has_no_time_left_beside_others_gets_a_budget() -> None:
    worker = Worker(lambda budget_s: 1.0, BudgetRule(50, auto=True))
    assert worker.run(30, waiting=0.5)[-1] == 50


def test_a_number_stays_what_it_is() -> None:
    worker = Worker(lambda budget_s: 1.0, BudgetRule(30))
    assert set(worker.run(10)) == {30.0}


def test_two_looks_at_once_are_one() -> None:
    budget = LatencyBudget(BudgetRule(50, auto=True), lambda: (5.0, 0.0))
    budget.look(1.0)
    budget.look(1.0)
    assert budget.seconds == 0


def test_running_is_told_for_this_thread() -> None:
    before, waited_before = running_s()
    while running_s()[0] < before + 0.05:
        pass  # it advances by what this thread does
    assert running_s()[0] - before < 5
    assert running_s()[1] >= waited_before


def test_waiting_for_a_cpu_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("2000000000 500000000 77\n")
    monkeypatch.setattr(latency_budget, "_SCHEDSTAT", str(schedstat))
    assert running_s() == (2.0, 0.5)


@pytest.mark.parametrize("counted", ["0 0 0\n", "", None])
def test_a_kernel_that_counts_nothing_there_is_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: str | None
) -> None:
    schedstat = tmp_path / "schedstat"
    if counted is not None:
        schedstat.write_text(counted)
    monkeypatch.setattr(latency_budget, "_SCHEDSTAT", str(schedstat))
    before = time.thread_time()
    assert before <= running_s()[0] <= time.thread_time()


def test_a_budget_leaves_no_file_open() -> None:
    """A program may begin and end its server as often as it likes."""
    before = os.listdir("/proc/self/fd")
    budgets = [LatencyBudget(BudgetRule(50, auto=True)) for _ in range(10)]
    for budget in budgets:
        budget.look(1.0)
    assert len(os.listdir("/proc/self/fd")) == len(before)
