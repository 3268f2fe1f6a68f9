"""The units, by systemd's own judgement: they parse, and what they leave open is little."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.core import ParameterSource

from cluster.commands.main import cli
from cluster.edge.node.config import EdgeConfig

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
_NAMES = ("rtmp-cluster-edge.service", "rtmp-cluster-router.service")
#: Of 100, in tenths of systemd's exposure level: 2.0 is "OK", an unhardened service has 9.6.
_MOST_EXPOSURE = 20


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing (Debian: apt-get install systemd)")
    return subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )


@pytest.fixture(params=_NAMES)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with a program that is there: systemd looks."""
    program = tmp_path / "rtmp-cluster"
    program.touch(mode=0o755)
    text = (UNITS / request.param).read_text()
    assert "/opt/rtmp-cluster/current/bin/rtmp-cluster" in text
    unit = tmp_path / str(request.param)
    unit.write_text(text.replace("/opt/rtmp-cluster/current/bin/rtmp-cluster", str(program)))
    return unit


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    done = _analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout) == (0, "")


def test_the_drop_in_with_a_file_checks_it_before_it_is_read_again(unit: Path) -> None:
    program = str(unit.parent / "rtmp-cluster")
    drop_in = (UNITS / "config.conf.example").read_text()
    text = unit.read_text() + drop_in.replace("/opt/rtmp-cluster/current/bin/rtmp-cluster", program)
    unit.write_text(text)
    done = _analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout) == (0, "")
    start, check = (
        line.split("rtmp-cluster ")[1]
        for line in drop_in.splitlines()
        if line.startswith("Exec") and "rtmp-cluster " in line
    )
    assert start == f"edge --config {check.removeprefix('check ')}"


def test_a_mistake_would_be_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in _analyze("verify", "--man=no", str(unit)).stdout


def test_the_service_is_exposed_to_little(unit: Path) -> None:
    done = _analyze("security", "--no-pager", "--offline=true", f"--threshold={_MOST_EXPOSURE}", str(unit))
    assert done.returncode == 0, done.stdout


def test_the_edge_may_take_longer_to_stop_than_a_drain_lasts() -> None:
    text = (UNITS / "rtmp-cluster-edge.service").read_text()
    (stop,) = [line for line in text.splitlines() if line.startswith("TimeoutStopSec=")]
    assert float(stop.partition("=")[2]) > EdgeConfig().drain_timeout_s


@pytest.mark.parametrize("name", ["edge", "router"])
def test_the_commands_read_the_example_of_their_environment_file(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (UNITS / f"{name}.env.example").read_text().splitlines()
    assignments = [line.partition("=") for line in lines if not line.startswith("#")]
    for variable, _, value in assignments:
        monkeypatch.setenv(variable, value)
    context = cli.commands[name].make_context(name, [])
    sources = [context.get_parameter_source(parameter) for parameter in context.params]
    assert sources.count(ParameterSource.ENVIRONMENT) == len(assignments), "each variable is an option's"


def test_a_router_is_started_again_however_often_it_falls() -> None:
    lines = (UNITS / "rtmp-cluster-router.service").read_text().splitlines()
    assert {"Restart=always", "StartLimitIntervalSec=0", "RestartPreventExitStatus=2"} <= set(lines)
    assert not any(line.startswith("StartLimitBurst") for line in lines)
