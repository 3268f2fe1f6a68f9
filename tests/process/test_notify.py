"""Notifications over real Unix datagram sockets, and the two commands that send them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.process.notify import SOCKET_VARIABLE, Notifier

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its address as the environment variable has it."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract socket names are Linux's own")
    address = str(tmp_path / "notify") if request.param == "path" else f"@test/{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address.startswith("@") else address)
        receiver.settimeout(30)
        yield receiver, address


def _told(receiver: socket.socket) -> dict[str, str]:
    """The next datagram."""
    lines = receiver.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def test_ready_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    Notifier(address).ready("ready on\n[::]:1935")
    assert receiver.recv(4096) == b"READY=1\nSTATUS=ready on [::]:1935"


def test_stopping_asks_for_the_time_it_needs(manager: tuple[socket.socket, str]) -> None:
    receiver, address = manager
    notifier = Notifier(address)
    notifier.stopping("draining", within_s=12.5)
    notifier.stopping("ending")
    assert _told(receiver) == {"STOPPING": "1", "STATUS": "draining", "EXTEND_TIMEOUT_USEC": "12500000"}
    assert _told(receiver) == {"STOPPING": "1", "STATUS": "ending"}


def test_the_variable_is_taken_out_so_that_no_child_speaks_for_us(
    manager: tuple[socket.socket, str],
) -> None:
    receiver, address = manager
    environment = {SOCKET_VARIABLE: address, "PATH": "/bin"}
    Notifier.taken_from(environment).ready("ready")
    assert environment == {"PATH": "/bin"}
    assert _told(receiver)["READY"] == "1"


@pytest.mark.parametrize("environment", [{}, {SOCKET_VARIABLE: ""}])
def test_without_a_manager_nothing_is_said(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    Notifier.taken_from(environment).ready("ready")
    assert not caplog.records


def test_an_address_of_another_kind_is_named_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.taken_from({SOCKET_VARIABLE: "vsock:2:1"}).ready("ready")
    assert "'vsock:2:1' is neither a path nor an abstract name" in caplog.text


def test_a_manager_that_is_gone_is_a_warning_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Notifier(str(tmp_path / "gone")).ready("ready")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "READY=1" in caplog.text


def test_a_manager_that_does_not_read_does_not_hold_us(
    manager: tuple[socket.socket, str], caplog: pytest.LogCaptureFixture
) -> None:
    _, address = manager
    notifier = Notifier(address)
    for _ in range(10_000):
        notifier.ready("ready")
        if caplog.records:
            break
    assert "cannot be told" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["edge", "--bind", "127.0.0.1:0", "--workers", "2", "--drain-timeout", "3"], "ready on 127.0.0.1"),
        (["router", "--bind", "tcp://127.0.0.1:0"], "ready on tcp://127.0.0.1:"),
    ],
    ids=["edge", "router"],
)
def test_a_command_says_when_it_is_ready_and_when_it_ends(
    manager: tuple[socket.socket, str], arguments: list[str], where: str, tmp_path: Path
) -> None:
    receiver, address = manager
    environment = {**os.environ, "PYTHONPATH": str(ROOT), SOCKET_VARIABLE: address}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster", *arguments], stderr=output, cwd=tmp_path, env=environment
        )
    try:
        ready = _told(receiver)
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith(where)
        process.send_signal(signal.SIGTERM)
        stopping = _told(receiver)
        assert stopping["STOPPING"] == "1"
        if arguments[0] == "edge":
            assert float(stopping["EXTEND_TIMEOUT_USEC"]) > 3_000_000, "the drain, and a margin"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert "cannot be told" not in log.read_text()
