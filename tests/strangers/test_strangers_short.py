"""The short form of every attack, as a continuous integration runs it (``make strangers-short``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangers import rows
from strangers.attack import SHORT, Attack
from strangers.rig import run
from strangers.table import short

pytestmark = pytest.mark.strangers


@pytest.mark.parametrize("attack", short(), ids=lambda attack: attack.name)
def test_strangers_cost_no_more_than_they_may(attack: Attack, tmp_path: Path) -> None:
    for attempt in ("first", "again"):  # a machine that is busy otherwise gets a second try
        directory = tmp_path / attempt
        directory.mkdir()
        try:
            row = run(attack, SHORT, directory)
        except AssertionError as error:  # it could not begin
            row = rows.Row(attack.name, complaints=[str(error)])
        print(rows.head(), rows.line(rows.cells(row)), sep="\n")
        if not row.complaints:
            return
    raise AssertionError(row.as_json())
