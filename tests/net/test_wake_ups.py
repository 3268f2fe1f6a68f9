"""Wake-ups, over pipes: at once when they are few, moderated when they are many."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from cluster.net.latency_budget import BudgetRule, LatencyBudget
from cluster.net.wake_ups import HASTY_WAKE_UPS, REST_S, WakeUps, next_moment
from support.sockets import on_asyncio, on_uvloop, until

on_either_loop = pytest.mark.parametrize("on_loop", [on_asyncio, on_uvloop])


class Pipe:
    """Bytes in a pipe; ``read`` takes what is there, notes how much, and then calls ``after``."""

    def __init__(self, budget: LatencyBudget | None = None) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self.reads: list[int] = []
        self.after: Callable[[], object] = lambda: None
        self.wake_ups = WakeUps(asyncio.get_running_loop(), self._read_fd, self.read, budget)

    def read(self) -> int:
        try:
            served = len(os.read(self._read_fd, 1000))
        except BlockingIOError:
            served = 0
        self.reads.append(served)
        self.after()
        return served

    @property
    def served(self) -> int:
        return sum(self.reads)

    def write(self) -> None:
        os.write(self._write_fd, b"x")

    async def write_every(self, interval_s: float, count: int) -> None:
        """From a thread, so that each byte wakes the loop by itself."""

        def write() -> None:
            begin = time.perf_counter()
            for number in range(count):
                while time.perf_counter() < begin + number * interval_s:
                    time.sleep(0)
                self.write()

        await asyncio.to_thread(write)
        await until(lambda: self.served >= count, "every byte to be read")

    def close(self) -> None:
        self.wake_ups.close()
        os.close(self._read_fd)
        os.close(self._write_fd)


@on_either_loop
def test_what_comes_now_and_then_is_served_at_once(on_loop) -> None:
    async def main() -> None:
        pipe = Pipe()
        try:
            for count in range(1, 3 * HASTY_WAKE_UPS):
                pipe.write()
                await until(lambda count=count: pipe.served == count, "the byte to be read")
                await asyncio.sleep(2 * REST_S)
            # Not one look for nothing, as a rest would end with.
            assert pipe.reads == [1] * (3 * HASTY_WAKE_UPS - 1)
        finally:
            pipe.close()

    on_loop(main())


@on_either_loop
def test_one_wake_up_after_another_is_moderated(on_loop) -> None:
    """A byte comes as soon as the last one is read: without rests each would be a wake-up."""

    async def main() -> None:
        pipe = Pipe()
        pipe.after = pipe.write
        began_at = time.monotonic()
        pipe.write()
        try:
            await until(lambda: len(pipe.reads) >= 4 * HASTY_WAKE_UPS, "many reads")
        finally:
            pipe.close()
        assert time.monotonic() - began_at > HASTY_WAKE_UPS * REST_S

    on_loop(main())


@on_either_loop
def test_what_comes_during_a_rest_is_served_together_for_as_long_as_it_is_much(on_loop) -> None:
    async def main() -> None:
        pipe = Pipe()
        try:
            await pipe.write_every(REST_S / 10, 400 * HASTY_WAKE_UPS)
            assert len(pipe.reads) < pipe.served / 2
            await until(lambda: pipe.wake_ups._rest is None, "every wake-up to count again")
            seen = len(pipe.reads)
            await asyncio.sleep(3 * HASTY_WAKE_UPS * REST_S)
            assert len(pipe.reads) == seen
            for count in range(1, 4):
                pipe.write()
                await until(lambda count=count: len(pipe.reads) == seen + count, "a late byte")
        finally:
            pipe.close()

    on_loop(main())


@on_either_loop
def test_a_budget_that_begins_ends_the_rests(on_loop) -> None:
    """By itself it begins on a worker that has no time, and so one that rests."""
    budget_s = 20 * REST_S

    async def main() -> None:
        budget = LatencyBudget(BudgetRule(0))
        pipe = Pipe(budget)

        def after() -> None:
            for _ in range(2):
                pipe.write()

        pipe.after = after
        pipe.write()
        try:
            await until(lambda: len(pipe.reads) > 3 * HASTY_WAKE_UPS, "rests")
            budget.seconds = budget_s
            seen = len(pipe.reads)
            began_at = time.monotonic()
            await until(lambda: len(pipe.reads) > seen + 4, "reads")
            assert time.monotonic() - began_at > 3 * budget_s
        finally:
            pipe.close()

    on_loop(main())


@on_either_loop
def test_an_error_is_reported_and_ends_neither_wake_ups_nor_rests(on_loop) -> None:
    async def main() -> None:
        errors: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
        pipe = Pipe()

        def fail() -> None:
            if len(pipe.reads) < 6 * HASTY_WAKE_UPS:
                pipe.write()
            raise ZeroDivisionError

        pipe.after = fail
        pipe.write()
        try:
            await until(lambda: len(errors) >= 6 * HASTY_WAKE_UPS, "every read to fail")
            pipe.after = lambda: None
            pipe.write()
            seen = pipe.served
            await until(lambda: pipe.served == seen + 1, "a byte after the errors")
        finally:
            pipe.close()
        assert {type(error) for error in errors} == {ZeroDivisionError}

    on_loop(main())


@pytest.mark.parametrize("reads", [1, HASTY_WAKE_UPS - 1, HASTY_WAKE_UPS, HASTY_WAKE_UPS + 2])
def test_it_may_be_closed_from_within(reads: int) -> None:
    async def main() -> None:
        pipe = Pipe()

        def after() -> None:
            pipe.write()
            if len(pipe.reads) == reads:
                pipe.wake_ups.close()

        pipe.after = after
        pipe.write()
        await until(lambda: len(pipe.reads) >= reads, "the last read")
        await asyncio.sleep(5 * REST_S)
        assert len(pipe.reads) == reads
        pipe.close()

    on_uvloop(main())


def test_it_may_be_closed_while_it_rests() -> None:
    async def main() -> None:
        pipe = Pipe()
        pipe.after = pipe.write
        pipe.write()
        await until(lambda: len(pipe.reads) > 2 * HASTY_WAKE_UPS, "rests")
        seen = len(pipe.reads)
        pipe.close()
        await asyncio.sleep(5 * REST_S)
        assert len(pipe.reads) == seen

    on_uvloop(main())


@pytest.mark.parametrize(
    ("now", "due"),
    [(10.0, 10.5), (10.001, 10.5), (10.2, 10.5), (10.25, 11.0), (10.499, 11.0), (10.5, 11.0)],
)
def test_the_next_moment_is_a_multiple_and_half_an_interval_away_at_least(now: float, due: float) -> None:
    assert next_moment(now, 0.5) == due


def test_moments_of_different_intervals_meet() -> None:
    assert {next_moment(7.0, interval_s) for interval_s in (0.125, 0.25, 0.5)} == {7.125, 7.25, 7.5}
    assert next_moment(next_moment(7.0, 0.25), 0.25) == next_moment(7.0, 0.5)
