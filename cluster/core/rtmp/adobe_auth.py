"""User and password of publishers in connect: Adobe's scheme and Limelight's, both roles.

The encoder's connect is rejected twice, with a description that says what is missing, and each time it
connects again with more in the query of its app:

1. nothing → "code=403 need auth; authmod=adobe"
2. ?authmod=adobe&user=U → "?reason=needauth&user=U&salt=S&challenge=C&opaque=C"
3. ?authmod=adobe&user=U&challenge=C2&response=R&opaque=C → let in, or "?reason=authfailed"

Limelight's ("llnw") has a nonce where Adobe's has a challenge, and a digest like that of HTTP. Both prove
that a peer knows the password without sending it, and nothing else: use rtmps for the rest.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cluster.core.errors import MisuseError
from cluster.core.rtmp.url import RtmpUrl

Mode: TypeAlias = Literal["adobe", "llnw"]

MODES: Final[tuple[Mode, ...]] = ("adobe", "llnw")
#: How long a challenge may be answered: an encoder connects again at once.
CHALLENGE_LIFETIME_S: Final = 60
MIN_SECRET_BYTES: Final = 16

_NEEDS_RESPONSE = "needauth"
_REJECT = "[ AccessManager.Reject ] : "
_NEEDS_USER = "code=403 need auth"
_TOKEN_HEX_DIGITS = 32
_SALT_HEX_DIGITS = 8

_LLNW_REALM = "live"
_LLNW_METHOD = "publish"
_LLNW_COUNT = "00000001"
_LLNW_QUALITY = "auth"
#: Limelight counts an app without an instance as its default instance.
_DEFAULT_INSTANCE = "_definst_"


# The connecting side.


def authenticated(url: RtmpUrl, description: str, nonce: str) -> RtmpUrl | None:
    """The address to connect to after a rejection with ``description``; None if it asks for no more.

    ``url`` is the address as the user wrote it, with credentials; ``nonce`` eight random hex digits.
    A rejection for another reason than "needauth" (authfailed, nosuchuser) is final.
    """
    mode = next((mode for mode in MODES if f"authmod={mode}" in description), None)
    if mode is None or url.user is None:
        return None
    _, _, query = description.partition("?")
    asked = read_query(query.strip(" ]"))
    who = f"authmod={mode}&user={url.user}"
    if "reason" not in asked:
        return _with_query(url, who)
    if asked["reason"] != _NEEDS_RESPONSE:
        return None
    password = url.password or ""
    if mode == "llnw":
        server_nonce = asked.get("nonce", "")
        response = _llnw_response(url.user, password, server_nonce, nonce, url.app.partition("?")[0])
        answer = f"nonce={server_nonce}&cnonce={nonce}&nc={_LLNW_COUNT}&response={response}"
        return _with_query(url, f"{who}&{answer}")
    opaque = asked.get("opaque", "")
    signed = opaque or asked.get("challenge", "")
    response = _adobe_response(url.user, password, asked.get("salt", ""), signed, nonce)
    last = f"&opaque={opaque}" if opaque else ""
    return _with_query(url, f"{who}&challenge={nonce}&response={response}{last}")


def _with_query(url: RtmpUrl, query: str) -> RtmpUrl:
    mark = "&" if "?" in url.app else "?"
    return dataclasses.replace(url, app=f"{url.app}{mark}{query}")


# The accepting side.


@dataclass(frozen=True, slots=True)
class Admitted:
    """The peer knows the password of ``user``."""

    user: str


@dataclass(frozen=True, slots=True)
class Challenged:
    """Not yet, or not at all: the connect is to be rejected with this description."""

    description: str


class Authenticator:
    """Judges connects. It remembers no challenge, so the third connect may reach another worker.

    ``secret``: random bytes that all workers share, which challenges are signed with.
    ``password_of``: the password of a user, None if there is no such user. A challenge is good for
    CHALLENGE_LIFETIME_S; times are in seconds since an epoch that the workers share.
    """

    def __init__(self, mode: Mode, secret: bytes, password_of: Callable[[str], str | None]) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise MisuseError(f"a secret of {len(secret)} bytes, not {MIN_SECRET_BYTES} or more")
        self._mode = mode
        self._secret = secret
        self._password_of = password_of

    def judge(self, app: str, query: str, now_s: float) -> Admitted | Challenged:
        """Judge a connect to ``app`` with ``query``, as ConnectRequested has them."""
        fields = read_query(query)
        user = fields.get("user", "")
        if fields.get("authmod") != self._mode or not user:
            return Challenged(f"{_REJECT}[ {_NEEDS_USER}; authmod={self._mode} ] : ")
        if "response" not in fields:
            return Challenged(self._challenge(user, int(now_s)))
        if self._is_right(app, user, fields, now_s):
            return Admitted(user)
        # An unknown user gets the same answer: a stranger is not told who has an account.
        return Challenged(f"{_REJECT}[ authmod={self._mode} ] : ?reason=authfailed")

    def _challenge(self, user: str, now_s: int) -> str:
        token = self._token(user, now_s)
        start = f"{_REJECT}[ authmod={self._mode} ] : ?reason={_NEEDS_RESPONSE}&user={user}"
        if self._mode == "llnw":
            return f"{start}&nonce={token}"
        return f"{start}&salt={self._salt(user)}&challenge={token}&opaque={token}"

    def _is_right(self, app: str, user: str, fields: dict[str, str], now_s: float) -> bool:
        token = fields.get("nonce" if self._mode == "llnw" else "opaque", "")
        password = self._password_of(user)
        if password is None or not self._is_ours(token, user, now_s):
            return False
        if self._mode == "llnw":
            expected = _llnw_response(user, password, token, fields.get("cnonce", ""), app)
        else:
            challenge = fields.get("challenge", "")
            expected = _adobe_response(user, password, self._salt(user), token, challenge)
        return _equal(expected, fields["response"])

    def _token(self, user: str, issued_s: int) -> str:
        """When a challenge was given, and for whom, signed: hex digits, which no query has to escape."""
        return f"{issued_s:x}.{self._sign(f'token {issued_s:x} {user}')[:_TOKEN_HEX_DIGITS]}"

    def _is_ours(self, token: str, user: str, now_s: float) -> bool:
        issued, _, _ = token.partition(".")
        try:
            issued_s = int(issued[:_TOKEN_HEX_DIGITS], 16)
        except ValueError:
            return False
        if not -1 <= now_s - issued_s <= CHALLENGE_LIFETIME_S:
            return False
        return _equal(self._token(user, issued_s), token)

    def _salt(self, user: str) -> str:
        """Always the same for one user, as the scheme has it, and no sign of whether it exists."""
        return self._sign(f"salt {user}")[:_SALT_HEX_DIGITS]

    def _sign(self, text: str) -> str:
        return hmac.digest(self._secret, _raw(text), hashlib.sha256).hex()


def is_step(description: str) -> bool:
    """Whether a rejection with ``description`` asks to connect again with more, and is no refusal."""
    asks = (_NEEDS_USER, f"?reason={_NEEDS_RESPONSE}&")
    return description.startswith(_REJECT) and any(each in description for each in asks)


# What both sides compute.


def read_query(query: str) -> dict[str, str]:
    """``name=value`` pairs, not unescaped: encoders write base64 as it is, with its "+", "/" and "="."""
    return dict(pair.partition("=")[::2] for pair in query.split("&"))


def _adobe_response(user: str, password: str, salt: str, signed: str, client_challenge: str) -> str:
    salted = _base64_md5(f"{user}{salt}{password}")
    return _base64_md5(f"{salted}{signed}{client_challenge}")


def _llnw_response(user: str, password: str, server_nonce: str, client_nonce: str, app: str) -> str:
    path = app if "/" in app else f"{app}/{_DEFAULT_INSTANCE}"
    who = _hex_md5(f"{user}:{_LLNW_REALM}:{password}")
    target = _hex_md5(f"{_LLNW_METHOD}:/{path}")
    return _hex_md5(f"{who}:{server_nonce}:{_LLNW_COUNT}:{client_nonce}:{_LLNW_QUALITY}:{target}")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a peer's text need not be UTF-8


def _equal(expected: str, given: str) -> bool:
    return hmac.compare_digest(_raw(expected), _raw(given))


def _md5(text: str) -> bytes:
    return hashlib.md5(_raw(text), usedforsecurity=False).digest()


def _base64_md5(text: str) -> str:
    return base64.b64encode(_md5(text)).decode("ascii")


def _hex_md5(text: str) -> str:
    return _md5(text).hex()
