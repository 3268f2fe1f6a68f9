"""Keeps one service running on a host without systemd, and speaks the same protocol with it.

    keeper.py start|stop|status --state DIRECTORY [--environment FILE] [--always] -- COMMAND …

``start`` returns once the command has said READY=1 (sd_notify(3)), ``stop`` once it has ended, drain and
all; both do nothing if that is so already. A command that fails after it was ready is started again; with
``--always`` also one that ends well without ``stop``, as a router does that somebody has terminated.
In the directory: ``pid`` (locked for as long as the keeper lives), ``ready`` (while it is), ``log``.
Python's standard library alone; exit codes as of an init script: 0, 1 failed, 3 not running.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_START_TIMEOUT_S = 60.0
#: For a command that does not say how long its end may take.
_STOP_TIMEOUT_S = 30.0
#: After a second SIGTERM, which asks for an end without a drain.
_KILL_AFTER_S = 5.0
_RESTART_AFTER_S = 1.0
_LOOK_EVERY_S = 0.2
#: It was asked to end, by whomever.
_ASKED_TO = 0
#: An option is wrong: a restart does not mend that.
_WRONG_OPTION = 2
_PR_SET_PDEATHSIG = 1

_LIBC = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """Runs the command in this process's child until told to end. Holds the lock on the pid file."""

    def __init__(
        self, state: Path, command: list[str], environment: dict[str, str], always: bool, report_fd: int
    ) -> None:
        self._state = state
        self._command = command
        self._environment = environment
        self._final_codes = (_WRONG_OPTION,) if always else (_WRONG_OPTION, _ASKED_TO)
        self._report_fd = report_fd
        self._child: subprocess.Popen[bytes] | None = None
        self._stop_deadline = float("inf")
        self._terms_sent = 0
        self._was_ready = False

    def run(self) -> int:
        """Until the command has ended for good; its last exit code."""
        wake_reader, wake_writer = socket.socketpair()
        notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for each in (wake_reader, wake_writer, notifications):
            each.setblocking(False)
        notifications.bind("")  # unix(7): the kernel picks a free abstract name
        name = notifications.getsockname()
        self._environment["NOTIFY_SOCKET"] = "@" + name[1:].decode()
        signal.set_wakeup_fd(wake_writer.fileno())
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        while True:
            code = self._run_once(wake_reader, notifications)
            self._ready_file.unlink(missing_ok=True)
            if self._terms_sent or not self._was_ready or code in self._final_codes:
                return code
            _say(f"ended with code {code}: starting it again")
            time.sleep(_RESTART_AFTER_S)

    @property
    def _ready_file(self) -> Path:
        return self._state / "ready"

    def _run_once(self, wake: socket.socket, notifications: socket.socket) -> int:
        self._child = subprocess.Popen(
            self._command, env=self._environment, cwd="/", stdin=subprocess.DEVNULL,
            preexec_fn=_end_with_the_keeper,
        )  # fmt: skip
        while (code := self._child.poll()) is None:
            readable, _, _ = select.select([wake, notifications], [], [], _LOOK_EVERY_S)
            if wake in readable and signal.SIGTERM in wake.recv(4096) and not self._terms_sent:
                self._stop_deadline = time.monotonic() + _STOP_TIMEOUT_S
                self._terminate()
            if notifications in readable:
                self._hear(notifications.recv(4096).decode(errors="replace").splitlines())
            if time.monotonic() >= self._stop_deadline:
                _say("it has not ended in time")
                self._stop_deadline = time.monotonic() + _KILL_AFTER_S
                self._terminate()
        return code

    def _hear(self, assignments: list[str]) -> None:
        for name, _, value in (each.partition("=") for each in assignments):
            if name == "READY" and value == "1":
                self._was_ready = True
                self._ready_file.write_text(f"{os.getpid()}\n")
                self._report("ready")
            elif name == "EXTEND_TIMEOUT_USEC" and self._terms_sent == 1:
                self._stop_deadline = time.monotonic() + int(value) / 1_000_000

    def _report(self, word: str) -> None:
        """Tell the ``start`` that waits, once."""
        if self._report_fd >= 0:
            os.write(self._report_fd, word.encode())
            os.close(self._report_fd)
            self._report_fd = -1

    def _terminate(self) -> None:
        """Ask; ask without a drain; kill."""
        self._terms_sent += 1
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM if self._terms_sent <= 2 else signal.SIGKILL)


def start(state: Path, command: list[str], environment: dict[str, str], always: bool) -> int:
    state.mkdir(parents=True, exist_ok=True)
    if running_pid(state) is not None:
        _say("is running already")
        return 0
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        _keep(state, command, environment, always, writer)
    os.close(writer)
    readable, _, _ = select.select([reader], [], [], _START_TIMEOUT_S)
    if readable and os.read(reader, 16) == b"ready":
        return 0
    log = (state / "log").read_text(errors="replace").splitlines() if (state / "log").exists() else []
    _say("it did not become ready; the end of its log:\n" + "\n".join(log[-20:]))
    stop(state)
    return 1


def _keep(
    state: Path, command: list[str], environment: dict[str, str], always: bool, report_fd: int
) -> None:
    """The keeper's own process: away from the terminal, its output in the log. Does not return."""
    code = 1
    try:
        os.setsid()
        log = os.open(state / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        with (state / "pid").open("a+") as pid_file:
            fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid_file.truncate(0)
            pid_file.write(f"{os.getpid()}\n")
            pid_file.flush()
            code = Keeper(state, command, environment, always, report_fd).run()
            (state / "pid").unlink()
    except OSError as error:
        _say(str(error))
    finally:
        os._exit(code)


def stop(state: Path) -> int:
    pid = running_pid(state)
    if pid is None:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while running_pid(state) is not None:  # the keeper sees to it that this ends
        time.sleep(_LOOK_EVERY_S)
    return 0


def status(state: Path) -> int:
    pid = running_pid(state)
    if pid is None:
        _say("is not running")
        return 3
    ready = (state / "ready").exists()
    _say(f"{'is ready' if ready else 'is not ready'}, pid {pid}")
    return 0 if ready else 1


def running_pid(state: Path) -> int | None:
    """The keeper's pid. The lock tells whether it lives: a pid alone may be another's by now."""
    try:
        with (state / "pid").open() as pid_file:
            try:
                fcntl.flock(pid_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(pid_file.read() or 0) or None
    except FileNotFoundError:
        pass
    return None


def read_environment(path: Path | None) -> dict[str, str]:
    """``NAME=value`` lines, to the end of the line, as systemd reads them; of ours only PATH."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    for line in path.read_text().splitlines() if path is not None else ():
        name, mark, value = line.strip().partition("=")
        if mark and not name.startswith(("#", ";")):
            environment[name] = value
    return environment


def _end_with_the_keeper() -> None:
    """In the child: whatever ends the keeper ends the command too, in order."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _say(text: str) -> None:
    print(f"keeper: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--environment", type=Path)
    parser.add_argument("--always", action="store_true")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    if arguments.action == "start":
        environment = read_environment(arguments.environment)
        return start(arguments.state, arguments.command, environment, arguments.always)
    return stop(arguments.state) if arguments.action == "stop" else status(arguments.state)


if __name__ == "__main__":
    sys.exit(main())
