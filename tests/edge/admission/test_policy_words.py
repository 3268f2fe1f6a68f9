"""What is said of a policy's tables holds no secret, and tells each difference."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.edge.admission.policy_words import differences, masked

SECRET = "marked-secret"
SECRETS: dict[str, Any] = {
    "access": {"publish_key": SECRET},
    "users": {
        "a": {"password": SECRET}, "b": {"passwords": [SECRET, SECRET]}, "c": {"password_hash": SECRET},
    },
    "signing": {"secrets": [SECRET]},
    "jwt": {"secret": SECRET, "jwks": f"https://id.example/keys?key={SECRET}"},
    "hooks": {
        "publish": f"https://name:{SECRET}@app.example/hook", "events": f"https://{SECRET}@[bad/",
        "secret": SECRET, "events_secret": SECRET,
    },
}  # fmt: skip


def test_secrets_are_masked_wherever_they_stand() -> None:
    shown = masked(SECRETS)
    assert SECRET not in str(shown)
    assert shown["users"]["b"] == {"passwords": ["***", "***"]}
    assert shown["hooks"]["publish"] == "https://***@app.example/***"
    assert shown["jwt"]["jwks"] == "https://id.example/keys?***"


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    tables = {
        "rule": [{"match": "*", "publish": {"users": ["a"], "key": True}}],
        "users": {"a": {"password_file": "/run/secrets/a"}},
        "hooks": {"play": "https://app.example/"},
        "jwt": {"issuer": "https://id.example/realms/live"},
    }
    assert masked(tables) == tables


def _rules(*texts: str) -> dict[str, Any]:
    return {"rule": [{"match": text, "play": "deny"} for text in texts]}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {}, []),
        (_rules("a", "b"), _rules("a", "b"), []),
        (_rules("a"), _rules("a", "b"), ['rule 2 added: { match = "b", play = "deny" }']),
        (_rules("a", "b", "c"), _rules("a", "c"), ['rule 2 removed: { match = "b", play = "deny" }']),
        (_rules("a"), {}, ['rule 1 removed: { match = "a", play = "deny" }']),
        (
            _rules("a", "b"), _rules("x", "b"),
            ['rule 1 changed from { match = "a", play = "deny" } to { match = "x", play = "deny" }'],
        ),
        (
            {"limit": [{"match": "*", "players": 1}]}, {"limit": [{"match": "*", "players": 2}]},
            ['limit 1 changed from { match = "*", players = 1 } to { match = "*", players = 2 }'],
        ),
        (
            {"users": {"a": {"password": "1"}, "b": {"password": "1"}, "d": {"password": "1"}}},
            {"users": {"b": {"password": "2"}, "c\n": {"password": "1"}, "d": {"password": "1"}}},
            ['user "a" removed', 'user "b" changed', r'user "c\n" added'],
        ),
        (
            {"signing": {"secrets": ["1"]}}, {"signing": {"secrets": ["2", "1"], "scheme": "secure-link"}},
            ["[signing] secrets changed", '[signing] scheme set to "secure-link"'],
        ),
        ({}, {"jwt": {"secret": "1"}}, ["[jwt] secret set"]),
        (
            {"hooks": {"publish": "https://a/?1", "play": "https://a/", "timeout": 5}},
            {"hooks": {"publish": "https://a/?2", "play": "https://b/"}},
            ["[hooks] publish changed", '[hooks] play changed from "https://a/" to "https://b/"',
             "[hooks] timeout removed"],
        ),
        ({}, {"access": {"publish_key": "1"}}, ["[access] publish_key set"]),
    ],
)  # fmt: skip
def test_differences_are_told_in_words(old: dict[str, Any], new: dict[str, Any], said: list[str]) -> None:
    assert differences(old, new) == said


def test_no_difference_tells_a_secret() -> None:
    other: dict[str, Any] = {table: dict.fromkeys(keys, "other") for table, keys in SECRETS.items()}
    other["users"] = {name: {"password": "other"} for name in SECRETS["users"]}
    for old, new in ((SECRETS, other), (other, SECRETS), ({}, SECRETS), (SECRETS, {})):
        assert differences(old, new)
        assert SECRET not in str(differences(old, new))
