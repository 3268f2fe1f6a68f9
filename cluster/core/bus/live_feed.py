"""The usual envelope of a live stream, taken without decoding what is known of it.

All envelopes of one source of a stream have the same head, but for the number of their first message and
the count of them. So it is compared as bytes, and the messages are all that is made of the frame. What this
does is what the splice does with such an envelope: it passes it on and stays live. Any other is left to it.
"""

from __future__ import annotations

from cluster.core.bus.envelope import HEAD_END, NUMBERS, NUMBERS_AT, Envelope, decode_messages, encode
from cluster.core.bus.splice import Splice
from cluster.core.bus.splice_states import SpliceState
from cluster.core.message import Message

#: What envelopes are told apart by: topic, version and epoch.
PREFIX_BYTES = NUMBERS_AT

_LIVE = SpliceState.LIVE


class LiveFeed:
    """What the present source of ``splice``, the one of the stream ``key``, sends.

    It is of no use any more once the splice has another source. ``prefix``: how the frames begin.
    """

    __slots__ = ("_messages_at", "_names", "_sizes", "_splice", "prefix")

    def __init__(self, key: str, splice: Splice) -> None:
        self._splice = splice
        example = encode(Envelope(key, splice.epoch, 0, splice.origin, []))
        self.prefix = example[:PREFIX_BYTES]
        _, self._sizes, _ = NUMBERS.unpack_from(example, NUMBERS_AT)
        self._names = example[HEAD_END:]
        self._messages_at = len(example)

    def take(self, frame: bytes) -> list[Message]:
        """The messages of ``frame``, which begins with ``prefix``, if it is exactly the next envelope.

        None of them: nothing has been done with it. EnvelopeError if it is no envelope at all.
        """
        splice = self._splice
        if splice.state is not _LIVE or splice.begins_anywhere:
            return []
        if not frame.startswith(self._names, HEAD_END):  # nor if it is too short
            return []
        first_seq, sizes, count = NUMBERS.unpack_from(frame, NUMBERS_AT)
        if first_seq != splice.next_seq or sizes != self._sizes:
            return []
        messages = decode_messages(frame, self._messages_at, count)
        splice.next_seq = first_seq + count
        return messages
