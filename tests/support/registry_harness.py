"""A registry without sockets, at a time of a test's choosing."""

from __future__ import annotations

from cluster.core.bus.control import Contest, Contested, ControlMessage, Granted, Heartbeat, Hello, Publish
from cluster.router.grants import Grants
from cluster.router.memory_grants import MemoryGrants
from cluster.router.refusals import Refusals
from cluster.router.registry import Delivery, Registry

A, B, C = "node/i/0/1", "node/i/1/1", "node/i/2/1"
KEY = "live/a"


class Harness:
    """A registry with the workers A, B and C known to it."""

    def __init__(self, grants: Grants | None = None) -> None:
        self.refusals = Refusals()
        self.registry = Registry(grants or MemoryGrants(), lambda: None, self.refusals)
        self.now = 100.0
        self.wall_ms = 1_000
        for worker_id in (A, B, C):
            self.hello(worker_id)

    def hello(
        self,
        worker_id: str,
        *,
        origins: list[tuple[str, int]] | None = None,
        watches: list[str] | None = None,
        draining: bool = False,
    ) -> list[Delivery]:
        node, instance, slot, incarnation = worker_id.split("/")
        numbers = int(slot), int(incarnation)
        return self.says(
            worker_id, Hello(node, instance, *numbers, draining, {}, origins or [], watches or [])
        )

    def says(self, worker_id: str, message: ControlMessage) -> list[Delivery]:
        return self.registry.receive(worker_id, message, self.now, self.wall_ms)

    def loads(self) -> dict[str, dict[str, float]]:
        """What each worker last said of its load."""
        return {worker_id: worker.load for worker_id, worker in self.registry._workers.items()}

    def settle(self) -> list[Delivery]:
        return self.registry.settle(self.now, self.wall_ms)

    def tick(self, after_s: float) -> list[Delivery]:
        self.now += after_s
        return self.registry.tick(self.now, self.wall_ms)

    def beat(self, *worker_ids: str) -> None:
        for worker_id in worker_ids:
            self.says(worker_id, Heartbeat())

    def publish(
        self, worker_id: str, key: str = KEY, request_id: int = 1, replace: bool = False
    ) -> list[Delivery]:
        return self.says(worker_id, Publish(key, replace, request_id))

    def grant(self, worker_id: str, key: str = KEY) -> int:
        """Publish a free key; the epoch."""
        answer = self.publish(worker_id, key)[-1][1]
        assert isinstance(answer, Granted)
        return answer.epoch

    def contest(self, worker_id: str, request_id: int = 1, replace: bool = False) -> int:
        """Publish a key that has an origin; the contest's id."""
        answer, question = self.publish(worker_id, request_id=request_id, replace=replace)
        assert answer == (worker_id, Contested(KEY, request_id))
        assert isinstance(question[1], Contest)
        assert question[1].replace == replace
        return question[1].request_id
