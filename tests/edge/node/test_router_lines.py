"""A node's lines about its routers: one for all workers, at once, now and then, and when it is over."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cluster.edge.node.router_lines import TELL_EVERY_S, RouterLines

R1, R2 = "tcp://r1:1936", "tcp://r2:1936"
WHY = "nobody accepts connections there: start the router"


class Scene:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self._caplog = caplog
        self.now = 100.0
        self.lines = RouterLines(lambda: self.now)

    def hear(self, *troubles: dict[str, str | None]) -> None:
        """Each worker says so, and the node looks."""
        for slot, each in enumerate(troubles):
            self.lines.hear(slot, each)
        self.lines.tick()

    def told(self) -> list[tuple[str, str]]:
        """Event and text of each line since the last call."""
        found = [(record.__dict__["event"], record.getMessage()) for record in self._caplog.records]
        self._caplog.clear()
        return found


@pytest.fixture
def scene(caplog: pytest.LogCaptureFixture) -> Scene:
    return Scene(caplog)


def test_a_router_that_is_not_there_is_told_of_once_for_the_node_and_again_while_it_lasts(
    scene: Scene,
) -> None:
    scene.hear({R1: None}, {R1: None})
    assert scene.told() == []
    scene.hear({R1: WHY}, {R1: WHY})
    assert scene.told() == [("router_unreached", f"router {R1} is not reached: {WHY}")]
    for _ in range(10):
        scene.now += (TELL_EVERY_S - 0.1) / 10
        scene.hear({R1: WHY}, {R1: WHY})
    assert scene.told() == []
    scene.now += 0.2
    scene.hear({R1: WHY}, {R1: WHY})
    assert scene.told() == [("router_unreached", f"router {R1} is not reached: {WHY}; for 30 s now")]
    scene.now += 4.9
    scene.hear({R1: ""}, {R1: WHY})
    assert scene.told() == [], "not at every worker yet"
    scene.hear({R1: ""}, {R1: ""})
    assert scene.told() == [("router_reached", f"router {R1} answers after 35.0 s")]
    scene.hear({R1: ""}, {R1: ""})
    assert scene.told() == []


def test_one_that_answered_is_lost_and_comes_back(scene: Scene) -> None:
    scene.hear({R1: "", R2: ""}, {R1: "", R2: ""})
    assert scene.told() == [
        ("router_reached", f"router {R1} answers"), ("router_reached", f"router {R2} answers"),
    ]  # fmt: skip
    scene.hear({R1: WHY, R2: ""}, {R1: "", R2: ""})
    assert scene.told() == [], "the other worker is about to notice"
    scene.hear({R1: WHY, R2: ""}, {R1: WHY, R2: ""})
    assert scene.told() == [("router_lost", f"router {R1} is lost: {WHY}")]
    assert scene.lines.counts() == (1, 2)
    scene.now += 2.5
    scene.hear({R1: "", R2: ""}, {R1: "", R2: ""})
    assert scene.told() == [("router_back", f"router {R1} answers again after 2.5 s")]
    assert scene.lines.counts() == (2, 2)


def test_a_router_that_one_worker_alone_misses(scene: Scene) -> None:
    scene.hear({R1: WHY}, {R1: ""})
    scene.now += 0.5
    scene.hear({R1: WHY}, {R1: ""})
    assert scene.told() == [
        ("router_unreached", f"router {R1} is not reached: {WHY} (so say 1 of 2 workers)")
    ]
    assert scene.lines.counts() == (0, 1)


def test_a_worker_that_starts_anew_says_nothing_new(scene: Scene) -> None:
    scene.hear({R1: ""}, {R1: ""})
    scene.told()
    scene.lines.ended(1)
    scene.hear({R1: ""})
    scene.hear({R1: ""}, {R1: None})
    scene.hear({R1: ""}, {R1: ""})
    assert scene.told() == []


def test_a_router_that_is_gone_from_its_name_is_forgotten(scene: Scene) -> None:
    scene.hear({R1: "", R2: WHY})
    scene.told()
    scene.hear({R1: ""})
    scene.now += TELL_EVERY_S
    scene.hear({R1: ""})
    assert scene.told() == []
    assert scene.lines.counts() == (1, 1)


@pytest.mark.parametrize(
    ("said", "is_known"),
    [
        ([], False), ([{R1: ""}], False), ([{R1: ""}, {R1: None}], False), ([{R1: ""}, {R1: WHY}], True),
        ([{}, {}], True),
    ],
)  # fmt: skip
def test_when_it_is_known_how_many_answer(scene: Scene, said: list[Any], is_known: bool) -> None:
    scene.hear(*said)
    assert scene.lines.are_known(workers=2) == is_known
