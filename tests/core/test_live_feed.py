"""The usual envelope of a live stream is taken the short way, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope, EnvelopeError, encode
from cluster.core.bus.live_feed import PREFIX_BYTES, LiveFeed
from cluster.core.bus.splice import Splice
from cluster.core.bus.splice_states import SPLICE, SpliceAction, SpliceInput, SpliceState, Step
from cluster.core.message import Message

KEY, EPOCH, ORIGIN = "live/a", 7, "node.1a/0/1"
NEXT = 10
USUAL = Envelope(KEY, EPOCH, NEXT, ORIGIN, [Message(9, 400, b"picture"), Message(8, 401, b"")])


def spliced(*, begins_anywhere: bool = False) -> Splice:
    """One that is live and wants number NEXT."""
    splice = Splice()
    splice.stream_up(EPOCH, ORIGIN)
    messages = [] if begins_anywhere else [Message(9, 0, b"keyframe")]
    splice.snapshot(Snapshot(KEY, EPOCH, NEXT, [], messages, ORIGIN))
    assert splice.state is SpliceState.LIVE
    return splice


def test_the_next_envelope_is_taken() -> None:
    splice = spliced()
    feed = LiveFeed(KEY, splice)
    frame = encode(USUAL)
    assert feed.prefix == frame[:PREFIX_BYTES]
    assert feed.take(frame) == USUAL.messages
    assert splice.next_seq == NEXT + 2
    messages = feed.take(encode(USUAL._replace(first_seq=NEXT + 2)))
    assert [type(message) for message in messages] == [Message, Message]
    assert feed.take(frame) == []


def test_that_is_what_the_table_says_of_it() -> None:
    step = SPLICE[SpliceState.LIVE, SpliceInput.ENVELOPE]
    assert step == Step(SpliceAction.PASS_ON, SpliceState.LIVE)


OTHERS = {
    "an envelope after a gap": USUAL._replace(first_seq=NEXT + 1),
    "one that is known in part": USUAL._replace(first_seq=NEXT - 1),
    "one without messages": USUAL._replace(messages=[]),
    "another worker's": USUAL._replace(sender_id="node.1a/0/2"),
    "that of a worker with a longer name": USUAL._replace(sender_id=ORIGIN + "1"),
    "that of another key with the same topic": USUAL._replace(key="live/b"),
    "key and sender divided elsewhere": USUAL._replace(key=KEY[:-1], sender_id=KEY[-1] + ORIGIN),
}


@pytest.mark.parametrize("envelope", OTHERS.values(), ids=OTHERS)
def test_others_are_left_to_the_splice(envelope: Envelope) -> None:
    splice = spliced()
    feed = LiveFeed(KEY, splice)
    frame = feed.prefix[:16] + encode(envelope)[16:]
    assert feed.take(frame) == []
    assert splice.next_seq == NEXT


def test_nothing_is_taken_while_the_splice_is_not_live() -> None:
    splice = spliced()
    splice.envelope(USUAL._replace(first_seq=NEXT + 1))
    assert splice.state is SpliceState.AWAITING
    assert LiveFeed(KEY, splice).take(encode(USUAL)) == []


def test_nothing_is_taken_of_a_stream_that_begins_with_what_comes() -> None:
    assert LiveFeed(KEY, spliced(begins_anywhere=True)).take(encode(USUAL)) == []


@given(st.data())
def test_what_is_no_envelope_is_refused_and_changes_nothing(data: st.DataObject) -> None:
    splice = spliced()
    feed = LiveFeed(KEY, splice)
    frame = encode(USUAL)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    try:
        assert feed.take(cut) == []
    except EnvelopeError:
        assert len(cut) > PREFIX_BYTES
    with pytest.raises(EnvelopeError):
        feed.take(frame + b"\0")
    with pytest.raises(EnvelopeError):
        feed.take(frame.replace((400).to_bytes(8, "big"), b"\xff" * 8))
    assert splice.next_seq == NEXT


SHOWN = ("state", "next_seq", "held_bytes", "duplicate_messages", "begins_anywhere")
KINDS = ("next", "next", "other", "snapshot")
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 20), st.integers(1, 3)), max_size=12
)


@given(steps)
def test_a_stream_is_the_same_either_way(inputs: list[tuple[str, int, int]]) -> None:
    """Whatever comes: with the short way tried first, a splice does what it does without."""
    plain, short = spliced(), spliced()
    feed = LiveFeed(KEY, short)
    for kind, first, count in inputs:
        assert plain.next_seq is not None
        first_seq = plain.next_seq if kind == "next" else first
        messages = [Message(9, seq, b"%d" % seq) for seq in range(first_seq, first_seq + count)]
        if kind == "snapshot":
            snapshot = Snapshot(KEY, EPOCH, first_seq + count, [], messages, ORIGIN)
            assert short.snapshot(snapshot) == plain.snapshot(replace(snapshot))
            continue
        envelope = Envelope(KEY, EPOCH, first_seq, ORIGIN, messages)
        expected = plain.envelope(envelope)
        taken = feed.take(encode(envelope))
        if taken:
            assert taken == expected.messages
            assert not expected.snapshot_needed
        else:
            assert short.envelope(envelope) == expected
        assert [getattr(short, name) for name in SHOWN] == [getattr(plain, name) for name in SHOWN]
