"""What is looked at a little at a time: in which order, how much at once, and that no failure ends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.edge.streams.rounds import ROUND_TURN_S, Rounds
from cluster.edge.streams.turn import Turn
from support.house import SteppedLoop, stepped_loop


@pytest.fixture
def loop() -> Iterator[SteppedLoop]:
    with stepped_loop() as loop:
        yield loop


class Scene:
    """Looking at ``slow`` takes longer than a turn may, and looking at ``bad`` fails."""

    def __init__(self, loop: SteppedLoop) -> None:
        self.loop = loop
        self.seen: list[str] = []
        self.complaints: list[str] = []
        self.rounds = Rounds(Turn(loop), self._look, lambda: self.seen.append("over"))
        loop.set_exception_handler(lambda _loop, context: self.complaints.append(str(context["exception"])))

    def _look(self, item: str) -> None:
        self.seen.append(item)
        if item == "slow":
            self.loop.now += 2 * ROUND_TURN_S
        elif item == "bad":
            raise ValueError("no good")


@pytest.fixture
def scene(loop: SteppedLoop) -> Scene:
    return Scene(loop)


def test_a_few_are_looked_at_at_once(scene: Scene) -> None:
    scene.rounds.begin(["a", "b"])
    assert scene.seen == ["a", "b", "over"]


def test_others_have_their_turn_after_a_while_and_the_rest_follows(scene: Scene) -> None:
    scene.rounds.begin(["slow", "a", "slow", "b"])
    scene.loop.call_soon(scene.seen.append, "others")
    assert scene.seen == ["slow"]
    scene.loop.turn()
    assert scene.seen == ["slow", "a", "slow", "others", "b", "over"]


def test_a_round_that_goes_on_leaves_out_the_next(scene: Scene) -> None:
    scene.rounds.begin(["slow", "a"])
    scene.rounds.begin(["x"])
    scene.loop.turn()
    assert (scene.seen, scene.rounds.number) == (["slow", "a", "over"], 1)
    scene.rounds.begin(["x"])
    assert (scene.seen[3:], scene.rounds.number) == (["x", "over"], 2)


def test_one_that_fails_ends_nothing(scene: Scene) -> None:
    scene.rounds.begin(["bad", "a"])
    assert scene.seen == ["bad", "a", "over"]
    assert scene.complaints == ["no good"]


def test_those_that_come_or_go_meanwhile_change_nothing(scene: Scene) -> None:
    items = ["slow", "a"]
    scene.rounds.begin(items)
    items[:] = ["b"]
    scene.loop.turn()
    assert scene.seen == ["slow", "a", "over"]
