"""How much memory the streams of one worker may take together, and who gives when it is used up.

A stream's own bound (``LogLimits``) says nothing about a thousand streams. So all that publishers make a
worker keep is added up: logs, headers, and messages whose end has not come. Beyond the budget the sender
that makes it keep most gives first: its largest log is cut in two. A log that fills up again as fast as it
is cut, or that cannot be cut any more, loses its publisher.
"""

from __future__ import annotations

import heapq
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cluster.core.limits import MIB
from cluster.core.media.stream_log import ENTRY_BYTES
from cluster.process.complaints import Complaints

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream
    from cluster.edge.streams.streams import Streams

logger = logging.getLogger(__name__)
_used_up = Complaints(logger, "memory_used_up")

#: The sum is made anew once this share of the budget may have come in, so no more than that is overshot.
LOOKS_PER_BUDGET = 32
#: Once the budget is used up, logs are cut until so much of it is free: not again with the next message.
FREED_SHARE = 1 / 16
#: A log below this is not worth a cut: a keyframe of 4K video and what follows it.
LEAST_LOG_BYTES = MIB
#: A log cut more often within CUTS_WITHIN_S loses its publisher. At 40 Mbit/s, the most that real encoders
#: send, a log that was cut to 8 MiB takes more than a second until it can be cut there again.
MAX_CUTS = 16
CUTS_WITHIN_S = 10.0


@dataclass(slots=True)
class _Sender:
    """Who makes the worker keep ``bytes``, in ``logs``: a heap, what costs most first."""

    bytes: int = 0
    logs: list[tuple[int, int, Stream]] = field(default_factory=list)


class MemoryBudget:
    """The budget of one worker: ``max_bytes`` over all of its streams."""

    def __init__(self, streams: Streams, max_bytes: int) -> None:
        self._streams = streams
        self._max_bytes = max_bytes
        self._due_at = 0
        #: When the cuts of a log began to count, and how many there have been since.
        self._cuts: dict[Stream, tuple[float, int]] = {}

    def look(self) -> None:
        """At the end of a turn: add up what is kept, if enough has come in since the last time."""
        counters = self._streams.counters
        come = counters.bytes_received + counters.bus_bytes_received
        come += ENTRY_BYTES * (counters.messages_received + counters.bus_messages_received)
        if come >= self._due_at:
            self._due_at = come + self._max_bytes // LOOKS_PER_BUDGET
            self.settle()

    def settle(self) -> None:
        """Add up what is kept, and have the largest senders give until it is within the budget."""
        senders: dict[str, _Sender] = {}
        held = 0
        for stream in self._streams.live():
            feed = self._streams.publishing.feed(stream.key)
            cost = stream.log.cost_bytes + (feed.publisher.unfinished_bytes if feed else 0)
            sender = senders.setdefault(feed.publisher.sender if feed else stream.key, _Sender())
            sender.bytes += cost
            sender.logs.append((-cost, id(stream), stream))
            held += cost
        if held > self._max_bytes:
            held -= self._take_from(senders, held - round(self._max_bytes * (1 - FREED_SHARE)))
        self._streams.counters.stream_bytes = held

    def _take_from(self, senders: dict[str, _Sender], wanted: int) -> int:
        """Free ``wanted`` bytes, or as many as can be; returns how many it were."""
        now = self._streams.turn.now
        self._cuts = {each: cut for each, cut in self._cuts.items() if now - cut[0] < CUTS_WITHIN_S}
        largest = [(-sender.bytes, name) for name, sender in senders.items()]
        heapq.heapify(largest)
        for sender in senders.values():
            heapq.heapify(sender.logs)
        freed = 0
        while freed < wanted and largest:
            name = heapq.heappop(largest)[1]
            sender = senders[name]
            cost, number, stream = heapq.heappop(sender.logs)
            given = self._cut(stream, -cost, now)
            if given:
                heapq.heappush(sender.logs, (cost + given, number, stream))
            else:
                given = self._end(stream, -cost)
            freed += given
            sender.bytes -= given
            if sender.logs:
                heapq.heappush(largest, (-sender.bytes, name))
        return freed

    def _cut(self, stream: Stream, cost: int, now: float) -> int:
        """Cut the log of ``stream`` in two; 0 if that frees nothing, or has been done too often."""
        began, count = self._cuts.get(stream, (now, 0))
        before = stream.log.cost_bytes
        if count >= MAX_CUTS or before < LEAST_LOG_BYTES:
            return 0
        stream.log.shrink(before // 2)
        self._cuts[stream] = began, count + 1
        counters = self._streams.counters
        counters.logs_cut += 1
        _used_up.warn(
            f"the streams of this worker take more than --worker-bytes ({self._max_bytes}): the log of "
            f"{stream.key} is cut from {before} to {stream.log.cost_bytes} bytes"
        )
        return before - stream.log.cost_bytes

    def _end(self, stream: Stream, cost: int) -> int:
        """Take the stream from its publisher. One of another worker loses its log alone."""
        self._cuts.pop(stream, None)
        self._streams.publishing.end_for_memory(stream.key, cost)
        stream.log.restart(None)  # headers go too: they may be what takes so much
        stream.log.forget()
        return cost
