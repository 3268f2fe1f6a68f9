"""The table of a reader's states, walked: every state with every input, on a reader in that state."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from stream_support import FakeOwner, begin, publish, video

from cluster.core.media.stream_log import LogLimits
from cluster.core.message import Buffer
from cluster.edge.streams.flv_encoding import FLV
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.reader_states import READER, ReaderInput, ReaderState
from cluster.edge.streams.readers import REJOIN_S, Readers
from cluster.edge.streams.stream import Stream
from support.house import KEY
from support.streams import FakeSink

Move = tuple[ReaderState, ReaderInput, ReaderState]


class RoomySink(FakeSink):
    """A sink that can be full; ``meanwhile`` is done from within its next write."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        self.meanwhile: Callable[[], object] = lambda: None
        self.kept = 0

    def send(self, data: Buffer) -> int:
        if self.is_full:
            raise BlockingIOError
        return super().send(data)

    def write(self, buffers: Sequence[Buffer]) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        super().write(buffers)
        meanwhile()
        return not self.is_full

    def keep(self, rest: Any) -> None:
        self.kept += 1


class Case:
    """A stream with a publisher and one reader, and the moves that the reader has made."""

    def __init__(self) -> None:
        self.owner = FakeOwner()
        self.stream = Stream("live/a", self.owner, LogLimits(), SlowRule(skip_ms=5000, close_s=30))
        begin(self.stream)
        self.sink, self.reader = self.another()
        self.moves: list[Move] = []

    def another(self) -> tuple[RoomySink, Reader]:
        sink = RoomySink()
        return sink, Reader(self.stream, sink, FLV, joined_at=0.0)

    def turn(self, *ms: int) -> None:
        publish(self.stream, *(video(at) for at in ms))
        self.owner.turn()

    def sets(self) -> dict[ReaderState, Any]:
        readers = self.stream.readers
        return {
            ReaderState.IN_STEP: readers.in_step.get(FLV, {}),
            ReaderState.PRIVATE: readers.private,
            ReaderState.BEHIND: readers.behind,
            ReaderState.AWAITING: readers._awaiting,
        }

    def check(self) -> None:
        """The reader is where its state says, and nowhere else."""
        state = self.reader.state
        assert [each for each, held in self.sets().items() if self.reader in held] == (
            [state] if state in self.sets() else []
        )
        assert (self.reader in self.stream.readers) is (state is not ReaderState.ABSENT)
        assert state is ReaderState.IN_STEP or self.reader not in self.stream.readers.pictureless
        assert (self.reader.behind_since is not None) is (state is ReaderState.BEHIND)


def in_step() -> Case:
    case = Case()
    publish(case.stream, video(0, KEY))
    case.stream.add(case.reader)
    return case


def private() -> Case:
    case = Case()
    publish(case.stream, video(0, KEY))
    case.reader.set_media(audio=False, video=True)
    case.stream.add(case.reader)
    return case


def behind() -> Case:
    case = in_step()
    case.sink.is_full = True
    case.turn(40, 80)  # the first is cut in two, the second stands in the log alone
    return case


def awaiting() -> Case:
    case = Case()
    case.stream.end()
    case.stream.add(case.reader)
    return case


def paused() -> Case:
    case = in_step()
    case.reader.pause()
    return case


CASES: dict[ReaderState, Callable[[], Case]] = {
    ReaderState.ABSENT: Case,
    ReaderState.IN_STEP: in_step,
    ReaderState.PRIVATE: private,
    ReaderState.BEHIND: behind,
    ReaderState.AWAITING: awaiting,
    ReaderState.PAUSED: paused,
}


def cut(case: Case) -> None:
    entries = case.stream.log.read(0, case.stream.log.next_seq)
    case.stream.readers.cut(case.reader, 1, 0, entries)


def caught_up(case: Case, *, shared: bool) -> None:
    case.reader.set_media(audio=shared, video=True)
    case.stream.readers._caught_up(case.reader)


def video_returned(case: Case) -> None:
    case.stream.readers.pictureless.add(case.reader)
    case.stream.readers.hold_video_back(case.stream.flushed_seq)
    case.stream.readers.pictureless.discard(case.reader)


INPUTS: dict[ReaderInput, Callable[[Case], object]] = {
    ReaderInput.JOIN: lambda case: case.stream.readers.add(case.reader),
    ReaderInput.PAUSE: lambda case: case.reader.pause(),
    ReaderInput.RESUME: lambda case: case.reader.resume(),
    ReaderInput.WANT: lambda case: case.reader.want(audio=not case.reader.audio),
    ReaderInput.LEAVE: lambda case: case.reader.leave(),
    ReaderInput.FULL: lambda case: case.reader.fell_behind(),
    ReaderInput.CUT: cut,
    ReaderInput.CAUGHT_UP: lambda case: caught_up(case, shared=True),
    ReaderInput.CAUGHT_UP_ALONE: lambda case: caught_up(case, shared=False),
    ReaderInput.PLACE: lambda case: case.stream.readers._place(case.reader, case.stream.flushed_seq),
    ReaderInput.VIDEO_RETURNED: video_returned,
    ReaderInput.PARK: lambda case: case.stream.park(case.reader),
}


def test_every_state_and_every_input_is_walked() -> None:
    assert set(CASES) == set(ReaderState)
    assert set(INPUTS) == set(ReaderInput)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[Move]:
    """Every input that a reader of ``Readers`` gets, with its state before and after."""
    made: list[Move] = []
    move = Readers._move

    def note(readers: Readers, reader: Reader, what: ReaderInput) -> bool:
        before = reader.state
        acted = move(readers, reader, what)
        assert acted is ((before, what) in READER)
        made.append((before, what, reader.state))
        return acted

    monkeypatch.setattr(Readers, "_move", note)
    return made


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("state", CASES)
def test_a_reader_does_what_the_table_says(
    state: ReaderState, what: ReaderInput, moves: list[Move]
) -> None:
    case = CASES[state]()
    assert case.reader.state is state
    case.check()
    moves.clear()
    sent, seq, kept = case.sink.taken, case.reader.seq, case.sink.kept
    INPUTS[what](case)
    assert moves[0] == (state, what, READER.get((state, what), state))
    # What follows from it, such as being placed after joining, is in the table as well.
    for (_, _, before), (after, _, _) in itertools.pairwise(moves):
        assert before is after
    assert case.reader.state is moves[-1][2]
    if (state, what) not in READER:
        assert len(moves) == 1
        assert (case.sink.taken, case.reader.seq, case.sink.kept) == (sent, seq, kept)
    elif what is not ReaderInput.CUT:  # its own socket is not filled by that here
        case.check()


def test_what_is_ignored() -> None:
    """Spelled out, so that a new entry is a decision."""
    every = ReaderState
    ignored = {
        ReaderInput.JOIN: set(every) - {every.ABSENT},
        ReaderInput.PAUSE: {every.ABSENT, every.PAUSED},
        ReaderInput.RESUME: set(every) - {every.PAUSED},
        ReaderInput.WANT: {every.ABSENT},
        ReaderInput.LEAVE: {every.ABSENT},
        ReaderInput.FULL: {every.ABSENT, every.AWAITING, every.PAUSED},
        ReaderInput.CUT: {every.ABSENT, every.PRIVATE, every.AWAITING, every.PAUSED},
        ReaderInput.CAUGHT_UP: {every.ABSENT, every.IN_STEP, every.AWAITING, every.PAUSED},
        ReaderInput.CAUGHT_UP_ALONE: {every.ABSENT, every.IN_STEP, every.AWAITING, every.PAUSED},
        ReaderInput.PLACE: set(every) - {every.AWAITING},
        ReaderInput.VIDEO_RETURNED: set(every) - {every.IN_STEP},
        ReaderInput.PARK: {every.ABSENT, every.AWAITING, every.PAUSED},
    }
    pairs = {(state, what) for state in ReaderState for what in ReaderInput}
    assert pairs - set(READER) == {(state, what) for what, states in ignored.items() for state in states}


# What can cross.


@pytest.mark.parametrize("wants", [{}, {"audio": False}])
def test_who_leaves_from_within_its_own_write_is_gone(wants: dict[str, bool]) -> None:
    """Its socket failed: its connection closes, and so its reader leaves, before the write returns."""
    case = behind()
    case.stream.add(case.another()[1])  # somebody else is there to flush for
    case.reader.want(**wants)
    case.sink.is_full = False
    case.sink.meanwhile = case.reader.leave
    case.reader.catch_up()
    assert case.reader.state is ReaderState.ABSENT
    case.check()
    taken = case.sink.taken
    case.turn(120)
    assert case.sink.taken == taken


def test_who_leaves_while_those_before_it_are_placed_is_gone() -> None:
    case = awaiting()
    sinks = [case.sink]
    for _ in range(3):
        sink, reader = case.another()
        case.stream.add(reader)
        sinks.append(sink)
    readers = list(case.stream.readers)
    for sink in sinks:  # in whatever order they are placed
        sink.meanwhile = lambda: [reader.leave() for reader in readers]
    case.stream.reappear()
    assert not list(case.stream.readers)
    assert not any(case.sets().values())


def test_who_is_behind_already_is_behind_since_then() -> None:
    case = behind()
    since, seq = case.reader.behind_since, case.reader.seq
    case.owner.now += 5
    case.reader.fell_behind()
    assert (case.reader.behind_since, case.reader.seq) == (since, seq)


def test_a_cut_says_where_one_goes_on_that_was_told_before_that_its_socket_is_full() -> None:
    case = in_step()
    case.turn(40, 80)
    case.reader.fell_behind()
    assert case.reader.seq == case.stream.flushed_seq
    first_seq = case.stream.flushed_seq - 2
    entries = case.stream.log.read(first_seq, case.stream.flushed_seq)
    case.stream.readers.cut(case.reader, 1, first_seq, entries)
    assert (case.reader.seq, case.sink.kept) == (first_seq + 1, 1)


@pytest.mark.parametrize("make", [awaiting, paused])
def test_other_media_are_noted_while_nothing_is_read(make: Callable[[], Case]) -> None:
    case = make()
    taken = case.sink.taken
    case.reader.want(audio=False)
    assert case.sink.taken == taken
    case.stream.reappear()
    case.reader.resume()
    assert case.reader.state is ReaderState.PRIVATE


def test_a_paused_reader_whose_stream_ends_and_returns_stays_paused() -> None:
    case = paused()
    taken = case.sink.taken
    case.stream.end()
    case.stream.park(case.reader)
    begin(case.stream, epoch=2)
    publish(case.stream, video(0, KEY))
    case.owner.turn()
    assert (case.reader.state, case.sink.taken) == (ReaderState.PAUSED, taken)
    assert case.owner.counters.player_messages_dropped == 0
    case.owner.now += REJOIN_S
    case.reader.resume()
    assert case.reader.state is ReaderState.IN_STEP
    assert len(case.sink.taken) > len(taken)
