"""What workers have said of streams, and for how long that is good."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple, TypeAlias

from cluster.core.bus.cluster_status import StreamStatus
from cluster.core.bus.questions import StreamRow

#: What the routers know of a stream and does not change all the time.
_Lasting: TypeAlias = tuple[int, str, str, Mapping[str, int]]

#: What hardly changes is not asked for each time that somebody looks: the workers have media to pass on.
DETAILS_S = 5.0


class _Kept(NamedTuple):
    of: _Lasting
    until: float
    rows: Mapping[str, StreamRow]


class Details:
    """Rows by worker id of each stream. Those of a stream are good for some seconds, but no longer than
    the routers say the same of it: another publisher, other codecs, or other players are asked about."""

    def __init__(self, good_s: float = DETAILS_S) -> None:
        self._good_s = good_s
        self._kept: dict[str, _Kept] = {}

    def get(self, status: StreamStatus, now: float) -> Mapping[str, StreamRow] | None:
        """The rows of this stream, if they are good."""
        kept = self._kept.get(status.key)
        is_good = kept is not None and now < kept.until and kept.of == _lasting(status)
        return kept.rows if kept is not None and is_good else None

    def keep(self, status: StreamStatus, rows: Mapping[str, StreamRow], now: float) -> None:
        """All the workers that were to be asked have answered."""
        self._kept[status.key] = _Kept(_lasting(status), now + self._good_s, rows)

    def keep_only(self, keys: Container[str]) -> None:
        """The other streams are over."""
        self._kept = {key: kept for key, kept in self._kept.items() if key in keys}

    def forget(self) -> None:
        """Something was changed."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


def _lasting(status: StreamStatus) -> _Lasting:
    return status.epoch, status.origin, status.codecs, status.players
