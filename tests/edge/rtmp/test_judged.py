"""A judge of all protocols, asked about RTMP peers: what it is told, and what follows from its answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from cluster.core.keys import MAX_KEY_BYTES
from cluster.core.rtmp import events
from cluster.core.rtmp.adobe_auth import Admitted, Authenticator
from cluster.core.rtmp.status import Code
from cluster.edge.peers import access_control
from cluster.edge.peers.access import Access, Allow, Deny, Later, Refused, Verdict
from cluster.edge.rtmp import sessions
from support.house import House, stepped_loop, video

LINE = re.compile(r"access denied to (\S+): (\w+) \((publish|play) (\S+)\)")


class Judge:
    """Answers what it was told to, and keeps what it was asked. ``login``: of those who publish."""

    def __init__(self, answer: Callable[[Access], Verdict], login: Authenticator | None = None) -> None:
        self.asked: list[Access] = []
        self._answer = answer
        self._login = login

    def judge(self, access: Access) -> Verdict | Awaitable[Verdict]:
        self.asked.append(access)
        return self._answer(access)

    def challenge(self, app: str, query: str, *, publishes: bool, now_s: float) -> tuple[str, str]:
        if self._login is None:
            return "", ""
        judged = self._login.judge(app, query, now_s)
        return ("", judged.user) if isinstance(judged, Admitted) else (judged.description, "")


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        house = House(loop)
        yield house
        house.close()


def refused(why: Refused) -> Judge:
    return Judge(lambda access: Deny("you may not", why=why))


def test_the_judge_is_told_what_the_peer_has_said(house: House) -> None:
    judge = Judge(lambda access: Allow())
    house.use_judge(judge)
    peer = house.peer(app="live?a=1")
    peer.session.publish("x?user=ann&pass=p%20q")
    house.settle()
    (access,) = judge.asked
    assert (access.action, access.key, access.spoken) == ("publish", "live/x", "rtmp")
    assert (access.query, access.app_query) == ("user=ann&pass=p%20q", "a=1")
    assert access.peer == "192.0.2.7:40000"
    assert access.session.startswith("1a2b3c4d-0.1-")
    assert access.details == {"type": "live"}
    assert "?" not in access.tc_url
    assert house.counters.publishers == 1


def test_play_is_asked_about_with_its_arguments(house: House) -> None:
    judge = Judge(lambda access: Allow())
    house.use_judge(judge)
    house.player("x")
    (access,) = judge.asked
    assert (access.action, set(access.details)) == ("play", {"start", "duration", "reset"})
    assert house.counters.players == 1


@pytest.mark.parametrize(
    ("role", "code"), [("publisher", Code.PUBLISH_DENIED), ("player", Code.PLAY_FAILED)]
)
@pytest.mark.parametrize("why", list(Refused))
def test_who_is_denied_is_told_so_and_a_guess_is_told_late(
    house: House, role: str, code: str, why: Refused, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    house.use_judge(refused(why))
    peer = getattr(house, role)("x")
    is_guess = why in (Refused.BAD_CREDENTIALS, Refused.HOOK_REFUSED)
    assert bool(peer.codes) is not is_guess
    house.advance(0.9)
    assert bool(peer.codes) is not is_guess
    house.advance(2.2)
    assert peer.codes[-1] == code
    assert house.counters.access_denied == {why: 1}
    (found,) = [each for each in map(LINE.fullmatch, caplog.messages) if each]
    assert found.groups() == ("192.0.2.7", why, "publish" if role == "publisher" else "play", "live/x")


def test_guesses_without_end_are_answered_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_control, "MAX_HELD_REFUSALS", 1)
    house.use_judge(refused(Refused.BAD_CREDENTIALS))
    first, second = house.publisher("x"), house.publisher("x")
    assert not first.codes
    assert second.codes[-1] == Code.PUBLISH_DENIED
    house.advance(3.1)
    assert first.codes[-1] == Code.PUBLISH_DENIED
    third = house.publisher("x")
    assert not third.codes  # there is room again


def test_a_stream_is_published_under_the_key_of_the_verdict(house: House) -> None:
    house.use_judge(Judge(lambda access: Allow(key="real/a")))
    house.publisher("x")
    assert set(house.streams.by_key) == {"real/a"}


def test_a_session_ends_with_what_let_it_in(house: House) -> None:
    house.use_judge(Judge(lambda access: Allow(ends_at=house.control.time() + 10)))
    player = house.player("x")
    for _ in range(9):
        house.advance(1.0)
    assert house.counters.players == 1
    for _ in range(7):
        house.advance(1.0)
    assert player.closed
    assert house.counters.closes == {"access_ended": 1}


def test_who_is_sent_elsewhere_is_told_where(house: House) -> None:
    house.use_judge(Judge(lambda access: Deny("over there", redirect="rtmp://other.example/live")))
    peer = house.publisher("x")
    wishes = peer.events(events.ReconnectRequested)
    assert [each.tc_url for each in wishes] == ["rtmp://other.example/live"]


def test_a_judge_can_be_put_in_and_taken_out(house: House) -> None:
    house.publisher("x")
    house.use_judge(refused(Refused.FORBIDDEN))
    assert house.player("x").closed
    house.use_judge(None)
    house.player("x")
    assert (house.counters.publishers, house.counters.players) == (1, 1)


# ---- the dialogue of connect -----------------------------------------------------------------


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.md5(text.encode()).digest()).decode()


def answer_to(description: str, user: str, password: str) -> str:
    """The app's query that answers a challenge (Adobe's scheme, as encoders do)."""
    fields = dict(item.split("=", 1) for item in description.partition("?")[2].split("&"))
    first = _digest(user + fields["salt"] + password)
    response = _digest(first + fields["opaque"] + "0badc0de")
    return f"authmod=adobe&user={user}&challenge=0badc0de&response={response}&opaque={fields['opaque']}"


@pytest.mark.parametrize(("password", "comes_in"), [("right", True), ("wrong", False)])
def test_three_connects_show_who_publishes(
    house: House, password: str, comes_in: bool, caplog: pytest.LogCaptureFixture
) -> None:
    login = Authenticator("adobe", bytes(32), {"ann": "right"}.get)
    judge = Judge(lambda access: Allow(), login)
    house.use_judge(judge)

    def rejected(app: str) -> str:
        (failed,) = house.peer(app=app).events(events.ConnectFailed)
        return str(failed.description)

    caplog.set_level(logging.DEBUG)
    assert "code=403 need auth; authmod=adobe" in rejected("live")
    asked = rejected("live?authmod=adobe&user=ann")
    assert "reason=needauth" in asked
    assert house.counters.access_denied == {}  # so far it is a dialogue, and no failure
    assert house.counters.closes == {"login_asked": 2}
    closed = [each for each in caplog.records if each.__dict__.get("event") == "connection_closed"]
    assert [each.levelname for each in closed] == ["DEBUG"] * 2
    assert not any(text in each.getMessage() for each in closed for text in ("ann", "challenge", "salt"))
    last = house.peer(app="live?" + answer_to(asked, "ann", password))
    if comes_in:
        last.session.publish("x")
        house.settle()
        assert judge.asked[0].proven_user == "ann"
    else:
        assert not last.connected
        assert not last.closed  # it is told late
        house.advance(3.1)
        assert last.events(events.ConnectFailed)
        assert house.counters.closes == {"login_asked": 2, "connect_rejected": 1}
        assert house.counters.access_denied == {"bad_credentials": 1}


def test_failed_dialogues_without_end_are_answered_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_control, "MAX_HELD_REFUSALS", 1)
    login = Authenticator("adobe", bytes(32), {"ann": "right"}.get)
    house.use_judge(Judge(lambda access: Allow(), login))
    wrong = "live?authmod=adobe&user=ann&response=a&opaque=b"
    first, second = house.peer(app=wrong), house.peer(app=wrong)
    assert not first.events(events.ConnectFailed)
    assert second.events(events.ConnectFailed)


def test_the_line_about_a_long_app_is_short(house: House, caplog: pytest.LogCaptureFixture) -> None:
    login = Authenticator("adobe", bytes(32), {"ann": "right"}.get)
    house.use_judge(Judge(lambda access: Allow(), login))
    caplog.set_level(logging.INFO)
    house.peer(app="a" * 2_000 + "?authmod=adobe&user=ann&response=a&opaque=b")
    house.settle()
    (line,) = (found for each in caplog.records if (found := LINE.match(each.getMessage())))
    assert line[4] == "a" * MAX_KEY_BYTES


def test_a_password_is_shown_to_those_alone_who_decide_by_it(house: House) -> None:
    """After a reload a connection does not publish for a user whose password has changed."""
    judges = [
        Judge(lambda access: Allow(), Authenticator("adobe", bytes(32), {"ann": password}.get))
        for password in ("old", "new")
    ]
    house.use_judge(judges[0])
    (failed,) = house.peer(app="live?authmod=adobe&user=ann").events(events.ConnectFailed)
    peer = house.peer(app="live?" + answer_to(str(failed.description), "ann", "old"))
    for judge, proven in zip(judges, ("ann", ""), strict=True):
        house.use_judge(judge)
        peer.session.publish(f"x-{proven}")
        house.settle()
        assert [each.proven_user for each in judge.asked] == [proven]


def test_who_has_shown_a_password_before_a_reload_publishes_after_it(house: House) -> None:
    """Between the connect of an encoder and its publish there may be one."""
    old, new = (Judge(lambda access: Allow(), Authenticator("adobe", bytes(32), {"ann": "right"}.get))
                for _ in range(2))  # fmt: skip
    house.use_judge(old)
    (failed,) = house.peer(app="live?authmod=adobe&user=ann").events(events.ConnectFailed)
    peer = house.peer(app="live?" + answer_to(str(failed.description), "ann", "right"))
    house.use_judge(new)
    peer.session.publish("x")
    house.settle()
    assert [each.proven_user for each in new.asked] == ["ann"]


def test_what_is_sent_while_nobody_answers_is_bounded_in_all(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guess waits for its refusal, or a hook for its turn: half a megabyte for each, in thousands."""

    async def never(access: Access) -> Verdict:
        await asyncio.Event().wait()
        return Allow()

    monkeypatch.setattr(sessions, "MAX_WAITING_BYTES", 100_000)
    house.use_judge(Judge(lambda access: Later(partial(never, access))))
    small, large = house.publisher("a"), house.publisher("b")
    house.send(small, video(0, bytes(30_000)))
    house.send(large, video(0, bytes(60_000)))
    house.advance(1)
    assert house.counters.closes == {}
    house.send(large, video(0, bytes(20_000)))
    house.advance(1)
    assert (small.closed, large.closed) == (False, True)
    assert house.counters.closes == {"worker_memory": 1}
