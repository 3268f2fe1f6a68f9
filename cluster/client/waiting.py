"""Waiting with a bound that says what it waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from cluster.client.errors import RtmpError, Timeout

T = TypeVar("T")


def raise_or_return(answer: T | RtmpError) -> T:
    """The answer, unless it is an error."""
    if isinstance(answer, RtmpError):
        raise answer.with_traceback(None)
    return answer


async def within(timeout_s: float | None, what: str, waiting: Awaitable[T]) -> T:
    """The result of ``waiting``; Timeout after so many seconds, None: however long it takes."""
    try:
        async with asyncio.timeout(timeout_s) as scope:
            return await waiting
    except TimeoutError:
        if not scope.expired():
            raise
        raise Timeout(f"{what}: no answer within {timeout_s:g} s") from None
