"""A node goes out of service and comes back: what its workers are told, and when."""

from __future__ import annotations

import math

import pytest

from cluster.edge.node.in_service import InService, State
from cluster.edge.node.orders import Serve, Service, from_line
from cluster.edge.node.worker_slot import SlotState


class Slot:
    def __init__(self, state: SlotState = SlotState.READY) -> None:
        self.state = state
        self.told: list[Service] = []

    def say(self, line: bytes) -> None:
        order = from_line(line)
        assert isinstance(order, Serve)
        self.told.append(order.service)


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.slots = [Slot(), Slot(SlotState.STARTING)]
        self.service = InService(self.slots, lambda: self.now)  # type: ignore[arg-type]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_workers_are_told_to_go_out_and_at_the_deadline_once_more(scene: Scene) -> None:
    scene.service.drain(5.0)
    ready, starting = scene.slots
    assert (scene.service.state, scene.service.until) == (State.DRAINING, 105.0)
    assert (ready.told, starting.told) == ([Service.OUT], [])
    scene.now = 104.9
    scene.service.tick()
    assert ready.told == [Service.OUT]
    scene.now = 105.0
    scene.service.tick()
    scene.service.tick()
    assert ready.told == [Service.OUT, Service.OVER]
    assert (scene.service.state, scene.service.until) == (State.OUT, math.inf)


def test_another_drain_sets_another_deadline_and_tells_nobody_again(scene: Scene) -> None:
    scene.service.drain(5.0)
    scene.now = 103.0
    scene.service.drain(5.0)
    assert scene.service.until == 108.0
    assert scene.slots[0].told == [Service.OUT]
    scene.now = 108.0
    scene.service.tick()
    scene.service.drain(5.0)  # nobody is left
    assert (scene.service.state, scene.service.until) == (State.OUT, math.inf)


def test_a_worker_that_starts_meanwhile_is_told_when_it_is_ready(scene: Scene) -> None:
    starting = scene.slots[1]
    scene.service.worker_ready(starting)  # type: ignore[arg-type]
    assert starting.told == []
    scene.service.drain(5.0)
    scene.service.worker_ready(starting)  # type: ignore[arg-type]
    assert starting.told == [Service.OUT]


@pytest.mark.parametrize("after_s", [1.0, 9.0])
def test_it_comes_back_at_any_time(scene: Scene, after_s: float) -> None:
    scene.service.undrain()
    assert scene.slots[0].told == []
    scene.service.drain(5.0)
    scene.now += after_s
    scene.service.tick()
    scene.service.undrain()
    assert scene.slots[0].told[-1] == Service.IN
    assert (scene.service.state, scene.service.until) == (State.IN, math.inf)
    scene.now += 100.0
    scene.service.tick()
    assert scene.slots[0].told[-1] == Service.IN
