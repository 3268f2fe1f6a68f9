"""What a stream begins with, for those who waited for it.

Workers subscribe to a stream when they hear of its origin, and its first messages may be sent before their
subscription has arrived. A snapshot would not have them all: it begins at a keyframe, or at the live end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cluster.core.bus.bounds import EARLY_BYTES
from cluster.core.bus.control import Snapshot
from cluster.core.bus.packing import MessageLike
from cluster.core.bus.splice import HELD_ITEM_BYTES
from cluster.core.message import Message


class EarlyMessages:
    """The first messages of a stream in ``epoch``, up to EARLY_BYTES."""

    __slots__ = ("_bytes", "_epoch", "_first_seq", "_messages")

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._first_seq = 0
        self._messages: list[Message] = []
        self._bytes = 0

    def add(self, epoch: int, first_seq: int, messages: Sequence[MessageLike]) -> None:
        """They have been published."""
        if epoch != self._epoch:
            return  # of the publisher before
        if not self._messages:
            self._first_seq = first_seq
        for seq, message in enumerate(messages, first_seq):
            size_bytes = len(message.payload) + HELD_ITEM_BYTES
            if seq != self._first_seq + len(self._messages) or self._bytes + size_bytes > EARLY_BYTES:
                return
            self._messages.append(Message(message.type_id, message.timestamp, message.payload))
            self._bytes += size_bytes

    def before(self, snapshot: Snapshot) -> Snapshot:
        """``snapshot`` with what goes before it, if that is all here."""
        missing = snapshot.first_seq - self._first_seq
        if snapshot.epoch != self._epoch or not 0 < missing <= len(self._messages):
            return snapshot
        return replace(snapshot, messages=self._messages[:missing] + snapshot.messages)
