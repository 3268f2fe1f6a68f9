"""Every way that credentials come by, with every kind of rule, to publish and to play.

Each kind of rule is shown nothing, something wrong, and what it asks for; the latter by every way that it
can come, alone and among items that mean nothing here.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.signed import SCHEMES, Signing, normal
from cluster.edge.peers.access import Access, Action, Allow, Deny, Refused, Verdict
from support.judging import HOST, NOW, Hook, Keys, access, basic, judge_of, verdict

ACTIONS: tuple[Action, ...] = ("publish", "play")
PASSWORD = "p&ss w%rd="
SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65_537, 2_048)
EC = ec.generate_private_key(ec.SECP256R1())
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

_SHA256 = base64.b64encode(hashlib.sha256(PASSWORD.encode()).digest()).decode()
_SALT = b"0123456789abcdef"
_SCRYPT_RAW = hashlib.scrypt(PASSWORD.encode(), salt=_SALT, n=1_024, r=8, p=1, dklen=32)
_SCRYPT = f"1024:8:1:{base64.b64encode(_SALT).decode()}:{base64.b64encode(_SCRYPT_RAW).decode()}"


@dataclass(frozen=True)
class Kind:
    """A kind of rule. ``right`` and ``wrong``: items of a query, for an action; "" if nothing helps."""

    terms: str
    tables: str
    right: Callable[[Action], str]
    wrong: str
    is_login: bool = False
    is_token: bool = False
    publish_key: str | None = None
    keys: Keys | None = None


def _login(password: str) -> str:
    return f"user=studio&pass={quote(password)}"


def _link(scheme: str, **bound: object) -> Callable[[Action], str]:
    signing = Signing((SECRET,), scheme)  # type: ignore[arg-type]
    return lambda action: signing.query(action, "live/cam", NOW + 60, **bound)  # type: ignore[arg-type]


def _token(
    key: object, algorithm: str, kid: str = "", claim: str = "rtmp_cluster_permissions"
) -> Callable[[Action], str]:
    said = {"publish": "publish", "play": "read" if claim.startswith("mediamtx") else "play"}

    def made(action: Action) -> str:
        claims = {
            claim: [{"action": said[action], "path": "live/cam"}],
            "exp": time.time() + 60,
            "sub": "ada",
        }
        headers = {"kid": kid} if kid else None
        return f"token={jwt.encode(claims, key, algorithm, headers=headers)}"  # type: ignore[arg-type]

    return made


_WRONG_TOKEN = f"token={jwt.encode({'exp': time.time() + 60}, SECRET[::-1], 'HS256', headers={'kid': 'r'})}"
_USERS = 'users = ["studio"]'

KINDS: dict[str, Kind] = {
    "plain": Kind(
        _USERS, f'[users.studio]\npassword = "{PASSWORD}"', lambda _: _login(PASSWORD), _login("no"),
        is_login=True,
    ),
    "several": Kind(
        _USERS, f'[users.studio]\npasswords = ["old", "{PASSWORD}"]', lambda _: _login(PASSWORD),
        _login("no"), is_login=True,
    ),
    "sha256": Kind(
        _USERS, f'[users.studio]\npassword_hash = "sha256:{_SHA256}"', lambda _: _login(PASSWORD),
        _login("no"), is_login=True,
    ),
    "scrypt": Kind(
        _USERS, f'[users.studio]\npassword_hash = "scrypt:{_SCRYPT}"', lambda _: _login(PASSWORD),
        _login("no"), is_login=True,
    ),
    "hs256": Kind(
        "jwt = true", f'[jwt]\nsecret = "{SECRET}"', _token(SECRET, "HS256"), _WRONG_TOKEN,
        is_token=True,
    ),
    "rs256": Kind(
        "jwt = true", f"[jwt]\npublic_key = '''{PEM}'''", _token(RSA, "RS256"), _WRONG_TOKEN,
        is_token=True,
    ),
    "jwks": Kind(
        "jwt = true", '[jwt]\njwks = "https://id.example/jwks"', _token(EC, "ES256", "e"), _WRONG_TOKEN,
        is_token=True, keys=Keys({"e": EC.public_key(), "r": RSA.public_key()}),
    ),
    "mediamtx": Kind(
        "jwt = true", f'[jwt]\nsecret = "{SECRET}"\nclaim = "mediamtx_permissions"',
        _token(SECRET, "HS256", claim="mediamtx_permissions"), _WRONG_TOKEN, is_token=True,
    ),
    **{
        scheme: Kind(
            "signed = true", f'[signing]\nsecrets = ["new", "{SECRET}"]\nscheme = "{scheme}"',
            _link(scheme),
            f"exp={NOW + 60}&sig=AAAA&sign={NOW + 60}-00&st=AAAA&e={NOW + 60}",
        )
        for scheme in SCHEMES
    },
    "bound": Kind(
        "signed = true", f'[signing]\nsecrets = ["{SECRET}"]',
        _link("rtmp-cluster", address=normal(HOST)),
        f"exp={NOW + 60}&ip=1&sig=AAAA",
    ),
    "users and link": Kind(
        f"{_USERS}, signed = true",
        f'[users.studio]\npassword = "{PASSWORD}"\n[signing]\nsecrets = ["{SECRET}"]',
        lambda action: f"{_login(PASSWORD)}&{_link('rtmp-cluster')(action)}",
        f"{_login(PASSWORD)}&exp={NOW + 60}&sig=AAAA",
    ),
    "all": Kind(
        f'{_USERS}, signed = true, jwt = true, ips = ["192.0.2.0/24"]',
        f'[users.studio]\npassword = "{PASSWORD}"\n[signing]\nsecrets = ["{SECRET}"]\n'
        f'[jwt]\nsecret = "{SECRET}"',
        lambda action: "&".join(
            (_login(PASSWORD), _link("rtmp-cluster")(action), _token(SECRET, "HS256")(action))
        ),
        f"{_login('no')}&exp={NOW + 60}&sig=AAAA&{_WRONG_TOKEN}",
    ),
}  # fmt: skip


def _judge(kind: Kind, ask: Hook | None = None, more: str = "") -> RuleJudge:
    rule = (
        f'[[rule]]\nmatch = "live/*"\npublish = {{ {kind.terms}{more} }}\nplay = {{ {kind.terms}{more} }}\n'
    )
    hooks = '\n[hooks]\npublish = "http://a/"\nplay = "http://a/"\n' if ask else ""
    return judge_of(rule + kind.tables + hooks, ask=ask, keys=kind.keys)


@dataclass(frozen=True)
class Way:
    """How credentials come: what of an access they are in."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)


def _ways(kind: Kind, items: str) -> Iterator[Way]:
    """Every way that ``items`` can come by."""
    backwards = "&".join(reversed(items.split("&")))
    for place in ("query", "app_query"):
        yield Way(place, {place: items})
        yield Way(f"{place}, another order", {place: backwards})
        yield Way(f"{place}, behind another item", {place: f"clientConfigId=a-1&{items}"})
        yield Way(f"{place}, before another item", {place: f"{items}&clientConfigId=a-1&flag"})
    yield Way("app_query beside another query", {"app_query": items, "query": "clientConfigId=a-1"})
    if kind.is_token:
        token = items.removeprefix("token=")
        yield Way("jwt=", {"query": f"jwt={token}"})
        yield Way("Bearer", {"authorization": f"Bearer {token}"})
        yield Way("Bearer beside a query", {"authorization": f"bearer {token}", "query": "a=b"})


def _login_ways(password: str) -> Iterator[Way]:
    yield Way("Basic", {"authorization": basic("studio", password)})
    yield Way("Basic beside a query", {"authorization": basic("studio", password), "query": "user=other"})


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_that_they_can_come_by_lets_in(kind: str, action: Action) -> None:
    tested = KINDS[kind]
    judge = _judge(tested)
    for way in (*_ways(tested, tested.right(action)), *(_login_ways(PASSWORD) if tested.is_login else ())):
        found = verdict(judge, access(action, **way.fields))
        assert isinstance(found, Allow), f"{way.name}: {found}"
        assert found.ends_at is None
        assert found.user == ("ada" if tested.is_token else "studio" if "users" in tested.terms else "")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_by_no_way_does_something_wrong_let_in(kind: str, action: Action) -> None:
    tested = KINDS[kind]
    judge = _judge(tested)
    for way in (*_ways(tested, tested.wrong), *(_login_ways("no") if tested.is_login else ())):
        found = verdict(judge, access(action, **way.fields))
        assert _why(found) is Refused.BAD_CREDENTIALS, f"{way.name}: {found}"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("query", ["", "clientConfigId=a-1", "user=studio", "flag", "?", "&&=&"])
def test_who_shows_nothing_is_told_so(query: str, kind: str, action: Action) -> None:
    judge = _judge(KINDS[kind])
    for shown in ({"query": query}, {"app_query": query}, {"authorization": "Digest a"}):
        assert _why(verdict(judge, access(action, **shown))) is Refused.NO_CREDENTIALS


@pytest.mark.parametrize(
    "kind",
    [
        name
        for name in KINDS
        if name not in ("plain", "several", "sha256", "scrypt", "node-media-server", "secure-link")
    ],
)
def test_what_lets_play_does_not_publish(kind: str) -> None:
    """But for passwords, and for schemes of others, which say nothing of what they are for."""
    tested = KINDS[kind]
    found = verdict(_judge(tested), access("publish", query=tested.right("play")))
    assert _why(found) is Refused.BAD_CREDENTIALS


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "kind", [name for name in KINDS if name not in ("plain", "several", "sha256", "scrypt")]
)
def test_what_is_for_one_stream_is_for_no_other(kind: str, action: Action) -> None:
    tested = KINDS[kind]
    found = verdict(_judge(tested), access(action, "live/other", query=tested.right(action)))
    assert _why(found) is Refused.BAD_CREDENTIALS


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_is_asked_of_those_alone_who_have_shown_the_rest(kind: str, action: Action) -> None:
    tested = KINDS[kind]
    hook = Hook()
    judge = _judge(tested, hook, ', hook = true, fail = "open", cache = 5')
    for items in ("", tested.wrong):
        assert isinstance(verdict(judge, access(action, query=items)), Deny)
    assert hook.asked == []
    asked = access(action, query=tested.right(action))
    found = verdict(judge, asked)
    assert isinstance(found, Allow)
    assert hook.asked == [(asked, found.user, True, 5.0)]
    hook.answer = Deny("no", why=Refused.HOOK_REFUSED)
    assert verdict(judge, asked) is hook.answer


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_address_is_refused_whatever_is_shown(kind: str, action: Action) -> None:
    tested = KINDS[kind]
    if "ips" in tested.terms:
        judge = _judge(tested)
    else:
        judge = _judge(tested, more=', ips = ["192.0.2.0/24", "2001:db8::/32"]')
    for host in ("198.51.100.1", "2001:db9::1", "::ffff:198.51.100.1"):
        for items in ("", tested.wrong, tested.right(action)):
            assert _why(verdict(judge, access(action, host=host, query=items))) is Refused.FORBIDDEN
    for host in (HOST, f"::ffff:{HOST}"):
        assert isinstance(verdict(judge, access(action, host=host, query=tested.right(action))), Allow)


# ---- the one key of the server -----------------------------------------------------------------

KEY = "S3cr&t key"


@pytest.mark.parametrize("name", ["key", "pass", "token", "jwt"])
@pytest.mark.parametrize("place", ["query", "app_query"])
def test_the_key_of_the_server_publishes_any_stream(place: str, name: str) -> None:
    judge = judge_of('[[rule]]\nmatch = "*"\npublish = "deny"\n', publish_key=KEY)
    for items in (
        f"{name}={quote(KEY)}",
        f"clientConfigId=a&{name}={quote(KEY)}",
        f"{name}={quote(KEY)}&user=x",
    ):
        assert verdict(judge, access("publish", **{place: items})) == Allow()
    for wrong in ("no", "", quote(KEY)[:-1], quote(KEY) + "x", "\udcff"):
        found = verdict(judge, access("publish", **{place: f"{name}={wrong}"}))
        assert _why(found) is Refused.BAD_CREDENTIALS
    assert verdict(judge, access("play")) == Allow(is_for_all=True)
    assert _why(verdict(judge, access("publish"))) is Refused.NO_CREDENTIALS


def test_the_key_of_the_server_as_a_password_of_http() -> None:
    judge = judge_of("", publish_key=KEY)
    assert verdict(judge, access("publish", authorization=basic("anybody", KEY))) == Allow()
    assert verdict(judge, access("publish", authorization=f"Bearer {KEY}")) == Allow()
    found = verdict(judge, access("publish", authorization=basic(KEY, "no")))
    assert _why(found) is Refused.BAD_CREDENTIALS


def _why(found: Verdict) -> Refused | None:
    return found.why if isinstance(found, Deny) else None


def test_every_kind_of_rule_is_here() -> None:
    """The other terms of a rule are asked for above, or say how (``dialogue``, ``end_with_link``)."""
    terms = " ".join(kind.terms for kind in KINDS.values())
    assert all(word in terms for word in ("users", "ips", "signed", "jwt"))
    assert isinstance(access(), Access)
