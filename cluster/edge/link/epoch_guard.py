"""Epochs that nobody can have been granted: see MAX_EPOCH_AHEAD_S."""

from __future__ import annotations

import logging
import time

from cluster.core.bus.epochs import latest_epoch
from cluster.edge.link.interfaces import LinkCounters
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)


class EpochGuard:
    """``latest`` is the highest epoch that is taken for real, as of the last tick."""

    def __init__(self, counters: LinkCounters) -> None:
        self.latest = 0
        self._counters = counters
        self._complaints = Complaints(logger, "epoch_refused")

    def tick(self) -> None:
        self.latest = latest_epoch(time.time_ns() // 1_000_000)

    def refuses(self, key: str, epoch: int) -> bool:
        """Whether ``epoch`` of ``key`` is to be ignored; then it is counted, and told of now and then."""
        if epoch <= self.latest:
            return False
        self._counters.bus_epochs_refused += 1
        self._complaints.warn_about(
            "", "epoch %(epoch)d of %(stream)s is more than a day ahead of this clock and was ignored: a "
            "clock in the cluster is wrong, or somebody forges origins", {"stream": key, "epoch": epoch},
        )  # fmt: skip
        return True
