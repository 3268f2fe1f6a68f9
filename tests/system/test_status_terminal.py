"""``rtmp-cluster status --watch`` in a terminal: what an operator sees while a cluster changes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyte

from support.cluster_process import ROOT, ClusterProcess, StartEdge, StartRouter, free_router_address
from support.polling import wait_until
from support.rtmp_peer import Peers

COLUMNS, LINES = 80, 24
#: Makes the terminal the command's own, so that its Ctrl-C is one.
_LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.executable, sys.orig_argv[:1] + sys.argv[1:])"


def _without_a_size(environment: Mapping[str, str]) -> dict[str, str]:
    """pytest's processes are told of a size of their own, that would count more than the terminal's."""
    return {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}


class Terminal:
    """A terminal of 80 columns in which one command runs; ``screen`` is what it shows."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        #: Held while the screen changes: the reader writes on it, and the test resizes it.
        self._lock = threading.Lock()
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.output = b""
        self.resize(COLUMNS, LINES)
        command = [sys.executable, "-c", _LOGIN, "-m", "cluster", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs,
            env={**_without_a_size(os.environ), "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the command has ended
            while data := os.read(self._ours, 65536):
                self.output += data
                with self._lock:
                    self._stream.feed(data)

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self._screen.resize(lines, columns)
            fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def lines(self) -> list[str]:
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def line(self, start: str) -> str:
        """The line that begins so; empty if there is none."""
        return next((line for line in self.lines() if line.startswith(start)), "")

    def wait_for(self, start: str, *contained: str, timeout_s: float = 30.0) -> str:
        def seen() -> str:
            line = self.line(start)
            return line if all(text in line for text in contained) else ""

        try:
            return wait_until(seen, f"a line {start} … {contained}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n" + "\n".join(self.lines())) from None

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    def ended(self) -> int:
        """The exit code; all that it wrote has been read."""
        code = self.process.wait(30)
        self._reader.join(30)
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(30)
        os.close(self._ours)


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    shown = Terminal(*arguments)
    try:
        yield shown
    finally:
        shown.close()


def test_a_stream_comes_and_goes_a_router_dies_and_returns_and_ctrl_c_ends_it(
    start_edge: StartEdge, peers: Peers, tmp_path: Path
) -> None:
    address = free_router_address()
    router = ClusterProcess(["router", "--bind", address], tmp_path / "router.log")
    try:
        router.wait_ready()
        edge = start_edge("--workers", "1", "--node-name", "berlin", "--router", address)
        with terminal("status", "--watch", "--router", address) as shown:
            shown.wait_for("berlin", " 1 ", "ok")
            assert "streams 0" in shown.lines()[0]
            publisher = peers.publish(edge, "shown")
            shown.wait_for("live/shown", "berlin/0", "avc1")
            assert "streams 1" in shown.lines()[0]
            publisher.close()
            wait_until(lambda: not shown.line("live/shown"), "the stream to be gone from the screen")
            first_look = shown.lines()[0]

            router.kill()
            shown.resize(COLUMNS, 6)
            shown.wait_for("… and", "more lines")
            shown.wait_for(address, "nobody there")
            assert "routers 0 of 1" in shown.lines()[0]
            router = ClusterProcess(["router", "--bind", address], tmp_path / "router-2.log")
            shown.wait_for(address, " ms ")
            assert "routers 1 of 1" in shown.lines()[0]
            assert shown.lines()[0] != first_look, "the time goes on"

            shown.press_ctrl_c()
            assert shown.ended() == 0
            assert b"Traceback" not in shown.output
            # To the other screen, without a cursor, and back with one (xterm, DECSET 1049 and 25).
            assert shown.output.index(b"\x1b[?1049h") < shown.output.index(b"\x1b[?1049l")
            assert shown.output.rindex(b"\x1b[?25h") > shown.output.rindex(b"\x1b[?25l")
    finally:
        router.kill()


def test_into_a_pipe_one_look_follows_another_until_a_signal_or_until_nobody_reads(
    start_router: StartRouter,
) -> None:
    address = start_router()
    command = [sys.executable, "-m", "cluster", "status", "--watch", "--router", address]
    with contextlib.ExitStack() as stack:
        text, as_json, unread = (
            stack.enter_context(_piped([*command, *options])) for options in ([], ["--json"], [])
        )
        assert unread.stdout is not None
        unread.stdout.readline()
        unread.stdout.close()
        for process, sent in ((text, signal.SIGTERM), (as_json, signal.SIGINT)):
            looks = [_look(process, as_json=process is as_json) for _ in range(2)]
            assert all(address in look and "\x1b" not in look for look in looks)
            process.send_signal(sent)
            rest, errors = process.communicate(timeout=30)
            assert (process.returncode, rest, errors) == (0, b"", b"")
        assert unread.wait(30) == 1
        assert unread.stderr is not None
        assert unread.stderr.read() == b""


@contextlib.contextmanager
def _piped(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def _look(process: subprocess.Popen[bytes], *, as_json: bool) -> str:
    """The next that it prints: a JSON object on a line, or three parts with an empty line behind each."""
    assert process.stdout is not None
    lines: list[str] = []
    while lines.count("\n") < (0 if as_json else 3) or not lines:
        lines.append(process.stdout.readline().decode())
        assert lines[-1], "it has ended"
    if as_json:
        assert json.loads(lines[0])["routers"][0]["answers"] is True
    return "".join(lines)
