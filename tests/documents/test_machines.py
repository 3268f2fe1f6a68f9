"""That nothing is typed on this host in place of a machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from documents.machines import Machine
from support.topology import Host, NotPermittedError


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Not started."""
    made = Machine(Host("host1", "10.0.0.1", "nowhere"), tmp_path)
    yield made
    made._booted = None
    made.close()


def test_a_child_that_is_on_this_host_yet_is_not_entered(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_booted", SimpleNamespace(pid=os.getpid(), poll=lambda: None))
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            assert machine._leader() == 0
            assert machine._state() == ""
            with pytest.raises(NotPermittedError):
                machine.does("true")
            with pytest.raises(NotPermittedError):
                machine.types("true")
        finally:
            child.kill()


def test_a_machine_that_has_ended_is_not_entered(machine: Machine) -> None:
    with pytest.raises(NotPermittedError):
        machine.does("true")
