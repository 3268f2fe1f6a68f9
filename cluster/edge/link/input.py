"""What a worker takes from the bus: which of the envelopes that arrive are for it, counted."""

from __future__ import annotations

import logging

from cluster.core.bus.envelope import Envelope, EnvelopeError, decode
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
    ) -> None:
        self._handler = handler
        self._counters = counters
        self._worker_id = worker_id
        self._watches = watches
        self._epochs = epochs
        self._malformed = Complaints(logger, "envelope_malformed")

    def received(self, frame: bytes) -> None:
        """One frame of media, whoever sent it."""
        counters = self._counters
        try:
            count = self._handler.next_received(frame)
            envelope = None if count else decode(frame)
        except EnvelopeError as error:
            counters.bus_malformed += 1
            self._malformed.warn(f"an envelope was ignored: {error}")
            return
        if envelope is not None:
            if not self._is_wanted(envelope):
                return
            count = len(envelope.messages)
            self._handler.envelope_received(envelope)
        counters.bus_envelopes_received += 1
        counters.bus_messages_received += count
        counters.bus_bytes_received += len(frame)

    def _is_wanted(self, envelope: Envelope) -> bool:
        key, epoch = envelope.key, envelope.epoch
        if envelope.sender_id == self._worker_id or key not in self._watches:
            return False
        return epoch <= self._epochs.latest or not self._epochs.refuses(key, epoch)
