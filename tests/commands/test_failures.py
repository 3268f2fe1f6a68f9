"""How a command says that it has failed."""

from __future__ import annotations

import click
import pytest

from cluster.commands.failures import failed
from cluster.process.exit_codes import ExitCode


def test_it_is_one_line_in_the_name_of_the_running_program(capsys: pytest.CaptureFixture[str]) -> None:
    @click.group()
    def group() -> None:
        pass

    @group.command()
    def play() -> int:
        return failed(ExitCode.REFUSED, ValueError("no\n  such\tstream"))

    assert group.main(["play"], prog_name="streamer", standalone_mode=False) == ExitCode.REFUSED
    assert capsys.readouterr() == ("", "streamer: no such stream\n")


def test_it_may_be_named_where_no_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(ExitCode.USAGE, "what?", "streamer") == ExitCode.USAGE
    assert capsys.readouterr().err == "streamer: what?\n"


def test_the_text_of_a_server_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    failed(ExitCode.REFUSED, "go \x1b[2J away", "streamer")
    assert capsys.readouterr().err == "streamer: go \N{REPLACEMENT CHARACTER}[2J away\n"
