"""Decides by the rules of the configuration, for peers of every protocol."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeAlias

from cluster.core.errors import MisuseError
from cluster.core.rtmp.adobe_auth import Admitted, Authenticator, Challenged, read_query
from cluster.edge.admission.credentials import (
    MAX_QUERY_CHARACTERS,
    PASSWORD,
    USER,
    Credentials,
    Unclear,
)
from cluster.edge.admission.interfaces import Asker, Keys
from cluster.edge.admission.jwt_tokens import BadToken, Permit, Tokens
from cluster.edge.admission.policy import Policy
from cluster.edge.admission.rules import Terms
from cluster.edge.admission.signed import BadLink, normal
from cluster.edge.admission.users import TooManyLogins, is_one_of
from cluster.edge.peers.access import Access, Action, Allow, Deny, Later, Refused, Verdict
from cluster.edge.peers.join_rates import sender_of
from cluster.process.stranger_lines import host_of

#: OBS and FFmpeg answer this one of the two modes as readily as the other.
_MODE: Final = "adobe"
_ALLOW: Final = Allow(is_for_all=True)


class _Refusal(Exception):
    """What is denied, and why. The text is for the peer."""

    def __init__(self, why: Refused, text: str) -> None:
        super().__init__(text)
        self.why = why


@dataclass(slots=True)
class _Case:
    """One question, and what has been found out so far: who it is, and when the first proof expires."""

    access: Access
    terms: Terms
    credentials: Credentials
    user: str = ""
    expires: float | None = None

    def expires_at(self, expires: float | None) -> None:
        if expires is not None:
            self.expires = expires if self.expires is None else min(self.expires, expires)

    def permitted(self, permit: Permit) -> None:
        """The token is good."""
        self.user = self.user or permit.user
        self.expires_at(permit.expires)

    def logged_in(self, user: str, right: bool) -> None:
        """The password has been found right or not."""
        if not right:
            raise _Refusal(Refused.BAD_CREDENTIALS, "user or password is not right")
        if user not in (self.terms.users or ()):
            raise _Refusal(Refused.FORBIDDEN, f"this user may not {self.access.action} this stream")
        self.user = user

    def verdict(self) -> Allow:
        return Allow(user=self.user, ends_at=self.expires if self.terms.ends_with_link else None)


Check: TypeAlias = Callable[[_Case], Awaitable[None]]


class RuleJudge:
    """A ``Judge`` (``peers.access``) by ``policy``.

    ``secret``: random bytes that all workers of the node share, at least 16, for the dialogue of connect
    may go on at another worker. ``ask`` and ``keys``: whoever asks hooks and has the keys of JWKS; needed
    if a rule needs them. ``clock``: seconds since 1970.

    What is cheap to check is checked first, and a hook is asked of those alone who have shown all else.
    """

    def __init__(
        self,
        policy: Policy,
        secret: bytes,
        ask: Asker | None = None,
        keys: Keys | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy = policy
        self._ask = ask
        self._clock = clock
        terms = [*policy.rules.any_terms("publish"), *policy.rules.any_terms("play")]
        if ask is None and any(each.hook for each in terms):
            raise MisuseError("a rule with a hook, and nobody who asks")
        has_tokens = any(each.jwt for each in terms) and policy.jwt is not None
        self._tokens = Tokens(policy.jwt, keys) if has_tokens and policy.jwt is not None else None
        self._dialogues = _dialogues(policy, terms, secret)

    # ---- the dialogue of connect -----------------------------------------------------------------

    def challenge(self, app: str, query: str, *, publishes: bool, now_s: float) -> tuple[str, str]:
        """See ``Judge``. Who has a user and a password in the query of the app needs no dialogue: what it
        shows there is checked when it publishes or plays."""
        action: Action = "publish" if publishes else "play"
        if not self._dialogues or not self._policy.rules.has_dialogue(action, app):
            return "", ""
        query = query[:MAX_QUERY_CHARACTERS]
        fields = read_query(query)
        if "authmod" not in fields and USER in fields and PASSWORD in fields:
            return "", ""
        # All of them, also when one has been found: the time must not say which password it is.
        answers = [dialogue.judge(app, query, now_s) for dialogue in self._dialogues]
        for answer in answers:
            if isinstance(answer, Admitted):
                return "", answer.user
        refused = answers[0]
        return (refused.description if isinstance(refused, Challenged) else ""), ""

    # ---- publish and play ------------------------------------------------------------------------

    def judge(self, access: Access) -> Verdict | Awaitable[Verdict]:
        """See ``Judge``."""
        terms = self._policy.rules.terms(access.action, access.key)
        if terms is None or terms.asks_nothing:
            return _ALLOW
        try:
            return self._judge(access, terms)
        except (_Refusal, BadLink, BadToken) as refusal:
            return Deny(str(refusal), why=refusal.why, schemes=_schemes(terms))
        except Unclear as unclear:
            return Deny(str(unclear), why=Refused.BAD_CREDENTIALS, schemes=_schemes(terms))

    def _judge(self, access: Access, terms: Terms) -> Verdict | Awaitable[Verdict]:
        if terms.is_denied:
            raise _Refusal(Refused.FORBIDDEN, f"nobody may {access.action} this stream")
        host = host_of(access.peer)
        _check_network(terms, host, access.action)
        case = _Case(access, terms, Credentials(access))
        _check_keys(case)
        if terms.signed:
            self._check_link(case, host)
        slow = [*self._check_token(case), *self._check_login(case)]
        return Later(partial(self._go_on, case, slow)) if slow or terms.hook else case.verdict()

    async def _go_on(self, case: _Case, slow: list[Check]) -> Verdict:
        try:
            for check in slow:
                await check(case)
        except (_Refusal, BadToken) as refusal:
            return Deny(str(refusal), why=refusal.why, schemes=_schemes(case.terms))
        allowed = case.verdict()
        if not case.terms.hook or self._ask is None:
            return allowed
        terms = case.terms
        asked = await self._ask.ask(
            case.access, user=case.user, fail_open=terms.fail_open, cache_s=terms.cache_s
        )
        return asked if isinstance(asked, Deny) else _both(allowed, asked)

    def _check_link(self, case: _Case, host: str) -> None:
        signing, access = self._policy.signing, case.access
        if signing is None:
            raise MisuseError("a rule with signed addresses, and no secrets")
        now_s = self._clock()
        case.expires_at(signing.check(case.credentials, access.action, access.key, host, now_s))

    def _check_token(self, case: _Case) -> list[Check]:
        """Check the token; what is to be done in its place, if its key has to be looked for."""
        if not case.terms.jwt or self._tokens is None:
            return []
        token = case.credentials.token()
        if not token:
            raise _Refusal(Refused.NO_CREDENTIALS, "this needs a token")
        permit = self._tokens.check(token, case.access.action, case.access.key)
        if permit is None:
            return [self._check_token_by_name]
        case.permitted(permit)
        return []

    async def _check_token_by_name(self, case: _Case) -> None:
        if self._tokens is None:
            raise MisuseError("a token, and nothing to check it with")
        token, access = case.credentials.token(), case.access
        case.permitted(await self._tokens.check_by_name(token, access.action, access.key))

    def _check_login(self, case: _Case) -> list[Check]:
        """Check user and password; what is to be done in its place, if that takes long."""
        wanted, access = case.terms.users, case.access
        if wanted is None:
            return []
        if access.proven_user in wanted:
            case.user = access.proven_user
            return []
        login = case.credentials.login()
        if login is None and access.proven_user:
            raise _Refusal(Refused.FORBIDDEN, f"this user may not {access.action} this stream")
        if login is None:
            raise _Refusal(Refused.NO_CREDENTIALS, "this needs a user and a password")
        right = self._policy.users.is_right(*login)
        if right is None:
            return [self._check_login_slowly]
        case.logged_in(login[0], right)
        return []

    async def _check_login_slowly(self, case: _Case) -> None:
        user, password = case.credentials.login() or ("", "")
        address = sender_of(case.access.peer)
        try:
            case.logged_in(user, await self._policy.users.is_right_slowly(user, password, address))
        except TooManyLogins:
            raise _Refusal(Refused.HOOK_FAILED, "too many log in at once; try again") from None


def _dialogues(policy: Policy, terms: list[Terms], secret: bytes) -> list[Authenticator]:
    """One for each password that a user of the dialogue may have: the first knows the first of each, …"""
    names = {name for each in terms if each.dialogue for name in each.users or ()}

    def nth(number: int) -> Authenticator:
        first = {name: policy.users.plain(name)[number:][:1] for name in names}
        known = {name: texts[0] for name, texts in first.items() if texts}
        return Authenticator(_MODE, secret, known.get)

    most = max((len(policy.users.plain(name)) for name in names), default=0)
    return [nth(number) for number in range(most)]


def _check_network(terms: Terms, host: str, action: Action) -> None:
    if terms.networks is None:
        return
    address = normal(host)
    # Addresses and networks of different versions are not in each other.
    if address is None or not any(address in network for network in terms.networks):
        raise _Refusal(Refused.FORBIDDEN, f"nobody may {action} this stream from this address")


def _check_keys(case: _Case) -> None:
    if not case.terms.keys:
        return
    shown = case.credentials.secrets()
    if not shown:
        raise _Refusal(Refused.NO_CREDENTIALS, "this needs the key of the server (?key=…)")
    if not any(is_one_of(each, case.terms.keys) for each in shown):
        raise _Refusal(Refused.BAD_CREDENTIALS, "the key is not right")


def _schemes(terms: Terms) -> tuple[str, ...]:
    """With which Authorization a browser may try again."""
    wanted = {"Basic": terms.users is not None, "Bearer": terms.jwt}
    return tuple(scheme for scheme, is_wanted in wanted.items() if is_wanted)


def _both(ours: Allow, theirs: Allow) -> Allow:
    """What the hook says, and of what it does not, what the rules say; the earlier end of both."""
    ends = [each.ends_at for each in (ours, theirs) if each.ends_at is not None]
    return replace(theirs, user=theirs.user or ours.user, ends_at=min(ends, default=None))
