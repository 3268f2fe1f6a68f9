"""The memory in which workers count together: sums, full tables, the dead, processes at the same time."""

from __future__ import annotations

import mmap
import os
import random
import time
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from cluster.edge.peers import shared_counts
from cluster.edge.peers.shared_counts import MAX_PROBES, SLOTS, CountsMemory, SharedCounts

SECRET = bytes(range(32))
WORKERS = 3


@pytest.fixture
def memory() -> Iterator[CountsMemory]:
    made = CountsMemory(WORKERS)
    yield made
    made.close()


def regions(memory: CountsMemory) -> list[SharedCounts]:
    return [SharedCounts(memory.fd, WORKERS, slot, SECRET) for slot in range(WORKERS)]


def test_each_sees_what_the_others_count_and_not_its_own(memory: CountsMemory) -> None:
    a, b, c = regions(memory)
    one = a.id_of("network", "192.0.2.1")
    a.set_count(one, 3)
    b.set_count(one, 4)
    assert [each.count_elsewhere(one) for each in (a, b, c)] == [4, 3, 7]
    a.forget(one)
    assert [each.count_elsewhere(one) for each in (a, b, c)] == [4, 0, 4]


def test_the_latest_time_that_another_has_written_holds(memory: CountsMemory) -> None:
    a, b, c = regions(memory)
    one = a.id_of("network", "192.0.2.1")
    a.set_until(one, 10.5)
    b.set_until(one, 12.25)
    assert [each.until_elsewhere(one) for each in (a, b, c)] == [12.25, 10.5, 12.25]


def test_rates_are_added_up(memory: CountsMemory) -> None:
    a, b, c = regions(memory)
    a.set_rate(1e6)
    b.set_rate(5e5)
    assert [each.rate_elsewhere() for each in (a, b, c)] == [5e5, 1e6, 1.5e6]


def test_ids_are_the_same_in_all_workers_and_differ_by_kind_name_and_secret(memory: CountsMemory) -> None:
    a, b, _ = regions(memory)
    other = SharedCounts(memory.fd, WORKERS, 0, b"another")
    assert a.id_of("players", "live/a") == b.id_of("players", "live/a")
    ids = {a.id_of("players", "live/a"), a.id_of("publishing", "live/a"), a.id_of("players", "live/b")}
    assert len(ids | {other.id_of("players", "live/a")}) == 4


def test_the_region_of_a_dead_worker_is_cleared(memory: CountsMemory) -> None:
    a, b, _ = regions(memory)
    one = a.id_of("players", "live/a")
    a.set_count(one, 3)
    a.set_rate(1e6)
    memory.clear(0)
    assert b.count_elsewhere(one) == 0
    assert b.rate_elsewhere() == 0
    next_incarnation = SharedCounts(memory.fd, WORKERS, 0, SECRET)
    next_incarnation.set_count(one, 1)
    assert b.count_elsewhere(one) == 1


def test_next_to_nothing_is_in_use_before_something_is_counted(memory: CountsMemory) -> None:
    a, *_ = regions(memory)
    a.count_elsewhere(a.id_of("players", "live/a"))
    memory.clear(1)
    assert os.fstat(memory.fd).st_blocks * 512 <= WORKERS * mmap.PAGESIZE


def same_start(start: int, count: int) -> list[int]:
    """Ids that all begin to look in the same place."""
    return [start + SLOTS * number for number in range(1, count + 1)]


def test_an_id_that_finds_no_place_is_counted_and_harms_no_other(memory: CountsMemory) -> None:
    a, b, _ = regions(memory)
    ids = same_start(SLOTS - 5, MAX_PROBES + 2)  # they go on at the beginning of the table
    for number, each in enumerate(ids, 1):
        a.set_count(each, number)
    assert [b.count_elsewhere(each) for each in ids] == [*range(1, MAX_PROBES + 1), 0, 0]
    assert a.lost == 2
    a.forget(ids[-1])  # without effect
    a.forget(ids[0])
    a.set_count(ids[-1], 7)
    assert b.count_elsewhere(ids[-1]) == 7


def test_places_that_are_free_again_do_not_hide_what_stands_behind_them(memory: CountsMemory) -> None:
    a, b, _ = regions(memory)
    ids = same_start(100, 5)
    for each in ids:
        a.set_count(each, 1)
    for each in ids[1:3]:
        a.forget(each)
    assert [b.count_elsewhere(each) for each in ids] == [1, 0, 0, 1, 1]
    for each in ids:
        a.forget(each)
    assert a._places_elsewhere(ids[0]) == []
    ints = a._ints
    assert not any(ints[shared_counts._HEADER_WORDS + place] for place in range(100, 110))


def test_what_many_changes_leave_is_what_a_dictionary_says(memory: CountsMemory) -> None:
    draw = random.Random(7)
    a, b, _ = regions(memory)
    ids = [a.id_of("network", str(number)) for number in range(40)] + same_start(SLOTS - 3, 20)
    counted: dict[int, int] = {}
    for _ in range(5_000):
        each = draw.choice(ids)
        if draw.random() < 0.4:
            a.forget(each)
            counted.pop(each, None)
        else:
            counted[each] = draw.randrange(1, 9)
            a.set_count(each, counted[each])
    assert {each: b.count_elsewhere(each) for each in ids} == {each: counted.get(each, 0) for each in ids}
    for each in ids:
        a.forget(each)
    start = shared_counts._HEADER_WORDS
    assert not any(a._ints[start : start + SLOTS])


def _count(fd: int, slot: int, rounds: int) -> None:
    counts = SharedCounts(fd, WORKERS, slot, SECRET)
    ids = [counts.id_of("network", str(number)) for number in range(50)]
    for number in range(rounds):
        each = ids[number % len(ids)]
        counts.set_count(each, slot + 1)
        counts.set_until(each, 1.5)
        if number < rounds - len(ids):
            counts.forget(each)


def test_who_reads_while_another_process_writes_sees_old_or_new(memory: CountsMemory) -> None:
    reader = SharedCounts(memory.fd, WORKERS, 0, SECRET)
    ids = [reader.id_of("network", str(number)) for number in range(50)]
    fork = get_context("fork")
    tasks = [(memory.fd, slot, 50_000) for slot in (1, 2)]
    writers = [fork.Process(target=_count, args=task, daemon=True) for task in tasks]
    for writer in writers:
        writer.start()
    seen, times = set(), set()
    until = time.monotonic() + 60
    while any(writer.is_alive() for writer in writers) and time.monotonic() < until:
        for each in ids:
            seen.add(reader.count_elsewhere(each))
            times.add(reader.until_elsewhere(each))
    for writer in writers:
        writer.join(1)
        assert writer.exitcode == 0
    assert seen <= {0, 2, 3, 5}
    assert times <= {0.0, 1.5}
    assert [reader.count_elsewhere(each) for each in ids] == [5] * len(ids)
