"""JSON Web Tokens: who signs them says in each what its holder may do, and until when.

A key says which algorithm it is for, never the token: a secret is HS256, an RSA key RS256, an elliptic one
ES256. So a public key cannot be taken for a secret, and "none" is no algorithm. ``jwt`` and
``cryptography`` are imported where tokens are configured, and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cluster.core.errors import MisuseError
from cluster.edge.admission.interfaces import Keys, KeysUnavailable
from cluster.edge.peers.access import Action, Refused

HS256, RS256, ES256 = "HS256", "RS256", "ES256"
OUR_CLAIM: Final = "rtmp_cluster_permissions"
MEDIAMTX_CLAIM: Final = "mediamtx_permissions"
CLAIMS: Final = (OUR_CLAIM, MEDIAMTX_CLAIM)
#: RFC 7518, sections 3.2 and 3.3.
MIN_SECRET_BYTES: Final = 32
MIN_RSA_BITS: Final = 2_048
#: How far the clock of who signs may be from ours.
CLOCK_SKEW_S: Final = 10.0

#: MediaMTX calls it so.
_ACTIONS: Final = {"publish": "publish", "play": "play", "read": "play"}
_MOST_PERMISSIONS: Final = 1_000
_MOST_REGEX_CHARACTERS: Final = 256
#: With two of them a match takes up to a million steps, with three a thousand times as many. To search
#: everywhere is one more.
_MOST_REPEATS: Final = 2
#: In how many ways what may be there or not, and what is one thing or another, goes together: each may be
#: tried. With as many repeats as there may be, it is the second.
_MOST_WAYS: Final = 256, 16


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """What checks tokens: one of ``secret``, ``public_key`` (PEM) and ``jwks`` (an address)."""

    secret: str = field(default="", repr=False)
    public_key: str = field(default="", repr=False)
    jwks: str = field(default="", repr=False)
    algorithms: tuple[str, ...] = (HS256, RS256, ES256)
    issuer: str | None = None
    audience: str | None = None
    claim: str = OUR_CLAIM


class Permit(NamedTuple):
    """A good token: whose it is, "" if it does not say, and when it expires, None if never."""

    user: str
    expires: float | None


class BadToken(Exception):
    """Why a token lets nobody in. The text is for the peer."""

    def __init__(self, text: str, why: Refused = Refused.BAD_CREDENTIALS) -> None:
        super().__init__(text)
        self.why = why


def algorithm_of(key: object) -> str | None:
    """The algorithm that a key is for; None if it is for none of ours."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return RS256
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return ES256
    return None


def read_public_key(pem: str) -> object:
    """A key of RS256 or ES256 from its PEM; ValueError if it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no public key in PEM (BEGIN PUBLIC KEY)") from None
    if algorithm_of(key) is None:
        raise ValueError("holds a key of neither RS256 (RSA, 2048 bits) nor ES256 (P-256)")
    return key


class Tokens:
    """Checks tokens. ``keys``: where the address of ``jwks`` is read; needed if there is one."""

    def __init__(self, settings: JwtSettings, keys: Keys | None = None) -> None:
        import jwt  # here, so that who has no tokens does without it

        self._jwt = jwt
        self._settings = settings
        self._keys = keys
        self._key: Any = None
        self._algorithm = HS256
        if settings.jwks and keys is None:
            raise MisuseError("tokens by JWKS, and nobody who reads them")
        if settings.public_key:
            self._key = read_public_key(settings.public_key)
            self._algorithm = algorithm_of(self._key) or ""
        elif settings.secret:
            self._key = settings.secret.encode()

    def check(self, token: str, action: Action, key: str) -> Permit | None:
        """What ``token`` lets do; BadToken if not ``action`` with ``key``. None if keys have to be looked
        for: by ``check_by_name``."""
        if self._settings.jwks:
            return None
        return self._check(token, action, key, self._key, self._algorithm)

    async def check_by_name(self, token: str, action: Action, key: str) -> Permit:
        """The same, with the key that the token names."""
        if self._keys is None:
            raise MisuseError("there are no keys to look in")
        try:
            named = self._jwt.get_unverified_header(token).get("kid", "")
        except (self._jwt.InvalidTokenError, ValueError):
            raise BadToken("the token is no JWT") from None
        try:
            found = await self._keys.key(named if isinstance(named, str) else "")
        except KeysUnavailable:
            raise BadToken("tokens cannot be checked now; try again", Refused.HOOK_FAILED) from None
        algorithm = None if found is None else algorithm_of(found.key)
        if found is None or algorithm is None:
            raise BadToken("the token is signed with a key that is not known here")
        return self._check(token, action, key, found.key, algorithm)

    def _check(self, token: str, action: Action, key: str, verifier: Any, algorithm: str) -> Permit:
        settings, jwt = self._settings, self._jwt
        if algorithm not in settings.algorithms:
            raise BadToken("the token is not signed as it has to be")
        try:
            claims = jwt.decode(
                token, verifier, [algorithm], issuer=settings.issuer, audience=settings.audience,
                leeway=CLOCK_SKEW_S, options={"verify_aud": settings.audience is not None},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise BadToken("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise BadToken("the token is not valid yet") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
            raise BadToken("the token is not from, or not for, whom it has to be") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise BadToken("the token is not right") from None
        if not self._allows(claims, action, key):
            raise BadToken("the token does not allow this")
        user, expires = claims.get("sub"), claims.get("exp")
        try:
            expires_s = None if expires is None else float(expires)
        except OverflowError:  # an integer of hundreds of digits
            raise BadToken("the token is not right") from None
        return Permit(user if isinstance(user, str) else "", expires_s)

    def _allows(self, claims: Mapping[str, Any], action: Action, key: str) -> bool:
        claim = self._settings.claim
        permissions = _permissions(claims.get(claim))
        return any(
            action == said and _covers(path, key, with_regex=claim == MEDIAMTX_CLAIM)
            for said, path in permissions
        )


def _permissions(claim: object) -> Iterator[tuple[str, str]]:
    """The actions, in our words, and their paths; what is none of ours is left out."""
    if isinstance(claim, str):  # a list in JSON, from those who sign texts alone
        try:
            claim = json.loads(claim)
        except (ValueError, RecursionError):
            return
    for each in claim[:_MOST_PERMISSIONS] if isinstance(claim, list) else ():
        if isinstance(each, dict):
            action, path = each.get("action"), each.get("path", "")
            if isinstance(action, str) and action in _ACTIONS and isinstance(path, str):
                yield _ACTIONS[action], path


def _covers(path: str, key: str, *, with_regex: bool) -> bool:
    """Whether ``path`` means ``key``: the empty one means all, ``live/*`` what begins so; with
    ``with_regex``, what follows ``~`` is searched for, as MediaMTX does."""
    if not path:
        return True
    if with_regex:
        if path.startswith("~"):
            return is_bounded(path[1:]) and re.search(path[1:], key) is not None
        return path == key
    return key.startswith(path[:-1]) if path.endswith("*") else path == key


def is_bounded(regex: str) -> bool:
    """Whether a search for ``regex`` ends soon whatever it is searched in: it is short, has few choices,
    and repeats few things, and no group. Regular expressions that are more than that are not looked for."""
    if len(regex) > _MOST_REGEX_CHARACTERS:
        return False
    plain = re.sub(r"\\.", "x", regex)
    if re.search(r"\\\d|\\$", regex) or re.search(r"\(\?(?!:)", plain) or re.search(r"\)[*+{]", plain):
        return False
    plain = re.sub(r"\[\^?\]?[^\]]*\]", "x", plain)
    is_anchored = plain.startswith("^") and "|" not in plain
    repeats = len(re.findall(r"[*+{]", plain)) + (not is_anchored)
    ways = 2 ** len(re.findall(r"(?<![(*+?}])\?", plain))
    for part in re.split("[()]", plain):
        ways *= part.count("|") + 1
    if repeats > _MOST_REPEATS or ways > _MOST_WAYS[repeats == _MOST_REPEATS]:
        return False
    try:
        re.compile(regex)
    except (re.error, RecursionError, OverflowError):
        return False
    return True
