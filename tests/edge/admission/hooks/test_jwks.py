"""Keys of tokens from an address: rotation, strangers' tokens, and an address that fails."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hook_support import until

from cluster.edge.admission.hooks import jwks
from cluster.edge.admission.hooks.jwks import KEEP_S, MAX_ANSWER_BYTES, REFETCH_S, RETRY_S, JwksKeys
from cluster.edge.admission.interfaces import KeysUnavailable
from support.hook_servers import HookServer, Request, Responder, hook_server, response

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def rsa_jwk(kid: str | None, **more: Any) -> dict[str, Any]:
    numbers = RSA_KEY.public_key().public_numbers()
    named = {} if kid is None else {"kid": kid}
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **named, **more}


def ec_jwk(kid: str) -> dict[str, Any]:
    numbers = EC_KEY.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": number(numbers.x), "y": number(numbers.y), "kid": kid}


def key_set(*listed: object) -> bytes:
    return response(200, {"keys": list(listed)})


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Work = Callable[[HookServer, JwksKeys, Clock], Awaitable[None]]


def fetching(work: Work, respond: Responder | bytes) -> None:
    async def run() -> None:
        clock = Clock()
        async with hook_server(respond) as server:
            keys = JwksKeys(server.address, clock=clock)
            try:
                await work(server, keys, clock)
            finally:
                await keys.close()

    asyncio.run(run())


def change(server: HookServer, answer: bytes) -> None:
    async def respond(request: Request) -> bytes:
        return answer

    server.respond = respond


def test_a_token_is_checked_with_the_key_of_its_name() -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        for kid, private, algorithm in (("r", RSA_KEY, "RS256"), ("e", EC_KEY, "ES256")):
            token = jwt.encode({"sub": "me"}, private, algorithm)
            found = await keys.key(kid)
            assert found is not None
            assert jwt.decode(token, found.key, [algorithm]) == {"sub": "me"}
        assert [(request.method, request.body) for request in server.requests] == [("GET", b"")]

    fetching(work, key_set(rsa_jwk("r"), ec_jwk("e")))


def test_keys_are_fetched_again_after_an_hour() -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        assert await keys.key("a")
        change(server, key_set(rsa_jwk("b")))
        clock.now += KEEP_S - 1
        assert await keys.key("a")
        clock.now += 1
        assert await keys.key("a") is None
        assert await keys.key("b")
        assert len(server.requests) == 2

    fetching(work, key_set(rsa_jwk("a")))


def test_a_new_key_counts_soon_and_strangers_cause_no_flood() -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        assert await keys.key("a")
        change(server, key_set(rsa_jwk("a"), ec_jwk("new")))
        clock.now += REFETCH_S - 1
        found = await asyncio.gather(*[keys.key(f"invented-{number}") for number in range(100)])
        assert found == [None] * 100
        assert await keys.key("new") is None
        assert len(server.requests) == 1
        clock.now += 1
        found = await asyncio.gather(*[keys.key(f"invented-{number}") for number in range(100)])
        assert found == [None] * 100
        assert await keys.key("new")
        assert await keys.key("a")
        assert len(server.requests) == 2

    fetching(work, key_set(rsa_jwk("a")))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response(500), "status 500"),
        (response(302, Location="/other"), "status 302"),
        (response(200, "<html>"), 'what comes back is not JSON with "keys"'),
        (response(200, "[]"), 'what comes back is not JSON with "keys"'),
        (response(200, {"keys": 5}), "there is no key in it that a token can be signed with"),
        (key_set(5, {}, {"kty": "RSA"}), "there is no key in it that a token can be signed with"),
        (key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}), "there is no key in it"),
        (key_set(rsa_jwk("a", use="enc")), "there is no key in it"),
        (key_set({"kty": "OKP", "kid": "a", "alg": "none"}), "there is no key in it"),
        (response(200, b"[" * 100_000), 'what comes back is not JSON with "keys"'),
        (response(200, b" " * (MAX_ANSWER_BYTES + 1)), f"more than {MAX_ANSWER_BYTES} bytes"),
        (b"garbage\r\n\r\n", "what comes back is not HTTP"),
    ],
)
def test_who_fails_takes_no_key_away(
    answer: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        assert await keys.key("a")
        change(server, answer)
        clock.now += KEEP_S
        assert await keys.key("a")
        assert await keys.key("b") is None
        assert len(server.requests) == 2, "who asks soon after a failure causes no fetch"
        clock.now += REFETCH_S
        assert await keys.key("b") is None
        assert len(server.requests) == 3

    fetching(work, key_set(rsa_jwk("a")))
    [line] = caplog.records
    assert line.__dict__["event"] == "keys_failed"
    assert said in line.getMessage()
    assert line.getMessage().endswith("; those from before count")


def test_there_are_no_keys_until_a_fetch_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        for _ in range(3):
            with pytest.raises(KeysUnavailable, match="status 503"):
                await keys.key("a")
        assert len(server.requests) == 1
        change(server, key_set(rsa_jwk("a")))
        clock.now += RETRY_S
        assert await keys.key("a")

    fetching(work, response(503))
    assert "no token is good" in caplog.text


def test_an_address_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT_S", 1.5)

    async def respond(request: Request) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        async def fails() -> None:
            with pytest.raises(KeysUnavailable, match=r"no answer within 1\.5 s"):
                await keys.key("a")

        await asyncio.gather(*[fails() for _ in range(100)])
        assert len(server.requests) == 1, "all wait for the same fetch"

    fetching(work, respond)


def test_who_leaves_takes_nothing_from_those_who_wait() -> None:
    async def run() -> None:
        go = asyncio.Event()

        async def respond(request: Request) -> bytes:
            await go.wait()
            return key_set(rsa_jwk("a"))

        async with hook_server(respond) as server:
            keys = JwksKeys(server.address)
            first, second = (asyncio.ensure_future(keys.key("a")) for _ in range(2))
            await until(lambda: server.requests)
            first.cancel()
            go.set()
            assert await second
            assert first.cancelled()
            await keys.close()

    asyncio.run(run())


def test_closing_ends_a_fetch() -> None:
    async def run() -> None:
        async def respond(request: Request) -> bytes | None:
            await asyncio.Event().wait()
            return None

        async with hook_server(respond) as server:
            keys = JwksKeys(server.address)
            asks = asyncio.ensure_future(keys.key("a"))
            await until(lambda: server.requests)
            await keys.close()
            with pytest.raises(KeysUnavailable):
                await asks

    asyncio.run(run())


@pytest.mark.parametrize(
    ("listed", "is_found"),
    [([rsa_jwk("a")], True), ([rsa_jwk(None)], True), ([rsa_jwk("a"), ec_jwk("b")], False)],
)
def test_a_token_that_names_no_key(listed: list[dict[str, Any]], is_found: bool) -> None:
    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        assert (await keys.key("") is not None) == is_found

    fetching(work, key_set(*listed))


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MAX_KEYS", 2)

    async def work(server: HookServer, keys: JwksKeys, clock: Clock) -> None:
        assert await keys.key("a")
        assert await keys.key("b")
        assert await keys.key("c") is None

    fetching(work, key_set(rsa_jwk("a"), ec_jwk("b"), rsa_jwk("c")))


def test_nothing_of_the_address_but_its_host_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with hook_server(response(500, "MARK")) as server:
            keys = JwksKeys(server.address.replace("://", "://me:MARK@") + "/MARK?k=MARK")
            with pytest.raises(KeysUnavailable) as raised:
                await keys.key("a")
            assert "MARK" not in str(raised.value)
            await keys.close()

    asyncio.run(run())
    assert "status 500" in caplog.text
    assert "MARK" not in caplog.text
