"""Decisions by rules: whom the dialogue is asked of, when sessions end, and what hooks add."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings

import jwt
import pytest

from cluster.core.errors import MisuseError
from cluster.core.keys import split_query
from cluster.core.rtmp.adobe_auth import authenticated
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.policy import Policy
from cluster.edge.admission.signed import Signing
from cluster.edge.peers.access import Allow, Deny, Judge, Refused
from cluster.edge.peers.access_control import AccessControl
from cluster.edge.streams.counters import Counters
from support.judging import NOW, Hook, access, judge_of, verdict

SECRET = "0123456789abcdef0123456789abcdef"
STUDIO = """
[users.studio]
passwords = ["old pw", "new&pw"]
[users.other]
password = "other"
"""
DIALOGUE = f"""
[[rule]]
match = "live/*"
publish = {{ users = ["studio"], dialogue = true }}
{STUDIO}
"""


def test_it_is_a_judge() -> None:
    judge: Judge = judge_of("")
    assert judge.judge(access()) == Allow(is_for_all=True)


def test_allow_and_deny() -> None:
    judge = judge_of(
        '[[rule]]\nmatch = "live/*"\npublish = "allow"\n[[rule]]\nmatch = "*"\npublish = "deny"\n'
    )
    assert judge.judge(access()) == Allow(is_for_all=True)
    assert judge.judge(access(key="other/cam")) == Deny(
        "nobody may publish this stream", why=Refused.FORBIDDEN
    )
    assert judge.judge(access("play", key="other/cam")) == Allow(is_for_all=True)


def test_what_can_be_read_in_two_ways_lets_nobody_in() -> None:
    judge = judge_of(f'[[rule]]\nmatch = "*"\npublish = {{ users = ["studio"] }}\n{STUDIO}')
    for query in ("user=studio&pass=other&pass=old pw", "user=other&user=studio&pass=old pw", "a" * 9_000):
        found = judge.judge(access(query=query))
        assert isinstance(found, Deny)
        assert found.why is Refused.BAD_CREDENTIALS
        assert "old pw" not in found.text


def test_no_answer_repeats_what_was_shown() -> None:
    judge = judge_of(
        f'[[rule]]\nmatch = "*"\npublish = {{ users = ["studio"] }}\n{STUDIO}', publish_key=None
    )
    for query in ("user=MARK&pass=MARK", "user=MARK", "user=other&pass=other", "user=a&pass=b&pass=MARK"):
        assert "MARK" not in repr(judge.judge(access(query=query)))


def test_a_user_of_another_rule_may_not() -> None:
    judge = judge_of(f'[[rule]]\nmatch = "*"\npublish = {{ users = ["studio"] }}\n{STUDIO}')
    for shown in ({"query": "user=other&pass=other"}, {"proven_user": "other"}):
        assert judge.judge(access(**shown)) == Deny(  # type: ignore[arg-type]
            "this user may not publish this stream", why=Refused.FORBIDDEN, schemes=("Basic",)
        )


# ---- the dialogue of connect -----------------------------------------------------------------


def _dialogue(
    judge: RuleJudge, *, user: str = "studio", password: str = "old pw", app: str = "live",
    publishes: bool = True, later_s: float = 0.0,
) -> tuple[list[str], str]:  # fmt: skip
    """What a peer with user and password is told, connect by connect, and who it has shown to be."""
    url = asked = RtmpUrl("rtmp", "h", 1935, app, "cam", user, password)
    told: list[str] = []
    for number in range(3):
        name, query = split_query(asked.app)
        reject, proven = judge.challenge(name, query, publishes=publishes, now_s=NOW + number * later_s)
        if not reject:
            return told, proven
        told.append(reject)
        following = authenticated(url, reject, "01234567")
        if following is None:
            break
        asked = following
    return told, ""


@pytest.mark.parametrize("password", ["old pw", "new&pw"])
def test_who_knows_one_of_the_passwords_is_let_in_at_the_third_connect(password: str) -> None:
    told, proven = _dialogue(judge_of(DIALOGUE), password=password)
    assert len(told) == 2
    assert "code=403 need auth; authmod=adobe" in told[0]
    assert "reason=needauth" in told[1]
    assert proven == "studio"
    assert judge_of(DIALOGUE).judge(access(proven_user=proven)) == Allow(user="studio")


def test_each_connect_may_reach_another_worker() -> None:
    workers = iter([judge_of(DIALOGUE) for _ in range(3)])

    class Workers(RuleJudge):
        def __init__(self) -> None: ...

        def challenge(self, app: str, query: str, *, publishes: bool, now_s: float) -> tuple[str, str]:
            return next(workers).challenge(app, query, publishes=publishes, now_s=now_s)

    assert _dialogue(Workers())[1] == "studio"


@pytest.mark.parametrize(
    ("user", "password"), [("studio", "no"), ("studio", ""), ("nobody", "old pw"), ("other", "other")]
)
def test_who_does_not_know_it_is_told_in_the_same_words(user: str, password: str) -> None:
    """The third cannot be told apart either: its user exists, and no rule with the dialogue names it."""
    told, proven = _dialogue(judge_of(DIALOGUE), user=user, password=password)
    assert proven == ""
    assert [text.partition("?")[2].partition("&")[0] for text in told] == [
        "",
        "reason=needauth",
        "reason=authfailed",
    ]


def test_a_challenge_does_not_live_long() -> None:
    assert _dialogue(judge_of(DIALOGUE), later_s=20)[1] == "studio"
    assert _dialogue(judge_of(DIALOGUE), later_s=61)[1] == ""


def test_who_is_not_concerned_is_never_challenged() -> None:
    judge = judge_of(DIALOGUE)
    assert _dialogue(judge, publishes=False) == ([], "")
    assert _dialogue(judge, app="vod") == ([], "")
    assert _dialogue(judge_of(STUDIO)) == ([], "")
    played = judge_of(DIALOGUE.replace("publish =", "play ="))
    assert _dialogue(played) == ([], "")
    assert _dialogue(played, publishes=False)[1] == "studio"
    assert _dialogue(judge_of(DIALOGUE, publish_key="k")) == ([], "")


def test_a_password_in_the_query_of_the_app_needs_no_dialogue() -> None:
    judge = judge_of(DIALOGUE)
    for password, why in (("old%20pw", None), ("no", Refused.BAD_CREDENTIALS)):
        query = f"pass={password}&user=studio"
        assert judge.challenge("live", query, publishes=True, now_s=NOW) == ("", "")
        found = judge.judge(access(app_query=query))
        assert isinstance(found, Deny) == (why is not None)
        assert getattr(found, "why", None) is why
    reject, _ = judge.challenge("live", "user=studio", publishes=True, now_s=NOW)
    assert "need auth" in reject


@pytest.mark.parametrize("query", ["", "authmod=adobe", "authmod=adobe&user=", "authmod=llnw&user=studio",
                                   "authmod=adobe&user=studio&response=x", "authmod=adobe&user=\udcff",
                                   "a" * 100_000, "&" * 9_000])  # fmt: skip
def test_no_query_is_let_in_or_breaks_it(query: str) -> None:
    reject, proven = judge_of(DIALOGUE).challenge("live", query, publishes=True, now_s=NOW)
    assert reject
    assert not proven


# ---- when sessions end -----------------------------------------------------------------------

_ENDS = f"""
[[rule]]
match = "*"
play = {{ signed = true, jwt = true, end_with_link = true }}
[signing]
secrets = ["secret"]
[jwt]
secret = "{SECRET}"
"""


def _shown(link_s: int, token_until: int | None) -> str:
    claims: dict[str, object] = {"rtmp_cluster_permissions": [{"action": "play"}]}
    if token_until is not None:
        claims["exp"] = token_until
    token = jwt.encode(claims, SECRET, "HS256")
    return f"{Signing(('secret',)).query('play', 'live/cam', NOW + link_s)}&token={token}"


def test_a_session_ends_with_the_first_of_what_let_it_in() -> None:
    judge = judge_of(_ENDS)
    assert judge.judge(access("play", query=_shown(60, None))) == Allow(ends_at=NOW + 60)
    assert judge.judge(access("play", query=_shown(120, NOW + 60))) == Allow(ends_at=NOW + 60)
    goes_on = judge_of(_ENDS.replace(", end_with_link = true", ""))
    assert goes_on.judge(access("play", query=_shown(60, None))) == Allow()


# ---- hooks -----------------------------------------------------------------------------------

_HOOK = (
    """
[[rule]]
match = "*"
play = { hook = true, signed = true, end_with_link = true }
publish = { hook = true, users = ["studio"] }
[signing]
secrets = ["secret"]
[hooks]
play = "http://a/"
publish = "http://a/"
"""
    + STUDIO
)


def test_what_a_hook_answers_goes_before_what_rules_say() -> None:
    hook = Hook(Allow(key="live/other", most_bytes_per_s=5))
    judge = judge_of(_HOOK, ask=hook)
    shown = access("play", query=Signing(("secret",)).query("play", "live/cam", NOW + 60))
    assert verdict(judge, shown) == Allow(key="live/other", ends_at=NOW + 60, most_bytes_per_s=5)
    hook.answer = Allow(user="ada", ends_at=NOW + 30.0)
    assert verdict(judge, shown) == Allow(user="ada", ends_at=NOW + 30.0)
    hook.answer = Allow(ends_at=NOW + 90.0)
    assert verdict(judge, shown) == Allow(ends_at=NOW + 60)


def test_a_hook_is_told_who_it_is() -> None:
    hook = Hook()
    judge = judge_of(_HOOK, ask=hook)
    asked = access("publish", query="user=studio&pass=new%26pw")
    assert verdict(judge, asked) == Allow(user="studio")
    assert hook.asked == [(asked, "studio", False, 0.0)]
    assert verdict(judge, access("publish", proven_user="studio")) == Allow(user="studio")


def test_what_needs_nobody_is_answered_at_once() -> None:
    judge = judge_of(_HOOK, ask=Hook())
    assert isinstance(judge.judge(access("publish")), Deny)
    assert isinstance(judge.judge(access("play", query="exp=1&sig=x")), Deny)


def test_a_judge_without_whom_its_rules_need_is_not_made() -> None:
    with pytest.raises(MisuseError, match="nobody who asks"):
        judge_of(_HOOK)
    with pytest.raises(MisuseError, match="JWKS"):
        judge_of('[[rule]]\nmatch = "*"\nplay = { jwt = true }\n[jwt]\njwks = "https://a/"\n')
    assert isinstance(RuleJudge(Policy(), b""), RuleJudge)


def test_too_many_slow_logins_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.edge.admission.users.MAX_LOGINS_WAITING", 0)
    hashed = "scrypt:1024:8:1:MDEyMzQ1Njc4OWFiY2RlZg:" + "A" * 43
    judge = judge_of(
        f'[[rule]]\nmatch = "*"\nplay = {{ users = ["a"] }}\n[users.a]\npassword_hash = "{hashed}"\n'
    )
    found = judge.judge(access("play", query="user=a&pass=b"))
    assert not isinstance(found, Allow | Deny)
    denied = asyncio.run(_waited(found))
    assert denied == Deny(
        "too many log in at once; try again", why=Refused.HOOK_FAILED, schemes=("Basic",)
    )


async def _waited(found: object) -> object:
    return await found  # type: ignore[misc]


def test_a_question_that_nobody_waits_for_is_none() -> None:
    """Whose connection ends in the same turn: no line on stderr says so."""
    hook = Hook()
    control = AccessControl(Counters(), time.monotonic)
    control.judge = judge_of(
        '[[rule]]\nmatch = "*"\npublish = { hook = true }\n[hooks]\npublish = "http://h/"\n', ask=hook
    )
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        answer: object = control.decide(access(), {})
        assert not isinstance(answer, Allow | Deny)
        del answer
        gc.collect()
    assert complaints == []
    assert hook.asked == []
