"""Whether there is room for one more who plays or publishes: what streams ask for, and who knows.

Nothing here is asked per message. Who is there already is never sent away for want of room.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from cluster.core.errors import CloseReason


class NoRoom(NamedTuple):
    """Why there is none. ``text`` is for the peer."""

    reason: CloseReason
    text: str


class Room(Protocol):
    """Whoever knows the limits. What it refuses it counts."""

    def for_player(self, key: str) -> NoRoom | None:
        """None if one more may play ``key`` now."""

    def for_viewer(self) -> NoRoom | None:
        """The same for one who asks for pieces of media, and is no player: of HLS."""

    def asking(self, key: str) -> AbstractContextManager[NoRoom | None]:
        """The same for a publisher of ``key``, which counts in its app for as long as this lasts."""


class EndlessRoom:
    """There is room for everybody."""

    def for_player(self, key: str) -> NoRoom | None:
        return None

    def for_viewer(self) -> NoRoom | None:
        return None

    def asking(self, key: str) -> AbstractContextManager[NoRoom | None]:
        return contextlib.nullcontext()
