"""Delivery: in order within a stream, side by side otherwise, again until it is given up, and bounded."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from events_support import FAILED, GONE, TAKEN, FakeReceiver, new_queue, until

from cluster.edge.events import delivery as delivery_module
from cluster.edge.events.delivery import DOWN_AFTER_FAILURES, MAX_ON_THE_WAY, Delivery
from cluster.edge.events.queue import EventQueue, Waiting
from cluster.edge.events.receiver import Attempt, Outcome
from cluster.edge.events.start import EventCounts


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for long."""
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S", "LONGEST_PROBE_S"):
        monkeypatch.setattr(delivery_module, name, 0.001)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[EventQueue]:
    made = new_queue(tmp_path)
    yield made
    made.close()


class Bench:
    """A delivery, what it counts, and whom it tells."""

    def __init__(self, queue: EventQueue, receiver: Any, kept: int = 1_000, **options: Any) -> None:
        self.counts = EventCounts()
        self.queue = queue
        self.delivery = Delivery(queue, receiver, self.counts, kept, **options)

    def add(self, key: str, name: str, age_s: float = 0.0) -> None:
        self.delivery.add(key, Waiting(name, time.time() - age_s, b"{}"))

    async def end(self) -> None:
        await self.delivery.wait_until_empty(30)
        await self.delivery.close()
        self.queue.commit()


def test_half_of_the_attempts_fail_and_each_stream_arrives_in_order(queue: EventQueue) -> None:
    chance = random.Random(3)
    receiver = FakeReceiver(lambda id, tries: TAKEN if chance.random() < 0.5 else FAILED)

    async def run() -> Bench:
        bench = Bench(queue, receiver)
        for number in range(400):
            bench.add(f"k{number % 20}", f"k{number % 20}-{number:03}")
        await bench.end()
        return bench

    counts = asyncio.run(run()).counts
    assert sorted(receiver.taken) == sorted(set(receiver.taken))
    assert len(receiver.taken) == counts.events_sent == 400
    for key in range(20):
        own = [id for id in receiver.taken if id.startswith(f"k{key}-")]
        assert own == sorted(own)
    assert counts.events_retried == len(receiver.tries) - 400 > 200
    assert (counts.events_waiting, queue.rows()) == (0, [])


def test_one_of_a_stream_is_on_its_way_and_others_pass_it(queue: EventQueue) -> None:
    class Slow(FakeReceiver):
        def __init__(self) -> None:
            super().__init__()
            self.go = asyncio.Event()

        async def tell(self, event: Waiting) -> Attempt:
            if event.id.startswith("slow"):
                self.tries.append(event.id)
                await self.go.wait()
                self.taken.append(event.id)
                return TAKEN
            return await super().tell(event)

    async def run() -> list[str]:
        receiver = Slow()
        bench = Bench(queue, receiver)
        for name in ("slow1", "slow2"):
            bench.add("slow", name)
        bench.add("quick", "quick1")
        await until(lambda: receiver.taken)
        assert receiver.tries == ["slow1", "quick1"]
        receiver.go.set()
        await bench.end()
        return receiver.taken

    assert asyncio.run(run()) == ["quick1", "slow1", "slow2"]


def test_no_more_are_on_their_way_than_may_be(queue: EventQueue) -> None:
    at_once = most_at_once = 0

    class Slow(FakeReceiver):
        async def tell(self, event: Waiting) -> Attempt:
            nonlocal at_once, most_at_once
            at_once += 1
            most_at_once = max(most_at_once, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1
            return await super().tell(event)

    receiver = Slow()

    async def run() -> None:
        bench = Bench(queue, receiver)
        for number in range(MAX_ON_THE_WAY + 1):
            bench.add(f"k{number}", f"e{number}")
        await bench.end()

    asyncio.run(run())
    assert most_at_once == MAX_ON_THE_WAY
    assert len(receiver.taken) == MAX_ON_THE_WAY + 1


def test_an_event_that_has_failed_for_too_long_is_given_up_and_the_next_go_on(
    queue: EventQueue, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = FakeReceiver(lambda id, tries: FAILED if id == "bad" else TAKEN)

    async def run() -> EventCounts:
        bench = Bench(queue, receiver, given_up_s=0.05)
        bench.add("a", "bad")
        bench.add("a", "good")
        await bench.end()
        return bench.counts

    with caplog.at_level(logging.WARNING):
        counts = asyncio.run(run())
    assert receiver.taken == ["good"]
    assert (counts.events_dead, counts.events_sent) == (1, 1)
    assert "status 500" in caplog.text


def test_an_old_event_is_tried_once_before_it_is_given_up(queue: EventQueue) -> None:
    receiver = FakeReceiver()

    async def run() -> EventCounts:
        bench = Bench(queue, receiver, given_up_s=1.0)
        bench.add("a", "old", age_s=100)
        await bench.end()
        return bench.counts

    assert asyncio.run(run()).events_sent == 1


def test_beyond_what_is_kept_the_oldest_goes_but_not_what_is_on_its_way(queue: EventQueue) -> None:
    class Held(FakeReceiver):
        go: asyncio.Event

        async def tell(self, event: Waiting) -> Attempt:
            await self.go.wait()
            return await super().tell(event)

    receiver = Held()

    async def run() -> EventCounts:
        receiver.go = asyncio.Event()
        bench = Bench(queue, receiver, kept=3)
        for name in ("a1", "a2", "a3"):
            bench.add("a", name)
        await asyncio.sleep(0)
        bench.add("b", "b1")
        assert (bench.counts.events_waiting, bench.counts.events_lost) == (3, 1)
        receiver.go.set()
        await bench.end()
        return bench.counts

    counts = asyncio.run(run())
    assert sorted(receiver.taken) == ["a1", "a3", "b1"]
    assert (counts.events_lost, counts.events_waiting) == (1, 0)


def test_a_stream_of_which_all_was_dropped_begins_anew(
    queue: EventQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_WAIT_S", "LONGEST_WAIT_S"):  # what has failed waits, and so may be dropped
        monkeypatch.setattr(delivery_module, name, 60.0)
    receiver = FakeReceiver(lambda id, tries: FAILED if id == "a1" else TAKEN)

    async def run() -> None:
        bench = Bench(queue, receiver, kept=1)
        bench.add("a", "a1")
        await until(lambda: receiver.tries)
        bench.add("b", "b1")
        bench.add("a", "a2")
        await bench.end()

    asyncio.run(run())
    assert "a2" in receiver.taken


def test_a_receiver_that_is_down_is_tried_with_one_at_a_time(
    queue: EventQueue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_up = False
    at_once = 0
    most_at_once = 0

    class Down(FakeReceiver):
        async def tell(self, event: Waiting) -> Attempt:
            nonlocal at_once, most_at_once
            at_once += 1
            if len(self.tries) > DOWN_AFTER_FAILURES + MAX_ON_THE_WAY:
                most_at_once = max(most_at_once, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return await super().tell(event)

    receiver = Down(lambda id, tries: TAKEN if is_up else FAILED)

    async def run() -> None:
        nonlocal is_up, most_at_once
        bench = Bench(queue, receiver)
        for number in range(100):
            bench.add(f"k{number}", f"e{number}")
        await until(lambda: len(receiver.tries) >= 100)
        assert most_at_once == 1
        is_up = True
        await bench.end()

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert len(receiver.taken) == 100
    said = [record.__dict__["event"] for record in caplog.records]
    assert said == ["events_receiver_down", "events_receiver_back"]


def test_who_asks_to_be_left_alone_is(queue: EventQueue) -> None:
    times: list[float] = []

    def answer(id: str, tries: int) -> Attempt:
        times.append(time.monotonic())
        return Attempt(Outcome.FAILED, "status 429", 0.2) if len(times) == 1 else TAKEN

    receiver = FakeReceiver(answer)

    async def run() -> None:
        bench = Bench(queue, receiver)
        bench.add("a", "a1")
        await until(lambda: times)
        bench.add("b", "b1")
        await bench.end()

    asyncio.run(run())
    assert len(times) == 3
    assert times[1] - times[0] >= 0.19


def test_410_ends_it_all_with_one_line(queue: EventQueue, caplog: pytest.LogCaptureFixture) -> None:
    receiver = FakeReceiver(lambda id, tries: GONE)

    async def run() -> EventCounts:
        bench = Bench(queue, receiver)
        for number in range(50):
            bench.add(f"k{number}", f"e{number}")
        await bench.end()
        bench.add("k", "late")
        return bench.counts

    with caplog.at_level(logging.INFO):
        counts = asyncio.run(run())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert (counts.events_dead, counts.events_waiting, counts.events_sent) == (51, 0, 0)
    assert queue.rows() == []


def test_what_is_told_has_been_kept_before(queue: EventQueue) -> None:
    kept: list[bool] = []

    class Watching(FakeReceiver):
        async def tell(self, event: Waiting) -> Attempt:
            kept.append(all(queue.is_kept(row) for row, _ in queue.rows(1)))
            return await super().tell(event)

    async def run() -> None:
        bench = Bench(queue, Watching())
        bench.add("a", "a1")
        assert not queue.is_kept(queue.rows()[0][0])
        bench.add("a", "a2")
        await bench.end()

    asyncio.run(run())
    assert kept == [True, True]


def test_what_waited_in_the_file_goes_first(queue: EventQueue) -> None:
    queue.add("a", Waiting("left", 1.0, b"{}"))
    receiver = FakeReceiver()

    async def run() -> None:
        bench = Bench(queue, receiver)
        assert bench.counts.events_waiting == 1
        bench.add("a", "new")
        await bench.end()

    asyncio.run(run())
    assert receiver.taken == ["left", "new"]


def test_what_is_on_its_way_at_the_end_stays_in_the_queue(queue: EventQueue) -> None:
    class Silent(FakeReceiver):
        async def tell(self, event: Waiting) -> Attempt:
            await asyncio.Event().wait()
            raise AssertionError

    async def run() -> None:
        bench = Bench(queue, Silent())
        bench.add("a", "a1")
        await bench.delivery.wait_until_empty(0.01)
        await bench.delivery.close()

    asyncio.run(run())
    assert [queue.event(row).id for row, _ in queue.rows()] == ["a1"]
