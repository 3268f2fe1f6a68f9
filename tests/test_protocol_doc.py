"""docs/protocol.md names modules and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_ROW = re.compile(r"^\| (?P<feature>.+?) \| (?P<where>`.+?`) \| (?P<shown>`.+?`) \|$")


def rows() -> list[tuple[str, list[str], list[str]]]:
    """(feature, modules, tests) of each row of the tables that name both."""
    found = []
    for line in (ROOT / "docs" / "protocol.md").read_text().splitlines():
        match = _ROW.match(line)
        if match is not None and match["feature"] != "feature":
            names = [re.findall(r"`([^`]+)`", match[column]) for column in ("where", "shown")]
            found.append((match["feature"], *names))
    return found


def test_there_are_rows() -> None:
    assert len(rows()) > 50


@pytest.mark.parametrize(("feature", "modules", "tests"), rows(), ids=[row[0] for row in rows()])
def test_a_row_names_what_exists(feature: str, modules: list[str], tests: list[str]) -> None:
    for module in modules:
        assert (ROOT / "cluster" / module).is_file(), f"{feature}: {module}"
    for test in tests:
        path, _, name = test.partition("::")
        source = ROOT / "tests" / path
        assert source.is_file(), f"{feature}: {path}"
        assert f"def {name or 'test_'}" in source.read_text(), f"{feature}: {test}"
