"""The sessions of a worker by their numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.core.bus.questions import SessionRow
from cluster.edge.peers.roster import Roster


class Session:
    use = ("", "")
    kind = "rtmp"

    def __init__(self, number: int) -> None:
        self.number = number

    def row(self) -> SessionRow:
        raise NotImplementedError

    def kick(self, why: str) -> None:
        raise NotImplementedError


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20))), st.integers(-1, 21))
def test_whatever_comes_and_goes_they_are_in_order(steps: list[tuple[bool, int]], above: int) -> None:
    roster, there = Roster(), dict[int, Session]()
    for comes, number in steps:
        if comes and number not in there:
            there[number] = Session(number)
            roster.add(number, there[number])
        elif not comes:
            there.pop(number, None)
            roster.discard(number)
    assert len(roster) == len(there)
    wanted = [(number, there[number]) for number in sorted(there) if number > above]
    assert list(roster.above(above)) == wanted
    assert all(roster.get(number) is there.get(number) for number in range(21))
