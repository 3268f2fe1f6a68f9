"""A peer that speaks HTTP, at the other end of a connection of a ``House``."""

from __future__ import annotations

from typing import NamedTuple

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from support.house import House, SocketPeer


class Answered(NamedTuple):
    """An answer: its status, its fields in lower case, what came behind its head."""

    status: int
    fields: dict[str, str]
    body: bytes


class HttpPeer(SocketPeer):
    """Sends bytes and keeps what comes. It is one of the house's peers: ``settle`` carries its bytes."""

    def __init__(self, house: House, host: str = "192.0.2.9") -> None:
        super().__init__()
        self.house = house
        self.received = b""
        house.peers.append(self)
        house.http.accept(self.accepted, (host, 40_000))

    def say(self, data: bytes | str) -> HttpPeer:
        self._unsent += data.encode() if isinstance(data, str) else data
        self.house.settle()
        return self

    def get(self, path: str, *fields: str, method: str = "GET") -> HttpPeer:
        lines = [f"{method} {path} HTTP/1.1", "Host: edge.example", *fields]
        return self.say("\r\n".join(lines) + "\r\n\r\n")

    def _take(self, data: bytes) -> None:
        self.received += data

    def answers(self) -> list[Answered]:
        """All that has come; the body of one without a length is all that follows."""
        rest, found = self.received, []
        while rest:
            head, end, rest = rest.partition(b"\r\n\r\n")
            assert end, f"no whole head: {head!r}"
            first, *lines = head.decode("latin-1").split("\r\n")
            version, status, _ = first.split(" ", 2)
            assert version == "HTTP/1.1"
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            wants_body = status not in ("101", "204") and not fields.get("x-head")
            size = int(fields.get("content-length", len(rest))) if wants_body else 0
            found.append(Answered(int(status), fields, rest[:size]))
            rest = rest[size:] if wants_body else rest
        return found

    @property
    def answer(self) -> Answered:
        """The only answer that has come."""
        (only,) = self.answers()
        return only

    def flv(self) -> tuple[FlvReader, list[Message]]:
        """What has come of a stream, as FLV."""
        reader = FlvReader()
        return reader, reader.feed(self.answer.body)
