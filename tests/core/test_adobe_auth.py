"""User and password in connect, by both schemes: known answers, and two sessions that go through it."""

from __future__ import annotations

import pytest
from session_support import ENTROPY, LIMITS

from cluster.core.errors import MisuseError
from cluster.core.rtmp.adobe_auth import (
    CHALLENGE_LIFETIME_S,
    MIN_SECRET_BYTES,
    MODES,
    Admitted,
    Authenticator,
    Challenged,
    Mode,
    authenticated,
    is_step,
    read_query,
)
from cluster.core.rtmp.client_session import ClientSession
from cluster.core.rtmp.events import ConnectFailed, ConnectRequested, ConnectSucceeded, Event
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.url import RtmpUrl

SECRET = bytes(range(16))
PASSWORDS = {"alice": "s3cret&", "bøb": "", "ma+x=/": "p"}
URL = RtmpUrl.parse("rtmp://alice:s3cret&@edge.example/app/cam")
NONCE = "01234567"
NOW_S = 1_700_000_000.0


def authenticator(mode: Mode, secret: bytes = SECRET) -> Authenticator:
    return Authenticator(mode, secret, PASSWORDS.get)


def judged(url: RtmpUrl, server: Authenticator, now_s: float = NOW_S) -> Admitted | Challenged:
    app, _, query = url.app.partition("?")
    return server.judge(app, query, now_s)


def challenge(url: RtmpUrl, server: Authenticator) -> str:
    """The description of the second rejection."""
    first = judged(url, server)
    assert isinstance(first, Challenged)
    named = authenticated(url, first.description, NONCE)
    assert named is not None
    second = judged(named, server)
    assert isinstance(second, Challenged)
    assert is_step(second.description)
    return second.description


class TestKnownAnswers:
    """Computed with openssl."""

    def test_adobe(self) -> None:
        asked = "x authmod=adobe ] : ?reason=needauth&user=alice&salt=deadbeef&challenge=5f.00112233"
        query = "authmod=adobe&user=alice&challenge=01234567&response=3Klv7qY9LZKKJcnpy2L6Lw=="
        answer = authenticated(URL, asked, NONCE)
        assert answer is not None
        assert answer.app == f"app?{query}"
        answer = authenticated(URL, f"{asked[:-11]}other&opaque=5f.00112233", NONCE)
        assert answer is not None
        assert answer.app == f"app?{query}&opaque=5f.00112233"

    @pytest.mark.parametrize(
        ("app", "response"),
        [("app", "db11b033cf88d5017e80567d20254308"), ("app/inst", "7c13a860b57d668e509850a42a56554f")],
    )
    def test_llnw(self, app: str, response: str) -> None:
        url = RtmpUrl.parse(f"rtmp://alice:s3cret&@edge.example/{app}/cam")
        asked = "[ authmod=llnw ] : ?reason=needauth&user=alice&nonce=5f.00112233 ]"
        answer = authenticated(url, asked, NONCE)
        assert answer is not None
        assert answer.app == (
            f"{app}?authmod=llnw&user=alice&nonce=5f.00112233&cnonce=01234567&nc=00000001&response={response}"
        )


class TestTheConnectingSide:
    def test_the_first_rejection_asks_who_we_are(self) -> None:
        url = authenticated(URL, "[ code=403 need auth; authmod=adobe ] : ", NONCE)
        assert url is not None
        assert url.app == "app?authmod=adobe&user=alice"

    def test_a_query_of_the_app_stays(self) -> None:
        url = RtmpUrl.parse("rtmp://alice:x@edge.example/app?vhost=a/cam")
        named = authenticated(url, "code=403 need auth; authmod=llnw", NONCE)
        assert named is not None
        assert named.app == "app?vhost=a&authmod=llnw&user=alice"

    @pytest.mark.parametrize("reason", ["authfailed", "nosuchuser"])
    def test_other_reasons_are_final(self, reason: str) -> None:
        assert authenticated(URL, f"[ authmod=adobe ] : ?reason={reason}&opaque=x", NONCE) is None

    def test_other_rejections_are_no_questions(self) -> None:
        assert authenticated(URL, "the app is full", NONCE) is None
        assert authenticated(URL, "authmod=other", NONCE) is None
        assert not is_step("the app is full")

    def test_without_a_user_there_is_no_answer(self) -> None:
        assert authenticated(RtmpUrl.parse("rtmp://h/app/cam"), "authmod=adobe", NONCE) is None


@pytest.mark.parametrize("mode", MODES)
class TestTheAcceptingSide:
    def test_who_knows_the_password_is_let_in(self, mode: Mode) -> None:
        server = authenticator(mode)
        for user, password in PASSWORDS.items():
            url = RtmpUrl("rtmp", "h", 1935, "app", "cam", user, password)
            answer = authenticated(url, challenge(url, server), NONCE)
            assert answer is not None
            assert judged(answer, server) == Admitted(user)

    def test_another_worker_with_the_same_secret_lets_in_too(self, mode: Mode) -> None:
        answer = authenticated(URL, challenge(URL, authenticator(mode)), NONCE)
        assert answer is not None
        assert judged(answer, authenticator(mode)) == Admitted("alice")
        assert isinstance(judged(answer, authenticator(mode, bytes(16))), Challenged)

    @pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "s3cret&")])
    def test_a_wrong_password_and_an_unknown_user_look_the_same(
        self, mode: Mode, user: str, password: str
    ) -> None:
        server = authenticator(mode)
        url = RtmpUrl("rtmp", "h", 1935, "app", "cam", user, password)
        answer = authenticated(url, challenge(url, server), NONCE)
        assert answer is not None
        refused = judged(answer, server)
        assert isinstance(refused, Challenged)
        assert refused.description == f"[ AccessManager.Reject ] : [ authmod={mode} ] : ?reason=authfailed"
        assert not is_step(refused.description)

    @pytest.mark.parametrize(
        ("later_s", "let_in"),
        [(-1, True), (-2, False), (CHALLENGE_LIFETIME_S, True), (CHALLENGE_LIFETIME_S + 1, False)],
    )
    def test_a_challenge_lives_a_minute(self, mode: Mode, later_s: float, let_in: bool) -> None:
        server = authenticator(mode)
        answer = authenticated(URL, challenge(URL, server), NONCE)
        assert answer is not None
        assert isinstance(judged(answer, server, NOW_S + later_s), Admitted) is let_in

    @pytest.mark.parametrize("token", ["", ".", "zz.00", "6553f100", "-1.00", "6553f100.00", "f" * 999])
    def test_a_challenge_of_ones_own_making_is_none(self, mode: Mode, token: str) -> None:
        asked = f"[ authmod={mode} ] : ?reason=needauth&user=alice&nonce={token}&salt=x&opaque={token}"
        answer = authenticated(URL, asked, NONCE)
        assert answer is not None
        assert isinstance(judged(answer, authenticator(mode)), Challenged)

    def test_anothers_challenge_is_not_ones_own(self, mode: Mode) -> None:
        server = authenticator(mode)
        url = RtmpUrl("rtmp", "h", 1935, "app", "cam", "bøb", "")
        answer = authenticated(URL, challenge(url, server), NONCE)
        assert answer is not None
        assert isinstance(judged(answer, server), Challenged)

    @pytest.mark.parametrize("query", ["", "authmod=other&user=alice", "user=alice", "user=", "token=1"])
    def test_whoever_does_not_begin_is_told_how(self, mode: Mode, query: str) -> None:
        told = authenticator(mode).judge("app", query, NOW_S)
        assert isinstance(told, Challenged)
        assert f"code=403 need auth; authmod={mode}" in told.description
        assert is_step(told.description)

    def test_text_that_is_not_utf8_harms_nothing(self, mode: Mode) -> None:
        query = f"authmod={mode}&user=\udcff&response=\udcfe&nonce=\udcff&opaque=\udcff"
        assert isinstance(authenticator(mode).judge("\udcff", query, NOW_S), Challenged)

    def test_two_sessions_go_through_it(self, mode: Mode) -> None:
        """Three connections, as an encoder makes them."""
        server = authenticator(mode)
        url: RtmpUrl | None = URL
        outcomes: list[Event] = []
        while url is not None:
            outcome = connect(url, server)
            outcomes.append(outcome)
            rejected = isinstance(outcome, ConnectFailed)
            url = authenticated(URL, outcome.description, NONCE) if rejected else None
        assert [type(outcome) for outcome in outcomes] == [ConnectFailed, ConnectFailed, ConnectSucceeded]


def connect(url: RtmpUrl, authority: Authenticator) -> Event:
    """One connection to a server that asks ``authority``; what came of it at the encoder."""
    server = ServerSession(limits=LIMITS, entropy=ENTROPY, now=0.0)
    client = ClientSession(limits=LIMITS, entropy=ENTROPY, now=0.0)
    client.start(url, publisher=True)
    while True:
        for event in server.receive(client.outgoing(), 0.0):
            if isinstance(event, ConnectRequested):
                decision = authority.judge(event.app, event.query, NOW_S)
                if isinstance(decision, Admitted):
                    server.accept_connect()
                else:
                    server.reject_connect("NetConnection.Connect.Rejected", decision.description)
        for event in client.receive(server.outgoing(), 0.0):
            if isinstance(event, ConnectSucceeded | ConnectFailed):
                return event


def test_a_short_secret_is_misuse() -> None:
    Authenticator("adobe", bytes(MIN_SECRET_BYTES), PASSWORDS.get)
    with pytest.raises(MisuseError):
        Authenticator("adobe", bytes(MIN_SECRET_BYTES - 1), PASSWORDS.get)


def test_a_query_keeps_what_base64_is_written_with() -> None:
    assert read_query("a=b+/==&c&d=") == {"a": "b+/==", "c": "", "d": ""}
