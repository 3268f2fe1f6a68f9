"""How much a node sends, and whether there is bandwidth for one more (``--max-bandwidth``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cluster.edge.peers.shared_counts import SharedCounts

#: What is sent is averaged over so long.
AVERAGED_S = 5


class Bandwidth:
    """``most``: bytes a second that the node may send; ``for_players``: that it may send when one more
    player comes, the rest being for publishers. ``bytes_sent``, ``players``: those of this worker so far,
    and now. ``counts``: where the workers of the node count together; None if there are no others.

    Who is let in is not in the average at once. Until then it is taken to need what the others need, for as
    long as it stays: who comes and goes without end takes nothing away.
    """

    def __init__(
        self, most: int, for_players: int, *,
        bytes_sent: Callable[[], int], players: Callable[[], int], counts: SharedCounts | None = None,
    ) -> None:  # fmt: skip
        self._most = most
        self._for_players = for_players
        self._bytes_sent = bytes_sent
        self._players = players
        self._counts = counts
        #: What had been sent at the last ticks, the oldest first.
        self._totals = deque([bytes_sent()], maxlen=AVERAGED_S + 1)
        #: How many players there were at those ticks.
        self._present: deque[int] = deque([players()], maxlen=AVERAGED_S)
        self._measured = 0.0

    @property
    def bytes_per_s(self) -> float:
        """What the node sends, and will with those that have just come."""
        elsewhere = 0.0 if self._counts is None else self._counts.rate_elsewhere()
        return self._own(self._players()) + elsewhere

    def _own(self, players: int) -> float:
        """Of this worker, if it has so many players."""
        average = sum(self._present) / len(self._present)
        return self._measured * (1 + max(0.0, players - average) / max(1.0, average))

    def has_room_for_publisher(self) -> bool:
        return self.bytes_per_s < self._most

    def has_room_for_player(self) -> bool:
        return self.bytes_per_s < self._for_players

    def player_comes(self) -> None:
        """One more is let in."""
        self._tell(self._players() + 1)

    def tick(self) -> None:
        """Once a second: look at what has been sent."""
        self._totals.append(self._bytes_sent())
        self._present.append(self._players())
        self._measured = (self._totals[-1] - self._totals[0]) / (len(self._totals) - 1)
        self._tell(self._players())

    def _tell(self, players: int) -> None:
        if self._counts is not None:
            self._counts.set_rate(self._own(players))
