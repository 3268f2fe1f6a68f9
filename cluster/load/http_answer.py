"""Answers of an HTTP server, read from the bytes of a connection; ``httptools`` parses."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from cluster.load.fault import ServerFault
from cluster.process.words import printable

#: Of the status line and the headers of an answer.
MAX_HEAD_BYTES = 16 * 1024
#: How much of the body of a refusal is repeated.
_MAX_SAID = 200


class Answer:
    """One answer after another of a connection, each to a request of its own.

    ``status`` is 0 until its head is there. ``complete``: its body has ended. ``upgraded``: what follows
    its head is no HTTP.
    """

    __slots__ = (
        "_body", "_head_bytes", "_parser", "_unfinished_bytes", "complete", "headers", "keeps_alive",
        "status", "upgraded",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.upgraded = False
        self.begin()

    def begin(self) -> None:
        """Another request has been sent."""
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        #: Another request may follow on this connection: known once it is complete.
        self.keeps_alive = False
        #: Of the headers that were parsed, and of all that came before the last of them.
        self._head_bytes = self._unfinished_bytes = 0
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The part of the body in ``data``; ServerFault if this is no HTTP, or too much of it."""
        if self.upgraded:
            return data
        if self.complete:
            raise ServerFault("it answered what it was not asked")
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.upgraded = True
            return data[upgrade.args[0] :]
        except HttpParserError as error:
            raise ServerFault(f"no HTTP: {error}") from None
        if not self.status:
            self._unfinished_bytes += len(data)
        if max(self._head_bytes, self._unfinished_bytes) > MAX_HEAD_BYTES:
            raise ServerFault(f"the head of an answer has more than {MAX_HEAD_BYTES} bytes")
        body, self._body = b"".join(self._body), []
        return body

    def said(self, body: bytes) -> str:
        """Its status and what its body says of it, for people."""
        text = f"HTTP {self.status}"
        line = body[:_MAX_SAID].decode(errors="replace").strip().partition("\n")[0]
        return printable(f"{text}: {line}" if line else text)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True
        self.keeps_alive = self._parser.should_keep_alive()
