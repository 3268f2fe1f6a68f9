"""Which snapshots a worker has asked for: it is sent no others, and no more than it can take."""

from __future__ import annotations

from cluster.core.bus.bounds import MAX_SNAPSHOTS_ASKED, SNAPSHOT_BYTES_PER_S
from cluster.core.bus.control import NoStream, SealedSnapshot


class SnapshotsAsked:
    """The open requests of one worker."""

    __slots__ = ("_passed_bytes", "_second_began", "_who")

    def __init__(self) -> None:
        #: The origin that each request went to, by its id; the oldest first.
        self._who: dict[int, str] = {}
        self._passed_bytes = 0
        self._second_began = 0.0

    def note(self, request_id: int, origin: str) -> None:
        """A request has been passed on to ``origin``."""
        self._who[request_id] = origin
        if len(self._who) > MAX_SNAPSHOTS_ASKED:
            del self._who[next(iter(self._who))]

    def refusal(self, sender: str, answer: SealedSnapshot | NoStream, now: float) -> str | None:
        """Why ``answer`` is not passed on, or None: then its request is closed."""
        if self._who.get(answer.request_id) != sender:
            return "answer_unasked"
        del self._who[answer.request_id]
        if isinstance(answer, NoStream):
            return None
        if now - self._second_began >= 1.0:
            self._second_began, self._passed_bytes = now, 0
        if self._passed_bytes + answer.size_bytes > SNAPSHOT_BYTES_PER_S:
            return "snapshot_too_soon"
        self._passed_bytes += answer.size_bytes
        return None
