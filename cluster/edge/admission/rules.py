"""Rules: which keys they are about, and what they ask of those who publish and of those who play."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from cluster.core.keys import joined
from cluster.edge.peers.access import Action

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

ACTIONS: Final[tuple[Action, ...]] = ("publish", "play")
_STAR: Final = "*"


class Pattern:
    """A text in which ``*`` stands for any characters, none and slashes too, and all else for itself.

    Peers choose the keys, so a match takes no longer than it takes to look for each piece once.
    """

    __slots__ = ("_end", "_is_exact", "_middle", "_start", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._start, *rest = text.split(_STAR)
        self._is_exact = not rest
        self._end = rest.pop() if rest else ""
        self._middle = tuple(piece for piece in rest if piece)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def matches(self, key: str) -> bool:
        if self._is_exact:
            return key == self._start
        if len(key) < len(self._start) + len(self._end):
            return False
        if not (key.startswith(self._start) and key.endswith(self._end)):
            return False
        at, end = len(self._start), len(key) - len(self._end)
        for piece in self._middle:
            found = key.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    def may_match_below(self, start: str) -> bool:
        """Whether it matches any key that begins with ``start``."""
        if self._is_exact:
            return self._start.startswith(start)
        return self._start.startswith(start) or start.startswith(self._start)

    def matches_all_below(self, start: str) -> bool:
        """Whether it matches every key that begins with ``start``; in doubt it says no."""
        return self.text.endswith(_STAR) and self.matches(start)


def why_never(match: str) -> str:
    """Why ``match``, without slashes at its ends, matches no stream key; "" if it may match one."""
    if not match:
        return "there is nothing but slashes in it"
    if "?" in match:
        return "no stream key has a ? in it, for a query begins there; * stands for any characters"
    if "//" in match:
        return "no stream key has two slashes side by side, nor a host: write it as live/cam1 is written"
    if any(ord(character) < ord(" ") for character in match):
        return "no stream key has control characters in it"
    return ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one rule asks of one action: all of it must hold. If ``is_denied``, nothing helps.

    ``keys``: secrets of which one has to be shown, as ``--publish-key`` is. ``cache_s`` and ``fail_open``
    are about the answer of the hook. ``ends_with_link``: the session ends when its link or token expires.
    """

    is_denied: bool = False
    users: frozenset[str] | None = None
    networks: tuple[Network, ...] | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    signed: bool = False
    jwt: bool = False
    hook: bool = False
    dialogue: bool = False
    fail_open: bool = False
    cache_s: float = 0.0
    ends_with_link: bool = False

    @property
    def asks_nothing(self) -> bool:
        """Everybody may."""
        asked = self.signed or self.jwt or self.hook or self.keys
        return not (self.is_denied or asked or self.users is not None or self.networks is not None)


@dataclass(frozen=True, slots=True)
class Rule:
    """``publish`` and ``play``: what it asks; None if it does not speak of that."""

    match: Pattern
    publish: Terms | None = None
    play: Terms | None = None

    def terms(self, action: Action) -> Terms | None:
        return self.publish if action == "publish" else self.play


@dataclass(frozen=True, slots=True)
class Rules:
    """In the order of the file: the first that matches a key and speaks of the action decides."""

    rules: tuple[Rule, ...] = ()

    def terms(self, action: Action, key: str) -> Terms | None:
        """What is asked of who wants to do that; None if no rule speaks of it."""
        for rule in self.rules:
            terms = rule.terms(action)
            if terms is not None and rule.match.matches(key):
                return terms
        return None

    def any_terms(self, action: Action) -> Iterator[Terms]:
        """What is asked of this action, of any key."""
        return (terms for rule in self.rules if (terms := rule.terms(action)) is not None)

    def has_dialogue(self, action: Action, app: str) -> bool:
        """Whether there is a key of ``app``, as ``connect`` names it, whose rule wants the dialogue."""
        app = joined(app, "")
        below = f"{app}/" if app else ""
        for rule in self.rules:
            terms = rule.terms(action)
            if terms is None:
                continue
            if terms.dialogue and (rule.match.may_match_below(below) or rule.match.matches(app)):
                return True
            if rule.match.matches_all_below(below):
                return False  # no later rule decides for any key of this app
        return False

    def opens(self) -> list[str]:
        """What anybody may because no rule speaks of it, a sentence each."""
        found = []
        for action in ACTIONS:
            speaking = [rule for rule in self.rules if rule.terms(action) is not None]
            if not speaking:
                found.append(f"anybody may {action} any stream: no rule speaks of {action}")
            elif not any(rule.match.matches_all_below("") for rule in speaking):
                found.append(f'anybody may {action} what no rule matches: end with one of match = "*"')
        return found
