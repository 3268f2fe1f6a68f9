"""Tokens: what they allow, what is wrong with them, and that no token chooses its algorithm."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.errors import MisuseError
from cluster.edge.admission import jwt_tokens
from cluster.edge.admission.interfaces import KeysUnavailable
from cluster.edge.admission.jwt_tokens import BadToken, JwtSettings, Permit, Tokens, is_bounded
from cluster.edge.peers.access import Action, Refused

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65_537, 2_048)
EC = ec.generate_private_key(ec.SECP256R1())


def _pem(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


ANY = [{"action": "play", "path": ""}]


def _claims(
    permissions: object = ANY, claim: str = jwt_tokens.OUR_CLAIM, **more: Any
) -> dict[str, Any]:
    return {claim: permissions, "exp": int(time.time()) + 60, "sub": "ada", **more}


def _token(
    claims: dict[str, object], key: Any = SECRET, algorithm: str = "HS256", **headers: object
) -> str:
    return jwt.encode(claims, key, algorithm, headers=headers or None)


HS = Tokens(JwtSettings(secret=SECRET))
BY_RSA = Tokens(JwtSettings(public_key=_pem(RSA)))
BY_EC = Tokens(JwtSettings(public_key=_pem(EC)))


def _bad(tokens: Tokens, token: str, action: Action = "play", key: str = "live/cam") -> str:
    with pytest.raises(BadToken) as raised:
        tokens.check(token, action, key)
    assert raised.value.why is Refused.BAD_CREDENTIALS
    return str(raised.value)


@pytest.mark.parametrize(
    ("tokens", "key", "algorithm"), [(HS, SECRET, "HS256"), (BY_RSA, RSA, "RS256"), (BY_EC, EC, "ES256")]
)
def test_a_good_token(tokens: Tokens, key: Any, algorithm: str) -> None:
    claims = _claims()
    assert tokens.check(_token(claims, key, algorithm), "play", "live/cam") == Permit("ada", claims["exp"])
    assert _bad(tokens, _token(claims, key, algorithm), "publish") == "the token does not allow this"
    assert _bad(tokens, _token(claims, key, algorithm)[:-8] + "AAAAAAAA") == "the token is not right"


def test_no_token_chooses_its_algorithm() -> None:
    """The public key of RS256 as the secret of HS256, "none", and each with the key of another."""
    header, payload = ({"alg": "HS256", "typ": "JWT"}, _claims())
    for pem in (_pem(RSA), _pem(RSA).strip(), _pem(EC)):
        for alg in ("HS256", "HS512", "none", "RS256"):
            text = ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
                for part in ({**header, "alg": alg}, payload)
            )
            signature = hmac.digest(pem.encode(), text.encode(), "sha256")
            forged = f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
            for tokens in (HS, BY_RSA, BY_EC):
                assert _bad(tokens, forged) == "the token is not right"
                assert _bad(tokens, f"{text}.") == "the token is not right"
    for tokens, key, algorithm in ((HS, RSA, "RS256"), (BY_RSA, EC, "ES256"), (BY_EC, RSA, "RS256")):
        assert _bad(tokens, _token(_claims(), key, algorithm)) == "the token is not right"
    for algorithm in ("RS512", "PS256"):
        assert _bad(BY_RSA, _token(_claims(), RSA, algorithm)) == "the token is not right"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"exp": 1}, "the token has expired"),
        ({"nbf": time.time() + 600}, "the token is not valid yet"),
        ({"iss": "https://other"}, "the token is not from, or not for, whom it has to be"),
        ({"iss": None}, "the token is not from, or not for, whom it has to be"),
        ({"aud": "other"}, "the token is not from, or not for, whom it has to be"),
        ({"aud": None}, "the token is not from, or not for, whom it has to be"),
        ({"exp": "soon"}, "the token is not right"),
        ({"exp": 1e400}, "the token is not right"),
        ({"exp": 10**400}, "the token is not right"),
        ({"nbf": "x"}, "the token is not right"),
    ],
)
def test_what_a_token_says_of_itself_has_to_hold(more: dict[str, Any], says: str) -> None:
    tokens = Tokens(JwtSettings(secret=SECRET, issuer="https://id", audience="media"))
    given: dict[str, Any] = {"iss": "https://id", "aud": ["media", "chat"]}
    assert isinstance(tokens.check(_token(_claims(**given)), "play", "live/cam"), Permit)
    claims = {name: value for name, value in _claims(**{**given, **more}).items() if value is not None}
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256"}, claims)
    )
    signature = base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha256")).decode()
    assert _bad(tokens, f"{text}.{signature.rstrip('=')}") == says


def test_an_audience_that_nobody_asks_for_does_not_matter() -> None:
    assert HS.check(_token(_claims(aud="media", iss="x")), "play", "live/cam").user == "ada"  # type: ignore[union-attr]
    unlimited = {
        name: value for name, value in _claims(sub=None).items() if value is not None and name != "exp"
    }
    assert HS.check(_token(unlimited), "play", "live/cam") == Permit("", None)


def test_a_clock_may_be_a_little_off() -> None:
    for claims in (_claims(exp=time.time() - 2), _claims(nbf=time.time() + 5, iat=time.time() + 5)):
        HS.check(_token(claims), "play", "live/cam")


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "..", "\udcff.a.b", "é.é.é", "a" * 8_000])
def test_what_is_no_token(token: str) -> None:
    assert _bad(HS, token) == _bad(BY_RSA, token) == "the token is not right"


@given(st.text())
def test_no_text_is_a_token(token: str) -> None:
    _bad(HS, token)


# ---- permissions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permissions", "allows"),
    [
        ([{"action": "play", "path": ""}], True),
        ([{"action": "play"}], True),
        ([{"action": "read", "path": "live/cam"}], True),
        ([{"action": "play", "path": "live/cam"}], True),
        ([{"action": "publish", "path": "live/cam"}, {"action": "play", "path": "live/cam"}], True),
        ('[{"action": "play", "path": "live/cam"}]', True),
        ([{"action": "publish", "path": "live/cam"}], False),
        ([{"action": "playback", "path": "live/cam"}], False),
        ([{"action": "api"}], False),
        ([{"action": "play", "path": "live/ca"}], False),
        ([{"action": "play", "path": "live/cam/"}], False),
        ([{"action": "play", "path": 1}], False),
        ([{"action": ["play"], "path": ""}], False),
        ([{"path": ""}], False),
        ({"action": "play", "path": ""}, False),
        (["play"], False),
        ("play", False),
        ("[" * 100_000, False),
        (None, False),
        ([], False),
    ],
)
def test_both_claims_say_it_in_the_same_form(permissions: object, allows: bool) -> None:
    for claim in jwt_tokens.CLAIMS:
        tokens = Tokens(JwtSettings(secret=SECRET, claim=claim))
        token = _token(_claims(permissions, claim))
        if allows:
            assert isinstance(tokens.check(token, "play", "live/cam"), Permit)
        else:
            assert _bad(tokens, token) == "the token does not allow this"


@pytest.mark.parametrize(
    ("path", "ours", "mediamtx"),
    [
        ("live/*", True, False),
        ("*", True, False),
        ("li*am", False, False),
        ("l*e/*", False, False),
        ("~^live/", False, True),
        ("~^live/[a-z]+$", False, True),
        ("~cam$", False, True),
        ("~^(a|live)/", False, True),
        ("~^other/", False, False),
        ("~(", False, False),
        ("~^live/(a+)+$", False, False),
    ],
)
def test_each_claim_has_its_own_way_to_mean_many(path: str, ours: bool, mediamtx: bool) -> None:
    for claim, allows in ((jwt_tokens.OUR_CLAIM, ours), (jwt_tokens.MEDIAMTX_CLAIM, mediamtx)):
        tokens = Tokens(JwtSettings(secret=SECRET, claim=claim))
        token = _token(_claims([{"action": "play", "path": path}], claim))
        if allows:
            assert isinstance(tokens.check(token, "play", "live/cam"), Permit)
        else:
            _bad(tokens, token)


@pytest.mark.parametrize(
    ("regex", "bounded"),
    [
        ("^live/.*$", True),
        ("^live/.*/cam-.*$", True),
        ("^live/.*a.*b.*$", False),
        (".*a.*", False),
        ("^a.*|b.*", False),
        (r"^[*+{)(]\)\*[\]+]$", True),
        (r"^(?:live|vod)/\w+$", True),
        ("^(a*)*$", False),
        ("^(a|b){9}", False),
        ("^(a)?$", True),
        ("^" + "(a|aa)" * 26, False),
        ("^" + "a?" * 26 + "a" * 26, False),
        ("^a.*b.*" + "a?" * 5, False),
        ("^(live|vod|event|test)/.*$", True),
        (r"^(?:live|vod)/(a|b|c)/x??\d{1,3}?$", True),
        (r"^(a)\1$", False),
        ("^(?=a)", False),
        ("^(?P<x>a)", False),
        ("[", False),
        ("a\\", False),
        ("a" * 257, False),
    ],
)
def test_regular_expressions_that_could_take_long_are_not_searched_for(regex: str, bounded: bool) -> None:
    assert is_bounded(regex) is bounded


def test_the_slowest_search_is_short() -> None:
    tokens = Tokens(JwtSettings(secret=SECRET, claim=jwt_tokens.MEDIAMTX_CLAIM))
    regexes = "~^.*.*!$", "~^a?a?a?a?.*.*!$", "~^" + "(a|aa)" * 8 + ".*!"
    paths = [{"action": "play", "path": regex} for regex in regexes]
    token = _token(_claims(paths, jwt_tokens.MEDIAMTX_CLAIM))
    began = time.thread_time()
    _bad(tokens, token, key="a" * 1_024)
    assert time.thread_time() - began < 0.5


# ---- keys that stand elsewhere ---------------------------------------------------------------


class _Keys:
    def __init__(self, **keys: object) -> None:
        self.keys = keys
        self.asked: list[str] = []

    async def key(self, kid: str) -> Any:
        self.asked.append(kid)
        if not self.keys:
            raise KeysUnavailable("no route")
        return SimpleNamespace(key=self.keys[kid]) if kid in self.keys else None

    async def close(self) -> None: ...


def _by_name(keys: _Keys, token: str, **settings: Any) -> Permit:
    tokens = Tokens(JwtSettings(jwks="https://id/jwks", **settings), keys)
    assert tokens.check(token, "play", "live/cam") is None
    return asyncio.run(tokens.check_by_name(token, "play", "live/cam"))


def test_the_key_is_the_one_that_the_token_names() -> None:
    keys = _Keys(r=RSA.public_key(), e=EC.public_key())
    assert _by_name(keys, _token(_claims(), RSA, "RS256", kid="r")).user == "ada"
    assert _by_name(keys, _token(_claims(), EC, "ES256", kid="e")).user == "ada"
    assert keys.asked == ["r", "e"]
    for token, says in (
        (_token(_claims(), RSA, "RS256", kid="e"), "not right"),
        (_token(_claims(), RSA, "RS256", kid="x"), "not known here"),
        (_token(_claims(), RSA, "RS256"), "not known here"),
        (_token(_claims(), EC, "ES256", kid="r"), "not right"),
        ("a.b.c", "no JWT"),
        ("\udcff", "no JWT"),
    ):
        with pytest.raises(BadToken, match=says):
            _by_name(keys, token)
    with pytest.raises(BadToken, match="not signed as it has to be"):
        _by_name(keys, _token(_claims(), RSA, "RS256", kid="r"), algorithms=("ES256",))


def test_a_secret_among_the_public_keys_is_none() -> None:
    weak = rsa.generate_private_key(65_537, 1_024)
    other = ec.generate_private_key(ec.SECP384R1())
    keys = _Keys(s=SECRET.encode(), w=weak.public_key(), o=other.public_key(), p=RSA)
    for kid, key, algorithm in (("s", SECRET, "HS256"), ("o", other, "ES384"), ("p", RSA, "RS256")):
        with pytest.raises(BadToken, match="not known here"):
            _by_name(keys, _token(_claims(), key, algorithm, kid=kid))
    assert jwt_tokens.algorithm_of(weak.public_key()) is None


def test_keys_that_cannot_be_had_are_nobodys_bad_credentials() -> None:
    with pytest.raises(BadToken, match="try again") as raised:
        _by_name(_Keys(), _token(_claims(), RSA, "RS256", kid="r"))
    assert raised.value.why is Refused.HOOK_FAILED
    with pytest.raises(MisuseError):
        Tokens(JwtSettings(jwks="https://id/jwks"))
