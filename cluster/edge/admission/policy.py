"""Who may, how much, and who is told: the tables of the configuration, read and checked as one.

The tables are ``[[rule]]``, ``[users]``, ``[signing]``, ``[jwt]``, ``[hooks]`` and ``[[limit]]``.
``resolve_files`` comes before where a policy is to decide; ``parse`` alone checks a file of which the
others need not be here yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPV4LENGTH, IPV6LENGTH, IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, Final

from cluster.edge.admission import jwt_tokens, users
from cluster.edge.admission.hooks.settings import HookSettings, parse_hooks
from cluster.edge.admission.interfaces import Path, PolicyFaults
from cluster.edge.admission.jwt_tokens import JwtSettings
from cluster.edge.admission.rules import ACTIONS, Network, Pattern, Rule, Rules, Terms, why_never
from cluster.edge.admission.secret_files import resolve_files
from cluster.edge.admission.signed import EXPIRES, SCHEMES, SECRET, SECURE_LINK_TEXT, URI, Signing
from cluster.edge.admission.tables import FILE_SUFFIX, Table
from cluster.edge.admission.users import Password, Plain, Users
from cluster.edge.peers.access import Action

if TYPE_CHECKING:
    from cluster.edge.peers.key_limits import KeyLimit

__all__ = ["Policy", "PolicyFaults", "parse", "resolve_files"]

#: The tables, by the names that they have in a file.
TABLES: Final = ("rule", "users", "signing", "jwt", "hooks", "limit")
_LONGEST_CACHE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it, checked. Where nothing was said about who may, ``is_open``: nobody needs a judge."""

    rules: Rules = field(default_factory=Rules)
    users: Users = field(default_factory=lambda: Users({}), repr=False)
    signing: Signing | None = None
    jwt: JwtSettings | None = None
    hooks: HookSettings = field(default_factory=HookSettings)
    limits: tuple[KeyLimit, ...] = ()

    @property
    def is_open(self) -> bool:
        """No rule speaks of anything."""
        return not self.rules.rules

    def opens(self) -> list[str]:
        """What anybody may because no rule speaks of it, a sentence each, for the start and ``check``."""
        return self.rules.opens()


def parse(tables: Mapping[str, Any], publish_key: str | None = None) -> Policy:
    """Read the tables; PolicyFaults says all that is wrong with them. ``publish_key`` is the option's."""
    faults: list[tuple[Path, str]] = []
    top = Table(tables, (), "the file", faults)
    passwords = _users(top)
    signing = _signing(top)
    jwt = _jwt(top)
    hooks = _hooks(tables.get("hooks"), faults)
    limits = _limits(tables.get("limit"), faults)
    reader = _RuleReader(passwords, signing is not None, jwt is not None, hooks, faults)
    rules = [Rule(Pattern("*"), publish=Terms(keys=(publish_key,)))] if publish_key else []
    rules += reader.read(tables.get("rule"))
    if faults:
        raise PolicyFaults(faults)
    return Policy(Rules(tuple(rules)), Users(passwords), signing, jwt, hooks or HookSettings(), limits)


# ---- the tables that rules name ------------------------------------------------------------------


def _users(top: Table) -> dict[str, Password]:
    found: dict[str, Password] = {}
    everybody = top.table("users", "[users]")
    if everybody is None:
        return found
    for name in everybody.names():
        if isinstance(everybody.value(name), dict) and (user := everybody.table(name, f"[users.{name}]")):
            found[name] = _password(user)
        else:
            everybody.fault(name, f'must be a table: write [users.{name}], and below it password = "…"')
            found[name] = Plain(())
    return found


def _password(user: Table) -> Password:
    key = user.one_of("password", "password_hash", "passwords")
    password: Password = Plain(())
    if key == "password":
        password = Plain((user.text(key) or "",))
    elif key == "passwords":
        password = Plain(user.texts(key) or ("",))
    elif key == "password_hash" and (text := user.text(key)) is not None:
        try:
            password = users.read_hash(text)
        except ValueError as error:
            user.fault(key, str(error))
    elif key is not None and key.endswith(FILE_SUFFIX):
        user.text(key, "/run/secrets/user")
    user.refuse_others()
    return password


def _signing(top: Table) -> Signing | None:
    table = top.table("signing", "[signing]")
    if table is None:
        return None
    scheme = table.word("scheme", SCHEMES, "rtmp-cluster")
    key = table.one_of("secrets")
    secrets = table.texts("secrets") if key == "secrets" else ()
    text = table.text("text", SECURE_LINK_TEXT)
    if text is not None and scheme != "secure-link":
        table.fault("text", 'goes with scheme = "secure-link" alone')
    elif text is not None and not all(name in text for name in (EXPIRES, URI, SECRET)):
        table.fault("text", f"must have {EXPIRES}, {URI} and {SECRET} in it")
    if key == f"secrets{FILE_SUFFIX}":
        table.text(key, "/run/secrets/links")
    table.refuse_others()
    return Signing(secrets or (), scheme, text or SECURE_LINK_TEXT)  # type: ignore[arg-type]


def _jwt(top: Table) -> JwtSettings | None:
    table = top.table("jwt", "[jwt]")
    if table is None:
        return None
    key = table.one_of("secret", "public_key", "jwks")
    values: dict[str, str] = {}
    if key is not None and (text := table.text(key)) is not None and not key.endswith(FILE_SUFFIX):
        values[key] = text
        _check_key(table, key, text)
    elif key == f"jwks{FILE_SUFFIX}":
        table.fault(key, "keys are read from an address: jwks = URL")
    is_shared = key is not None and key.startswith("secret")
    possible = (jwt_tokens.HS256,) if is_shared else (jwt_tokens.RS256, jwt_tokens.ES256)
    algorithms = table.texts("algorithms", possible[0])
    if wrong := [each for each in algorithms or () if each not in possible]:
        right = f"{' and '.join(possible)} {'are' if len(possible) > 1 else 'is'}"
        table.fault("algorithms", f"{wrong[0]!r} is not for such a key: {right}")
    settings = JwtSettings(
        **values, algorithms=algorithms or possible, issuer=table.text("issuer"),
        audience=table.text("audience"), claim=table.word("claim", jwt_tokens.CLAIMS, jwt_tokens.OUR_CLAIM),
    )  # fmt: skip
    table.refuse_others()
    return settings


def _check_key(table: Table, key: str, text: str) -> None:
    if key == "secret" and len(text.encode()) < jwt_tokens.MIN_SECRET_BYTES:
        table.fault(key, f"must have {jwt_tokens.MIN_SECRET_BYTES} bytes or more (RFC 7518, section 3.2)")
    elif key == "public_key":
        try:
            jwt_tokens.read_public_key(text)
        except ValueError as error:
            table.fault(key, str(error))
    elif key == "jwks" and not text.startswith(("https://", "http://")):
        table.fault(key, "must be an address such as https://id.example/jwks.json")


def _hooks(table: object, faults: list[tuple[Path, str]]) -> HookSettings | None:
    """None if they are wrong: then nothing is said of rules that need them."""
    if not isinstance(table, dict):
        if table is not None:
            faults.append((("hooks",), "[hooks] must be a table"))
        return HookSettings()
    # What is in the files is checked where they are read.
    known = {key: value for key, value in table.items() if key not in ("secret_file", "events_secret_file")}
    try:
        return parse_hooks(known)
    except PolicyFaults as error:
        faults += error.faults
        return None


def _limits(tables: object, faults: list[tuple[Path, str]]) -> tuple[KeyLimit, ...]:
    if tables is None:
        return ()
    from cluster.edge.peers.key_limits import LimitFaults, parse_limits

    try:
        limits = parse_limits(tables)
    except LimitFaults as error:
        faults += error.faults
        return ()
    for number, limit in enumerate(limits):
        if why := why_never(limit.match):
            faults.append((("limit", number, "match"), f"match in [[limit]]: {why}"))
    return limits


# ---- rules ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _RuleReader:
    """Reads rules. What they may name: ``passwords``, and whether there are the other tables."""

    passwords: Mapping[str, Password]
    has_signing: bool
    has_jwt: bool
    hooks: HookSettings | None
    faults: list[tuple[Path, str]]

    def read(self, tables: object) -> list[Rule]:
        if tables is None:
            return []
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            self.faults.append((("rule",), "rules are a list of tables: write [[rule]] above each"))
            return []
        return [self._rule(number, table) for number, table in enumerate(tables)]

    def _rule(self, number: int, values: dict[str, Any]) -> Rule:
        rule = Table(values, ("rule", number), "[[rule]]", self.faults)
        match = rule.text("match", "live/*")
        if "match" not in rule:
            self.faults.append((rule.path, '[[rule]] needs match, such as match = "live/*"'))
        pattern = Pattern((match or "").strip("/"))
        # Left as it is, a rule that is to close something would close nothing.
        if match and (why := why_never(pattern.text)):
            rule.fault("match", why)
        terms = {action: self._terms(rule, action) for action in ACTIONS}
        if not any(action in rule for action in ACTIONS):
            self.faults.append((rule.path, "[[rule]] speaks of neither publish nor play"))
        rule.refuse_others()
        return Rule(pattern, terms["publish"], terms["play"])

    def _terms(self, rule: Table, action: Action) -> Terms | None:
        value = rule.value(action)
        if value is None:
            return None
        if value in ("allow", "deny"):
            return Terms(is_denied=value == "deny")
        if not isinstance(value, dict):
            rule.fault(action, 'must be "allow", "deny" or a table such as { users = ["studio"] }')
            return None
        table = Table(value, (*rule.path, action), f"{action} of [[rule]]", self.faults)
        before = len(self.faults)
        names = table.texts("users", "studio")
        terms = Terms(
            users=None if names is None else frozenset(names),
            networks=_networks(table),
            signed=table.flag("signed"),
            jwt=table.flag("jwt"),
            hook=table.flag("hook"),
            dialogue=table.flag("dialogue"),
            fail_open=table.word("fail", ("closed", "open"), "closed") == "open",
            cache_s=table.number("cache", 0, _LONGEST_CACHE_S, 0),
            ends_with_link=table.flag("end_with_link"),
        )
        table.refuse_others()
        # What is misspelt would ask for something: nobody is to be told to open it to all.
        if terms.asks_nothing and len(self.faults) == before:
            text = f'asks for nothing: write {action} = "allow", or name what is asked for'
            self.faults.append((table.path, f"{table.name} {text}"))
        self._check(table, terms, action)
        return terms

    def _check(self, table: Table, terms: Terms, action: Action) -> None:
        for name in sorted(terms.users or ()):
            if name not in self.passwords:
                table.fault("users", f"there is no [users.{name}]")
            elif terms.dialogue and not isinstance(self.passwords[name], Plain):
                table.fault("dialogue", f"[users.{name}] has a hash, and the dialogue needs the password")
        if terms.dialogue and terms.users is None and "users" not in table:
            table.fault("dialogue", "it is about users, and the rule names none")
        if terms.signed and not self.has_signing:
            table.fault("signed", "there is no [signing] to check it with")
        if terms.jwt and not self.has_jwt:
            table.fault("jwt", "there is no [jwt] to check it with")
        if terms.hook and self.hooks is not None and not getattr(self.hooks, action):
            table.fault("hook", f"there is no {action} in [hooks] to ask")
        if not terms.hook:
            for key in ("fail", "cache"):
                if key in table:
                    table.fault(key, "it goes with hook = true alone")
        if terms.ends_with_link and not (terms.signed or terms.jwt):
            table.fault("end_with_link", "it goes with signed or jwt alone")


def _network(text: str) -> Network:
    """IPv4 within IPv6 is IPv4, as it is of the addresses that are compared; ValueError if it is none."""
    network = ip_network(text)
    inner = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    outer_bits = IPV6LENGTH - IPV4LENGTH
    if inner is None or network.prefixlen < outer_bits:
        return network
    return IPv4Network((inner, network.prefixlen - outer_bits))


def _networks(table: Table) -> tuple[Network, ...] | None:
    texts = table.texts("ips", "10.0.0.0/8")
    found: list[Network] = []
    for text in texts or ():
        try:
            found.append(_network(text))
        except ValueError:
            try:
                meant = f": did you mean {ip_network(text, strict=False)}?"
            except ValueError:
                meant = ", as 10.0.0.0/8 and 2001:db8::1 are"
            table.fault("ips", f"{text!r} is no range of addresses{meant}")
    return None if texts is None else tuple(found)
