"""What a registry does not take from workers: counted, and told of in one line now and then."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)

_WHY = {
    "epoch_ahead": "it announced an epoch more than a day ahead of this clock",
    "watch": "it watches too many streams",
    "origin": "it is the origin of too many streams",
    "answer_unasked": "it answered a request for a snapshot that it was not sent",
    "snapshot_too_soon": "its snapshot is more than the worker that asked is sent in a second",
}


class Refusals:
    """``counters`` gets a number for each reason."""

    def __init__(self, counters: MutableMapping[str, int] | None = None) -> None:
        self.counters: MutableMapping[str, int] = {} if counters is None else counters
        self.counters.update(dict.fromkeys(map(_counter, _WHY), 0))
        self._complaints = Complaints(logger, "worker_refused")

    def note(self, reason: str, worker_id: str) -> None:
        """``worker_id`` was refused something; whoever makes up ids does not get a line for each."""
        self.counters[_counter(reason)] += 1
        fields = {"worker": worker_id, "why": _WHY[reason]}
        self._complaints.warn_about(reason, "refused worker %(worker)s: %(why)s", fields)


def _counter(reason: str) -> str:
    return f"refused_{reason}"
