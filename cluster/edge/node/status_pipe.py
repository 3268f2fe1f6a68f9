"""The status pipe: what a worker process tells its supervisor, as one JSON object a line.

    {"ready": ["0.0.0.0:1935"]}     it accepts connections on these addresses
    {"beat": {"connections": 3}, "routers": {"tcp://r1:1936": ""}}
                                    its event loop turns, this is what it has counted, and what is wrong
                                    with each router of the cluster: nothing, or null if it cannot tell yet
    {"prepared": 3}                 it could go by policy 3 now
    {"failed": 3, "text": "…"}      it could not, and why
    {"in_force": 3}                 it goes by policy 3 from here on
    {"asked": "drain", "deadline_s": 600.0}
                                    an operator asks this of the node, through this worker

Nothing goes the other way: the supervisor speaks on the worker's stdin (``orders``), and by SIGTERM.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from cluster.net.addresses import BindAddress

logger = logging.getLogger(__name__)

#: In some beats, beside the counters: ``TopStreams``.
TOP_STREAMS = "top_streams"

_READ_BYTES = 64 * 1024


class Ready(NamedTuple):
    """The worker accepts connections on ``addresses``."""

    addresses: list[str]


class Beat(NamedTuple):
    """The worker's loop turned; ``numbers`` are its counters by name, ``routers`` as ``Link`` has them."""

    numbers: dict[str, Any]
    routers: dict[str, str | None]


class Prepared(NamedTuple):
    """The worker could go by the policy of this number now."""

    generation: int


class Failed(NamedTuple):
    """The worker could not; ``text`` says why, and holds no secret."""

    generation: int
    text: str


class InForce(NamedTuple):
    """The worker goes by the policy of this number."""

    generation: int


class Asked(NamedTuple):
    """An operator asks for ``what`` ("drain", "undrain", "reload") of the node."""

    what: str
    deadline_s: float = 0.0


Said: TypeAlias = Ready | Beat | Prepared | Failed | InForce | Asked


class StatusPipe:
    """The worker's end. It never blocks the worker's loop: while the pipe is full, beats are dropped."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._unsent = b""
        self.is_ready = False

    def ready(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Say once that connections are accepted on these (host, port) pairs."""
        self.is_ready = True
        self._unsent += _line({"ready": [str(BindAddress(*address)) for address in addresses]})
        self._flush()

    def beat(
        self, numbers: Mapping[str, Any], routers: Mapping[str, str | None] | None = None
    ) -> None:
        """Say that the loop turns. ``numbers`` must be JSON: ints, floats, and dicts of them."""
        self._flush()
        if not self._unsent:
            self._unsent = _line({"beat": numbers, "routers": routers or {}})
            self._flush()

    def prepared(self, generation: int) -> None:
        """Say that the policy of this number could be put in force."""
        self._unsent += _line({"prepared": generation})
        self._flush()

    def failed(self, generation: int, text: str) -> None:
        """Say that it could not, and why."""
        self._unsent += _line({"failed": generation, "text": text})
        self._flush()

    def in_force(self, generation: int) -> None:
        """Say that it goes by the policy of this number."""
        self._unsent += _line({"in_force": generation})
        self._flush()

    def ask(self, asked: Asked) -> None:
        """Pass on what is asked of the node."""
        self._unsent += _line({"asked": asked.what, "deadline_s": asked.deadline_s})
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._fd, self._unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # The supervisor is gone, and what watches stdin is about to end this process.
            self._unsent = b""


class StatusReader:
    """The supervisor's end; owns ``fd``."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._partial = b""

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[Said]:
        """What the worker has said since the last call, without waiting."""
        said: list[Said] = []
        while data := self._receive():
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                try:
                    said.append(_parse(line))
                except (ValueError, TypeError, KeyError):
                    logger.error(
                        "a worker's status line is not understood: %(line)r",
                        {"line": line[:200]}, extra={"event": "status_unreadable"},
                    )  # fmt: skip
        return said

    def close(self) -> None:
        os.close(self._fd)

    def _receive(self) -> bytes:
        try:
            return os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""


def _line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> Said:
    said = json.loads(line)
    if "prepared" in said:
        return Prepared(int(said["prepared"]))
    if "failed" in said:
        return Failed(int(said["failed"]), str(said["text"]))
    if "in_force" in said:
        return InForce(int(said["in_force"]))
    if "asked" in said:
        return Asked(str(said["asked"]), float(said["deadline_s"]))
    if "ready" in said:
        return Ready(list(said["ready"]))
    return Beat(dict(said["beat"]), dict(said.get("routers", {})))
