"""Whether a worker has room for one more who plays or publishes, by all limits that there are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cluster.core.errors import CloseReason
from cluster.edge.peers.bandwidth import Bandwidth
from cluster.edge.peers.key_limits import KeyLimits, count_turned_away
from cluster.edge.streams.room import NoRoom
from cluster.edge.streams.streams import Streams

_NO_BANDWIDTH = NoRoom(
    CloseReason.NO_BANDWIDTH, "this server sends as much as it may; try again later, or another one"
)


class LoadLimits:
    """See ``streams.room.Room``. New players are refused before new publishers; who is there stays.

    ``bandwidth``: None if it has no bound.
    """

    def __init__(self, streams: Streams, keys: KeyLimits, bandwidth: Bandwidth | None = None) -> None:
        self._streams = streams
        self._keys = keys
        self._bandwidth = bandwidth

    def for_player(self, key: str) -> NoRoom | None:
        no_room = self._bandwidth_for_player() or self._keys.for_player(key)
        if no_room is not None:
            count_turned_away(self._streams, no_room.reason)
        elif self._bandwidth is not None:
            self._bandwidth.player_comes()
        return no_room

    def for_viewer(self) -> NoRoom | None:
        no_room = self._bandwidth_for_player()
        if no_room is not None:
            count_turned_away(self._streams, no_room.reason)
        return no_room

    def _bandwidth_for_player(self) -> NoRoom | None:
        has_room = self._bandwidth is None or self._bandwidth.has_room_for_player()
        return None if has_room else _NO_BANDWIDTH

    @contextlib.contextmanager
    def asking(self, key: str) -> Iterator[NoRoom | None]:
        with self._keys.asking(key) as no_room:
            if self._bandwidth is not None and not self._bandwidth.has_room_for_publisher():
                no_room = _NO_BANDWIDTH
            if no_room is not None:
                count_turned_away(self._streams, no_room.reason)
            yield no_room

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._bandwidth is not None:
            self._bandwidth.tick()
        self._keys.tick(now)
