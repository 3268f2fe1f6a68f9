"""The streams of this worker that other workers publish or play: what the link to the routers brings.

What is played here and published elsewhere is spliced into a log of its own; readers do not notice.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.live_feed import PREFIX_BYTES, LiveFeed
from cluster.core.bus.splice import Splice, SpliceOutput
from cluster.core.bus.splice_states import SpliceState

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream
    from cluster.edge.streams.streams import Streams

logger = logging.getLogger(__name__)


class Remote:
    """What the link asks and tells (``LinkHandler``), for the streams of one worker."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        #: None for a key that is only waited for: there may be very many of them.
        self._splices: dict[str, Splice | None] = {}
        #: By how its envelopes begin, what is live and takes them the short way; and that beginning by key.
        self._live: dict[bytes, tuple[LiveFeed, Stream]] = {}
        self._prefixes: dict[str, bytes] = {}

    def watch(self, key: str) -> None:
        """``key`` is played here and not published here."""
        if key not in self._splices:
            self._splices[key] = None
            self._streams.uplink.watch(key)

    def unwatch(self, key: str) -> None:
        """``key`` is published here now, or nobody plays it any more."""
        if key in self._splices:
            del self._splices[key]
            self._forget_feed(key)
            self._streams.uplink.unwatch(key)

    # ---- called by the link ------------------------------------------------------------------

    def contest(self, key: str, replace: bool) -> bool:
        """Another publisher wants ``key``: True if it is given up, and its publisher has been told."""
        return self._streams.publishing.contest(key, replace)

    def revoked(self, key: str, epoch: int) -> None:
        """Another worker publishes ``key`` with a higher epoch."""
        self._streams.publishing.revoked(key, epoch)

    def demand_changed(self, key: str, wanted: bool) -> None:
        """Another worker has begun, or the last one has ceased, to play ``key``."""
        stream = self._streams.by_key.get(key)
        if stream is not None:
            logger.debug(
                "%(stream)s is %(played)s by other workers",
                {"stream": key, "played": "played" if wanted else "not played"},
                extra={"event": "demand_changed"},
            )  # fmt: skip
            stream.set_wanted(wanted)

    def snapshot_requested(self, key: str) -> Snapshot | None:
        """What another worker needs to join a stream that is published here."""
        stream = self._streams.by_key.get(key)
        if stream is None or not stream.is_local or stream.epoch is None:
            return None
        # What waits for the end of the turn must not be in the snapshot and in an envelope after it.
        stream.flush()
        log = stream.log
        start = log.start_of_join()
        entries = log.read(start, log.next_seq)
        return Snapshot(
            key, stream.epoch, log.next_seq,
            [entry.message() for entry in log.headers_for(start)], [entry.message() for entry in entries],
        )  # fmt: skip

    def stream_up(self, key: str, epoch: int, origin: str) -> None:
        """The registry says who publishes a stream that is played here."""
        if key not in self._splices:
            return
        logger.debug(
            "%(stream)s is published by %(origin)s", {"stream": key, "origin": origin, "epoch": epoch},
            extra={"event": "origin_known"},
        )  # fmt: skip
        splice = self._splices[key]
        if splice is None:
            splice = self._splices[key] = Splice()
        self._forget_feed(key)  # it may be of another source from now on
        self._apply(key, splice, splice.stream_up(epoch, origin))
        if splice.state is SpliceState.LIVE:
            stream = self._streams.by_key[key]
            self._streams.tell_return(stream)
            stream.reappear()

    def stream_down(self, key: str, epoch: int) -> None:
        """The publisher elsewhere is gone."""
        splice = self._splices.get(key)
        if splice is not None and epoch >= splice.epoch:
            fields = {"stream": key, "epoch": epoch}
            logger.debug("the publisher of %(stream)s is gone", fields, extra={"event": "origin_gone"})
            splice.stream_down()
            self._streams.turn.begin()
            self._streams.by_key[key].end()

    def next_received(self, frame: bytes) -> int:
        """The usual case of ``envelope_received``, which is done many thousand times a second: ``frame`` is
        an envelope that only has to be appended. How many messages that was; 0: nothing was done."""
        live = self._live.get(frame[:PREFIX_BYTES])
        if live is None:
            return 0
        feed, stream = live
        messages = feed.take(frame)
        if messages:
            turn = self._streams.turn
            if not turn.ends_soon:
                turn.begin()
            for message in messages:
                stream.append(message)
            if not turn.ends_soon:
                turn.end_soon()
        return len(messages)

    def envelope_received(self, envelope: Envelope) -> None:
        """Live messages of a stream that is played here and published elsewhere."""
        key = envelope.key
        splice = self._splices.get(key)
        if splice is None:
            return
        self._apply(key, splice, splice.envelope(envelope))
        is_fed = (envelope.epoch, envelope.sender_id) == (splice.epoch, splice.origin)
        if splice.state is SpliceState.LIVE and is_fed and key not in self._prefixes:
            feed = LiveFeed(key, splice)
            self._prefixes[key] = feed.prefix
            self._live[feed.prefix] = feed, self._streams.by_key[key]

    def stamp_received(self, key: str, waited_s: float, crossed_s: float) -> None:
        """How long the newest message of the last envelope has been on its way."""
        stream = self._streams.by_key.get(key)
        if stream is not None and not stream.is_local:
            stream.passage.came(waited_s, crossed_s)

    def snapshot_received(self, snapshot: Snapshot) -> None:
        """The answer to our request: the stream's headers and its log since the latest keyframe."""
        splice = self._splices.get(snapshot.key)
        if splice is not None:
            self._apply(snapshot.key, splice, splice.snapshot(snapshot))

    def _forget_feed(self, key: str) -> None:
        prefix = self._prefixes.pop(key, None)
        if prefix is not None:
            self._live.pop(prefix, None)

    def _apply(self, key: str, splice: Splice, output: SpliceOutput) -> None:
        streams = self._streams
        streams.turn.begin()
        stream = streams.by_key[key]
        if output.lost_messages:
            streams.counters.bus_gaps += 1
            stream.lost_messages += output.lost_messages
        if output.snapshot_needed:
            streams.uplink.request_snapshot(key)
        if output.restarted:
            streams.tell_return(stream)
            stream.begin(splice.epoch, is_local=False)
            for header in output.headers:
                stream.append(header)
        for message in output.messages:
            stream.append(message)
        streams.turn.end_soon()
