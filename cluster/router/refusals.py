"""What a registry does not take from workers: counted, and told of in one line now and then."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

from cluster.process.complaints import Complaints
from cluster.router.counters import REFUSALS, refused

logger = logging.getLogger(__name__)


class Refusals:
    """``counters`` gets a number for each reason."""

    def __init__(self, counters: MutableMapping[str, int] | None = None) -> None:
        self.counters: MutableMapping[str, int] = {} if counters is None else counters
        self.counters.update(dict.fromkeys(map(refused, REFUSALS), 0))
        self._complaints = Complaints(logger, "worker_refused")

    def note(self, reason: str, worker_id: str) -> None:
        """``worker_id`` was refused something; whoever makes up ids does not get a line for each."""
        self.counters[refused(reason)] += 1
        fields = {"worker": worker_id, "why": REFUSALS[reason]}
        self._complaints.warn_about(reason, "refused worker %(worker)s: %(why)s", fields)
