"""The poller, over socket pairs: turns, the paces of sockets, interest in writing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from itertools import chain

import pytest
import uvloop

from cluster.net import poller as poller_module
from cluster.net.latency_budget import BudgetRule, LatencyBudget
from cluster.net.poller import (
    LEISURE_S,
    LEISURELY_PER_TURN,
    READABLE,
    WRITABLE,
    Pace,
    Poller,
)
from support.house import SteppedLoop, run_until, stepped_loop

BUDGET_S = 0.05


class Scene:
    """A poller whose handlers read what is there and note their name."""

    def __init__(self, loop: asyncio.AbstractEventLoop, budget_s: float) -> None:
        self.loop = loop
        self.log: list[str] = []
        self.masks: list[int] = []
        budget = LatencyBudget(BudgetRule(budget_s * 1000))
        self.poller = Poller(loop, budget, lambda: self.log.append("["), lambda: self.log.append("]"))
        self._sockets: list[socket.socket] = []

    def pair(self, name: str, handler: Callable[[int], None] | None = None) -> tuple[int, socket.socket]:
        """A watched descriptor, and the socket that makes it readable."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._sockets += (ours, theirs)

        def read(mask: int) -> None:
            self.masks.append(mask)
            self.log.append(name)
            if mask & READABLE:
                ours.recv(1024)

        self.poller.register(ours.fileno(), handler or read)
        return ours.fileno(), theirs

    def turns(self) -> list[str]:
        """What each turn that served anything did: the names in it."""
        text = " ".join(self.log)
        return [each.strip() for each in text.replace("]", "").split("[") if each.strip()]

    def until(self, probe: Callable[[], object], what: str) -> None:
        run_until(self.loop, probe, what)

    def close(self) -> None:
        self.poller.close()
        for each in self._sockets:
            each.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def scene(loop: asyncio.AbstractEventLoop) -> Iterator[Scene]:
    made = Scene(loop, 0.0)
    yield made
    made.close()


@pytest.fixture
def real(loop: asyncio.AbstractEventLoop) -> Iterator[Scene]:
    """A poller with a budget on a loop whose clock nobody moves."""
    made = Scene(loop, BUDGET_S)
    yield made
    made.close()


@pytest.fixture
def clock() -> Iterator[SteppedLoop]:
    with stepped_loop() as made:
        yield made


@pytest.fixture
def budgeted(clock: SteppedLoop) -> Iterator[Scene]:
    """A poller with a budget, on a clock that tests move."""
    made = Scene(clock, BUDGET_S)
    yield made
    made.close()


# ---- turns -----------------------------------------------------------------------------------


def test_sockets_that_are_ready_together_are_served_in_one_turn(scene: Scene) -> None:
    _, a = scene.pair("a")
    _, b = scene.pair("b")
    a.send(b"x")
    b.send(b"x")
    scene.until(lambda: len(scene.log) >= 4, "a turn")
    assert scene.log[0] == "["
    assert sorted(scene.log[1:3]) == ["a", "b"]
    assert scene.log[3] == "]"
    assert scene.masks == [READABLE, READABLE]


def test_a_socket_with_nothing_to_read_is_not_served(scene: Scene) -> None:
    scene.pair("silent")
    _, b = scene.pair("b")
    for _ in range(3):
        before = scene.log.count("b")
        b.send(b"x")
        scene.until(lambda before=before: scene.log.count("b") > before, "a turn")
    assert "silent" not in scene.log


def test_one_turn_is_bounded_and_the_rest_is_served_in_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(poller_module, "TURN_S", 0.0)
    names = [f"s{number}" for number in range(5)]
    for name in names:
        scene.pair(name)[1].send(b"x")
    scene.until(lambda: set(names) <= set(scene.log), "all five served")
    assert [len(turn.split()) for turn in scene.turns()] == [2, 2, 1]


def test_a_handler_may_close_another_ready_socket_of_the_same_turn(scene: Scene) -> None:
    closed: list[str] = []
    ends: dict[str, int] = {}

    def closing(mine: str, other: str) -> Callable[[int], None]:
        def handle(mask: int) -> None:
            closed.append(other)
            scene.poller.unregister(ends[other])
            scene.poller.unregister(ends[mine])

        return handle

    ends["a"], a = scene.pair("a", closing("a", "b"))
    ends["b"], b = scene.pair("b", closing("b", "a"))
    a.send(b"x")
    b.send(b"x")
    scene.until(lambda: "]" in scene.log, "a turn")
    assert len(closed) == 1  # whichever came first; the other was not called any more


def test_the_other_end_leaving_makes_a_socket_ready(scene: Scene) -> None:
    _, a = scene.pair("a")
    a.close()
    scene.until(lambda: scene.masks, "a turn")
    assert scene.masks[0] & READABLE


def test_no_handler_is_called_after_close(loop: asyncio.AbstractEventLoop) -> None:
    scene = Scene(loop, BUDGET_S)
    fd, a = scene.pair("a")
    scene.poller.set_pace(fd, Pace.BUDGETED)
    _, b = scene.pair("b")
    a.send(b"x")
    b.send(b"x")
    scene.close()
    passed: list[bool] = []
    loop.call_later(2 * BUDGET_S, passed.append, True)
    run_until(loop, lambda: passed, "two budgets")
    assert scene.log == []


# ---- interest in writing ---------------------------------------------------------------------


def test_want_write_serves_a_socket_once_it_takes_bytes(scene: Scene) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    masks: list[int] = []
    with ours, theirs:
        scene.poller.register(ours.fileno(), masks.append)
        sent = _fill(ours)
        scene.poller.want_write(ours.fileno(), True)
        _, other = scene.pair("other")
        other.send(b"x")
        scene.until(lambda: "other" in scene.log, "a turn while it is full")
        assert masks == []
        while sent:
            sent -= len(theirs.recv(1 << 20))
        scene.until(lambda: masks, "the turn in which it takes bytes")
        assert masks[0] == WRITABLE
        scene.poller.want_write(ours.fileno(), False)
        masks.clear()
        other.send(b"x")
        scene.until(lambda: scene.log.count("other") == 2, "a turn after that")
        assert masks == []
        scene.poller.unregister(ours.fileno())


def _fill(full: socket.socket) -> int:
    sent = 0
    while True:
        try:
            sent += full.send(bytes(65536))
        except BlockingIOError:
            return sent


# ---- the latency budget ----------------------------------------------------------------------


def test_a_deferred_socket_is_served_a_budget_after_its_first_message(
    budgeted: Scene, clock: SteppedLoop
) -> None:
    fd, a = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    for expected in (["a"], ["a", "a"], ["a", "a", "a"]):
        clock.advance(BUDGET_S * 3)  # a pause of any length
        for _ in range(4):
            a.send(b"x")
            clock.turn()
            clock.advance(BUDGET_S / 5)
        assert budgeted.turns() == expected[:-1]
        clock.advance(BUDGET_S / 5 + 1e-6)
        assert budgeted.turns() == expected


def test_the_budget_is_that_of_the_message_that_waits_longest(budgeted: Scene, clock: SteppedLoop) -> None:
    ends = {}
    for name in ("first", "last"):
        fd, ends[name] = budgeted.pair(name)
        budgeted.poller.set_pace(fd, Pace.BUDGETED)
    ends["first"].send(b"x")
    clock.turn()
    clock.advance(BUDGET_S * 0.9)
    ends["last"].send(b"x")
    clock.turn()
    clock.advance(BUDGET_S * 0.1 + 1e-6)
    assert [sorted(turn.split()) for turn in budgeted.turns()] == [["first", "last"]]


def test_an_error_in_a_handler_does_not_end_the_turns_of_the_budget(
    budgeted: Scene, clock: SteppedLoop
) -> None:
    errors: list[object] = []
    clock.set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    def fail(mask: int) -> None:
        raise ZeroDivisionError

    fd, a = budgeted.pair("a", fail)
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    a.send(b"x")
    for count in (1, 2, 3):
        _let_the_budget_pass(clock)
        assert [type(error) for error in errors] == [ZeroDivisionError] * count


def _let_the_budget_pass(clock: SteppedLoop) -> None:
    clock.turn()
    clock.advance(BUDGET_S + 1e-6)


def test_prompt_sockets_are_served_at_once_while_others_are_deferred(
    budgeted: Scene, clock: SteppedLoop
) -> None:
    deferred_fd, deferred = budgeted.pair("deferred")
    _, prompt = budgeted.pair("prompt")
    budgeted.poller.set_pace(deferred_fd, Pace.BUDGETED)
    deferred.send(b"x")
    prompt.send(b"x")
    clock.turn()
    assert budgeted.turns() == ["prompt"]
    _let_the_budget_pass(clock)
    assert budgeted.turns() == ["prompt", "deferred"]


def test_deferred_sockets_share_one_turn(budgeted: Scene, clock: SteppedLoop) -> None:
    for name in ("a", "b"):
        fd, end = budgeted.pair(name)
        budgeted.poller.set_pace(fd, Pace.BUDGETED)
        end.send(b"x")
    _let_the_budget_pass(clock)
    assert [sorted(turn.split()) for turn in budgeted.turns()] == [["a", "b"]]


def test_deferring_twice_is_deferring_once(budgeted: Scene, clock: SteppedLoop) -> None:
    fd, a = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    budgeted.poller.set_pace(fd, Pace.PROMPT)
    budgeted.poller.set_pace(fd, Pace.PROMPT)
    a.send(b"x")
    clock.turn()
    assert budgeted.turns() == ["a"]


@pytest.mark.parametrize("wanted", [True, False])
def test_asking_about_writing_ends_deferral(budgeted: Scene, clock: SteppedLoop, wanted: bool) -> None:
    fd, a = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    budgeted.poller.want_write(fd, wanted)
    a.send(b"x")
    clock.turn()
    assert budgeted.masks[0] == (READABLE | WRITABLE if wanted else READABLE)


def test_a_deferred_socket_can_be_forgotten_and_its_number_used_again(
    budgeted: Scene, clock: SteppedLoop
) -> None:
    fd, a = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    a.send(b"x")
    budgeted.poller.unregister(fd)
    _let_the_budget_pass(clock)
    assert budgeted.turns() == []
    masks: list[int] = []
    budgeted.poller.register(fd, masks.append)
    clock.turn()
    assert set(masks) == {READABLE}


def test_the_loop_is_left_alone_while_nothing_comes(budgeted: Scene, clock: SteppedLoop) -> None:
    fd, a = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    for count in (1, 2):
        a.send(b"x")
        _let_the_budget_pass(clock)
        assert budgeted.turns() == ["a"] * count
        seen = list(budgeted.log)
        for _ in range(5):
            _let_the_budget_pass(clock)
        assert budgeted.log == seen


def test_a_budget_of_zero_defers_nothing(scene: Scene) -> None:
    fd, a = scene.pair("a")
    scene.poller.set_pace(fd, Pace.BUDGETED)
    a.send(b"x")
    scene.until(lambda: "a" in scene.log, "a turn")
    scene.poller.set_pace(fd, Pace.PROMPT)
    scene.poller.unregister(fd)


def test_the_budget_holds_on_a_real_clock(real: Scene) -> None:
    fd, a = real.pair("a")
    started = time.monotonic()
    real.poller.set_pace(fd, Pace.BUDGETED)

    def send_and_count() -> bool:
        with contextlib.suppress(BlockingIOError):
            a.send(b"x")
        return real.log.count("a") >= 4

    real.until(send_and_count, "four looks at a socket that is always readable")
    assert time.monotonic() - started >= 4 * BUDGET_S * 0.9  # timers are early by a clock's resolution


# ---- leisure ---------------------------------------------------------------------------------


def _at_leisure(scene: Scene, count: int) -> list[socket.socket]:
    """Sockets that nothing makes readable to epoll, as one below its low-water mark, named by number."""
    ends = []
    for name in range(count):
        fd, end = scene.pair(str(name))
        scene.poller.set_pace(fd, Pace.LEISURELY)
        ends.append(end)
    return ends


def _numbers(scene: Scene) -> list[list[int]]:
    return [[int(name) for name in turn.split()] for turn in scene.turns()]


@pytest.fixture
def tolerant(budgeted: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Its handlers only note that they were called: there is nothing to read."""
    pair, log = budgeted.pair, budgeted.log
    monkeypatch.setattr(
        budgeted, "pair", lambda name, handler=None: pair(name, handler or (lambda mask: log.append(name)))
    )
    return budgeted


def test_a_leisurely_socket_is_read_a_few_times_a_second(tolerant: Scene, clock: SteppedLoop) -> None:
    _at_leisure(tolerant, 1)
    clock.advance(LEISURE_S * 0.9)
    assert _numbers(tolerant) == []
    clock.advance(LEISURE_S * 0.1 + 1e-6)
    assert _numbers(tolerant) == [[0]]
    clock.advance(LEISURE_S + 1e-6)
    assert _numbers(tolerant) == [[0], [0]]


def test_many_leisurely_sockets_are_spread_over_the_time(tolerant: Scene, clock: SteppedLoop) -> None:
    _at_leisure(tolerant, 3 * LEISURELY_PER_TURN)
    clock.advance(LEISURE_S + 1e-6)
    for _ in range(5):
        clock.advance(LEISURE_S / 3 + 1e-6)
    turns = _numbers(tolerant)
    assert [len(turn) for turn in turns] == [LEISURELY_PER_TURN] * 6
    first_round, second_round = [*chain(*turns[:3])], [*chain(*turns[3:])]
    assert first_round == second_round == list(range(3 * LEISURELY_PER_TURN))


def test_a_leisurely_socket_with_much_to_read_is_served_at_once(
    budgeted: Scene, clock: SteppedLoop
) -> None:
    (end,) = _at_leisure(budgeted, 1)
    end.send(b"x")  # its low-water mark stands at one byte
    clock.turn()
    assert _numbers(budgeted) == [[0]]


@pytest.mark.parametrize("pace", [Pace.PROMPT, Pace.BUDGETED])
def test_leisure_ends_with_another_pace(budgeted: Scene, clock: SteppedLoop, pace: Pace) -> None:
    fd, end = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.LEISURELY)
    budgeted.poller.set_pace(fd, pace)
    clock.advance(LEISURE_S + 1e-6)
    budgeted.log.clear()
    clock.advance(LEISURE_S + 1e-6)
    assert budgeted.turns() == []
    end.send(b"x")
    _let_the_budget_pass(clock)
    assert budgeted.turns() == ["a"]


def test_a_budgeted_socket_can_become_leisurely(budgeted: Scene, clock: SteppedLoop) -> None:
    fd, end = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    budgeted.poller.set_pace(fd, Pace.LEISURELY)
    end.send(b"x")
    clock.turn()  # before any budget is over
    assert budgeted.turns() == ["a"]


def test_a_leisurely_socket_can_be_closed_by_the_handler_of_another(
    tolerant: Scene, clock: SteppedLoop
) -> None:
    fds = [0, 0]

    def close_the_other(mask: int) -> None:
        tolerant.log.append("0")
        if fds[1]:
            tolerant.poller.unregister(fds[1])
            fds[1] = 0

    fds[0], _ = tolerant.pair("0", close_the_other)
    fds[1], _ = tolerant.pair("1")
    for fd in fds:
        tolerant.poller.set_pace(fd, Pace.LEISURELY)
    clock.advance(LEISURE_S + 1e-6)
    assert _numbers(tolerant) == [[0]]


# ---- pauses ----------------------------------------------------------------------------------


def test_a_paused_socket_is_not_read_and_then_has_its_pace_again(
    clock: SteppedLoop, budgeted: Scene
) -> None:
    fd, peer = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.BUDGETED)
    budgeted.poller.pause(fd, 1.0, lambda: budgeted.log.append("resumed"))
    assert budgeted.poller.is_paused(fd)
    peer.send(b"x")
    clock.advance(0.9)
    assert budgeted.turns() == []
    clock.advance(0.11)
    assert budgeted.turns() == ["resumed"]
    assert not budgeted.poller.is_paused(fd)
    clock.turn()
    assert budgeted.turns() == ["resumed"], "its budget is not over"
    clock.advance(BUDGET_S + 0.01)
    assert budgeted.turns() == ["resumed", "a"]


@pytest.mark.parametrize("pace", list(Pace))
def test_the_pace_that_is_set_during_a_pause_holds_after_it(
    clock: SteppedLoop, budgeted: Scene, pace: Pace
) -> None:
    fd, peer = budgeted.pair("a")
    budgeted.poller.pause(fd, 1.0, lambda: None)
    budgeted.poller.set_pace(fd, pace)
    peer.send(b"x")
    clock.advance(0.9)
    assert budgeted.turns() == []
    clock.advance(0.11)
    clock.turn()
    assert budgeted.turns() == (["a"] if pace is not Pace.BUDGETED else [])
    clock.advance(BUDGET_S + 0.01)
    assert budgeted.turns() == ["a"]
    assert (fd in budgeted.poller._leisurely) == (pace is Pace.LEISURELY)


def test_a_paused_leisurely_socket_is_not_read_at_leisure(clock: SteppedLoop, budgeted: Scene) -> None:
    fd, peer = budgeted.pair("a")
    budgeted.poller.set_pace(fd, Pace.LEISURELY)
    budgeted.poller.pause(fd, 10 * LEISURE_S, lambda: None)
    peer.send(b"x")
    for _ in range(9):
        clock.advance(LEISURE_S)
    assert budgeted.turns() == []
    clock.advance(LEISURE_S + 0.01)
    clock.turn()
    assert budgeted.turns() == ["a"]


def test_a_pause_lets_writing_go_on(clock: SteppedLoop, budgeted: Scene) -> None:
    fd, peer = budgeted.pair("a")
    budgeted.poller.want_write(fd, True)
    budgeted.poller.pause(fd, 1.0, lambda: None)
    peer.send(b"x")
    clock.turn()
    assert set(budgeted.masks) == {WRITABLE}
    budgeted.poller.want_write(fd, False)
    budgeted.masks.clear()
    clock.turn()
    assert budgeted.masks == []
    budgeted.poller.want_write(fd, True)
    clock.turn()
    assert set(budgeted.masks) == {WRITABLE}
    budgeted.masks.clear()
    clock.advance(1.01)
    clock.turn()
    assert WRITABLE | READABLE in budgeted.masks


@pytest.mark.parametrize("writes", [False, True])
def test_a_socket_that_is_closed_during_a_pause_is_not_resumed(
    clock: SteppedLoop, budgeted: Scene, writes: bool
) -> None:
    fd, _ = budgeted.pair("a")
    budgeted.poller.want_write(fd, writes)
    budgeted.poller.pause(fd, 1.0, lambda: pytest.fail("resumed"))
    budgeted.poller.unregister(fd)
    assert not budgeted.poller.is_paused(fd)
    clock.advance(1.01)
    budgeted.poller.register(fd, lambda mask: None)  # as the next socket with this number would be
    budgeted.poller.unregister(fd)


def test_a_peer_that_breaks_off_during_a_pause_wakes_nobody_before_its_end(
    clock: SteppedLoop, budgeted: Scene
) -> None:
    fd, peer = budgeted.pair("a")
    budgeted.poller.pause(fd, 1.0, lambda: None)
    peer.close()
    for _ in range(5):
        clock.turn()
    assert budgeted.turns() == []
    clock.advance(1.01)
    clock.turn()
    assert "a" in budgeted.turns()


def test_a_poller_that_closes_during_a_pause_resumes_nothing(clock: SteppedLoop) -> None:
    scene = Scene(clock, BUDGET_S)
    fd, _ = scene.pair("a")
    scene.poller.pause(fd, 1.0, lambda: pytest.fail("resumed"))
    scene.close()
    clock.advance(1.01)


# ---- strangers -------------------------------------------------------------------------------


def test_strangers_end_their_turn_when_their_time_is_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are ready, what others sent meanwhile is served before the rest of them."""
    monkeypatch.setattr(poller_module, "STRANGERS_TURN_S", 0.01)
    monkeypatch.setattr(poller_module, "STRANGERS_AT_ONCE", 2)
    _, knock = scene.pair("known")
    handled: list[int] = []

    def serve(number: int) -> None:
        time.sleep(0.006)
        if not handled:
            knock.send(b"x")
        handled.append(number)
        scene.log.append("stranger")
        scene.poller.unregister(number)

    for _ in range(20):
        fd, theirs = scene.pair("", lambda mask: None)
        scene.poller._handlers[fd] = lambda mask, fd=fd: serve(fd)  # type: ignore[misc]
        scene.poller.set_pace(fd, Pace.STRANGER)
        theirs.send(b"x")
    scene.until(lambda: len(handled) == 20, "all strangers to be served")
    before_known = scene.log[: scene.log.index("known")].count("stranger")
    assert before_known <= 4, "two looks of two, and the last had begun in time"
    assert len(set(handled)) == 20


def test_a_stranger_that_always_has_something_does_not_keep_others_waiting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives those that were served a place behind the others."""
    monkeypatch.setattr(poller_module, "STRANGERS_TURN_S", 0.0)
    monkeypatch.setattr(poller_module, "STRANGERS_AT_ONCE", 1)
    handled: list[str] = []
    for name in ("loud", "louder", "quiet"):
        fd, theirs = scene.pair(name, lambda mask, name=name: handled.append(name))  # type: ignore[misc]
        scene.poller.set_pace(fd, Pace.STRANGER)
        theirs.send(b"x")
    scene.until(lambda: "quiet" in handled, "the quiet one to be served")
    assert handled.index("quiet") <= 2
    scene.until(lambda: len(handled) >= 30, "more turns")
    assert [handled.count(name) for name in ("loud", "louder", "quiet")] == [
        pytest.approx(len(handled) / 3, abs=2)
    ] * 3


@pytest.mark.parametrize("pace", [Pace.PROMPT, Pace.BUDGETED, Pace.LEISURELY])
def test_a_stranger_becomes_known_and_a_stranger_again(
    budgeted: Scene, clock: SteppedLoop, pace: Pace
) -> None:
    fd, theirs = budgeted.pair("a")
    for each in (Pace.STRANGER, pace, Pace.STRANGER):
        budgeted.poller.set_pace(fd, each)
    theirs.send(b"x")
    clock.advance(0.01)
    assert budgeted.turns() == ["a"]
    budgeted.poller.want_write(fd, True)
    clock.advance(0.01)
    assert budgeted.masks[-1] & WRITABLE
    budgeted.poller.unregister(fd)


def test_what_a_turn_had_no_time_for_does_not_wait_for_another_budget(
    budgeted: Scene, clock: SteppedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "EVENTS_AT_ONCE", 2)
    monkeypatch.setattr(poller_module, "TURN_S", 0.0)
    names = [f"s{number}" for number in range(7)]
    for name in names:
        fd, theirs = budgeted.pair(name)
        budgeted.poller.set_pace(fd, Pace.BUDGETED)
        theirs.send(b"x")
    clock.turn()
    clock.advance(BUDGET_S)
    for _ in range(10):
        clock.turn()
    assert [len(turn.split()) for turn in budgeted.turns()] == [2, 2, 2, 1]


def test_a_poller_that_closes_serves_no_rest(
    budgeted: Scene, clock: SteppedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "EVENTS_AT_ONCE", 1)
    monkeypatch.setattr(poller_module, "TURN_S", 0.0)
    poller = Poller(clock, LatencyBudget(BudgetRule(BUDGET_S * 1000)), lambda: None, lambda: None)
    served: list[str] = []
    pairs = [socket.socketpair() for _ in range(3)]
    for number, (ours, theirs) in enumerate(pairs):
        ours.setblocking(False)

        def serve(mask: int, number: int = number) -> None:
            served.append(str(number))
            poller.close()

        poller.register(ours.fileno(), serve)
        theirs.send(b"x")
    for _ in range(5):
        clock.turn()
    assert len(served) == 1
    for pair in pairs:
        for each in pair:
            each.close()
