"""What has happened in the cluster lately, as far as one look after the other shows it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cluster.api.resources import Event, EventList
from cluster.api.round import Known, node_name, workers_by_node
from cluster.core.bus.cluster_status import LOST, node_of

#: Events that are kept; of more, the oldest go.
MAX_EVENTS = 500


class Events:
    """The latest; ``clock`` is in seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._number = 0
        self._nodes: dict[str, str] | None = None
        self._routers: dict[str, bool] = {}
        self._origins: dict[str, tuple[int, str]] = {}

    def after(self, number: int) -> EventList:
        """The events with a higher number."""
        return EventList([each for each in self._events if each.number > number], self._number)

    def look(self, known: Known) -> None:
        """Compare with the last look. In the first, nothing is new; without an answer, nothing is known."""
        self._look_at_routers({each.router: each.status is not None for each in known.answers})
        if not known.is_answered or not known.workers:
            return
        self._look_at_nodes(known)
        origins = {key: (each.epoch, each.origin) for key, each in known.streams.items()}
        for key, (epoch, origin) in origins.items():
            before = self._origins.get(key)
            if before is not None and before[0] < epoch and before[1] != origin:
                name, instance = node_name(node_of(origin))
                text = f"{key} is published at {_place(origin, before[1])} now, and was at "
                text += _place(before[1], origin)
                self._add("stream_moved", text, node=name, id=instance, key=key)
        self._origins = origins

    def _look_at_routers(self, answering: dict[str, bool]) -> None:
        for router, answers in answering.items():
            if self._routers.get(router, answers) != answers:
                text = f"router {router} {'answers again' if answers else 'is lost'}"
                self._add("router_back" if answers else "router_lost", text, router=router)
        self._routers = answering

    def _look_at_nodes(self, known: Known) -> None:
        now = {}
        for node_id, worker_ids in workers_by_node(known.workers).items():
            workers = [known.workers[each] for each in worker_ids]
            if all(LOST in worker.load for worker in workers):
                now[node_id] = "lost"
            else:
                now[node_id] = "drained" if any(worker.draining for worker in workers) else "here"
        before, self._nodes = self._nodes, now
        if before is None:
            return
        for node_id in sorted(now.keys() | before.keys()):
            was, state = before.get(node_id, "gone"), now.get(node_id, "gone")
            if was != state:
                name, instance = node_name(node_id)
                kind, text = _TOLD[state]
                if state == "here" and was == "drained":
                    kind, text = "node_undrained", "is in service again"
                if not (state == "gone" and was == "lost"):
                    self._add(kind, f"node {name} {text}", node=name, id=instance)

    def _add(self, kind: Any, text: str, **about: str) -> None:
        self._number += 1
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        self._events.append(Event(self._number, at.replace("+00:00", "Z"), kind, text, **about))


def _place(worker_id: str, other: str) -> str:
    """What tells the worker ``worker_id`` from ``other``: its node, or its slot if that is the same."""
    node_id = node_of(worker_id)
    if node_id != node_of(other):
        return node_name(node_id)[0]
    return f"{node_name(node_id)[0]}/{worker_id.rsplit('/', 2)[1]}"


_TOLD = {
    "here": ("node_joined", "has joined"),
    "drained": ("node_drained", "is draining"),
    "lost": ("node_lost", "is lost"),
    "gone": ("node_left", "has left"),
}
