"""The splice: one remote stream made whole from a snapshot and the live envelopes after it.

ZeroMQ's *clone pattern*. A worker subscribes first and then asks the origin for a snapshot; live
envelopes wait until the snapshot says after which sequence number they go on.
``splice_states`` says what each state makes of each input.

A snapshot without messages is of a stream that has no keyframe to join at: it goes on with the first
envelope that comes, whatever its number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.splice_states import SPLICE, SpliceAction, SpliceInput, SpliceState
from cluster.core.limits import MIB
from cluster.core.message import Message

#: Held back while a snapshot is awaited: two seconds of 32 Mbit/s. Beyond it the oldest go, which
#: shows as a gap after the snapshot and asks for another one.
MAX_HELD_BYTES = 8 * MIB

#: What an envelope, and each message in it, takes beside the payload: objects of 150 to 200 bytes
#: (measured). Without it, messages of no bytes would be held without end.
HELD_ITEM_BYTES = 200

# Of each envelope in order. An enum's member is found more slowly than a name.
_ENVELOPE, _PASS_ON = SpliceInput.ENVELOPE, SpliceAction.PASS_ON


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
    one while no source is known. ``begins_anywhere``: the stream is joined at no message in particular, but
    with whatever the bus brings first. What it brings may have left before the snapshot, and who waited for
    the stream wants it.
    """

    def __init__(self, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.state = SpliceState.IDLE
        self.epoch = -1
        self.origin = ""
        self.next_seq: int | None = None
        self.held_bytes = 0
        self.duplicate_messages = 0
        self.overflowed_envelopes = 0
        self.begins_anywhere = False
        self._has_ended = False
        self._max_held_bytes = max_held_bytes
        self._held: deque[Envelope] = deque()

    def stream_up(self, epoch: int, origin: str) -> SpliceOutput:
        """The registry names the stream's source."""
        source = (epoch, origin)
        if self._is_known(source):
            self._has_ended = False
            what = SpliceInput.UP_AGAIN
        elif self._has_ended or source > (self.epoch, self.origin):
            self._begin(source)
            what = SpliceInput.UP_HIGHER
        else:
            what = SpliceInput.UP_LOWER
        return SpliceOutput(snapshot_needed=self._step(what) is SpliceAction.ASK)

    def stream_down(self) -> None:
        """The registry says that the source has ended.

        Whatever it names next is right, also if its epoch is lower: the last one may have been forged, or
        of a clock that was wrong.
        """
        self._has_ended = True

    def envelope(self, envelope: Envelope) -> SpliceOutput:
        """Messages from the live feed."""
        output = SpliceOutput()
        self._take(envelope, output)
        return output

    def snapshot(self, snapshot: Snapshot) -> SpliceOutput:
        """The origin's answer to a request."""
        output = SpliceOutput()
        action = self._step(self._input_of(snapshot))
        if action is SpliceAction.ASK:
            output.snapshot_needed = True
            return output
        if action is SpliceAction.FILL:
            assert self.next_seq is not None
            output.messages = snapshot.messages[self.next_seq - snapshot.first_seq :]
            self.begins_anywhere = False
        elif action is SpliceAction.RESTART:
            output.restarted = True
            output.headers = snapshot.headers
            self.begins_anywhere = not snapshot.messages
            if snapshot.messages:
                output.messages = self._held_before(snapshot.first_seq) + snapshot.messages
        else:
            return output
        self.next_seq = snapshot.next_seq
        self._release(output)
        return output

    def _step(self, what: SpliceInput) -> SpliceAction | None:
        """What the table says is to be done about ``what``; None if it is ignored."""
        step = SPLICE.get((self.state, what))
        if step is None:
            return None
        self.state = step.next
        return step.action

    def _input_of(self, snapshot: Snapshot) -> SpliceInput:
        known = self.next_seq
        if not self._is_known((snapshot.epoch, snapshot.origin)):
            return SpliceInput.SNAPSHOT_OTHER
        if known is None:
            return SpliceInput.SNAPSHOT_BEGINS
        if snapshot.next_seq < known:
            return SpliceInput.SNAPSHOT_OLD
        return SpliceInput.SNAPSHOT_FILLS if snapshot.first_seq <= known else SpliceInput.SNAPSHOT_BEGINS

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

    def _is_known(self, source: tuple[int, str]) -> bool:
        return source == (self.epoch, self.origin)

    def _begin(self, source: tuple[int, str]) -> None:
        """Whatever is known is of another source."""
        self.epoch, self.origin = source
        self.next_seq = None
        self._has_ended = False
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
            self._take(envelope, output)

    def _take(self, envelope: Envelope, output: SpliceOutput) -> None:
        """``envelope`` has come, or is taken up again: what is to be done about it goes to ``output``."""
        missing = 0
        if envelope.epoch == self.epoch and envelope.sender_id == self.origin:
            what, known = _ENVELOPE, self.next_seq
            if known is not None and envelope.first_seq > known:
                what, missing = SpliceInput.ENVELOPE_AFTER_GAP, envelope.first_seq - known
        else:
            what = SpliceInput.ENVELOPE_OTHER
        action = self._step(what)
        if action is _PASS_ON:
            self._pass_on(envelope, output)
        elif action is not None:
            self._hold(envelope)
            if action is SpliceAction.HOLD_AND_ASK:
                output.snapshot_needed = True
                output.lost_messages = missing

    def _pass_on(self, envelope: Envelope, output: SpliceOutput) -> None:
        """What is new of ``envelope``, which leaves no gap, goes to ``output``."""
        assert self.next_seq is not None
        if self.begins_anywhere:
            self.begins_anywhere = False
            self.next_seq = min(self.next_seq, envelope.first_seq)
        messages = envelope.messages
        known = self.next_seq - envelope.first_seq
        if known:
            self.duplicate_messages += min(known, len(messages))
            messages = messages[known:]
        self.next_seq += len(messages)
        if output.messages:
            output.messages += messages
        else:
            output.messages = list(messages)


def _size(envelope: Envelope) -> int:
    items_bytes = HELD_ITEM_BYTES * (1 + len(envelope.messages))
    return items_bytes + sum(len(message.payload) for message in envelope.messages)
