"""Our calls of the peer that are not answered yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cluster.core.rtmp import status
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import CallFailed, CallSucceeded, Received

#: What to do with the answer to a call; None: tell the shell by an event.
Answered: TypeAlias = Callable[[Command, Received], None]


class Calls:
    """Transaction ids and what waits for them. The first id of a connection is 1: its connect."""

    __slots__ = ("_next_id", "_waiting")

    def __init__(self) -> None:
        self._next_id = 1
        self._waiting: dict[float, Answered | None] = {}

    def begin(self, answered: Answered | None) -> float:
        """Returns the transaction id to send."""
        transaction_id = float(self._next_id)
        self._next_id += 1
        self._waiting[transaction_id] = answered
        return transaction_id

    def finish(self, answer: Command, received: Received) -> bool:
        """Take a ``_result`` or ``_error``; False if nothing waits for it."""
        if answer.transaction_id not in self._waiting:
            return False
        answered = self._waiting.pop(answer.transaction_id)
        values = (answer.command_object, *answer.args)
        if answered is not None:
            answered(answer, received)
        elif answer.name == "_result":
            received.append(CallSucceeded(answer.transaction_id, values))
        else:
            info = answer.arg(0)
            code, description = status.field(info, "code"), status.field(info, "description")
            received.append(CallFailed(answer.transaction_id, code, description, values))
        return True
