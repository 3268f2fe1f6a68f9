"""What the host lacks is said in a line, before anything is imported that would fail on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT

RUN = "sys.argv[:] = ['rtmp-cluster', 'edge']; runpy.run_module('cluster', run_name='__main__')"

#: What makes a host lack something, and what is said of it.
LACKING = {
    "del select.epoll, select.EPOLLIN": (
        "it runs on Linux, for it needs epoll, which this system does not have: use a container"
    ),
    "sys.version_info = (3, 9, 2)": (
        "Python 3.11 or newer is needed, and this is 3.9: run it with another one"
    ),
    "sys.modules['zmq'] = None": (
        "the package zmq is missing: run it where pip install has put rtmp-cluster"
    ),
}


def started(lacking: str) -> subprocess.CompletedProcess[str]:
    """``rtmp-cluster edge`` on a host that lacks something."""
    command = [sys.executable, "-c", f"import runpy, select, sys; {lacking}; {RUN}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("lacking", "says"), LACKING.items(), ids=LACKING)
def test_what_is_missing(lacking: str, says: str) -> None:
    process = started(lacking)
    assert process.returncode == ExitCode.ENVIRONMENT, process.stderr
    assert process.stderr == f"rtmp-cluster: {says}\n"
    assert process.stdout == ""


def test_a_module_of_ours_that_is_missing_is_a_bug() -> None:
    process = started("sys.modules['cluster.commands.edge'] = None")
    assert process.returncode == 1
    assert "Traceback" in process.stderr


def test_the_installed_command_looks_too() -> None:
    assert 'rtmp-cluster = "cluster.__main__:main"' in (Path(ROOT) / "pyproject.toml").read_text()
