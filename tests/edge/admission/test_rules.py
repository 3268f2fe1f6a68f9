"""Patterns of rules, which of them decides, and whom the dialogue is asked of."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.edge.admission.rules import Pattern, Rule, Rules, Terms

ALLOW, DENY = Terms(), Terms(is_denied=True)
DIALOGUE = Terms(users=frozenset(("studio",)), dialogue=True)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("live/cam", "live/cam", True),
        ("live/cam", "live/cam1", False),
        ("live/*", "live/cam", True),
        ("live/*", "live/a/b", True),
        ("live/*", "live/", True),
        ("live/*", "live", False),
        ("*", "", True),
        ("*", "a/b", True),
        ("*/cam", "live/cam", True),
        ("*/cam", "cam", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "abbc", True),
        ("a*b*c", "acb", False),
        ("*ab*ba*", "aba", False),
        ("live/[a]?", "live/[a]?", True),
        ("live/?", "live/a", False),
        ("live/.", "live/a", False),
    ],
)
def test_a_star_is_any_characters_and_all_else_is_itself(pattern: str, key: str, matches: bool) -> None:
    assert Pattern(pattern).matches(key) is matches


_LETTERS = st.text("ab/*", max_size=12)


@given(_LETTERS, st.text("ab/", max_size=12))
def test_it_matches_what_others_match(pattern: str, key: str) -> None:
    assert Pattern(pattern).matches(key) is fnmatch.fnmatchcase(key, pattern)


@given(_LETTERS, st.text("ab/", max_size=8), st.text("ab/", max_size=8))
def test_what_it_says_of_keys_that_begin_so_is_true(pattern: str, start: str, rest: str) -> None:
    if Pattern(pattern).matches(start + rest):
        assert Pattern(pattern).may_match_below(start)
    elif rest:
        assert not Pattern(pattern).matches_all_below(start)


def test_many_stars_take_no_time() -> None:
    pattern = Pattern("*a" * 200 + "*b")
    began = time.thread_time()
    assert not pattern.matches("a" * 1_024)
    assert time.thread_time() - began < 0.1


def test_the_first_that_matches_and_speaks_of_the_action_decides() -> None:
    rules = Rules((
        Rule(Pattern("live/vip"), publish=DENY),
        Rule(Pattern("live/*"), play=DENY),
        Rule(Pattern("*"), publish=ALLOW, play=ALLOW),
    ))  # fmt: skip
    assert rules.terms("publish", "live/vip") is DENY
    assert rules.terms("play", "live/vip") is DENY
    assert rules.terms("publish", "live/cam") is ALLOW
    assert rules.terms("play", "other/cam") is ALLOW
    assert Rules().terms("play", "live/cam") is None


@pytest.mark.parametrize(
    ("rules", "app", "asked"),
    [
        ([("*", DIALOGUE)], "live", True),
        ([("live/*", DIALOGUE)], "live", True),
        ([("live/*", DIALOGUE)], "/live/", True),
        ([("live/*", DIALOGUE)], "live/room", True),
        ([("live/*", DIALOGUE)], "live2", False),
        ([("live/cam", DIALOGUE)], "live", True),
        ([("live/cam", DIALOGUE)], "live/cam", True),  # the whole address in the field of the server
        ([("*/cam", DIALOGUE)], "live", True),
        ([("live/*", ALLOW), ("*", DIALOGUE)], "live", False),
        ([("live/*", ALLOW), ("*", DIALOGUE)], "other", True),
        ([("live/*", ALLOW), ("*", DIALOGUE)], "", True),
        ([("live/open*", ALLOW), ("*", DIALOGUE)], "live", True),
        ([("live/*", None), ("*", DIALOGUE)], "live", True),
        ([], "live", False),
    ],
)
def test_the_dialogue_is_asked_where_a_key_of_the_app_may_need_it(
    rules: list[tuple[str, Terms | None]], app: str, asked: bool
) -> None:
    made = Rules(tuple(Rule(Pattern(match), publish=terms) for match, terms in rules))
    assert made.has_dialogue("publish", app) is asked
    assert not made.has_dialogue("play", app)


def test_what_no_rule_speaks_of_is_told() -> None:
    assert Rules().opens() == [
        "anybody may publish any stream: no rule speaks of publish",
        "anybody may play any stream: no rule speaks of play",
    ]
    some = Rules((Rule(Pattern("live/*"), publish=DENY), Rule(Pattern("*"), play=ALLOW)))
    assert some.opens() == ['anybody may publish what no rule matches: end with one of match = "*"']
    assert Rules((Rule(Pattern("*"), publish=DENY, play=ALLOW),)).opens() == []
