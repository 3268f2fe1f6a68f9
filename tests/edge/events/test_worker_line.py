"""The worker's end of the line: nothing waits, nothing is lost that fits, and what does not is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from events_support import until

from cluster.edge.events import worker_line
from cluster.edge.events.worker_line import WorkerLine
from cluster.edge.streams.counters import Counters

WHO = {"worker": "ab12-0.1", "instance": "ab12"}


class FakeProcess:
    """Listens as the delivering process does; ``said``: what it was told, on all connections."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.said: list[dict[str, Any]] = []
        self.connections = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._hear, self._path, limit=1 << 22)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()

    async def ack(self, number: int) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps({"ack": number}).encode() + b"\n")

    async def wait_said(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.said) >= count)
        return self.said

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        while True:
            await self.reads.wait()
            if not (line := await reader.readline()):
                break
            self.said.append(json.loads(line))
        writer.close()


@asynccontextmanager
async def connected(
    tmp_path: Path, **options: Any
) -> AsyncIterator[tuple[FakeProcess, WorkerLine, Counters]]:
    counters = Counters()
    process = FakeProcess(tmp_path / "e")
    line = WorkerLine(str(tmp_path / "e"), WHO, counters, lambda: [7], **options)
    line.start()
    await process.start()
    yield process, line, counters
    await line.close(0)
    await process.stop()


def numbers(said: list[dict[str, Any]]) -> list[int]:
    return [each["n"] for each in said if "n" in each]


def test_who_it_is_comes_first_and_what_is_open_last(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (process, line, _):
            assert line.tell("play.started", "live/a", {"x": 1}, opens=True) == 1  # nobody listens yet
            assert line.tell("play.stopped", "live/a", {}, closes=1) == 2
            who, started, stopped, sessions = await process.wait_said(4)
            assert who == WHO
            assert started["type"] == "play.started"
            assert (started["key"], started["data"]) == ("live/a", {"x": 1})
            assert (started["opens"], stopped["closes"]) == (True, 1)
            assert sessions == {"open": [7]}

    asyncio.run(run())


def test_what_was_not_acknowledged_is_sent_again_to_the_next_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (process, line, _):
            for _ in range(4):
                line.tell("play.started", "live/a", {})
            await process.wait_said(6)
            await process.ack(2)
            await until(lambda: len(line._kept) == 2)
            await process.stop()
            line.tell("play.started", "live/a", {})
            del process.said[:]
            await process.start()
            said = await process.wait_said(5)
            assert (said[0], numbers(said), said[-1]) == (WHO, [3, 4, 5], {"open": [7]})
            assert process.connections == 2

    asyncio.run(run())


def test_what_does_not_fit_is_counted_and_leaves_a_gap(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, kept=4) as (process, line, counters):
            await process.wait_said(2)
            for number in range(8):
                line.tell("play.started", "live/a" if number != 5 else "live/b", {})
            assert counters.events_lost == 4
            await process.wait_said(6)
            await process.ack(4)
            said = await process.wait_said(7)
            assert said[-1] == {"open": [7]}, "it is told which sessions are open once there is room"
            line.tell("play.started", "live/a", {})
            line.tell("play.started", "live/b", {})
            line.tell("play.started", "live/a", {})
            said = await process.wait_said(10)
            assert [(each["n"], each.get("skipped", 0)) for each in said[-3:]] == [(9, 3), (10, 1), (11, 0)]

    asyncio.run(run())


def test_of_more_streams_than_are_remembered_the_number_alone_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_line, "MAX_KEYS_SKIPPED", 1)

    async def run() -> None:
        async with connected(tmp_path, kept=2) as (process, line, counters):
            await process.wait_said(2)
            for key in ("x", "x", "a", "b", "a"):
                line.tell("play.started", key, {})
            assert counters.events_lost == 3
            await process.wait_said(4)
            await process.ack(2)
            await process.wait_said(5)
            line.tell("play.started", "a", {})
            line.tell("play.started", "b", {})
            said = await process.wait_said(7)
            assert [(each["key"], each.get("skipped", 0)) for each in said[-2:]] == [("a", 2), ("b", 0)]

    asyncio.run(run())


def test_a_process_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, kept=5_000) as (process, line, counters):
            await process.wait_said(2)
            process.reads.clear()
            began = asyncio.get_running_loop().time()
            for _ in range(6_000):
                line.tell("play.started", "live/a", {"agent": "x" * 1_000})
            assert asyncio.get_running_loop().time() - began < 30
            assert counters.events_lost == 1_000
            process.reads.set()
            await process.wait_said(5_002)
            assert numbers(process.said) == list(range(1, 5_001))

    asyncio.run(run())


def test_what_another_process_has_kept_is_not_sent_again(tmp_path: Path) -> None:
    """It says so at once: before the rest, for which the socket had no room yet."""

    async def run() -> None:
        async with connected(tmp_path, kept=5_000) as (process, line, _):
            await process.wait_said(2)
            process.reads.clear()
            for _ in range(5_000):
                line.tell("play.started", "live/a", {"agent": "x" * 1_000})
            sent = line._sent
            assert sent < 4_000
            await process.ack(4_000)
            await until(lambda: len(line._kept) == 1_000)
            process.reads.set()
            await until(lambda: numbers(process.said)[-1:] == [5_000])
            assert numbers(process.said) == [*range(1, sent + 1), *range(4_001, 5_001)]

    asyncio.run(run())


def test_the_end_waits_for_what_was_told_and_counts_what_nobody_took(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (process, line, counters):
            line.tell("play.started", "live/a", {})
            await process.wait_said(3)
            ending = asyncio.create_task(line.close(30))
            await asyncio.sleep(0.01)
            assert not ending.done()
            await process.ack(1)
            await asyncio.wait_for(ending, 30)
            assert counters.events_lost == 0
            line.tell("play.started", "live/a", {})
            await line.close(0.01)
            assert counters.events_lost == 1

    asyncio.run(run())
