"""The heads of answers, and whole answers to what cannot be served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, line

_LINES = {int(each): f"HTTP/1.1 {int(each)} {each.phrase}\r\n".encode() for each in HTTPStatus}

#: When to ask again what cannot be served now.
_RETRY_AFTER_S = 2

#: How long a browser may remember that it may ask with these fields.
_PREFLIGHT_S = 86_400


class Replies:
    """Writes heads. ``origin``: whose pages may read the answers in a browser (``--http-origin``)."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.encode()
        vary = "" if origin == "*" else "Vary: Origin\r\n"
        self._cors = f"Access-Control-Allow-Origin: {origin}\r\n{vary}".encode()
        self._date = b""
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
            self._latest_whole = self._written(answer, wants_body=wants_body, stays=stays)
        return self._latest_whole

    def _written(self, answer: Answer, *, wants_body: bool, stays: bool) -> Sequence[Buffer]:
        fields = (
            f"Content-Type: {answer.content_type}\r\nContent-Length: {answer.size}\r\n"
            f"Cache-Control: {answer.cache_control}\r\n"
        )
        if answer.location:
            fields += f"Location: {answer.location}\r\n"
        for scheme in answer.schemes:
            fields += f'WWW-Authenticate: {scheme} realm="rtmp-cluster"\r\n'
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            fields += f"Retry-After: {_RETRY_AFTER_S}\r\n"
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            fields += "Allow: GET, HEAD, OPTIONS\r\n"
        head = self._head(answer.status, fields.encode(), stays=stays)
        return (head, *answer.body) if wants_body else (head,)

    def endless(self, content_type: str) -> bytes:
        """The head of what goes on until the connection ends."""
        fields = f"Content-Type: {content_type}\r\nCache-Control: no-store\r\n"
        return self._head(HTTPStatus.OK, fields.encode(), stays=False)

    def preflight(self, *, stays: bool) -> bytes:
        """A browser asks whether a page of another site may ask (Fetch standard, CORS protocol)."""
        fields = (
            "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
            "Access-Control-Allow-Headers: Authorization, Range\r\n"
            f"Access-Control-Max-Age: {_PREFLIGHT_S}\r\n"
            "Allow: GET, HEAD, OPTIONS\r\n"
        )
        return self._head(HTTPStatus.NO_CONTENT, fields.encode(), stays=stays)

    def _head(self, status: int, fields: bytes, *, stays: bool) -> bytes:
        now = int(time.time())
        if now != self._dated_at:
            self._dated_at = now
            self._date = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
        end = b"\r\n" if stays else b"Connection: close\r\n\r\n"
        return b"".join((_LINES[status], self._date, fields, self._cors, end))


def refusal(status: int, text: str) -> Answer:
    """The answer to a request that is not served: one line, which no cache keeps."""
    return line(status, text)
