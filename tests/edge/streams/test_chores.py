"""What is done a little at a time: in which order, how much at once, and what a failure does not end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cluster.edge.streams.chores import CHORES_TURN_S, Chores
from cluster.edge.streams.turn import Turn
from support.house import SteppedLoop, stepped_loop


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


class Scene:
    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.chores = Chores(Turn(loop))
        self.done: list[str] = []

    def note(self, name: str, takes_s: float = 0.0) -> Callable[[], None]:
        def do() -> None:
            self.done.append(name)
            self.loop.now += takes_s

        return do

    def later(self, name: str, takes_s: float = 0.0) -> None:
        self.chores.later(name, self.note(name, takes_s))


@pytest.fixture
def scene(loop: SteppedLoop) -> Scene:
    return Scene(loop)


def test_each_is_done_once_however_often_it_is_asked_for_and_the_oldest_first(scene: Scene) -> None:
    for name in ("a", "b", "a", "c", "b"):
        scene.later(name)
    assert scene.done == []
    scene.loop.turn()
    assert scene.done == ["a", "b", "c"]


def test_others_have_their_turn_after_a_while_and_the_rest_follows(scene: Scene) -> None:
    for name in ("a", "b", "c"):
        scene.later(name, CHORES_TURN_S)
    scene.chores.begin()
    assert scene.done == ["a"]
    scene.loop.turn()
    scene.loop.turn()
    assert scene.done == ["a", "b", "c"]


def test_what_asks_for_itself_again_comes_after_the_others(scene: Scene) -> None:
    def again() -> None:
        scene.done.append("a")
        if scene.done.count("a") < 3:
            scene.chores.later("a", again)

    scene.chores.later("a", again)
    scene.later("b")
    scene.chores.begin()
    assert scene.done == ["a", "b"]
    scene.loop.turn()
    scene.loop.turn()
    assert scene.done == ["a", "b", "a", "a"]


def test_a_failure_is_reported_and_ends_nothing(scene: Scene) -> None:
    errors: list[object] = []
    scene.loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    def fail() -> None:
        raise ZeroDivisionError

    scene.chores.later("fails", fail)
    scene.later("a")
    scene.chores.begin()  # as a sweep does, which ends the worker if it fails
    assert scene.done == ["a"]
    assert [type(error) for error in errors] == [ZeroDivisionError]
