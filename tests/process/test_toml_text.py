"""What is written as TOML says the same when it is read."""

from __future__ import annotations

import tomllib

from cluster.process import toml_text

TABLES = {
    "rule": [
        {"match": 'a"\x7f\n', "publish": {"users": ["x"], "signed": True, "cache": 1.5}, "play": "deny"},
        {"match": "*", "play": {}},
    ],
    "users": {"a b": {"password": "é"}, "c": {"passwords": []}},
    "signing": {"secrets": ["x", "y"]},
    "limit": [{"players": 3}],
}


def test_tables_are_written_as_they_are_read() -> None:
    written = "\n".join(text for _, text in toml_text.lines(TABLES))
    assert tomllib.loads(written) == TABLES
    assert '[users."a b"]' in written


def test_each_line_is_said_to_be_of_its_part() -> None:
    said = list(toml_text.lines(TABLES))
    assert (("rule", 1), "[[rule]]") in said
    assert (("rule", 1, "match"), 'match = "*"') in said
    assert (("users", "c"), "[users.c]") in said
    assert (("signing", "secrets"), 'secrets = ["x", "y"]') in said
