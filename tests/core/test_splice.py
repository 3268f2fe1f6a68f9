"""The splice: its table, walked; what comes out; then any order of what a bus can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.bus import splice as splice_module
from cluster.core.bus.control import Snapshot
from cluster.core.bus.envelope import Envelope
from cluster.core.bus.splice import HELD_ITEM_BYTES, Splice, SpliceOutput
from cluster.core.bus.splice_states import SPLICE, SpliceAction, SpliceInput, SpliceState, Step
from cluster.core.message import Message

LOW, OUR, HIGH = (6, "z"), (7, "m"), (7, "n")
HEADER = Message(9, 0, b"header")


def media(first: int, end: int) -> list[Message]:
    return [Message(9, seq, b"%d" % seq) for seq in range(first, end)]


def numbers(messages: list[Message]) -> list[int]:
    return [message.timestamp for message in messages]


def envelope(first: int, end: int, source: tuple[int, str] = OUR) -> Envelope:
    return Envelope("k", source[0], first, source[1], media(first, end))


def snapshot(first: int, end: int, source: tuple[int, str] = OUR) -> Snapshot:
    return Snapshot("k", source[0], end, [HEADER], media(first, end), source[1])


def live(end: int = 10) -> Splice:
    splice = awaiting()
    splice.snapshot(snapshot(0, end))
    assert splice.state is SpliceState.LIVE
    return splice


def awaiting() -> Splice:
    splice = Splice()
    splice.stream_up(*OUR)
    assert splice.state is SpliceState.AWAITING
    return splice


def after_gap() -> Splice:
    """10 to 11 are missing; 12 to 13 are held back."""
    splice = live()
    assert splice.envelope(envelope(12, 14)).lost_messages == 2
    assert splice.state is SpliceState.AWAITING
    return splice


NOTHING = SpliceOutput()
NEEDED = SpliceOutput(snapshot_needed=True)


# ---- the table, walked -----------------------------------------------------------------------

STATES: dict[SpliceState, Callable[[], Splice]] = {
    SpliceState.IDLE: Splice,
    SpliceState.AWAITING: after_gap,
    SpliceState.LIVE: live,
}


def source_of(splice: Splice, step: int) -> tuple[int, str]:
    """The source that it knows, or one that many epochs above it."""
    return splice.epoch + step, splice.origin


#: Where 10 is the number wanted next, unless nothing is known.
INPUTS: dict[SpliceInput, Callable[[Splice], SpliceOutput]] = {
    SpliceInput.UP_LOWER: lambda splice: splice.stream_up(*source_of(splice, -1)),
    SpliceInput.UP_AGAIN: lambda splice: splice.stream_up(*source_of(splice, 0)),
    SpliceInput.UP_HIGHER: lambda splice: splice.stream_up(*source_of(splice, 1)),
    SpliceInput.ENVELOPE_OTHER: lambda splice: splice.envelope(envelope(10, 12, source_of(splice, 1))),
    SpliceInput.ENVELOPE: lambda splice: splice.envelope(envelope(9, 12, source_of(splice, 0))),
    SpliceInput.ENVELOPE_AFTER_GAP: lambda splice: splice.envelope(envelope(14, 16, source_of(splice, 0))),
    SpliceInput.SNAPSHOT_OTHER: lambda splice: splice.snapshot(snapshot(0, 14, source_of(splice, 1))),
    SpliceInput.SNAPSHOT_OLD: lambda splice: splice.snapshot(snapshot(0, 9, source_of(splice, 0))),
    SpliceInput.SNAPSHOT_FILLS: lambda splice: splice.snapshot(snapshot(5, 13, source_of(splice, 0))),
    SpliceInput.SNAPSHOT_BEGINS: lambda splice: splice.snapshot(snapshot(11, 13, source_of(splice, 0))),
}

#: While nothing is known, nothing can be said of a gap.
CANNOT_BE = {
    (SpliceState.IDLE, SpliceInput.ENVELOPE_AFTER_GAP),
    (SpliceState.IDLE, SpliceInput.SNAPSHOT_OLD),
    (SpliceState.IDLE, SpliceInput.SNAPSHOT_FILLS),
}


class WatchedTable(dict[tuple[SpliceState, SpliceInput], Step]):
    """The table, which notes what was looked up in it."""

    def __init__(self) -> None:
        super().__init__(SPLICE)
        self.asked: list[tuple[SpliceState, SpliceInput]] = []

    def get(self, pair: Any, default: Any = None) -> Any:
        self.asked.append(pair)
        return super().get(pair, default)


def test_every_state_and_every_input_is_walked() -> None:
    assert set(STATES) == set(SpliceState)
    assert set(INPUTS) == set(SpliceInput)
    assert not CANNOT_BE & set(SPLICE)


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("state", STATES)
def test_a_splice_does_what_the_table_says(
    state: SpliceState, what: SpliceInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (state, what) in CANNOT_BE:
        return
    splice = STATES[state]()
    table = WatchedTable()
    monkeypatch.setattr(splice_module, "SPLICE", table)
    known, held = splice.next_seq, list(splice._held)
    output = INPUTS[what](splice)
    assert table.asked[0] == (state, what)
    entry = SPLICE.get((state, what))
    assert splice.state is (entry.next if entry else state)
    action = entry.action if entry else None
    asks = action in (SpliceAction.ASK, SpliceAction.HOLD_AND_ASK)
    passes = action in (SpliceAction.PASS_ON, SpliceAction.FILL, SpliceAction.RESTART)
    assert output.snapshot_needed is asks
    assert bool(output.messages) is passes
    assert output.restarted is (action is SpliceAction.RESTART)
    held_messages = [message for each in splice._held for message in each.messages]
    items_bytes = HELD_ITEM_BYTES * (len(splice._held) + len(held_messages))
    assert splice.held_bytes == items_bytes + sum(len(message.payload) for message in held_messages)
    if action in (SpliceAction.HOLD, SpliceAction.HOLD_AND_ASK):
        assert len(splice._held) == len(held) + 1
    elif action is None:
        assert (splice.next_seq, list(splice._held)) == (known, held)


def test_what_is_ignored() -> None:
    """Spelled out, so that a new entry is a decision."""
    ignored = {(state, what) for state in SpliceState for what in SpliceInput} - set(SPLICE)
    of_another_source = {SpliceInput.UP_LOWER, SpliceInput.ENVELOPE_OTHER}
    by_a_live_one = {
        SpliceInput.UP_AGAIN, SpliceInput.SNAPSHOT_OTHER, SpliceInput.SNAPSHOT_OLD,
        SpliceInput.SNAPSHOT_FILLS, SpliceInput.SNAPSHOT_BEGINS,
    }  # fmt: skip
    assert ignored == {
        *((SpliceState.IDLE, what) for what in set(SpliceInput) - {SpliceInput.UP_HIGHER}),
        *((SpliceState.AWAITING, what) for what in of_another_source),
        *((SpliceState.LIVE, what) for what in of_another_source | by_a_live_one),
    }


# ---- what an output says ---------------------------------------------------------------------


@pytest.mark.parametrize("make", [Splice, awaiting, live, after_gap])
def test_a_higher_source_begins_anew(make: type[Splice]) -> None:
    splice = make()
    assert splice.stream_up(*HIGH) == NEEDED
    assert (splice.state, splice.epoch, splice.origin) == (SpliceState.AWAITING, *HIGH)
    assert splice.envelope(envelope(50, 52, HIGH)) == NOTHING
    output = splice.snapshot(snapshot(45, 51, HIGH))
    assert (output.restarted, output.headers, output.snapshot_needed) == (True, [HEADER], False)
    assert numbers(output.messages) == list(range(45, 52))
    assert splice.state is SpliceState.LIVE


@pytest.mark.parametrize("make", [Splice, awaiting, live, after_gap])
def test_only_the_registry_names_a_source(make: type[Splice]) -> None:
    """A forged envelope or snapshot of a source that is higher changes nothing."""
    splice = make()
    before = splice.state, splice.epoch, splice.origin
    for _ in range(2):
        assert splice.envelope(envelope(50, 52, HIGH)) == NOTHING
        needed = splice.state is SpliceState.AWAITING
        assert splice.snapshot(snapshot(45, 51, HIGH)) == (NEEDED if needed else NOTHING)
    assert (splice.state, splice.epoch, splice.origin) == before


@pytest.mark.parametrize("make", [awaiting, live, after_gap])
def test_after_the_end_the_next_source_may_be_lower(make: type[Splice]) -> None:
    splice = make()
    splice.stream_down()
    assert splice.stream_up(*LOW) == NEEDED
    assert (splice.state, splice.epoch, splice.origin) == (SpliceState.AWAITING, *LOW)
    assert splice.snapshot(snapshot(3, 6, LOW)).restarted


def test_a_source_that_returns_after_the_end_goes_on() -> None:
    splice = live()
    splice.stream_down()
    assert splice.stream_up(*OUR) == NOTHING
    assert splice.envelope(envelope(10, 13)) == SpliceOutput(media(10, 13))
    assert splice.stream_up(*LOW) == NOTHING  # it is known again


@pytest.mark.parametrize("make", [awaiting, live, after_gap])
def test_a_lower_source_is_ignored(make: type[Splice]) -> None:
    splice = make()
    state = splice.state
    assert splice.stream_up(*LOW) == NOTHING
    assert splice.envelope(envelope(10, 12, LOW)) == NOTHING
    # An answer of the source before: the question has not been answered.
    assert splice.snapshot(snapshot(0, 12, LOW)) == (NOTHING if state is SpliceState.LIVE else NEEDED)
    assert (splice.state, splice.epoch, splice.origin) == (state, *OUR)


def test_the_first_source_may_be_any() -> None:
    splice = Splice()
    assert splice.stream_up(0, "") == NEEDED


def test_stream_up_of_the_source_that_is_known() -> None:
    assert awaiting().stream_up(*OUR) == NEEDED
    assert after_gap().stream_up(*OUR) == NEEDED
    assert live().stream_up(*OUR) == NOTHING


def test_awaiting_holds_envelopes_back_until_the_snapshot() -> None:
    splice = awaiting()
    assert splice.envelope(envelope(3, 5)) == NOTHING
    assert splice.envelope(envelope(5, 8)) == NOTHING
    assert splice.held_bytes == 5 + 7 * HELD_ITEM_BYTES
    output = splice.snapshot(snapshot(0, 4))
    assert output == SpliceOutput(media(0, 8), [HEADER], restarted=True)
    assert (splice.state, splice.next_seq, splice.held_bytes) == (SpliceState.LIVE, 8, 0)
    assert splice.duplicate_messages == 1


def test_awaiting_a_snapshot_that_leaves_a_gap_needs_another() -> None:
    splice = awaiting()
    splice.envelope(envelope(6, 8))
    splice.envelope(envelope(8, 9))
    output = splice.snapshot(snapshot(0, 4))
    assert numbers(output.messages) == [0, 1, 2, 3]
    assert (output.snapshot_needed, output.lost_messages) == (True, 2)
    assert splice.state is SpliceState.AWAITING
    output = splice.snapshot(snapshot(2, 7))
    assert output == SpliceOutput(media(4, 9))


def test_live_passes_on_what_is_in_order() -> None:
    splice = live()
    assert splice.envelope(envelope(10, 13)) == SpliceOutput(media(10, 13))
    assert splice.envelope(envelope(13, 13)) == NOTHING
    assert splice.envelope(envelope(13, 14)) == SpliceOutput(media(13, 14))


def test_live_drops_what_is_known() -> None:
    splice = live()
    assert splice.envelope(envelope(4, 10)) == NOTHING
    assert splice.envelope(envelope(0, 2)) == NOTHING
    assert splice.duplicate_messages == 8
    assert splice.envelope(envelope(8, 12)) == SpliceOutput(media(10, 12))
    assert splice.duplicate_messages == 10


def test_live_ignores_a_snapshot_nobody_needs() -> None:
    splice = live()
    assert splice.snapshot(snapshot(20, 30)) == NOTHING
    assert splice.next_seq == 10


def test_a_gap_is_told_once_and_needs_a_snapshot() -> None:
    splice = live()
    assert splice.envelope(envelope(12, 14)) == SpliceOutput(snapshot_needed=True, lost_messages=2)
    assert splice.envelope(envelope(20, 21)) == NOTHING


def test_a_gap_is_filled_from_a_snapshot_that_reaches_back() -> None:
    output = after_gap().snapshot(snapshot(5, 13))
    assert output == SpliceOutput(media(10, 14))
    output = after_gap().snapshot(snapshot(10, 12))
    assert output == SpliceOutput(media(10, 14))


def test_a_gap_too_wide_for_the_snapshot_restarts() -> None:
    output = after_gap().snapshot(snapshot(11, 13))
    assert output == SpliceOutput(media(11, 14), [HEADER], restarted=True)


def test_a_snapshot_from_before_the_gap_is_of_no_use() -> None:
    splice = after_gap()
    assert splice.snapshot(snapshot(0, 9)) == NEEDED
    assert splice.state is SpliceState.AWAITING
    # One that knows as much as we do leaves the gap as it was.
    assert splice.snapshot(snapshot(0, 10)) == SpliceOutput(snapshot_needed=True, lost_messages=2)


# ---- the bound -------------------------------------------------------------------------------


def test_what_is_held_back_is_bounded() -> None:
    each = 1 + 2 * HELD_ITEM_BYTES
    splice = Splice(max_held_bytes=10 * each)
    splice.stream_up(*OUR)
    for seq in range(10):
        splice.envelope(envelope(seq, seq + 1))
    assert (splice.held_bytes, splice.overflowed_envelopes) == (10 * each, 0)  # at the limit
    splice.envelope(envelope(10, 11))  # one byte more than the others
    assert (splice.held_bytes, splice.overflowed_envelopes) == (9 * each + 1, 2)
    output = splice.snapshot(snapshot(0, 1))
    assert (output.lost_messages, output.snapshot_needed) == (1, True)


def test_one_envelope_larger_than_the_bound() -> None:
    splice = Splice(max_held_bytes=1)
    splice.stream_up(*OUR)
    splice.envelope(envelope(10, 11))
    assert (splice.held_bytes, splice.overflowed_envelopes) == (0, 1)


def test_messages_of_no_bytes_are_bounded_as_well() -> None:
    splice = Splice(max_held_bytes=100 * HELD_ITEM_BYTES)
    splice.stream_up(*OUR)
    splice.envelope(Envelope("k", OUR[0], 0, OUR[1], [Message(8, 0, b"")] * 99))
    assert splice.overflowed_envelopes == 0  # at the limit
    splice.envelope(Envelope("k", OUR[0], 99, OUR[1], []))
    assert splice.overflowed_envelopes == 1


# ---- any order -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_whatever_is_lost_or_repeated_what_comes_out_is_in_order(data: st.DataObject) -> None:
    """Envelopes are lost, repeated and reordered; snapshots come late. Nothing comes out twice or
    backwards, nothing is skipped without a restart, and a last snapshot makes it whole."""
    splice = Splice()
    produced = 0
    out: list[int] = []
    pending = splice.stream_up(*OUR).snapshot_needed
    restarted = False  # by a snapshot that had no messages: what follows it need not go on

    def take(output: SpliceOutput) -> None:
        nonlocal pending, restarted
        got = numbers(output.messages)
        restarted = restarted or output.restarted
        if got and out and not restarted:
            assert got[0] == out[-1] + 1
        if got:
            restarted = False
        assert got == list(range(got[0], got[0] + len(got))) if got else True
        if got and out:
            assert got[0] > out[-1]
        out.extend(got)
        pending = pending or output.snapshot_needed

    sent: list[Envelope] = []
    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(["send", "send", "send", "lose", "repeat", "answer"]))
        if step in ("send", "lose"):
            count = data.draw(st.integers(1, 3))
            sent.append(envelope(produced, produced + count))
            produced += count
            if step == "send":
                take(splice.envelope(sent[-1]))
        elif step == "repeat" and sent:
            take(splice.envelope(data.draw(st.sampled_from(sent))))
        elif step == "answer" and pending:
            pending = False
            end = data.draw(st.integers(max(0, produced - 3), produced))
            take(splice.snapshot(snapshot(data.draw(st.integers(0, end)), end)))
    take(splice.envelope(envelope(produced, produced + 1)))
    if pending:
        take(splice.snapshot(snapshot(0, produced + 1)))
    assert splice.state is SpliceState.LIVE
    assert out[-1] == produced


def test_what_was_held_back_leads_up_to_a_snapshot_that_begins_later() -> None:
    """Who waited for a stream of audio alone: its origin's snapshot begins at the live end."""
    splice = awaiting()
    for first in (0, 2, 4):
        splice.envelope(envelope(first, first + 2))
    output = splice.snapshot(snapshot(5, 5))
    assert output.restarted
    assert numbers(output.messages) == [0, 1, 2, 3, 4, 5]


def test_what_was_held_back_leads_up_to_a_keyframe() -> None:
    splice = awaiting()
    for first in (0, 2, 4):
        splice.envelope(envelope(first, first + 2))
    assert numbers(splice.snapshot(snapshot(3, 5)).messages) == [0, 1, 2, 3, 4, 5]


def test_what_was_held_back_behind_a_gap_does_not() -> None:
    splice = awaiting()
    for first in (0, 3):  # 2 is lost
        splice.envelope(envelope(first, first + 2))
    assert numbers(splice.snapshot(snapshot(4, 5)).messages) == [3, 4]
    splice = awaiting()
    splice.envelope(envelope(0, 2))  # 2 and 3 are lost
    assert numbers(splice.snapshot(snapshot(4, 5)).messages) == [4]
    splice = awaiting()
    for first in (0, 6):  # the gap lies in what the snapshot has
        splice.envelope(envelope(first, first + 2))
    assert numbers(splice.snapshot(snapshot(4, 6)).messages) == [4, 5, 6, 7]


def test_a_stream_of_audio_alone_begins_with_what_the_bus_brings_first() -> None:
    """The snapshot comes another way, and may be here before what was sent before it."""
    splice = awaiting()
    splice.envelope(envelope(0, 2))
    output = splice.snapshot(snapshot(6, 6))
    assert (output.restarted, numbers(output.messages)) == (True, [0, 1])
    assert numbers(splice.envelope(envelope(2, 8)).messages) == [2, 3, 4, 5, 6, 7]
    splice = awaiting()
    assert splice.snapshot(snapshot(6, 6)).messages == []
    assert numbers(splice.envelope(envelope(4, 8)).messages) == [4, 5, 6, 7]
    assert splice.envelope(envelope(9, 10)).lost_messages == 1
    splice = awaiting()
    splice.snapshot(snapshot(6, 6))
    assert splice.envelope(envelope(7, 8)).lost_messages == 1
