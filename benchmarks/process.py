"""Starts and ends one server process with its log; only processes started here are ever signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from benchmarks import proc

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02
_ROOT = Path(__file__).resolve().parent.parent

_T = TypeVar("_T")


class ServerError(Exception):
    """A server did not start, or ended by itself; the text carries what it wrote."""


@contextlib.contextmanager
def started(command: list[str], log: Path, cores: set[int] | None) -> Iterator[subprocess.Popen[bytes]]:
    """A process on these cores, which writes to ``log``; ServerError if it is over before the body is."""
    with log.open("wb") as output, proc.on_cores(cores):
        process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process
        if process.poll() is not None:
            raise ServerError(f"{command[0]} ended with {process.returncode}: {_tail(log)}")
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM; whatever of its tree is left after the timeout is killed, by process id."""
    if process.poll() is not None:
        return
    members = proc.tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def wait(process: subprocess.Popen[bytes], log: Path, probe: Callable[[], _T | None]) -> _T:
    """What ``probe`` says once the server is ready; until then it says None."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        if process.poll() is not None:
            raise ServerError(f"ended with {process.returncode} before it was ready: {_tail(log)}")
        time.sleep(_POLL_S)
    raise ServerError(f"not ready after {_START_TIMEOUT_S:.0f} s: {_tail(log)}")


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip() or "it wrote nothing"
