"""Questions, byte by byte as each dialect has them, and every kind of answer to them."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest
from hook_support import asked, asked_to_play

from cluster.edge.admission.hooks.dialects import (
    MAX_REDIRECT_CHARACTERS,
    WORDS,
)
from cluster.edge.admission.hooks.questions import BadReply, Question, Reply, shown_by
from cluster.edge.admission.hooks.settings import Dialect
from cluster.edge.peers.access import Access, Allow, Deny, Refused

REFUSED = Refused.HOOK_REFUSED
NO_CREDENTIALS = Refused.NO_CREDENTIALS


def question(access: Access, user: str = "") -> Question:
    return Question(access, user, shown_by(access))


def written(dialect: Dialect, access: Access, user: str = "") -> Any:
    said = WORDS[dialect].write(question(access, user))
    if said.headers["Content-Type"] == "application/json":
        return json.loads(said.body)
    assert said.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return said.body.decode()


def read(dialect: Dialect, reply: Reply, access: Access | None = None) -> Allow | Deny | str:
    """The answer; what is wrong with it, if it is none."""
    try:
        return WORDS[dialect].read(question(access or asked()), reply)
    except BadReply as error:
        return str(error)


def reply(status: int, body: object = b"", **more: Any) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, content, **more)


# ---- questions -------------------------------------------------------------------------------


def test_our_question() -> None:
    access = asked(query="user=u&pass=p%26q&x=1", app_query="token=t")
    assert written(Dialect.OURS, access, "studio") == {
        "action": "publish", "key": "live/eu/cam1", "app": "live/eu", "name": "cam1",
        "query": "user=u&pass=p%26q&x=1", "app_query": "token=t", "proven_user": "studio",
        "user": "u", "password": "p&q", "token": "t", "ip": "192.0.2.7", "port": 50123,
        "protocol": "rtmp", "session": "ab12-0.1-77", "agent": "FMLE/3.0", "tc_url": "rtmp://h/live/eu",
        "page_url": "", "swf_url": "", "details": {"type": "live"},
    }  # fmt: skip


def test_our_question_about_a_play_over_http() -> None:
    access = asked_to_play(
        spoken="https", peer="[2001:db8::1]:443", query="", authorization="Bearer t.o.k"
    )
    told = written(Dialect.OURS, access)
    assert (told["ip"], told["port"], told["protocol"]) == ("2001:db8::1", 443, "https")
    assert (told["user"], told["password"], told["token"]) == ("", "", "t.o.k")
    assert told["details"] == {"start": -2.0, "duration": -1.0, "reset": True}


def test_arguments_that_json_does_not_have() -> None:
    details = {"a": float("nan"), "b": float("inf"), "c": object, "d": None, "e": "\udcff"}
    said = WORDS[Dialect.OURS].write(question(asked(details=details)))
    told = json.loads(said.body)["details"]
    assert (told["a"], told["b"], told["d"]) == (None, None, None)
    assert b"NaN" not in said.body
    assert b"Infinity" not in said.body


@pytest.mark.parametrize("dialect", [Dialect.OURS, Dialect.SRS, Dialect.MEDIAMTX])
def test_what_is_no_text_makes_no_question_that_cannot_be_read(dialect: Dialect) -> None:
    said = WORDS[dialect].write(question(asked(query="pass=%ff&user=\udcff\u00e9", agent="\udc80")))
    assert json.loads(said.body.decode())
    assert b"\\u" not in said.body
    assert "?\u00e9" in said.body.decode()


@pytest.mark.parametrize("dialect", [Dialect.OURS, Dialect.SRS, Dialect.MEDIAMTX])
def test_a_zero_byte_is_no_text(dialect: Dialect) -> None:
    access = asked(query="pass=a%00b&user=a\0b&token=\\u0000", agent="a\0b", details={"type": "li\0ve"})
    said = WORDS[dialect].write(question(access)).body.decode()
    assert not re.search(r"(?<!\\)\\u0000", said)
    assert "a?b" in said
    assert r"\\u0000" in said


def test_an_item_with_a_zero_byte_is_left_out_of_a_form() -> None:
    body = written(Dialect.NGINX_RTMP, asked(query="token=x&a=b%00&c=\0d&more=1"))
    assert body.endswith("&type=live&token=x&more=1")


def test_the_question_of_nginx_rtmp_about_a_publish() -> None:
    access = asked(app_query="k=v", page_url="http://p/?a&b", agent="FM LE", query="token=x%26y&&flag")
    assert written(Dialect.NGINX_RTMP, access) == (
        "app=live%2Feu&flashver=FM%20LE&swfurl=&tcurl=rtmp%3A%2F%2Fh%2Flive%2Feu%3Fk%3Dv"
        "&pageurl=http%3A%2F%2Fp%2F%3Fa%26b&addr=192.0.2.7&clientid=ab12-0.1-77"
        "&call=publish&name=cam1&type=live&token=x%26y&flag"
    )


@pytest.mark.parametrize(
    "item",
    [
        "name=other", "addr=10.0.0.1", "n%61me=other", "+name=other", "name[0]=other", "name", "Name=x",
        "x=1;name=other", ";addr=10.0.0.1", "name%00z=other", "%00name=other", "name\0z=other",
        "name%20%00=x",
    ],
)  # fmt: skip
def test_a_publisher_cannot_say_a_field_of_nginx_rtmp_itself(item: str) -> None:
    body = written(Dialect.NGINX_RTMP, asked(query=f"token=x&{item}&more=1"))
    assert body.endswith("&call=publish&name=cam1&type=live&token=x&more=1")


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"start": -2.0, "duration": -1.0, "reset": True}, "start=4294965296&duration=0&reset=1"),
        ({"start": 1.5, "duration": 60.0, "reset": False}, "start=1500&duration=60000&reset=0"),
        ({"start": float("nan"), "duration": float("inf")}, "start=0&duration=0&reset=0"),
        ({}, "start=0&duration=0&reset=0"),
    ],
)
def test_the_question_of_nginx_rtmp_about_a_play(details: dict[str, Any], said: str) -> None:
    body = written(Dialect.NGINX_RTMP, asked(action="play", query="", details=details))
    assert body.endswith(f"&clientid=ab12-0.1-77&call=play&name=cam1&{said}")


def test_a_query_that_is_no_text_comes_as_it_was() -> None:
    access = asked(query=b"t=\xff\xfe".decode(errors="surrogateescape"))
    assert WORDS[Dialect.NGINX_RTMP].write(question(access)).body.endswith(b"&t=\xff\xfe")


def test_the_question_of_srs() -> None:
    publish = {
        "server_id": "ab12", "service_id": "0.1", "action": "on_publish", "client_id": "ab12-0.1-77",
        "ip": "192.0.2.7", "vhost": "__defaultVhost__", "app": "live/eu",
        "tcUrl": "rtmp://h/live/eu?k=v", "stream": "cam1", "param": "?token=good&x=1&k=v",
        "stream_url": "/live/eu/cam1",
    }  # fmt: skip
    assert written(Dialect.SRS, asked(app_query="k=v")) == publish
    play = written(Dialect.SRS, asked_to_play(query="", page_url="http://p/"))
    assert (play["action"], play["param"], play["pageUrl"]) == ("on_play", "", "http://p/")


def test_the_question_of_mediamtx() -> None:
    access = asked(query="user=u&pass=p", app_query="k=v")
    told = written(Dialect.MEDIAMTX, access)
    assert str(uuid.UUID(told.pop("id"))) != ""
    assert told == {
        "ip": "192.0.2.7", "user": "u", "password": "p", "token": "", "action": "publish",
        "path": "live/eu/cam1", "protocol": "rtmp", "query": "user=u&pass=p&k=v", "userAgent": "FMLE/3.0",
    }  # fmt: skip
    play = written(Dialect.MEDIAMTX, asked_to_play(spoken="https"))
    assert (play["action"], play["protocol"]) == ("read", "hls")


def test_a_session_has_one_uuid() -> None:
    ids = [written(Dialect.MEDIAMTX, asked(session=each))["id"] for each in ("a-0.1-1", "a-0.1-1", "b")]
    assert ids[0] == ids[1] != ids[2]


# ---- credentials -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"query": "user=u&pass=p"}, ("u", "p", "")),
        ({"query": "clientConfigId=7&pass=p&user=u"}, ("u", "p", "")),
        ({"query": "", "app_query": "user=u&pass=p"}, ("u", "p", "")),
        ({"query": "jwt=t"}, ("", "", "t")),
        ({"query": "token=a", "app_query": "token=b"}, ("", "", "a")),
        ({"query": "", "authorization": "Basic dTpwOnE="}, ("u", "p:q", "")),
        ({"query": "", "authorization": "Bearer t"}, ("", "", "t")),
        ({"query": "", "authorization": "Digest x"}, ("", "", "")),
        ({"query": "pass=p"}, ("", "p", "")),
        ({"query": "user=u", "app_query": "pass=p"}, ("u", "p", "")),
        ({"query": "user=%ff&pass=p%20q"}, ("\udcff", "p q", "")),
    ],
)
def test_where_credentials_are_found(changes: dict[str, Any], shown: tuple[str, str, str]) -> None:
    found = shown_by(asked(**changes))
    assert (found.user, found.password, found.token) == shown
    assert bool(found) == any(shown)


def test_what_is_shown_of_a_question_has_no_credentials() -> None:
    access = asked(query="user=u&pass=MARK&token=MARK")
    for dialect in Dialect:
        said = WORDS[dialect].write(question(access))
        assert b"MARK" in said.body
        assert "MARK" not in repr(said)
    assert "MARK" not in repr(shown_by(access))


# ---- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (reply(200, {"allow": True}), Allow()),
        (reply(201, {"allow": True, "unknown": 1, "key": None, "redirect": ""}), Allow()),
        (reply(204), Allow()),
        (reply(200, b" \n"), Allow()),
        (
            reply(200, {"allow": True, "key": "live/x", "max_bytes_per_s": 1e6, "expires": 2e9}),
            Allow(key="live/x", most_bytes_per_s=1_000_000, ends_at=2e9),
        ),
        (reply(200, {"allow": True, "max_bytes_per_s": 0.5}), Allow(most_bytes_per_s=1)),
        (reply(200, {"allow": False}), Deny("the application does not allow it", why=REFUSED)),
        (reply(200, {"allow": False, "reason": "a\nb"}), Deny("a\nb", why=REFUSED)),
        (
            reply(200, {"allow": False, "redirect": "rtmp://b/live", "reason": "there"}),
            Deny("there", redirect="rtmp://b/live", why=REFUSED),
        ),
        (reply(403, b"<html>"), Deny("the application does not allow it", why=REFUSED)),
        (reply(401, {"reason": "who?"}), Deny("who?", why=REFUSED)),
        (reply(403, {"reason": 5}), Deny("the application does not allow it", why=REFUSED)),
    ],
)
def test_answers_in_our_form(answer: Reply, verdict: Allow | Deny) -> None:
    assert read(Dialect.OURS, answer) == verdict


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(200, b"<html>"), "its answer is not JSON"),
        (reply(200, b"[" * 60_000), "its answer is not JSON"),
        (reply(200, b"9" * 60_000), "its answer is not JSON"),
        (reply(200, b"\xff"), "its answer is not JSON"),
        (reply(200, b'{"allow": true}', is_whole=False), "its answer is too long"),
        (reply(200, []), "its answer is not a JSON object"),
        (reply(200, {}), 'its answer does not say "allow": true or false'),
        (reply(200, {"allow": "true"}), 'its answer does not say "allow": true or false'),
        (reply(200, {"allow": 1}), 'its answer does not say "allow": true or false'),
        (reply(200, {"allow": True, "redirect": "rtmp://b"}), "its answer allows and redirects"),
        (reply(200, {"allow": True, "key": 5}), '"key" in its answer is not text'),
        (reply(200, {"allow": True, "key": "a\x00"}), "the stream key in its answer cannot be one"),
        (reply(200, {"allow": True, "key": "/"}), "the stream key in its answer cannot be one"),
        (reply(200, {"allow": True, "expires": "x"}), '"expires" in its answer is not a number above 0'),
        (reply(200, {"allow": True, "expires": True}), '"expires" in its answer is not a number above 0'),
        (reply(200, b'{"allow": true, "expires": NaN}'), '"expires" in its answer is not a number above 0'),
        (
            reply(200, {"allow": True, "max_bytes_per_s": 0}),
            '"max_bytes_per_s" in its answer is not a number above 0',
        ),
        (
            reply(200, {"allow": False, "redirect": "javascript:1"}),
            "the address in its answer, to go to, cannot be one",
        ),
        (
            reply(200, {"allow": False, "redirect": "rtmp://a/\r\nb"}),
            "the address in its answer, to go to, cannot be one",
        ),
        (reply(302, location="https://b/"), "its answer is neither yes nor no"),
        (reply(404), "its answer is neither yes nor no"),
        (reply(500, {"allow": True}), "its answer is neither yes nor no"),
    ],
)
def test_what_is_no_answer_in_our_form(answer: Reply, said: str) -> None:
    assert read(Dialect.OURS, answer) == said


@pytest.mark.parametrize(
    ("dialect", "answer", "verdict"),
    [
        ("nginx-rtmp", reply(200, b"anything"), Allow()),
        ("nginx-rtmp", reply(299, is_whole=False), Allow()),
        ("nginx-rtmp", reply(302, location="other"), Allow(key="live/eu/other")),
        ("nginx-rtmp", reply(301, location="o?x=1"), Allow(key="live/eu/o")),
        (
            "nginx-rtmp",
            reply(302, location="rtmp://10.0.0.9/live/x"),
            Deny("the application has it elsewhere", redirect="rtmp://10.0.0.9/live/x", why=REFUSED),
        ),
        ("nginx-rtmp", reply(404), Deny("the application does not allow it", why=REFUSED)),
        ("nginx-rtmp", reply(302), "its answer is neither yes nor no"),
        ("nginx-rtmp", reply(302, location="/login"), "it redirects HTTP"),
        ("nginx-rtmp", reply(302, location="https://b/"), "it redirects HTTP"),
        ("nginx-rtmp", reply(302, location="a\x01"), "the stream key in its answer cannot be one"),
        ("nginx-rtmp", reply(500), "its answer is neither yes nor no"),
        ("srs", reply(200, b"0"), Allow()),
        ("srs", reply(201, {"code": 0}), Allow()),
        ("srs", reply(200, {"code": 3}), Deny("the application does not allow it", why=REFUSED)),
        ("srs", reply(200, b"1"), Deny("the application does not allow it", why=REFUSED)),
        ("srs", reply(404), Deny("the application does not allow it", why=REFUSED)),
        ("srs", reply(204), "its answer is neither yes nor no"),
        ("srs", reply(200), "its answer is not JSON"),
        ("srs", reply(200, b"ok"), "its answer is not JSON"),
        ("srs", reply(200, {"code": "0"}), "its answer is neither a number"),
        ("srs", reply(200, b"false"), "its answer is neither a number"),
        ("srs", reply(500, b"0"), "its answer is neither yes nor no"),
        ("mediamtx", reply(299, b"x", is_whole=False), Allow()),
        ("mediamtx", reply(404), Deny("the application does not allow it", why=REFUSED)),
        ("mediamtx", reply(302, location="/"), "its answer is neither yes nor no"),
        ("mediamtx", reply(503), "its answer is neither yes nor no"),
    ],
)
def test_answers_in_the_words_of_others(
    dialect: str, answer: Reply, verdict: Allow | Deny | str
) -> None:
    said = read(Dialect(dialect), answer)
    assert said == verdict or (isinstance(said, str) and said.startswith(str(verdict)))


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"query": ""}, NO_CREDENTIALS),
        ({"query": "x=1"}, NO_CREDENTIALS),
        ({"query": "token=bad"}, REFUSED),
        ({"query": "user=u&pass=p"}, REFUSED),
    ],
)
def test_401_asks_who_has_shown_nothing(dialect: Dialect, changes: dict[str, Any], why: Refused) -> None:
    said = read(dialect, reply(401), asked(**changes))
    assert isinstance(said, Deny)
    assert said.why is why
    assert said.schemes == (("Basic", "Bearer") if why is NO_CREDENTIALS else ())


@pytest.mark.parametrize("more", [0, 1])
def test_where_peers_are_sent_is_bounded(more: int) -> None:
    address = "rtmp://" + "a" * (MAX_REDIRECT_CHARACTERS - 7 + more)
    redirect = read(Dialect.OURS, reply(200, {"allow": False, "redirect": address}))
    assert isinstance(redirect, str if more else Deny)


@pytest.mark.parametrize(
    ("query", "proven", "user"),
    [("user=admin", "a", "a"), ("user=b&pass=x", "a", "b"), ("user=admin", "", "admin"), ("", "a", "a")],
)
def test_who_is_proven_is_told_to_mediamtx_and_no_name_without_a_password(
    query: str, proven: str, user: str
) -> None:
    assert written(Dialect.MEDIAMTX, asked(query=query), proven)["user"] == user
