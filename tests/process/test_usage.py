"""What a process says that it uses."""

from __future__ import annotations

import psutil

from cluster.process.usage import cpu_seconds, memory_bytes


def test_memory_is_what_the_system_says() -> None:
    told = psutil.Process().memory_info().rss
    assert 0.8 * told < memory_bytes() < 1.2 * told


def test_cpu_time_grows_with_work() -> None:
    before = cpu_seconds()
    while cpu_seconds() < before + 0.01:
        sum(range(1_000))
    assert cpu_seconds() > before
