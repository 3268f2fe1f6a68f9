"""The commands as typed: what they accept, what they say, and the code they end with."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import __version__
from cluster.commands.main import run
from cluster.edge.node.config import OPTIONS
from cluster.process.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and stderr, which must be one line."""
    code = run(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("rtmp-cluster: ")
    return code, err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edge", "--bnd", ":1935"], "--bnd"),
        (["edge", "stray"], "stray"),
        (["serve"], "No such command 'serve'"),
        (["edge", "--bind", "1935"], "'1935' has no port: write :PORT, HOST:PORT or [IPV6]:PORT"),
        (["edge", "--bind", ":1935", "--bind", ":99999"], "the port must be a number from 0"),
        (["edge", "--router", "10.0.0.5:1936"], "did you mean tcp://10.0.0.5:1936?"),
        (["edge", "--workers", "none"], "'none' is not a whole number"),
        (["edge", "--latency-budget", "1001"], "1001 is not from 0 to 1000"),
        (["edge", "--slow-skip", "60"], "--slow-skip must not exceed --log-seconds"),
        (["router", "--bind", ":1936"], "expected tcp://HOST:PORT or ipc://PATH"),
        (["router", "--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_expected(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = _fails(arguments, capsys)
    assert code == ExitCode.USAGE
    assert says in err


def test_a_bad_value_in_the_environment_is_refused_like_one_on_the_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTMP_CLUSTER_BIND", ":1935 nowhere")
    code, err = _fails(["edge"], capsys)
    assert code == ExitCode.USAGE
    assert "'nowhere' has no port" in err
    assert "RTMP_CLUSTER_BIND" in err


def test_a_taken_port_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, err = _fails(["edge", "--bind", f"127.0.0.1:{port}"], capsys)
    assert code == ExitCode.ENVIRONMENT
    assert f"cannot listen on 127.0.0.1:{port}: the port is taken; stop the program" in err


def test_a_taken_router_port_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, err = _fails(["router", "--bind", f"tcp://127.0.0.1:{port}"], capsys)
    assert code == ExitCode.ENVIRONMENT
    assert str(port) in err


def test_a_taken_metrics_port_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        metrics = f"127.0.0.1:{listener.getsockname()[1]}"
        code, err = _fails(["edge", "--bind", "127.0.0.1:0", "--metrics", metrics], capsys)
    assert code == ExitCode.ENVIRONMENT
    assert f"cannot serve metrics on {metrics}: the port is taken" in err


def test_help_shows_every_option_with_its_default_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["edge", "--help"]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    for option in OPTIONS.values():
        assert " ".join(f"{option.flag} {option.metavar} {option.help}".split()) in shown
        assert f"[default: {option.default_text}] [env var: {option.env}]" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out == f"rtmp-cluster, version {__version__}\n"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.USAGE
    assert "edge" in capsys.readouterr().err


# ---- whole commands --------------------------------------------------------------------------


class Command:
    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cluster", *arguments, "--log-format", "json"],
                stderr=output, cwd=log.parent, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def ready(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, self.log.read_text()
        for line in self.log.read_text().splitlines():
            if '"ready"' in line:
                return dict(json.loads(line))
        return None


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    commands: list[Command] = []

    def start(*arguments: str) -> Command:
        commands.append(Command(list(arguments), tmp_path / f"{len(commands)}.log"))
        return commands[-1]

    yield start
    for command in commands:
        command.process.kill()
        command.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_router_says_ready_and_ends_cleanly(
    start: Any, eventually: Any, number: signal.Signals
) -> None:
    command = start("router", "--bind", "tcp://127.0.0.1:0")
    ready = eventually(command.ready, "the router is ready")
    assert ready["event"] == "ready"
    assert ready["endpoint"].startswith("tcp://127.0.0.1:")
    assert not ready["endpoint"].endswith(":0")
    assert ready["pid"] == command.process.pid
    command.process.send_signal(number)
    assert command.process.wait(60) == ExitCode.OK


@pytest.mark.parametrize("router", [(), ("--router", "tcp://127.0.0.1:1")])
def test_the_edge_says_ready_accepts_and_ends_cleanly_with_its_router(
    start: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory, router: tuple[str, ...],
) -> None:  # fmt: skip
    temporary = tmp_path_factory.mktemp("t")  # short: the path of a socket below it has at most 103 bytes
    monkeypatch.setenv("TMPDIR", str(temporary))
    command = start("edge", "--bind", "127.0.0.1:0", "--workers", "2", "--drain-timeout", "1", *router)
    ready = eventually(command.ready, "the edge is ready")
    assert ready["workers"] == 2
    host, _, port = ready["addresses"][0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30):
        pass
    (directory,) = temporary.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(60) == ExitCode.OK
    assert list(temporary.iterdir()) == [], "the directory of its own router is gone"


@pytest.mark.parametrize("arguments", [["edge", "--bind", "127.0.0.1:0"], ["router", "--bind", "tcp://127.0.0.1:0"]])
def test_a_misspelt_variable_is_named_at_the_start(
    start: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("RTMP_CLUSTER_WORKERS", "1")
    monkeypatch.setenv("RTMP_CLUSTER_LOG_LEVLE", "debug")
    command = start(*arguments)
    eventually(command.ready, "the command is ready")
    events = [json.loads(line) for line in command.log.read_text().splitlines()]
    (said,) = [each for each in events if each["event"] == "unknown_variable"]
    assert said["level"] == "warning"
    assert said["message"] == (
        "RTMP_CLUSTER_LOG_LEVLE is no variable of rtmp-cluster and changes nothing: "
        "did you mean RTMP_CLUSTER_LOG_LEVEL?"
    )
    assert said["variable"] == "RTMP_CLUSTER_LOG_LEVLE"


def test_what_is_in_force_is_shown_beside_what_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTMP_CLUSTER_WORKER", "1")
    assert run(["edge", "--print-config"]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert "workers = " in out
    assert err == (
        "RTMP_CLUSTER_WORKER is no variable of rtmp-cluster and changes nothing: "
        "did you mean RTMP_CLUSTER_WORKERS?\n"
    )
