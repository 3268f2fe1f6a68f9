"""What counts as this machine's fault: times in which a thread waited for a CPU, and seconds after it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from standstill import SHOWS_FOR_MS, Span, Standstills, merged, shown_in

from support.polling import wait_until


@pytest.mark.parametrize(
    ("spans", "wanted"),
    [
        ([], []),
        ([(1, 2), (3, 4)], [(1, 2), (3, 4)]),
        ([(3, 5), (1, 4)], [(1, 5)]),
        ([(1, 9), (2, 3)], [(1, 9)]),
    ],
)
def test_spans_that_overlap_are_one(spans: list[Span], wanted: list[Span]) -> None:
    assert merged(spans) == wanted


def test_what_stood_still_shows_for_some_seconds_and_within_the_time_watched() -> None:
    assert shown_in([(10, 20)], 15, 30) == [(15, 30)]
    assert shown_in([(10, 20)], 15, 9_000) == [(15, 20 + SHOWS_FOR_MS)]
    assert shown_in([(10, 20)], 20 + SHOWS_FOR_MS, 9_000) == []


def test_a_thread_that_waits_for_a_cpu_is_seen() -> None:
    """Of three that compute on one CPU, each waits for the others."""
    standstills = Standstills()
    program = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    cpu = str(min(os.sched_getaffinity(0)))
    three = [subprocess.Popen([sys.executable, "-c", program, cpu]) for _ in range(3)]
    try:
        wait_until(lambda: len(standstills.seen) > 5, "it to be seen that they wait")
        assert all(each.waited_ms >= 50 for each in standstills.seen)
    finally:
        for each in three:
            each.kill()
            each.wait()
        standstills.close()
