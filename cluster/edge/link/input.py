"""What a worker takes from the bus: which of the envelopes that arrive are for it, counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cluster.core.bus.envelope import Envelope, EnvelopeError, decode
from cluster.core.bus.stamps import key_of, unstamped
from cluster.edge.link.epoch_guard import EpochGuard
from cluster.edge.link.interfaces import LinkCounters, LinkHandler
from cluster.edge.link.watches import LinkWatches
from cluster.process.complaints import Complaints

logger = logging.getLogger(__name__)


class LinkInput:
    """Hands envelopes of watched streams to ``handler``, but for those of this worker itself."""

    def __init__(
        self,
        handler: LinkHandler,
        counters: LinkCounters,
        worker_id: str,
        watches: LinkWatches,
        epochs: EpochGuard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handler = handler
        self._counters = counters
        self._worker_id = worker_id
        self._watches = watches
        self._epochs = epochs
        self._clock = clock
        self._malformed = Complaints(logger, "envelope_malformed")

    def stamped(self, frame: bytes, clock_offset_us: int | None) -> None:
        """One frame with a stamp; the clock of the router that it came through is so far ahead."""
        try:
            envelope, stamp = unstamped(frame)
        except EnvelopeError as error:
            self._refused(error)
            return
        if not self.received(envelope):
            return
        self._counters.bus_bytes_received += len(frame) - len(envelope)
        if clock_offset_us is None:
            return
        key = key_of(envelope)
        if key in self._watches:
            crossed_s = self._clock() - (stamp.flushed_us - clock_offset_us) / 1_000_000
            self._handler.stamp_received(key, stamp.waited_us / 1_000_000, crossed_s)

    def received(self, frame: bytes) -> bool:
        """One frame of media, whoever sent it; False if it was ignored."""
        counters = self._counters
        try:
            count = self._handler.next_received(frame)
            envelope = None if count else decode(frame)
        except EnvelopeError as error:
            self._refused(error)
            return False
        if envelope is not None:
            if not self._is_wanted(envelope):
                return False
            count = len(envelope.messages)
            self._handler.envelope_received(envelope)
        counters.bus_envelopes_received += 1
        counters.bus_messages_received += count
        counters.bus_bytes_received += len(frame)
        return True

    def _refused(self, error: EnvelopeError) -> None:
        self._counters.bus_malformed += 1
        self._malformed.warn(f"an envelope was ignored: {error}")

    def _is_wanted(self, envelope: Envelope) -> bool:
        key, epoch = envelope.key, envelope.epoch
        if envelope.sender_id == self._worker_id or key not in self._watches:
            return False
        return epoch <= self._epochs.latest or not self._epochs.refuses(key, epoch)
