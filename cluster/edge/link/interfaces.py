"""What the link to the routers asks of the worker it serves."""

from __future__ import annotations

from typing import Protocol

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope


class LinkHandler(Protocol):
    """Called from the event loop; none of these may block."""

    def stream_up(self, key: str, epoch: int, origin: str) -> None:
        """A watched stream has an origin on another worker, or a new one in a higher epoch."""

    def stream_down(self, key: str, epoch: int) -> None:
        """A watched stream's origin is gone."""

    def next_received(self, frame: bytes) -> int:
        """The usual case, which need not be decoded: how many messages there are in ``frame``, if it is
        the envelope that comes next in a stream that is watched; 0 if it may be anything else.

        EnvelopeError if it begins as one, and is none.
        """

    def envelope_received(self, envelope: Envelope) -> None:
        """Messages of a watched stream, from another worker, which ``next_received`` did not take."""

    def stamp_received(self, key: str, waited_s: float, crossed_s: float) -> None:
        """The newest of the messages that have just been received of ``key`` had been at its origin for
        ``waited_s`` when it was sent, and was on its way here for ``crossed_s``."""

    def snapshot_received(self, snapshot: Snapshot) -> None:
        """The origin's answer to ``request_snapshot`` (at times a second one to the same request)."""

    def snapshot_requested(self, key: str) -> Snapshot | None:
        """Another worker joins a stream published here; None if there is no such stream.

        ``next_seq`` of the answer is the number that the next message of the stream will get.
        """

    def contest(self, key: str, replace: bool) -> bool:
        """Another publisher wants the key of a stream published here.

        True: ours has been told and closed, and the stream is given up.
        """

    def revoked(self, key: str, epoch: int) -> None:
        """Another origin has a higher epoch: the publisher of ``epoch`` is to be closed."""

    def demand_changed(self, key: str, wanted: bool) -> None:
        """Another worker has begun to play the stream, or the last one has ceased to."""


class LinkCounters(Protocol):
    """What crossed the bus, counted where an operator sees it."""

    routers: int
    routers_live: int
    router_round_trip_seconds: dict[str, float]
    router_clock_offset_seconds: dict[str, float]
    bus_envelopes_sent: int
    bus_messages_sent: int
    bus_bytes_sent: int
    bus_envelopes_dropped: int
    bus_envelopes_received: int
    bus_messages_received: int
    bus_bytes_received: int
    bus_malformed: int
    bus_epochs_refused: int
    bus_topics_untold: int
    watches_refused: int
    snapshots_sent: int
    snapshots_received: int
