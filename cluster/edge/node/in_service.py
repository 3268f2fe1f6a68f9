"""Whether a node is in service: an operator may take it out (drain) and put it back.

A node that is drained runs on: it accepts nobody, its sessions are asked to go elsewhere, and those that
are left when the time is over are told to. Its workers hear of it as orders, also one that starts later. As
signals they would not do: two that follow each other soon may come as one, or in the wrong order.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import Callable, Sequence

from cluster.edge.node.orders import Serve, Service, to_line
from cluster.edge.node.worker_slot import SlotState, WorkerSlot

logger = logging.getLogger(__name__)


class State(enum.Enum):
    IN = "in service"
    DRAINING = "draining"  # its sessions may go on until the deadline
    OUT = "drained"  # those that were left have been told to go


class InService:
    """Of the node whose workers are in ``slots``."""

    def __init__(self, slots: Sequence[WorkerSlot], clock: Callable[[], float]) -> None:
        self._slots = slots
        self._clock = clock
        self.state = State.IN
        #: When whoever is left is told to go.
        self.until = math.inf

    def drain(self, deadline_s: float) -> None:
        """Take the node out, or give those who are left another deadline."""
        logger.warning(
            "taken out of service by an operator: sessions may go on for %(deadline_s)g s",
            {"deadline_s": deadline_s}, extra={"event": "node_drained"},
        )  # fmt: skip
        if self.state is State.IN:
            self._tell(Service.OUT)
            self.state = State.DRAINING
        if self.state is State.DRAINING:
            self.until = self._clock() + deadline_s

    def undrain(self) -> None:
        """Put it back."""
        if self.state is not State.IN:
            logger.warning("in service again", extra={"event": "node_undrained"})
            self.state, self.until = State.IN, math.inf
            self._tell(Service.IN)

    def tick(self) -> None:
        """What is due."""
        if self._clock() >= self.until:
            self.until = math.inf
            self.state = State.OUT
            self._tell(Service.OVER)

    def worker_ready(self, slot: WorkerSlot) -> None:
        """A worker has begun to accept connections."""
        if self.state is not State.IN:
            slot.say(to_line(Serve(Service.OUT)))

    def _tell(self, service: Service) -> None:
        for slot in self._slots:
            if slot.state is SlotState.READY:  # others have nobody yet, and are told then
                slot.say(to_line(Serve(service)))
