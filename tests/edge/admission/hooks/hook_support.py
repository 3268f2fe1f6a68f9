"""What tests of hooks share: somebody who asks for something, and who waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cluster.edge.peers.access import Access

ASKED = Access(
    action="publish", key="live/eu/cam1", peer="192.0.2.7:50123", spoken="rtmp", session="ab12-0.1-77",
    query="token=good&x=1", agent="FMLE/3.0", tc_url="rtmp://h/live/eu", details={"type": "live"},
)  # fmt: skip


def asked(**changes: Any) -> Access:
    return replace(ASKED, **changes)


def asked_to_play(**changes: Any) -> Access:
    return asked(
        action="play", details={"start": -2.0, "duration": -1.0, "reset": True}, **changes
    )


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until ``holds`` says so."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)
