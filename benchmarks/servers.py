"""Start and end the servers under measurement; only processes started here are ever signalled."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import proc

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.02
_ROOT = Path(__file__).resolve().parent.parent

_NGINX_MODULES = (
    "/usr/lib/nginx/modules/ngx_rtmp_module.so",
    "/usr/share/nginx/modules/ngx_rtmp_module.so",
)

#: Its lowest delay: ``wait_key`` and ``interleave`` off, as by default, so that every message is forwarded
#: at once; no access log, no recording.
_NGINX_CONFIG = """\
load_module {module};
daemon off;
worker_processes {workers};
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
events {{ worker_connections 8192; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        chunk_size {chunk_size};
        max_streams 64;
        application live {{ live on; record off; wait_key off; interleave off; }}
    }}
}}
"""


class ServerError(Exception):
    """A server did not start, or ended by itself; the text carries what it wrote."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it listens and the root of its process tree."""

    pid: int
    port: int


def edge_command(*, workers: int, latency_budget_ms: int) -> list[str]:
    return [
        sys.executable, "-m", "cluster", "edge", "--bind", "127.0.0.1:0", "--workers", str(workers),
        "--latency-budget", str(latency_budget_ms), "--log-format", "json",
    ]  # fmt: skip


@contextlib.contextmanager
def edge(*, workers: int, latency_budget_ms: int, cores: set[int] | None) -> Iterator[Server]:
    """This project's server, as an operator starts it; yields once every worker accepts."""
    with TemporaryDirectory(prefix="rtmp-cluster-bench-") as directory:
        log = Path(directory, "edge.log")
        command = edge_command(workers=workers, latency_budget_ms=latency_budget_ms)
        with _process(command, log, cores) as process:
            port = _wait(process, log, lambda: _ready_port(log))
            yield Server(process.pid, port)


@contextlib.contextmanager
def nginx(*, workers: int, chunk_size: int, cores: set[int] | None) -> Iterator[Server]:
    """nginx-rtmp with a configuration of its own in a temporary directory."""
    binary, module = find_nginx()
    with TemporaryDirectory(prefix="rtmp-cluster-bench-") as directory:
        port = _free_port()
        config = Path(directory, "nginx.conf")
        config.write_text(_NGINX_CONFIG.format(
            module=module, workers=workers, directory=directory, port=port, chunk_size=chunk_size
        ))
        log = Path(directory, "stderr.log")
        command = [binary, "-p", directory, "-e", f"{directory}/error.log", "-c", str(config)]
        with _process(command, log, cores) as process:
            _wait(process, log, lambda: port if _accepts(port) else None)
            yield Server(process.pid, port)


@contextlib.contextmanager
def floor(
    *, players: int, batch_ms: int, bitrate: int, chunk_size: int, cores: set[int] | None
) -> Iterator[Server]:
    """The least a Python process can spend on sending the same bytes (see ``floor.py``)."""
    with TemporaryDirectory(prefix="rtmp-cluster-bench-") as directory:
        log = Path(directory, "floor.log")
        command = [
            sys.executable, "-m", "benchmarks.floor", "--players", str(players),
            "--batch-ms", str(batch_ms), "--bitrate", str(bitrate), "--chunk-size", str(chunk_size),
        ]  # fmt: skip
        with _process(command, log, cores) as process:
            port = _wait(process, log, lambda: int(log.read_text().strip() or 0) or None)
            yield Server(process.pid, port)


def find_nginx() -> tuple[str, str]:
    """nginx and its RTMP module; ServerError says what to install."""
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    module = next((path for path in _NGINX_MODULES if Path(path).exists()), None)
    if binary is None or module is None:
        raise ServerError("nginx-rtmp is not installed (Debian: apt-get install nginx libnginx-mod-rtmp)")
    return binary, module


@contextlib.contextmanager
def _process(command: list[str], log: Path, cores: set[int] | None) -> Iterator[subprocess.Popen[bytes]]:
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


def _wait(process: subprocess.Popen[bytes], log: Path, port: Callable[[], int | None]) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        found = port()
        if found is not None:
            return found
        if process.poll() is not None:
            raise ServerError(f"ended with {process.returncode} before it was ready: {_tail(log)}")
        time.sleep(_POLL_S)
    raise ServerError(f"not ready after {_START_TIMEOUT_S:.0f} s: {_tail(log)}")


def _ready_port(log: Path) -> int | None:
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            event = json.loads(line)
            if event.get("event") == "ready":
                return int(event["addresses"][0].rpartition(":")[2])
    return None


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip() or "it wrote nothing"
