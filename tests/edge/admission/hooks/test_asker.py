"""Questions over HTTP: back ends as people have them, and servers that are slow, down, or worse."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hook_support import asked, asked_to_play, until

from cluster.core.webhooks import signed_headers
from cluster.edge.admission.hooks import answer_cache, http_client, turns
from cluster.edge.admission.hooks.asker import MAX_ANSWER_BYTES, HookAsker
from cluster.edge.admission.hooks.masking import MAX_REASON_CHARACTERS
from cluster.edge.admission.hooks.settings import Dialect, HookSettings
from cluster.edge.peers.access import Access, Allow, Deny, Refused, Verdict
from support.hook_servers import (
    HookServer,
    Request,
    Responder,
    hook_server,
    mediamtx_back_end,
    nginx_rtmp_back_end,
    response,
    srs_back_end,
)
from support.tls import make_certificate

NO_ANSWER = Deny("whoever decides cannot be asked now; try again", why=Refused.HOOK_FAILED)
REFUSED = Deny("the application does not allow it", why=Refused.HOOK_REFUSED)
YES = response(200, {"allow": True})
NO = response(403)
LONG_S = 60.0
#: For servers that never answer. A question is to reach them within it on a busy machine too.
SHORT_S = 1.5
GIVEN_UP = f"no answer within {SHORT_S:g} s"


@asynccontextmanager
async def asker_of(address: str, **options: Any) -> AsyncIterator[HookAsker]:
    settings = HookSettings(**{"publish": address, "play": address, "timeout_s": LONG_S, **options})
    asker = HookAsker(settings, wall_clock=lambda: 1_000_000_000.0)
    try:
        yield asker
    finally:
        await asker.close()


async def ask(
    asker: HookAsker, access: Access | None = None, *,
    user: str = "", fail_open: bool = False, cache_s: float = 0,
) -> Verdict:  # fmt: skip
    return await asker.ask(access or asked(), user=user, fail_open=fail_open, cache_s=cache_s)


def asking(
    work: Callable[[HookServer, HookAsker], Awaitable[None]], respond: Responder | bytes, **options: Any
) -> None:
    """Run ``work`` with a server that answers with ``respond``, and somebody who asks it."""

    async def run() -> None:
        server_options = {name: options.pop(name) for name in ("hang_up_after",) if name in options}
        async with (
            hook_server(respond, **server_options) as server,
            asker_of(server.address, **options) as asker,
        ):
            await work(server, asker)

    asyncio.run(run())


# ---- back ends -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "back_end", "name", "verdict"),
    [
        (Dialect.NGINX_RTMP, nginx_rtmp_back_end, "cam1", Allow()),
        (Dialect.NGINX_RTMP, nginx_rtmp_back_end, "renamed", Allow(key="live/other")),
        (
            Dialect.NGINX_RTMP, nginx_rtmp_back_end, "elsewhere",
            Deny(
                "the application has it elsewhere", redirect="rtmp://10.0.0.9/live/there",
                why=Refused.HOOK_REFUSED,
            ),
        ),
        (Dialect.NGINX_RTMP, nginx_rtmp_back_end, "broken", NO_ANSWER),
        (Dialect.NGINX_RTMP, nginx_rtmp_back_end, "login", NO_ANSWER),
        (Dialect.SRS, srs_back_end, "cam1", Allow()),
        (Dialect.SRS, srs_back_end, "bare", Allow()),
        (Dialect.SRS, srs_back_end, "created", Allow()),
        (Dialect.SRS, srs_back_end, "bare-no", REFUSED),
        (Dialect.SRS, srs_back_end, "broken", NO_ANSWER),
        (Dialect.SRS, srs_back_end, "gone", NO_ANSWER),
        (Dialect.MEDIAMTX, mediamtx_back_end, "cam1", Allow()),
        (Dialect.MEDIAMTX, mediamtx_back_end, "broken", NO_ANSWER),
    ],
)  # fmt: skip
@pytest.mark.parametrize("asks", [asked, asked_to_play])
def test_back_ends_of_others(
    dialect: Dialect, back_end: Responder, name: str, verdict: Verdict, asks: Callable[..., Access]
) -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker, asks(key=f"live/{name}", query="token=good")) == verdict
        refused = await ask(asker, asks(key=f"live/{name}", query="token=bad"))
        assert isinstance(refused, Deny)
        assert {request.method for request in server.requests} == {"POST"}

    asking(work, back_end, dialect=dialect)


def test_a_question_is_signed_with_every_secret() -> None:
    keys = (bytes(24), bytes(range(32)))

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker) == Allow()
        assert await ask(asker) == Allow()
        first, second = server.requests
        assert first.headers["webhook-id"] != second.headers["webhook-id"]
        signed = signed_headers(keys, first.headers["webhook-id"], 1_000_000_000.0, first.body)
        assert {name: first.headers[name] for name in signed} == signed

    asking(work, YES, secrets=keys)


def test_user_and_password_of_the_address_are_sent_as_http_has_them() -> None:
    async def run() -> None:
        async with hook_server(YES) as server:
            address = server.address.replace("://", "://me:p%40ss@")
            async with asker_of(f"{address}?x=1") as asker:
                assert await ask(asker) == Allow()
            [request] = server.requests
        assert request.path == "/hook?x=1"
        assert base64.b64decode(request.headers["authorization"].split()[1]) == b"me:p@ss"

    asyncio.run(run())


def test_who_was_proven_is_who_is_let_in() -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker, user="studio") == Allow(user="studio")
        assert await ask(asker, asked(proven_user="obs")) == Allow()
        assert [request.json["proven_user"] for request in server.requests] == ["studio", "obs"]

    asking(work, YES)


@pytest.mark.parametrize(
    "changes", [{"query": "token=a&token=b"}, {"query": "", "authorization": "Basic !"}]
)
def test_who_can_be_understood_in_two_ways_is_refused(changes: dict[str, Any]) -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        verdict = await ask(asker, asked(**changes), fail_open=True)
        assert isinstance(verdict, Deny)
        assert verdict.why is Refused.BAD_CREDENTIALS
        assert server.requests == []

    asking(work, YES)


def test_questions_share_connections_and_survive_their_end() -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        for _ in range(9):
            assert await ask(asker) == Allow()
        assert (server.connections, len(server.requests)) == (3, 9)
        assert asker.counts.answers["failed"] == 0

    asking(work, YES, hang_up_after=3)


# ---- servers that misbehave ------------------------------------------------------------------


async def _hang(request: Request) -> bytes | None:
    await asyncio.Event().wait()
    return None


async def _hang_up(request: Request) -> bytes | None:
    return None


MISBEHAVING: dict[str, tuple[Responder | bytes, str]] = {
    "hangs": (_hang, GIVEN_UP),
    "hangs up": (_hang_up, "it hangs up before it answers"),
    "garbage": (b"\x00\x01 garbage \r\n\r\n", "what comes back is not HTTP"),
    "endless head": (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000, "what comes back is not HTTP"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", GIVEN_UP),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", GIVEN_UP),
    "no JSON": (response(200, "<h1>hello</h1>"), "its answer is not JSON (status 200): <h1>hello</h1>"),
    "huge": (response(200, b"[" + b" " * 2_000_000 + b"]"), "its answer is too long (status 200): ["),
    "compressed": (
        response(200, b"\x1f\x8b" + bytes(50), **{"Content-Encoding": "gzip"}), "its answer is not JSON",
    ),
    "redirects": (
        response(302, Location="http://127.0.0.1:1/"),
        "its answer is neither yes nor no (status 302): it is empty",
    ),
    "redirects for good": (response(308, Location="/other"), "neither yes nor no (status 308)"),
    "error": (response(503, "busy"), "its answer is neither yes nor no (status 503): busy"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISBEHAVING)
def test_a_server_that_misbehaves(what: str, caplog: pytest.LogCaptureFixture) -> None:
    respond, said = MISBEHAVING[what]

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker) == NO_ANSWER
        assert await ask(asker, user="u", fail_open=True) == Allow(user="u")
        assert asker.counts.answers == {"allowed": 0, "refused": 0, "failed": 2, "full": 0}
        assert asker.counts.waited == 2
        assert asker.counts.waited_s > 0
        assert (asker.counts.asking, asker.counts.waiting) == (0, 0)
        assert {request.path for request in server.requests} == {"/hook"}

    asking(work, respond, timeout_s=SHORT_S if said == GIVEN_UP else LONG_S)
    [line] = caplog.records
    assert line.__dict__["event"] == "hook_failed"
    assert said in line.getMessage()


def test_a_server_that_is_killed_in_the_middle_of_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        half = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"allow\": tr"
        async with hook_server(half, hang_up_after=1) as server, asker_of(server.address) as asker:
            assert await ask(asker) == NO_ANSWER

    asyncio.run(run())
    assert "it hangs up in the middle of its answer" in caplog.text


def test_a_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))  # so that nobody else gets the port
            async with asker_of(f"http://127.0.0.1:{deaf.getsockname()[1]}/") as asker:
                assert await ask(asker) == NO_ANSWER

    asyncio.run(run())
    assert "it cannot be connected to: Connection refused" in caplog.text


def test_a_server_that_speaks_no_tls(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with hook_server(YES) as server:
            async with asker_of(server.address.replace("http:", "https:"), timeout_s=SHORT_S) as asker:
                assert await ask(asker) == NO_ANSWER
            assert server.requests == []

    asyncio.run(run())
    assert "hook_failed" in [record.__dict__["event"] for record in caplog.records]


@pytest.mark.parametrize(
    ("is_trusted", "host", "said"),
    [
        (True, "localhost", ""),
        (False, "localhost", "its certificate is not good: self-signed certificate"),
        (True, "127.0.0.2", "its certificate is not good: IP address mismatch"),
    ],
)
def test_certificates_are_checked(
    is_trusted: bool, host: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(files.cert))

    async def run() -> None:
        bound = "127.0.0.1" if host == "localhost" else host
        async with hook_server(YES, tls=context, host=bound) as server:
            async with asker_of(server.address.replace("127.0.0.1", host)) as asker:
                assert await ask(asker) == (NO_ANSWER if said else Allow())
            assert len(server.requests) == (0 if said else 1)

    asyncio.run(run())
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


def test_nobody_to_ask(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with asker_of("", play="http://127.0.0.1:1/") as asker:
            assert await ask(asker) == NO_ANSWER

    asyncio.run(run())
    assert "publish in [hooks] is not set" in caplog.text


@pytest.mark.parametrize("size", [MAX_ANSWER_BYTES, MAX_ANSWER_BYTES + 1])
def test_an_answer_at_the_limit_and_one_past_it(size: int) -> None:
    body = b'{"allow": true' + b" " * (size - 15) + b"}"

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker) == (Allow() if size == MAX_ANSWER_BYTES else NO_ANSWER)
        assert await ask(asker) == (Allow() if size == MAX_ANSWER_BYTES else NO_ANSWER)

    asking(work, response(200, body))


def test_proxies_of_the_environment_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker) == Allow()

    asking(work, YES)


# ---- many ------------------------------------------------------------------------------------


def test_a_thousand_wait_and_no_more() -> None:
    most = turns.MAX_QUESTIONS_AT_ONCE + turns.MAX_WAITING_QUESTIONS

    async def run() -> None:
        go = asyncio.Event()

        async def respond(request: Request) -> bytes:
            await go.wait()
            return YES

        async with hook_server(respond) as server, asker_of(server.address) as asker:
            tasks = [asyncio.ensure_future(ask(asker)) for _ in range(most)]
            await until(lambda: asker.counts.waiting == turns.MAX_WAITING_QUESTIONS)
            assert asker.counts.asking == turns.MAX_QUESTIONS_AT_ONCE
            assert await ask(asker) == NO_ANSWER
            assert asker.counts.answers["full"] == 1
            playing = asyncio.ensure_future(ask(asker, asked_to_play()))
            await until(lambda: asker.counts.asking > turns.MAX_QUESTIONS_AT_ONCE)
            go.set()
            assert await playing == Allow(), "players do not wait behind publishers"
            assert await asyncio.gather(*tasks) == [Allow()] * most
            assert server.most_open <= 2 * turns.MAX_QUESTIONS_AT_ONCE
            assert asker.counts.answers == {"allowed": most + 1, "refused": 0, "failed": 0, "full": 1}
            assert (asker.counts.asking, asker.counts.waiting) == (0, 0)

    asyncio.run(run())


def test_many_first_questions_prepare_for_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []
    prepare = http_client._prepare

    def counted() -> ssl.SSLContext:
        prepared.append(1)
        return prepare()

    monkeypatch.setattr(http_client, "_prepare", counted)

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await asyncio.gather(*[ask(asker) for _ in range(9)]) == [Allow()] * 9
        assert len(prepared) == 1

    asking(work, YES)


def test_those_who_wait_in_vain_wait_no_longer_than_the_limit() -> None:
    most = turns.MAX_QUESTIONS_AT_ONCE + turns.MAX_WAITING_QUESTIONS

    async def work(server: HookServer, asker: HookAsker) -> None:
        answers = await asyncio.gather(*[ask(asker) for _ in range(most)])
        assert answers == [NO_ANSWER] * most
        assert server.requests
        assert asker.counts.answers == {"allowed": 0, "refused": 0, "failed": most, "full": 0}
        assert (asker.counts.asking, asker.counts.waiting) == (0, 0)

    asking(work, _hang, timeout_s=SHORT_S)


def test_who_leaves_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_QUESTIONS_AT_ONCE", 1)
    monkeypatch.setattr(turns, "MAX_WAITING_QUESTIONS", 1)

    async def run() -> None:
        async def respond(request: Request) -> bytes | None:
            return YES if request.json["name"] == "last" else await _hang(request)

        async with hook_server(respond) as server, asker_of(server.address) as asker:
            first, second = (asyncio.ensure_future(ask(asker)) for _ in range(2))
            await until(lambda: (asker.counts.asking, asker.counts.waiting) == (1, 1))
            for task in (second, first):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert (asker.counts.asking, asker.counts.waiting) == (0, 0)
            assert await ask(asker, asked(key="live/last")) == Allow()

    asyncio.run(run())


def test_closing_waits_for_those_who_have_asked() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def respond(request: Request) -> bytes:
            await go.wait()
            return YES

        async with hook_server(respond) as server, asker_of(server.address) as asker:
            asks = asyncio.ensure_future(ask(asker))
            await until(lambda: bool(server.requests))
            closes = asyncio.ensure_future(asker.close())
            await asyncio.sleep(0)
            assert not closes.done()
            go.set()
            assert await asks == Allow()
            await closes

    asyncio.run(run())


def test_nobody_is_asked_after_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker) == Allow()
        await asker.close()
        assert await ask(asker) == NO_ANSWER
        assert len(server.requests) == 1

    asking(work, YES)
    assert "other settings are in force by now" in caplog.text


# ---- answers that are known ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({"query": "token=other"}, ""), ({"app_query": "a=b"}, ""), ({"authorization": "Bearer x"}, ""),
        ({"key": "live/other"}, ""), ({"spoken": "http"}, ""), ({"peer": "192.0.2.8:50123"}, ""),
        ({"action": "play"}, ""), ({}, "studio"), ({"proven_user": "studio"}, ""),
    ],
)  # fmt: skip
def test_a_known_answer_is_for_the_same_question_alone(changes: dict[str, Any], user: str) -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker, cache_s=LONG_S) == Allow()
        assert await ask(asker, asked(peer="192.0.2.7:9", session="b"), cache_s=LONG_S) == Allow()
        assert (len(server.requests), asker.counts.cached) == (1, 1)
        assert await ask(asker, asked(**changes), user=user, cache_s=LONG_S) == Allow(user=user)
        assert await ask(asker) == Allow(), "without a time nothing is taken from what is known"
        assert (len(server.requests), asker.counts.cached) == (3, 1)

    asking(work, YES)


def test_a_no_is_kept_and_a_failure_is_not() -> None:
    answers = [response(500), NO, YES]

    async def respond(request: Request) -> bytes:
        return answers.pop(0)

    async def work(server: HookServer, asker: HookAsker) -> None:
        assert await ask(asker, cache_s=LONG_S) == NO_ANSWER
        assert await ask(asker, cache_s=LONG_S) == REFUSED
        assert await ask(asker, cache_s=LONG_S) == REFUSED
        assert answers == [YES]

    asking(work, respond)


def test_an_answer_is_not_kept_longer_than_it_is_good() -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        for _ in range(2):
            assert await ask(asker, cache_s=LONG_S) == Allow(ends_at=999_999_999.0)
        assert len(server.requests) == 2

    asking(work, response(200, {"allow": True, "expires": 999_999_999}))


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "MAX_CACHED_ANSWERS", 2)
    cache = answer_cache.AnswerCache()
    a, b, c = (cache.place(asked(key=f"live/{name}"), "") for name in "abc")
    for place in (a, b):
        cache.put(place, Allow(), 10.0)
    assert cache.get(a, 0.0) == Allow()
    cache.put(c, Allow(), 10.0)
    assert (cache.get(a, 0.0), cache.get(b, 0.0), cache.get(c, 0.0)) == (Allow(), None, Allow())
    assert cache.get(a, 10.0) is None
    assert len(cache) == 1


# ---- secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", Dialect)
def test_an_answer_that_repeats_the_question_shows_no_secret(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    turns_taken = iter(range(16))

    async def echo(request: Request) -> bytes:
        """All that it was sent, in every form, each time with another one first."""
        again = [str(value) for value in request.json.values()] if request.body[:1] == b"{" else []
        texts = [request.body.decode(), *again, request.path, str(request.headers)]
        first = next(turns_taken) % len(texts)
        return response(500, "; ".join(texts[first:] + texts[:first]))

    access = asked(
        query="user=u&pass=MARKa%2Fb%22%26c&token=MARK2", app_query="key=MARK3",
        authorization="Bearer MARK4",
    )  # fmt: skip

    async def run() -> None:
        async with hook_server(echo) as server:
            address = f"{server.address}?k=MARK5".replace("://", "://me:MARK6@")
            for _ in range(16):
                async with asker_of(address, dialect=dialect) as asker:
                    assert await ask(asker, access) == NO_ANSWER

    caplog.set_level(logging.DEBUG)
    asyncio.run(run())
    failures = [record for record in caplog.records if record.__dict__.get("event") == "hook_failed"]
    assert len(failures) == 16
    assert "MARK" not in caplog.text


def test_a_reason_that_repeats_the_password_does_not() -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        verdict = await ask(asker, asked(query="user=u&pass=MARK"))
        assert verdict == Deny("*** is wrong", why=Refused.HOOK_REFUSED)

    asking(work, response(403, {"reason": "MARK is wrong"}))


@pytest.mark.parametrize("more", [0, 1])
def test_what_peers_are_told_is_bounded(more: int) -> None:
    async def work(server: HookServer, asker: HookAsker) -> None:
        verdict = await ask(asker, asked())
        assert verdict == Deny("r" * MAX_REASON_CHARACTERS, why=Refused.HOOK_REFUSED)

    asking(work, response(403, {"reason": "r" * (MAX_REASON_CHARACTERS + more)}))


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_a_reason_is_masked_before_its_end_is_cut(before: int) -> None:
    """And before it is made fit for a terminal, after which the secret would not be found."""
    async def work(server: HookServer, asker: HookAsker) -> None:
        verdict = await ask(asker, asked(query="user=u&pass=MARK%07MARK"))
        assert isinstance(verdict, Deny)
        assert verdict.text == filler + "***"[: MAX_REASON_CHARACTERS - len(filler)]

    filler = "r" * (MAX_REASON_CHARACTERS - before)
    asking(work, response(403, {"reason": f"{filler}MARK\x07MARK"}))


# ---- cost ------------------------------------------------------------------------------------


def test_aiohttp_is_imported_with_the_first_question() -> None:
    script = (
        "import sys\n"
        "from cluster.edge.admission.hooks.asker import HookAsker\n"
        "from cluster.edge.admission.hooks.jwks import JwksKeys\n"
        "from cluster.edge.admission.hooks.settings import HookSettings\n"
        "HookAsker(HookSettings()), JwksKeys('http://127.0.0.1:1/')\n"
        "print([name for name in ('aiohttp', 'jwt', 'cryptography') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
