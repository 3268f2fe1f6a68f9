"""``python -m tests.strangers.soak``: random bytes on the ports of a router without a key, for an hour.

libzmq reads them before anybody is known. If the router falls, its core and its log are kept, and a
backtrace is made where gdb is there. A seed makes the same bytes again, in the same order of connections.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.cluster_process import ROOT, ROUTER_PORTS, free_router_address
from support.polling import wait_until

_AT_ONCE = 1_500
_REPORT_EVERY_S = 60.0
_LARGEST = 600
#: ZMTP 3.0 (RFC 23): a greeting of 64 bytes, then the first frame of a handshake without security.
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_GREETING = _SIGNATURE + b"\x03\x01" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)
_READY = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
_BEGINNINGS = (b"", _SIGNATURE, _GREETING, _GREETING + _READY, _GREETING[:20], b"\x01\x00")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    directory = Path(tempfile.mkdtemp(prefix="strangers-soak-", dir=options.keep))
    address = free_router_address()
    router = _start(address, directory)
    print(f"router {router.pid} at {address}, in {directory}; seed {options.seed}", flush=True)
    opened = _attack(router, int(address.rpartition(":")[2]), options)
    code = router.poll()
    if code is None:
        router.send_signal(signal.SIGTERM)
        code = router.wait(20)
        print(f"{opened} connections; the router stands, and ends with {code}")
    else:
        _tell(code, opened, directory)
    if not code:
        shutil.rmtree(directory)
    return 1 if code else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.strangers.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="connections that close together")
    parser.add_argument("--keep", type=Path, help="where the core and the log of a router that fell stay")
    return parser.parse_args(arguments)


def _start(address: str, directory: Path) -> subprocess.Popen[bytes]:
    """A router that leaves a core of any size in this directory."""
    command = [sys.executable, "-X", "faulthandler", "-m", "cluster", "router", "--bind", address]
    with (directory / "router.log").open("wb") as log:
        router = subprocess.Popen(
            command, cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, preexec_fn=_allow_core,
        )  # fmt: skip
    wait_until(lambda: b"ready" in (directory / "router.log").read_bytes(), "the router to be ready", 20)
    return router


def _allow_core() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _attack(router: subprocess.Popen[bytes], port: int, options: argparse.Namespace) -> int:
    """How many connections there were; ends with the time, or with the router."""
    made = random.Random(options.seed)
    ends_at, report_at = time.monotonic() + options.seconds, time.monotonic() + _REPORT_EVERY_S
    opened = 0
    while time.monotonic() < ends_at and router.poll() is None:
        crowd: list[socket.socket] = []
        for _ in range(options.at_once):
            with contextlib.suppress(OSError):
                sock = socket.create_connection(("127.0.0.1", port + made.randrange(ROUTER_PORTS)), 5)
                crowd.append(sock)
                sock.sendall(made.choice(_BEGINNINGS) + made.randbytes(made.randrange(_LARGEST)))
        opened += len(crowd)
        for sock in crowd:
            # Half of them leave with a reset, as processes that are killed do.
            if made.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        if time.monotonic() > report_at:
            report_at += _REPORT_EVERY_S
            print(f"{opened} connections", flush=True)
    return opened


def _tell(code: int, opened: int, directory: Path) -> None:
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    print(f"the router fell with {how} after {opened} connections")
    print((directory / "router.log").read_text(errors="replace")[-4_000:])
    cores = sorted(directory.glob("core*"))
    if not cores:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
        print(f"no core in {directory}; the kernel's core_pattern is {pattern}")
    elif shutil.which("gdb"):
        command = ["gdb", "-batch", "-ex", "thread apply all bt", sys.executable, str(cores[0])]
        subprocess.run(command, check=False)
    print(f"kept in {directory}")


if __name__ == "__main__":
    sys.exit(main())
