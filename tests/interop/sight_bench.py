"""Runs what people type on two servers at once, and tells what each saw."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from sight import (
    MARGIN_S,
    Sight,
    complaints,
    levelled_complaints,
    packets_in_file,
    streams_in_json,
    streams_of_ffmpeg,
)
from sight_tasks import Stream, Task

from support.polling import wait_until

_WORKING_S = 45.0


@dataclass(frozen=True, slots=True)
class Server:
    """``url`` is that of its application; ``processes`` those that accept connections."""

    label: str
    url: str
    processes: Callable[[], list[int]]

    def connections(self) -> int:
        found = 0
        for pid in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                all_of_it = psutil.Process(pid).net_connections("tcp")
                found += sum(each.status == psutil.CONN_ESTABLISHED for each in all_of_it)
        return found


class Watched:
    """A task's process on one server, in a directory of its own."""

    def __init__(self, task: Task, stream: Stream, server: Server, name: str, directory: Path) -> None:
        self.task = task
        self._directory = directory
        directory.mkdir(parents=True)
        url = f"{server.url}/{name}"
        with self._path("stdout").open("wb") as output, self._path("stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                task.command(stream, url, f"{url}-other"), stdin=subprocess.DEVNULL, stdout=output,
                stderr=errors, cwd=directory, env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            )  # fmt: skip
        self.began_at = time.monotonic()
        self.ended_at: float | None = None

    def poll(self) -> None:
        """Note when it ends; to be called often."""
        if self.ended_at is None and self._process.poll() is not None:
            self.ended_at = time.monotonic()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def sight(self, media_from: float) -> Sight:
        """``media_from``: when the publisher began."""
        ended_at = self.ended_at if self.ended_at is not None else time.monotonic()
        log = self._path("stderr").read_text(errors="replace")
        if self.task.reports == "log":
            streams, seen = streams_of_ffmpeg(log), levelled_complaints(log)
        else:
            as_json = self.task.reports == "json"
            streams = streams_in_json(self._path("stdout").read_text()) if as_json else None
            seen = complaints(log)
        return Sight(
            streams, seen, self._process.returncode if self.ended_at is not None else None,
            ended_at - max(self.began_at, media_from),
            packets_in_file(self._path(self.task.output)) if self.task.output else None,
        )  # fmt: skip

    def _path(self, name: str) -> Path:
        return self._directory / name


def wait_for_all(ours: list[Watched], theirs: list[Watched]) -> None:
    """Until all have ended, or those at one server have had the margin after the last at the other."""
    deadline = time.monotonic() + _WORKING_S

    def over() -> bool:
        nonlocal deadline
        for each in (*ours, *theirs):
            each.poll()
        for one in (ours, theirs):
            if all(each.ended_at for each in one):
                deadline = min(deadline, max(each.ended_at or 0.0 for each in one) + MARGIN_S)
        return all(each.ended_at for each in (*ours, *theirs)) or time.monotonic() > deadline

    wait_until(over, "the peers to end", _WORKING_S + 5.0)


class Publishers:
    """FFmpeg, sending one clip in real time to each server."""

    def __init__(self, clip: Path, stream: Stream, urls: list[str], directory: Path) -> None:
        self._processes = []
        for number, url in enumerate(urls):
            with (directory / f"publisher-{number}").open("wb") as log:
                command = [
                    "ffmpeg", "-hide_banner", "-loglevel", "warning", "-nostdin", "-re", "-i", str(clip),
                    *stream.publish_options(), "-f", "flv", url,
                ]  # fmt: skip
                self._processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
        self.began_at = time.monotonic()

    def running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
