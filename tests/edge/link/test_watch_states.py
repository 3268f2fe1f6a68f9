"""The table of a watched key's states, walked: every state with every input; its routers stand still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cluster.core.bus import control, placement
from cluster.core.bus.bounds import OVERLAP_S
from cluster.core.bus.envelope import topic
from cluster.edge.link import watches
from cluster.edge.link.routers import LinkRouters
from cluster.edge.link.watch_states import WATCH, WatchInput, WatchState
from cluster.edge.link.watches import LinkWatches

KEY = "live/a"
#: The routers of the cluster, from the one down that the key belongs to.
BEST, SECOND, THIRD = placement.rank(KEY, [f"tcp://10.0.0.{number}" for number in range(3)])

Move = tuple[WatchState, WatchInput, WatchState]


class FakePeer:
    """A router; ``topics`` are what is subscribed there, as often as it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_live = True
        self.topics: list[bytes] = []
        self.sent: list[Any] = []

    def send(self, message: Any) -> bool:
        self.sent.append(message)
        return True

    def subscribe(self, topic: bytes) -> None:
        self.topics.append(topic)

    def unsubscribe(self, topic: bytes) -> None:
        self.topics.remove(topic)


class Case:
    """A watched key, the node's own router, and those of the cluster that are in ``live``."""

    def __init__(self, *live: str) -> None:
        self.now = 0.0
        self.origins: dict[str, int] = {}
        self.routers = LinkRouters()
        self.own = FakePeer("own")
        self.routers.own = self.own  # type: ignore[assignment]
        self.peers: dict[str, FakePeer] = {}
        for name in live:
            self.peers[name] = self.routers.cluster[name] = FakePeer(name)  # type: ignore[assignment]
        self.watches = LinkWatches(self, self.routers, self.origins)  # type: ignore[arg-type]
        self.watches.add(KEY, self.now)
        self.watch = self.watches._watches[KEY]

    def stream_down(self, key: str, epoch: int) -> None: ...

    def comes(self, name: str) -> None:
        self.peers[name] = self.routers.cluster[name] = FakePeer(name)  # type: ignore[assignment]
        self.watches.place_all(self.now)

    def dies(self, name: str) -> None:
        self.peers[name].is_live = False
        self.watches.lost(self.peers[name], self.now)  # type: ignore[arg-type]

    def is_removed(self, name: str) -> None:
        del self.routers.cluster[name]
        self.watches.removed(self.peers[name], self.now)  # type: ignore[arg-type]

    def is_named(self) -> None:
        """The router of the cluster that it is watched at says who publishes it."""
        peer = self.watch.home or self.own
        self.watches.stream_up(peer, control.StreamUp(KEY, 1, "sibling"), self.now)  # type: ignore[arg-type]

    def own_has_it(self) -> None:
        self.watches.stream_up(self.own, control.StreamUp(KEY, 1, "sibling"), self.now)  # type: ignore[arg-type]

    def own_has_it_no_more(self) -> None:
        self.watches.stream_down(self.own, control.StreamDown(KEY, 1), self.now)  # type: ignore[arg-type]

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.watches.tick(self.now)

    def is_published_here(self, here: bool) -> None:
        self.origins.update({KEY: 1}) if here else self.origins.clear()
        self.watches.origin_changed(KEY, self.now)

    def check(self) -> None:
        """It is subscribed where its state says, once at each, and watched there."""
        watch, state = self.watch, self.watch.state
        is_home = state in (WatchState.HOME, WatchState.HOME_OVERLAP)
        is_overlap = state in (WatchState.OWN_OVERLAP, WatchState.HOME_OVERLAP)
        assert watch.subscribed is (watch.home if is_home else None)
        assert (watch.leaving is not None) is is_overlap
        at = [self.own] if state not in (WatchState.OFF, WatchState.WAITING) else []
        at += [peer for peer in (watch.subscribed, watch.leaving) if peer is not None]  # type: ignore[misc]
        for peer in [self.own, *(self.peers[name] for name in self.routers.cluster)]:
            assert peer.topics == [topic(KEY)] * (peer in at), peer.name
        if state is WatchState.WAITING:
            at = [self.own, *([] if watch.home is None else [watch.home])]  # type: ignore[list-item]
        for peer in at:
            assert [type(m) for m in peer.sent if type(m) in (control.Watch, control.Unwatch)][-1] is (
                control.Watch
            ), peer.name


def off() -> Case:
    case = Case(SECOND)
    case.is_published_here(True)
    return case


def waiting() -> Case:
    return Case(SECOND)


def own() -> Case:
    case = own_overlap()
    case.passes(OVERLAP_S)
    return case


def own_overlap() -> Case:
    case = home()
    case.own_has_it()
    return case


def home(*live: str) -> Case:
    case = Case(*(live or [SECOND]))
    case.is_named()
    return case


def home_overlap() -> Case:
    case = home(THIRD)
    case.comes(SECOND)
    return case


STATES: dict[WatchState, Callable[[], Case]] = {
    WatchState.OFF: off,
    WatchState.WAITING: waiting,
    WatchState.OWN: own,
    WatchState.OWN_OVERLAP: own_overlap,
    WatchState.HOME: home,
    WatchState.HOME_OVERLAP: home_overlap,
}


def new_home(case: Case) -> None:
    """A router comes that the key belongs to; where the own one has the stream, that ends."""
    case.comes(BEST)
    case.own_has_it_no_more()


def back(case: Case) -> None:
    """What it was moved for is over: the own router has the stream, or there is a better one."""
    if case.watch.state is WatchState.HOME_OVERLAP:
        case.dies(SECOND)
    else:
        case.own_has_it_no_more()


def let_another_be_home(case: Case) -> None:
    """Than the router that it leaves."""
    if case.watch.leaving is not None and case.watch.leaving is case.watch.home:
        case.comes(BEST)


def left_removed(case: Case) -> None:
    let_another_be_home(case)
    assert case.watch.leaving is not None
    case.is_removed(case.watch.leaving.name)


def home_removed(case: Case) -> None:
    let_another_be_home(case)
    case.is_removed(case.watch.home.name if case.watch.home is not None else SECOND)


INPUTS: dict[WatchInput, Callable[[Case], None]] = {
    WatchInput.START: lambda case: case.is_published_here(False),
    WatchInput.STOP: lambda case: case.is_published_here(True),
    WatchInput.NAMED: lambda case: case.is_named(),
    WatchInput.OWN_HAS_IT: lambda case: case.own_has_it(),
    WatchInput.NEW_HOME: new_home,
    WatchInput.BACK: back,
    WatchInput.OVERLAP_OVER: lambda case: case.passes(OVERLAP_S),
    WatchInput.LEFT_REMOVED: left_removed,
    WatchInput.HOME_REMOVED: home_removed,
}


NOTHING_TO_LEAVE = {WatchInput.BACK, WatchInput.LEFT_REMOVED}
#: Whoever has the stream is named first.
CANNOT_BE = {WatchState.WAITING: NOTHING_TO_LEAVE | {WatchInput.OWN_HAS_IT}}


def test_every_state_and_every_input_is_walked() -> None:
    assert set(STATES) == set(WatchState)
    assert set(INPUTS) == set(WatchInput)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[Move]:
    """Every input that a watch gets, with its state before and after."""
    made: list[Move] = []
    move = watches._move

    def note(watch: Any, what: WatchInput) -> bool:
        before = watch.state
        acted = move(watch, what)
        assert acted is ((before, what) in WATCH)
        made.append((before, what, watch.state))
        return acted

    monkeypatch.setattr(watches, "_move", note)
    return made


@pytest.mark.parametrize("what", INPUTS)
@pytest.mark.parametrize("state", STATES)
def test_a_watch_does_what_the_table_says(state: WatchState, what: WatchInput, moves: list[Move]) -> None:
    case = STATES[state]()
    assert case.watch.state is state
    case.check()
    moves.clear()
    after = WATCH.get((state, what))
    if after is None and what in CANNOT_BE.get(state, NOTHING_TO_LEAVE):
        assert not watches._move(case.watch, what)
    else:
        INPUTS[what](case)
    if after is None:
        assert case.watch.state is state
    else:
        assert (state, what, after) in moves
        assert case.watch.state is moves[-1][2]
    case.check()


def test_what_is_ignored() -> None:
    """Spelled out, so that a new entry is a decision."""
    every = WatchState
    no_overlap = {every.OFF, every.WAITING, every.OWN, every.HOME}
    ignored = {
        WatchInput.START: set(every) - {every.OFF},
        WatchInput.STOP: {every.OFF},
        WatchInput.NAMED: set(every) - {every.WAITING},
        WatchInput.OWN_HAS_IT: {every.OFF, every.WAITING, every.OWN, every.OWN_OVERLAP},
        WatchInput.NEW_HOME: {every.OFF, every.WAITING},
        WatchInput.BACK: no_overlap,
        WatchInput.OVERLAP_OVER: no_overlap,
        WatchInput.LEFT_REMOVED: no_overlap,
        WatchInput.HOME_REMOVED: {every.OFF},
    }
    pairs = {(state, what) for state in WatchState for what in WatchInput}
    assert pairs - set(WATCH) == {(state, what) for what, states in ignored.items() for state in states}


def test_a_dead_router_is_left_at_once(moves: list[Move]) -> None:
    case = home(BEST, SECOND)
    case.dies(BEST)
    assert moves[-2:] == [
        (WatchState.HOME, WatchInput.NEW_HOME, WatchState.HOME_OVERLAP),
        (WatchState.HOME_OVERLAP, WatchInput.OVERLAP_OVER, WatchState.HOME),
    ]
    case.check()


def test_what_the_own_router_says_again_moves_nothing(moves: list[Move]) -> None:
    for case in (own(), own_overlap()):
        state = case.watch.state
        case.own_has_it()
        assert case.watch.state is state
        case.check()


def test_the_last_router_of_the_cluster_goes() -> None:
    case = home()
    case.is_removed(SECOND)
    assert case.watch.state is WatchState.OWN
    assert case.watches.feed(KEY) is None
    case.comes(THIRD)
    assert case.watch.state is WatchState.HOME
    case.check()


def test_a_key_that_is_not_watched_any_more_is_at_no_router() -> None:
    for make in STATES.values():
        case = make()
        case.watches.discard(KEY)
        assert case.watch.state is WatchState.OFF
        case.check()
