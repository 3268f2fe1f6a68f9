"""docs/load.md names every option and every field."""

from __future__ import annotations

import re
from pathlib import Path

from load_support import result

from cluster.commands.main import cli

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "load.md").read_text()


def test_every_field_of_the_result_is_described() -> None:
    shown = result(pids=(1,)).as_dict()
    named = set(re.findall(r"`(\w+)`", DOCUMENT))
    missing = set(shown) - named
    for part in ("publishers", "players", "delay_ms", "frames", "sent", "server", "generator"):
        missing |= set(shown[part]) - named
    missing |= set(shown["timeline"][0]) - named
    assert not missing


def test_every_option_in_the_document_exists() -> None:
    known = {name for parameter in cli.commands["load"].params for name in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]*", DOCUMENT)) - {"--help"} <= known
