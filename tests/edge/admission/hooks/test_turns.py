"""Turns of questions: whose is next, and who goes when too many wait."""

from __future__ import annotations

import asyncio

import pytest

from cluster.edge.admission.hooks import turns
from cluster.edge.admission.hooks.counts import HookCounts
from cluster.edge.admission.hooks.turns import TooManyWait, Turns


class Scene:
    """Questions, by a letter for their address and a number."""

    def __init__(self) -> None:
        self.counts = HookCounts()
        self.turns = Turns(self.counts)
        self.had: list[str] = []
        self.refused: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._answered: dict[str, asyncio.Event] = {}

    async def ask(self, *names: str) -> None:
        for name in names:
            self._answered[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._ask(name))
            await _settle()

    async def _ask(self, name: str) -> None:
        try:
            async with self.turns.turn(name[0]):
                self.had.append(name)
                await self._answered[name].wait()
        except TooManyWait:
            self.refused.append(name)

    async def answer(self, name: str) -> None:
        self._answered[name].set()
        await self._tasks[name]
        await _settle()

    def leave(self, name: str) -> None:
        self._tasks[name].cancel()

    async def answer_all(self) -> None:
        while self.counts.asking:
            for name in self.had:
                self._answered[name].set()
            await _settle()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(turns, "MAX_QUESTIONS_AT_ONCE", 1)
    monkeypatch.setattr(turns, "MAX_WAITING_QUESTIONS", 4)
    return Scene()


def test_addresses_take_turns_each_with_its_oldest(scene: Scene) -> None:
    async def run() -> None:
        await scene.ask("a1", "a2", "a3", "b1", "b2")
        await scene.answer_all()

    asyncio.run(run())
    assert scene.had == ["a1", "a2", "b1", "a3", "b2"]
    assert (scene.counts.asking, scene.counts.waiting) == (0, 0)


def test_who_asks_without_end_shuts_nobody_out(scene: Scene) -> None:
    async def run() -> None:
        await scene.ask("a1", "a2", "a3", "a4", "a5")
        await scene.ask("a6")
        assert scene.refused == ["a6"]
        await scene.ask("b1")
        assert scene.refused == ["a6", "a5"]
        await scene.ask("b2", "b3")
        assert scene.refused == ["a6", "a5", "a4", "b3"]
        assert scene.counts.waiting == 4
        await scene.answer_all()

    asyncio.run(run())
    assert scene.had == ["a1", "a2", "b1", "a3", "b2"]


def test_who_leaves_takes_no_turn_with_it(scene: Scene) -> None:
    async def run() -> None:
        await scene.ask("a1", "b1", "c1", "d1")
        scene.leave("b1")
        await _settle()
        scene.leave("c1")
        await scene.answer("a1")  # which hears of it first
        await scene.answer_all()
        await scene.ask("e1")
        await scene.answer_all()

    asyncio.run(run())
    assert scene.had == ["a1", "d1", "e1"]
    assert (scene.counts.asking, scene.counts.waiting) == (0, 0)


def test_who_leaves_in_the_moment_of_its_turn_passes_it_on(scene: Scene) -> None:
    async def run() -> None:
        await scene.ask("a1", "b1", "c1")
        scene.turns._pass_on()
        scene.leave("b1")
        await _settle()
        assert scene.had == ["a1", "c1"]

    asyncio.run(run())


def test_who_leaves_and_is_to_make_room_passes_nothing_on(scene: Scene) -> None:
    async def run() -> None:
        await scene.ask("a1", "b1", "b2")
        scene.turns._make_room("c")
        scene.leave("b2")
        await _settle()
        assert (scene.had, scene.counts.asking, scene.counts.waiting) == (["a1"], 1, 1)

    asyncio.run(run())


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)
