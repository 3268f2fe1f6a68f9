"""The encodings of what is played over HTTP: one of each form for a stream, while it has players.

They keep what they have learned of their stream, such as the time that its players begin at, and all its
players share their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from cluster.core.media.flv import encode_header
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.http.flv_web_encoding import FlvWebEncoding
from cluster.edge.http.interfaces import HttpEncoding
from cluster.edge.http.mp4_encoding import Mp4Encoding
from cluster.edge.http.player import Form
from cluster.edge.http.routes import Kind
from cluster.edge.http.websocket import WebSocketEncoding
from cluster.edge.streams.flv_encoding import FlvEncoding


class PublishedFlvEncoding(FlvEncoding):
    """FLV as published."""

    def begin(self, headers: Iterable[LogEntry], *, audio: str | None, video: str | None) -> list[Buffer]:
        return [encode_header(audio=audio is not None, video=video is not None)]

    def greeting(self) -> list[Buffer]:
        return []


def _made(form: Form) -> HttpEncoding:
    if form.kind is Kind.MP4:
        return Mp4Encoding()
    return PublishedFlvEncoding() if form.raw else FlvWebEncoding()


class Encodings:
    """By stream key and form."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, Form], tuple[HttpEncoding, int]] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, key: str, form: Form) -> HttpEncoding:
        """For one player more; to be given back."""
        encoding: HttpEncoding | None
        encoding, players = self._taken.get((key, form), (None, 0))
        if encoding is None:
            if form.over == "ws":
                encoding = WebSocketEncoding(self.take(key, form._replace(over="http")))
            else:
                encoding = _made(form)
        self._taken[key, form] = encoding, players + 1
        return encoding

    def give_back(self, key: str, form: Form) -> None:
        """One player less."""
        encoding, players = self._taken[key, form]
        if players > 1:
            self._taken[key, form] = encoding, players - 1
            return
        del self._taken[key, form]
        if form.over == "ws":
            self.give_back(key, form._replace(over="http"))
