"""The splice: one remote stream made whole from a snapshot and the live envelopes after it.

ZeroMQ's *clone pattern*. A worker subscribes first and then asks the origin for a snapshot; live
envelopes wait until the snapshot says after which sequence number they go on.

    IDLE        no source is known
    AWAITING    a snapshot is needed; live envelopes of the source are held back
    LIVE        envelopes are passed on in the order of their numbers

What each state makes of each input (a source is an epoch and its origin; the higher one wins):

    input                     IDLE               AWAITING                LIVE
    lower source, up or env.  (no source yet)    ignored                 ignored
    lower source, snapshot    (no source yet)    needed again            ignored
    higher source, stream up  AWAITING, needed   AWAITING, needed        AWAITING, needed
    higher source, envelope   AWAITING, needed   AWAITING, needed        AWAITING, needed
    higher source, snapshot   LIVE, restarted    LIVE, restarted         LIVE, restarted
    stream up                                    needed again            nothing
    envelope, in order                           held back               passed on
    envelope, partly known                       held back               its new part passed on
    envelope, known                              held back               dropped
    envelope, after a gap                        held back               AWAITING, needed, held back
    snapshot                                     LIVE, or needed again   ignored

A snapshot without messages is of a stream that has no keyframe to join at: it goes on with the first
envelope that comes, whatever its number.

Of two origins with one epoch (both granted in the same millisecond by routers that could not see each
other) the one whose worker id is higher wins, here as in the registry.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.limits import MIB
from cluster.core.message import Message

#: Held back while a snapshot is awaited: two seconds of 32 Mbit/s. Beyond it the oldest go, which
#: shows as a gap after the snapshot and asks for another one.
MAX_HELD_BYTES = 8 * MIB


class SpliceState(enum.Enum):
    """Where one remote stream stands in this worker."""

    IDLE = "idle"
    AWAITING = "awaiting"
    LIVE = "live"


@dataclass(slots=True)
class SpliceOutput:
    """What to do after an input.

    ``messages`` go to the stream log in this order. ``restarted``: they do not follow on what came
    before; install ``headers`` first and move players to the next keyframe. ``snapshot_needed``: ask the
    origin for a snapshot now. ``lost_messages``: how many numbers a gap skipped; a snapshot may still
    fill it.
    """

    messages: list[Message] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)
    restarted: bool = False
    snapshot_needed: bool = False
    lost_messages: int = 0


class Splice:
    """One remote stream.

    ``next_seq`` is the number wanted next, None before the first snapshot; ``epoch`` is below every real
    one while no source is known.
    """

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.state = SpliceState.IDLE
        self.epoch = -1
        self.origin = ""
        self.next_seq: int | None = None
        self.held_bytes = 0
        self.duplicate_messages = 0
        self.overflowed_envelopes = 0
        #: The stream is joined at no message in particular: with whatever the bus brings first. What it
        #: brings may have left before the snapshot, and who waited for the stream wants it.
        self._begins_anywhere = False
        self._max_held_bytes = max_held_bytes
        self._held: deque[Envelope] = deque()

    def stream_up(self, epoch: int, origin: str) -> SpliceOutput:
        """The registry names the stream's source."""
        if self._rises(epoch, origin):
            self._begin(epoch, origin)
            return SpliceOutput(snapshot_needed=True)
        is_current = (epoch, origin) == (self.epoch, self.origin)
        return SpliceOutput(snapshot_needed=is_current and self.state is SpliceState.AWAITING)

    def envelope(self, envelope: Envelope) -> SpliceOutput:
        """Messages from the live feed."""
        if envelope.epoch != self.epoch or envelope.sender_id != self.origin:
            if not self._rises(envelope.epoch, envelope.sender_id):
                return SpliceOutput()
            self._begin(envelope.epoch, envelope.sender_id)
            self._hold(envelope)
            return SpliceOutput(snapshot_needed=True)
        if self.state is not SpliceState.LIVE:
            self._hold(envelope)
            return SpliceOutput()
        output = SpliceOutput()
        self._follow(envelope, output)
        return output

    def snapshot(self, snapshot: Snapshot) -> SpliceOutput:
        """The origin's answer to a request."""
        source = (snapshot.epoch, snapshot.origin)
        if self._rises(*source):
            self._begin(*source)
        elif self.state is SpliceState.LIVE:
            return SpliceOutput()
        known = self.next_seq
        if source != (self.epoch, self.origin) or (known is not None and snapshot.next_seq < known):
            # Of the source before, or taken before the gap: it says nothing of what is missing.
            return SpliceOutput(snapshot_needed=True)
        output = SpliceOutput()
        if known is not None and snapshot.first_seq <= known:
            # It reaches back to what is known: the gap is filled and players notice nothing.
            output.messages = snapshot.messages[known - snapshot.first_seq :]
        else:
            output.restarted = True
            output.headers = snapshot.headers
            self._begins_anywhere = not snapshot.messages
            if snapshot.messages:
                output.messages = self._held_before(snapshot.first_seq) + snapshot.messages
        self.next_seq = snapshot.next_seq
        self.state = SpliceState.LIVE
        self._release(output)
        return output

    def _held_before(self, seq: int) -> list[Message]:
        """What was held back and leads up to ``seq``, the keyframe that a snapshot begins at.

        Who waited for the stream gets it from its first message.
        """
        before: list[Message] = []
        next_seq: int | None = None
        for envelope in self._held:
            if next_seq is not None and envelope.first_seq != next_seq:
                before.clear()
            before += envelope.messages[: max(0, seq - envelope.first_seq)]
            next_seq = envelope.first_seq + len(envelope.messages)
            if next_seq >= seq:
                return before if envelope.first_seq <= seq else []
        return []

    def _rises(self, epoch: int, origin: str) -> bool:
        return (epoch, origin) > (self.epoch, self.origin)

    def _begin(self, epoch: int, origin: str) -> None:
        self.state = SpliceState.AWAITING
        self.epoch = epoch
        self.origin = origin
        self.next_seq = None
        self._held.clear()
        self.held_bytes = 0

    def _hold(self, envelope: Envelope) -> None:
        self._held.append(envelope)
        self.held_bytes += _size(envelope)
        while self.held_bytes > self._max_held_bytes and self._held:
            self.held_bytes -= _size(self._held.popleft())
            self.overflowed_envelopes += 1

    def _release(self, output: SpliceOutput) -> None:
        """Pass on what was held back, up to a gap."""
        held, self._held = self._held, deque()
        self.held_bytes = 0
        for envelope in held:
            if self.state is SpliceState.LIVE:
                self._follow(envelope, output)
            else:
                self._hold(envelope)

    def _follow(self, envelope: Envelope, output: SpliceOutput) -> None:
        """``envelope`` of the source while LIVE: what is new of it goes to ``output``."""
        assert self.next_seq is not None
        if self._begins_anywhere:
            self._begins_anywhere = False
            self.next_seq = min(self.next_seq, envelope.first_seq)
        messages = envelope.messages
        skip = self.next_seq - envelope.first_seq
        if skip < 0:
            self.state = SpliceState.AWAITING
            self._hold(envelope)
            output.snapshot_needed = True
            output.lost_messages = -skip
            return
        if skip:
            self.duplicate_messages += min(skip, len(messages))
            messages = messages[skip:]
        self.next_seq += len(messages)
        if output.messages:
            output.messages += messages
        else:
            output.messages = list(messages)


def _size(envelope: Envelope) -> int:
    return sum(len(message.payload) for message in envelope.messages)
