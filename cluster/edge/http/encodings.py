"""The encodings of what is played over HTTP: one of each form for a stream, while it has players.

They keep what they have learned of their stream, such as the time that its players begin at, and all its
players share their bytes.
"""

from __future__ import annotations

from cluster.core.message import Buffer
from cluster.edge.http.player import Form
from cluster.edge.streams.flv_encoding import FlvEncoding
from cluster.edge.streams.interfaces import Encoding


class PublishedFlvEncoding(FlvEncoding):
    """FLV as published. The header of the file, in front of it, says what the stream has."""

    def greeting(self) -> list[Buffer]:
        return []


def _made(form: Form) -> Encoding:
    """Modules are imported once somebody plays what they are for."""
    return PublishedFlvEncoding()


class Encodings:
    """By stream key and form."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, Form], tuple[Encoding, int]] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, key: str, form: Form) -> Encoding:
        """For one player more; to be given back."""
        encoding, players = self._taken.get((key, form), (None, 0))
        if encoding is None:
            if form.over == "ws":
                from cluster.edge.http.websocket import WebSocketEncoding

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
