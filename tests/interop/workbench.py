"""What every peer of the table works with: child processes, free ports, and packets as hashes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.ffmpeg import Packets, hashes_of_file, read_hashes
from support.polling import wait_until

#: The length of every clip: two groups of pictures.
CLIP_S = 4

#: After their streams have ended peers get this long to end by themselves, and then when interrupted.
END_BY_ITSELF_S = 1.5
END_WHEN_ASKED_S = 1.5

#: Where ``tools/peers.sh`` puts what no system package carries.
PEERS_HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "rtmp-cluster", "peers")

#: The packets' hashes of each elementary stream ("video0", "audio0", "video1" …), in order.
Hashes = dict[str, list[str]]


class Job:
    """A peer's process; ended by its process id, with all that it started."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.command = command
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code; None if it still runs after that long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def ask_to_end(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        if self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            self._process.kill()
        self._process.wait()

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@dataclass(slots=True)
class Workbench:
    """A directory for one row of the table, and the processes started in it."""

    directory: Path
    clip: Path
    jobs: list[Job] = field(default_factory=list)
    servers: list[Job] = field(default_factory=list)

    def spawn(self, name: str, command: list[str]) -> Job:
        job = Job(command, self.directory / f"{len(self.jobs)}-{name}.log")
        self.jobs.append(job)
        return job

    def spawn_server(self, name: str, command: list[str], port: int) -> Job:
        """The same of one that is to accept connections on ``port``."""
        job = self.spawn(name, command)
        self.servers.append(job)

        def accepts() -> bool:
            assert job.running, f"{name} ended at once: {job.log_text()}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        wait_until(accepts, f"{name} to accept connections", 15)
        return job

    def path(self, name: str) -> Path:
        """A file name that no other of this row has."""
        return self.directory / f"{len(self.jobs)}-{name}"

    def finish(self) -> None:
        """Let the peers end by themselves, or ask them to, or kill them: files are complete either way."""
        self._wait_for_all(END_BY_ITSELF_S)
        for job in self.jobs:
            if job.running:
                job.ask_to_end()
        self._wait_for_all(END_WHEN_ASKED_S)
        self.end()

    def _wait_for_all(self, timeout_s: float) -> None:
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(job.running for job in self.jobs), "the peers to end", timeout_s)

    def end(self) -> None:
        for job in reversed(self.jobs):
            job.end()


def free_port() -> int:
    """Free now; what takes it must do so soon."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def first_line(command: list[str]) -> str | None:
    """The first line that a command writes; None if it is not installed or fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=20, errors="replace",
        )  # fmt: skip
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        return lines[0] if lines else None
    return None


def hashes_of(file: Path) -> Hashes:
    """Of a media file, by FFmpeg's framehash, which unpacks what containers do to packets; or as a player
    wrote them already (``.framehash``: FFmpeg, ``.hashes``: ``pyav_peer.py``)."""
    if file.suffix == ".hashes":
        found: Hashes = {}
        for line in file.read_text().splitlines() if file.exists() else ():
            stream, digest = line.split()
            found.setdefault(stream, []).append(digest)
        return found
    made = file if file.suffix == ".framehash" else None
    packets: Packets = read_hashes(made) if made else hashes_of_file(file, file.with_suffix(".framehash"))
    return {
        "video0": [packet.digest for packet in packets.video],
        "audio0": [packet.digest for packet in packets.audio],
    }


def python_tool(name: str) -> list[str]:
    """The command that runs a script beside this file."""
    return [sys.executable, str(Path(__file__).with_name(name))]


def free_ports_from(count: int = 3) -> int:
    """A port that is free together with those right after it: a router uses several, from the one given."""
    for _ in range(100):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return int(first)
    raise AssertionError("no free ports in a row")
