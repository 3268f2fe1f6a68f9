"""Every kind of rule, as an edge has it: what its file says, and what right and wrong credentials are.

A kind has an app of its own, so that one edge has several. What an edge can have but one of (a scheme of
links, a key of tokens, a dialect of hooks) makes one set-up after the other.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from cluster.edge.admission.signed import Scheme, Signing
from cluster.edge.peers.access import Action
from support.hook_servers import (
    Request,
    Responder,
    mediamtx_back_end,
    nginx_rtmp_back_end,
    response,
    srs_back_end,
)

#: How credentials come over RTMP, and over HTTP.
RtmpWay = Literal["name", "app", "tcUrl", "dialogue"]
HttpWay = Literal["query", "Basic", "Bearer"]
RTMP_WAYS: tuple[RtmpWay, ...] = ("name", "app", "tcUrl", "dialogue")
HTTP_WAYS: tuple[HttpWay, ...] = ("query", "Basic", "Bearer")
_IN_QUERIES: tuple[RtmpWay, ...] = ("name", "app", "tcUrl")

USER, PASSWORD = "studio", "p4ss-word"
SECRET = "0123456789abcdef0123456789abcdef"
GOOD_FOR_S = 600


@dataclass(frozen=True)
class Shown:
    """What one peer shows, in each form that it has: items of a query, a login, a token."""

    items: str = ""
    login: tuple[str, str] | None = None
    token: str = ""


NOTHING = Shown()
Show = Callable[[Action, str], Shown]


@dataclass(frozen=True)
class Kind:
    """``right`` and ``wrong`` make credentials for an action and a stream key.

    ``ways`` and ``http_ways``: by which they may come; by the others nobody is let in. ``if_wrong`` and
    ``if_nothing``: with which reason they are refused. ``elsewhere``: the app in which all are refused, if
    it is not what they show that decides.
    """

    app: str
    terms: str
    right: Show
    wrong: Show = lambda action, key: NOTHING
    ways: tuple[RtmpWay, ...] = _IN_QUERIES
    http_ways: tuple[HttpWay, ...] = ("query",)
    if_wrong: str = "bad_credentials"
    if_nothing: str = "no_credentials"
    elsewhere: str = ""
    actions: tuple[Action, ...] = ("publish", "play")

    @property
    def rule(self) -> str:
        said = "".join(f"{action} = {{ {self.terms} }}\n" for action in self.actions)
        return f'[[rule]]\nmatch = "{self.app}/*"\n{said}'


@dataclass(frozen=True)
class Setup:
    """The configuration of one edge. ``hook`` and ``jwks`` are servers that it asks."""

    name: str
    kinds: tuple[Kind, ...]
    tables: str = ""
    dialect: str = ""
    hook: Responder | None = None
    jwks: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def text(self, hook: str = "", jwks: str = "") -> str:
        """The file, with the addresses of its servers."""
        parts = [kind.rule for kind in self.kinds if kind.terms]
        if self.dialect:
            asked = f'publish = "{hook}"\nplay = "{hook}"'
            parts.append(f'[hooks]\n{asked}\ndialect = "{self.dialect}"\n')
        return "\n".join([*parts, _ELSEWHERE, self.tables.format(jwks=jwks)])


_ELSEWHERE = """\
[[rule]]
match = "elsewhere/*"
publish = { ips = ["192.0.2.0/24"] }
play = { ips = ["192.0.2.0/24", "2001:db8::/32"] }
"""


# ---- what is shown ---------------------------------------------------------------------------


def login(password: str, user: str = USER) -> Show:
    shown = Shown(f"user={user}&pass={password}", (user, password))
    return lambda action, key: shown


def items(text: str) -> Show:
    shown = Shown(text)
    return lambda action, key: shown


def link(scheme: Scheme, secret: str = SECRET) -> Show:
    signing = Signing((secret,), scheme)
    return lambda action, key: Shown(signing.query(action, key, int(time.time()) + GOOD_FOR_S))


def token(
    secret: Any, algorithm: str, *, kid: str = "", claim: str = "rtmp_cluster_permissions"
) -> Show:
    play = "read" if claim.startswith("mediamtx") else "play"

    def made(action: Action, key: str) -> Shown:
        may = [{"action": "publish" if action == "publish" else play, "path": key}]
        claims = {claim: may, "exp": time.time() + GOOD_FOR_S, "sub": "ada"}
        text = jwt.encode(claims, secret, algorithm, headers={"kid": kid} if kid else None)
        return Shown(f"token={text}", token=text)

    return made


def secret_token(text: str) -> Show:
    """A token that only a hook understands."""
    shown = Shown(f"token={text}", ("u", "p") if text == "good" else ("u", text), text)
    return lambda action, key: shown


def both(*shows: Show) -> Show:
    def made(action: Action, key: str) -> Shown:
        return Shown("&".join(show(action, key).items for show in shows))

    return made


# ---- the servers that are asked --------------------------------------------------------------


async def our_back_end(request: Request) -> bytes:
    """As docs/hooks.md describes: a token, or a user with a password."""
    told = request.json
    shown = (told["user"], told["password"])
    if told["token"] == "good" or shown == ("u", "p") or told["proven_user"] == USER:
        return response(200, {"allow": True})
    if not told["token"] and not any(shown):
        return response(401)  # players of HTTP show a password when they are asked for it
    return response(200, {"allow": False, "reason": "this key is not yours"})


_RSA, _OTHER_RSA = (rsa.generate_private_key(65_537, 2_048) for _ in range(2))
_EC, _OTHER_EC = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
_PEM = _RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _jwks(**keys: Any) -> dict[str, Any]:
    made = []
    for kid, key in keys.items():
        algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
        made.append({**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"})
    return {"keys": made}


# ---- the set-ups -----------------------------------------------------------------------------

_SHA256 = base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest()).decode()
_SCRYPT_RAW = hashlib.scrypt(PASSWORD.encode(), salt=SECRET.encode(), n=1_024, r=8, p=1, dklen=32)
_SCRYPT = f"1024:8:1:{base64.b64encode(SECRET.encode()).decode()}:{base64.b64encode(_SCRYPT_RAW).decode()}"

_TOKEN_WAYS: tuple[HttpWay, ...] = ("query", "Bearer")
_LOGIN_WAYS: tuple[HttpWay, ...] = ("query", "Basic")

_OURS = Setup(
    "rtmp-cluster",
    (
        Kind("users", f'users = ["{USER}", "other"]', login(PASSWORD), login("no"), http_ways=_LOGIN_WAYS),
        Kind("sha256", 'users = ["sha256"]', login(PASSWORD, "sha256"), login("no", "sha256"),
             http_ways=_LOGIN_WAYS),
        Kind("scrypt", 'users = ["scrypt"]', login(PASSWORD, "scrypt"), login("no", "scrypt"),
             http_ways=_LOGIN_WAYS),
        Kind("dialogue", f'users = ["{USER}"], dialogue = true', login(PASSWORD), login("no"),
             ways=("app", "tcUrl", "dialogue"), http_ways=_LOGIN_WAYS),
        Kind("ips", 'ips = ["127.0.0.0/8", "::1"]', lambda action, key: NOTHING, ways=RTMP_WAYS[:1],
             if_wrong="forbidden", if_nothing="forbidden", elsewhere="elsewhere"),
        Kind("signed", "signed = true", link("rtmp-cluster"), link("rtmp-cluster", SECRET[::-1])),
        Kind("hs256", "jwt = true", token(SECRET, "HS256"), token(SECRET[::-1], "HS256"),
             http_ways=_TOKEN_WAYS),
        Kind("hook", "hook = true", secret_token("good"), secret_token("bad"), http_ways=HTTP_WAYS,
             if_wrong="hook_refused"),
        Kind("all", f'users = ["{USER}"], ips = ["127.0.0.1"], signed = true, jwt = true, hook = true',
             both(login(PASSWORD), link("rtmp-cluster"), token(SECRET, "HS256")),
             both(login(PASSWORD), link("rtmp-cluster"), token(SECRET[::-1], "HS256"))),
    ),
    f'[users.{USER}]\npassword = "{PASSWORD}"\n[users.other]\npasswords = ["a", "b"]\n'
    f'[users.sha256]\npassword_hash = "sha256:{_SHA256}"\n'
    f'[users.scrypt]\npassword_hash = "scrypt:{_SCRYPT}"\n'
    f'[signing]\nsecrets = ["{SECRET}"]\n[jwt]\nsecret = "{SECRET}"\n',
    "rtmp-cluster", our_back_end,
)  # fmt: skip

_NGINX = Setup(
    "nginx-rtmp",
    (
        Kind("nms", "signed = true", link("node-media-server"), link("node-media-server", SECRET[::-1])),
        Kind("rs256", "jwt = true", token(_RSA, "RS256"), token(_OTHER_RSA, "RS256"),
             http_ways=_TOKEN_WAYS),
        Kind("nginx", "hook = true", secret_token("good"), secret_token("bad"), ways=("name",),
             if_wrong="hook_refused", if_nothing="hook_refused"),
    ),
    f'[signing]\nsecrets = ["{SECRET}"]\nscheme = "node-media-server"\n'
    f"[jwt]\npublic_key = '''{_PEM}'''\n",
    "nginx-rtmp", nginx_rtmp_back_end,
)  # fmt: skip

_SRS = Setup(
    "srs",
    (
        Kind("secure-link", "signed = true", link("secure-link"), link("secure-link", SECRET[::-1])),
        Kind("es256", "jwt = true", token(_EC, "ES256", kid="e"), token(_OTHER_EC, "ES256", kid="e"),
             http_ways=_TOKEN_WAYS),
        Kind("srs", "hook = true", secret_token("good"), secret_token("bad"),
             if_wrong="hook_refused", if_nothing="hook_refused"),
    ),
    f'[signing]\nsecrets = ["{SECRET}"]\nscheme = "secure-link"\n[jwt]\njwks = "{{jwks}}"\n',
    "srs", srs_back_end, _jwks(e=_EC, r=_RSA),
)  # fmt: skip

_MEDIAMTX = Setup(
    "mediamtx",
    (
        Kind("jwks", "jwt = true", token(_RSA, "RS256", kid="r", claim="mediamtx_permissions"),
             token(_OTHER_RSA, "RS256", kid="r", claim="mediamtx_permissions"), http_ways=_TOKEN_WAYS),
        Kind("mediamtx", "hook = true", secret_token("good"), secret_token("bad"), http_ways=HTTP_WAYS,
             if_wrong="hook_refused"),
    ),
    '[jwt]\njwks = "{jwks}"\nclaim = "mediamtx_permissions"\n',
    "mediamtx", mediamtx_back_end, _jwks(e=_EC, r=_RSA),
)  # fmt: skip

_KEY = Setup(
    "publish-key",
    tuple(
        Kind(name, "", items(f"{name}={SECRET}"), items(f"{name}=no"), actions=("publish",))
        for name in ("key", "pass", "token")
    ),
    options=("--publish-key", SECRET),
)  # fmt: skip

SETUPS: tuple[Setup, ...] = (_OURS, _NGINX, _SRS, _MEDIAMTX, _KEY)
