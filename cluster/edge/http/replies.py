"""The heads of answers, and whole answers to what cannot be served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias

from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, line

_LINES = {int(each): f"HTTP/1.1 {int(each)} {each.phrase}\r\n".encode() for each in HTTPStatus}

#: When to ask again what cannot be served now.
_RETRY_AFTER_S = 2

#: How long a browser may remember that it may ask with these fields.
_PREFLIGHT_S = 86_400

#: Names and values of what stands in a head.
Fields: TypeAlias = Sequence[tuple[str, str]]

_METHODS = "GET, HEAD, OPTIONS"
_ALLOW = ("Allow", _METHODS)
PREFLIGHT: Final[Fields] = (
    ("Access-Control-Allow-Methods", _METHODS),
    ("Access-Control-Allow-Headers", "Authorization, Range"),
    ("Access-Control-Max-Age", str(_PREFLIGHT_S)), _ALLOW,
)  # fmt: skip


class Replies:
    """Writes heads. ``origin``: whose pages may read the answers in a browser (``--http-origin``)."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.encode()
        cors = [("Access-Control-Allow-Origin", origin)]
        if origin != "*":
            cors.append(("Vary", "Origin"))
        self._cors = _lines(cors)
        self._cors_fields = [(name.lower(), value) for name, value in cors]
        self._date = ""
        self._date_line = b""
        self._dated_at = 0
        self._latest: Answer | None = None
        self._latest_how = (False, False, 0)
        self._latest_whole: Sequence[Buffer] = ()

    def may_play(self, origin: bytes, host: bytes) -> bool:
        """Whether a page of ``origin``, as its browser says, may play over WebSocket, which browsers let it
        do without asking. Pages of this server, which is ``host``, may."""
        return self._origin in (b"*", origin) or origin.partition(b"://")[2] == host

    def whole(self, answer: Answer, *, wants_body: bool, stays: bool) -> Sequence[Buffer]:
        """``answer`` with its head. ``stays``: further requests may follow.

        All who wait for one part are given the same answer in one turn: its head is written once.
        """
        how = (wants_body, stays, int(time.time()))
        if answer is not self._latest or how != self._latest_how:
            self._latest, self._latest_how = answer, how
            head = self._head(answer.status, _lines(fields_of(answer)), stays=stays)
            self._latest_whole = (head, *answer.body) if wants_body else (head,)
        return self._latest_whole

    def endless(self, content_type: str) -> bytes:
        """The head of what goes on until the connection ends."""
        return self._head(HTTPStatus.OK, _lines(endless_fields(content_type)), stays=False)

    def preflight(self, *, stays: bool) -> bytes:
        """A browser asks whether a page of another site may ask (Fetch standard, CORS protocol)."""
        return self._head(HTTPStatus.NO_CONTENT, _lines(PREFLIGHT), stays=stays)

    def h2_head(self, status: int, fields: Fields) -> list[tuple[str, str]]:
        """The fields of a head of HTTP/2, with those of every answer (RFC 9113, section 8.3.2)."""
        self._look_at_clock()
        lower = [(name.lower(), value) for name, value in fields]
        return [(":status", str(status)), ("date", self._date), *lower, *self._cors_fields]

    def _head(self, status: int, fields: bytes, *, stays: bool) -> bytes:
        self._look_at_clock()
        end = b"\r\n" if stays else b"Connection: close\r\n\r\n"
        return b"".join((_LINES[status], self._date_line, fields, self._cors, end))

    def _look_at_clock(self) -> None:
        now = int(time.time())
        if now != self._dated_at:
            self._dated_at = now
            self._date = formatdate(now, usegmt=True)
            self._date_line = f"Date: {self._date}\r\n".encode()


def fields_of(answer: Answer) -> list[tuple[str, str]]:
    """What ``answer`` says of itself."""
    fields = [
        ("Content-Type", answer.content_type), ("Content-Length", str(answer.size)),
        ("Cache-Control", answer.cache_control),
    ]  # fmt: skip
    if answer.location:
        fields.append(("Location", answer.location))
    if answer.is_text:
        fields.append(("Vary", "Accept-Encoding"))
    if answer.coding:
        fields.append(("Content-Encoding", answer.coding))
    for scheme in answer.schemes:
        fields.append(("WWW-Authenticate", f'{scheme} realm="rtmp-cluster"'))
    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields.append(("Retry-After", str(_RETRY_AFTER_S)))
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        fields.append(_ALLOW)
    return fields


def endless_fields(content_type: str) -> Fields:
    """What is said of media without end."""
    return ("Content-Type", content_type), ("Cache-Control", "no-store")


def _lines(fields: Fields) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in fields]).encode()


def refusal(status: int, text: str) -> Answer:
    """The answer to a request that is not served: one line, which no cache keeps."""
    return line(status, text)
