"""Where the parts of a TOML file stand, and what is found of parts that are not there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from cluster.process.toml_lines import Path, key_lines, line_of

TEXT = """\
# a comment
[[rule]]
match = "a"
publish = { users = ["x"], ips = ["1", "2"] }
[rule.play]
signed = true

[[rule]]
match = '''
over
three'''
[users.studio]
password = "x"
[users]
b.password = "q"
[signing]
secrets = [
  "a",
  # a comment
  "b", "c",

  "d" ]
[deep]
limit = [ { a = 1 },
  { b = [
   1 ] },
  { c = 2 } ]
[[deep.list]]
[[deep.list.inner]]
x = 1
[[deep.list.inner]]
[[deep.list]]
[[deep.list.inner]]
x = 2
"""

LINES: dict[Path, int] = {
    ("rule",): 2, ("rule", 0): 2, ("rule", 0, "match"): 3, ("rule", 0, "publish"): 4,
    ("rule", 0, "publish", "ips", 1): 4, ("rule", 0, "play"): 5, ("rule", 0, "play", "signed"): 6,
    ("rule", 1): 8, ("rule", 1, "match"): 9,
    ("users",): 12, ("users", "studio"): 12, ("users", "studio", "password"): 13,
    ("users", "b"): 15, ("users", "b", "password"): 15,
    ("signing", "secrets"): 17, ("signing", "secrets", 0): 18, ("signing", "secrets", 1): 20,
    ("signing", "secrets", 2): 20, ("signing", "secrets", 3): 22,
    ("deep", "limit", 0, "a"): 24, ("deep", "limit", 1): 25, ("deep", "limit", 1, "b", 0): 25,
    ("deep", "limit", 2, "c"): 27,
    ("deep", "list"): 28, ("deep", "list", 0): 28, ("deep", "list", 0, "inner", 0, "x"): 30,
    ("deep", "list", 0, "inner", 1): 31, ("deep", "list", 1): 32, ("deep", "list", 1, "inner", 0, "x"): 34,
}  # fmt: skip


def _paths(value: Any, path: Path = ()) -> list[Path]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    parts = value.items() if isinstance(value, dict) else ()
    return [path, *(inner for key, each in parts for inner in _paths(each, (*path, key)))]


@pytest.mark.parametrize("path", LINES)
def test_each_part_has_the_line_where_it_is_first_said(path: Path) -> None:
    assert key_lines(TEXT)[path] == LINES[path]


def test_everything_that_is_in_the_file_has_a_line_and_nothing_else() -> None:
    assert set(key_lines(TEXT)) == set(_paths(tomllib.loads(TEXT))) - {()}


def test_what_is_missing_is_told_where_it_should_stand() -> None:
    lines = key_lines(TEXT)
    assert line_of(lines, ("rule", 1, "play", "users")) == 8
    assert line_of(lines, ("users", "nobody")) == 12
    assert line_of(lines, ("jwt", "secret")) is None
