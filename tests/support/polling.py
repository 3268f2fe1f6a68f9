"""Waiting, with a deadline and a reason: the only place in these tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_EVERY_S = 0.02


def wait_until(probe: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """The first truthy value of ``probe``; AssertionError that ``what`` never came, after the timeout."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(_EVERY_S)
