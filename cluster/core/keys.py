"""Stream keys: ``app/name``, what a publisher publishes and players play."""

from __future__ import annotations

import unicodedata
from typing import Final, Self

from cluster.core.errors import CloseReason, PeerViolation

#: Keys stand in topics, logs and tables of every node; real ones, tokens apart, stay far below this.
MAX_KEY_BYTES: Final = 1024


class StreamKey(str):
    """A checked stream key: the text ``app/name``, without queries and outer slashes.

    The app may hold slashes and so may the name: peers split one URL differently (FFmpeg takes two
    segments of three as the app), and all of them mean the same stream.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, app: str, name: str) -> Self:
        """The key of ``name`` (of publish or play) under ``app`` (of connect), both as the peer sent them.

        PeerViolation (BAD_COMMAND) if either is empty, or the key is too long or holds characters that
        no log, topic or file name should. The detail does not repeat them.
        """
        key = "/".join((_checked_part("app", app), _checked_part("stream name", name)))
        if len(key.encode()) > MAX_KEY_BYTES:
            raise _too_long()
        return cls(key)


def split_query(text: str) -> tuple[str, str]:
    """What stands before the first ``?`` and what stands behind it (empty if there is none)."""
    before, _, query = text.partition("?")
    return before, query


def clean_app(app: str) -> tuple[str, str]:
    """An app as ``connect`` names it, without slashes at its ends, and its query apart from it."""
    path, query = split_query(app)
    return path.strip("/"), query


def _checked_part(what: str, text: str) -> str:
    part, _ = clean_app(text)
    if not part:
        raise PeerViolation(CloseReason.BAD_COMMAND, f"the {what} is empty")
    if len(part) > MAX_KEY_BYTES:  # before each character is looked at
        raise _too_long()
    _check_characters(what, part)
    return part


def _too_long() -> PeerViolation:
    detail = f"the stream key is longer than {MAX_KEY_BYTES} bytes of UTF-8"
    return PeerViolation(CloseReason.BAD_COMMAND, detail)


def _check_characters(what: str, text: str) -> None:
    for index, character in enumerate(text):
        category = unicodedata.category(character)
        if category == "Cc":
            detail = f"the {what} holds the control character U+{ord(character):04X} at {index}"
            raise PeerViolation(CloseReason.BAD_COMMAND, detail)
        if category == "Cs":  # how bytes that are not UTF-8 stand in a decoded AMF string
            raise PeerViolation(CloseReason.BAD_COMMAND, f"the {what} is not UTF-8 at {index}")
