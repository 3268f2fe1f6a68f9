"""What the supervisor hands the process that delivers events, and what that counts."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.process.logs import LogFormat


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told: the address, and what signs. Both are secrets: an address may have one in its query."""

    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class EventsStart:
    """``socket_path``: where workers are to be heard. ``queue_path``: the queue; ``is_durable``: it is the
    operator's own, to be kept. ``kept``: events that wait, at most. ``status_fd``: as of a worker."""

    receiver: Receiver
    socket_path: str
    queue_path: str
    is_durable: bool
    kept: int
    instance: str
    status_fd: int
    log: tuple[LogFormat, str]

    def to_line(self) -> bytes:
        start = {**asdict(self), "receiver": None, "url": self.receiver.url}
        start["secrets"] = [base64.b64encode(each).decode() for each in self.receiver.secrets]
        return json.dumps(start).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> EventsStart:
        start = json.loads(line)
        secrets = tuple(map(base64.b64decode, start.pop("secrets")))
        start["receiver"] = Receiver(start.pop("url"), secrets)
        start["log"] = tuple(start["log"])
        return cls(**start)

    @property
    def queue_file(self) -> Path:
        return Path(self.queue_path)


@dataclass(slots=True)
class EventCounts:
    """What the process counts. Each by its name in the metrics."""

    events_sent: int = 0
    events_retried: int = 0
    events_dead: int = 0
    events_lost: int = 0
    events_waiting: int = 0
