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


@pytest.mark.parametrize(
    "text",
    [
        "a = 1 # [\n", "a = '[' # ]\nb = \"\\\"[\"\n", 'a = """\n["\\""""""\nb = 1\n',
        "a = '''\n[''''\nb = 1\n",
        "'#' = 1\n\"a\\\"#[\".b = 2", "a = [ # ]\n '#', ]\n[ x . y ]\n[[ z ]] # [\n", "a=[[\n1],\n[\n2]]",
        "\n\n# c\n  [x]\n\tb = 1979-05-27T07:32:00Z\n c = {d = [\n1, {e=2}], f.g = {}}\n", "",
    ],
)  # fmt: skip
def test_brackets_and_quotes_of_every_kind_are_told_apart(text: str) -> None:
    lines = key_lines(text)
    assert set(lines) == set(_paths(tomllib.loads(text))) - {()}
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_a_long_list_takes_no_longer_for_each_line() -> None:
    addresses = "\n".join(f'  "10.0.0.{number}",' for number in range(20_000))
    lines = key_lines(f"[x]\nips = [\n{addresses}\n]\nz = 1\n")
    assert lines["x", "ips", 19_999] == 20_002
    assert lines["x", "z"] == 20_004
