"""What workers and the delivering process say to each other: one JSON object a line, on a stream socket.

    worker:   {"worker": "ab12-0.1", "instance": "ab12"}       first of all: who it is
              {"n": 7, "type": "play.started", ...}            an event, see ``Told``
              {"open": [3, 7]}                                 the sessions that are open after all of these
    process:  {"ack": 7}                                       events up to this number are in its queue
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a worker tells it. ``number`` counts those of the worker.

    ``opens``: it begins a session, whose end is owed if the worker cannot tell it any more. ``closes``:
    the number of the event that began the session that it ends. ``skipped``: events of the same key that
    were lost before this one.
    """

    number: int
    type: str
    at: float
    key: str
    data: Mapping[str, Any]
    opens: bool = False
    closes: int | None = None
    skipped: int = 0

    def to_line(self) -> bytes:
        said: dict[str, Any] = {
            "n": self.number, "type": self.type, "at": self.at, "key": self.key, "data": self.data
        }  # fmt: skip
        if self.opens:
            said["opens"] = True
        if self.closes is not None:
            said["closes"] = self.closes
        if self.skipped:
            said["skipped"] = self.skipped
        return line(said)

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Told:
        return cls(
            said["n"], said["type"], said["at"], said["key"], said["data"],
            opens=said.get("opens", False), closes=said.get("closes"), skipped=said.get("skipped", 0),
        )  # fmt: skip


def line(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


class LineReader:
    """Bytes as they come, cut into what was said."""

    def __init__(self) -> None:
        self._partial = b""

    def read(self, data: bytes) -> list[dict[str, Any]]:
        *whole, self._partial = (self._partial + data).split(b"\n")
        return [json.loads(each) for each in whole]
