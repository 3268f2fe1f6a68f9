"""A receiver of events without a network, and a queue in a file of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster.edge.events.queue import EventQueue, Waiting
from cluster.edge.events.receiver import Attempt, Outcome

TAKEN = Attempt(Outcome.DELIVERED)
FAILED = Attempt(Outcome.FAILED, "status 500")
GONE = Attempt(Outcome.GONE, "status 410")


def new_queue(tmp_path: Path) -> EventQueue:
    return EventQueue(tmp_path / "queue", is_durable=False)


async def until(probe: Callable[[], object]) -> None:
    """Let the loop turn until ``probe`` says so."""
    async with asyncio.timeout(30):
        while not probe():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.001)


class FakeReceiver:
    """``answer`` is given the id of an event and how often it was seen. ``tries``: ids as they came."""

    def __init__(self, answer: Callable[[str, int], Attempt] = lambda id, tries: TAKEN) -> None:
        self.answer = answer
        self.tries: list[str] = []
        self.taken: list[str] = []

    async def tell(self, event: Waiting) -> Attempt:
        self.tries.append(event.id)
        attempt = self.answer(event.id, self.tries.count(event.id))
        if attempt is TAKEN:
            self.taken.append(event.id)
        return attempt


class Outbox:
    """Keeps what is to be delivered."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def add(self, key: str, event: Waiting) -> None:
        body = json.loads(event.body)
        assert body["data"]["key"] == key
        self.events.append((event.id, body))

    def shown(self) -> list[tuple[str, str, int]]:
        """Type, key and number of each."""
        return [(body["type"], body["data"]["key"], body["data"]["sequence"]) for _, body in self.events]
