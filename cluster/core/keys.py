"""Stream keys: what an address means, to the server that is sent it and to the client that is given it.

A server gets an address in two parts, the app of ``connect`` and the name of ``publish`` or ``play``, and
peers divide one address differently: FFmpeg takes up to two segments as the app, MediaMTX all of them, OBS
whatever its user has typed into two fields. Only the parts joined say what is meant: ``joined`` decides it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Self

from cluster.core.errors import CloseReason, PeerViolation

#: Keys stand in topics, logs and tables of every node; real ones, tokens apart, stay far below this. Every
#: key of an edge comes from ``StreamKey.parse``, so the bus takes none that is longer.
MAX_KEY_BYTES: Final = 1024

#: A peer or a user whose address names no stream is told what to type.
NO_STREAM: Final = "the address names no stream: expected rtmp://HOST/APP/NAME"

#: Most who publish to a server see neither word.
_IN_OBS: Final = " (in OBS: Server rtmp://HOST/APP, Stream Key NAME)"

#: The beginning of a whole address, up to its path.
_WHOLE: Final = re.compile(r"(rtmp[a-z]{0,2}://)(?:[^/?]*@)?([^/?]*)/*", re.IGNORECASE)


#: What paths have for the place itself, and the one above.
_DOTS: Final = frozenset((".", ".."))


class StreamKey(str):
    """A checked stream key: the text ``app/name``, without queries, outer slashes and empty segments.

    The app may hold slashes and so may the name; either may be missing.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, app: str, name: str) -> Self:
        """The key of ``name`` (of publish or play) under ``app`` (of connect), both as the peer sent them.

        PeerViolation (BAD_COMMAND) if both are empty, or the key is too long, holds characters that
        no log, topic or file name should, or could be taken for more than one stream, or for another
        one. The detail does not repeat them.
        """
        key = joined(app, name)
        if not key:
            raise PeerViolation(CloseReason.BAD_COMMAND, f"{NO_STREAM}{_IN_OBS}")
        if len(key) > MAX_KEY_BYTES:  # before each character is looked at
            raise _too_long()
        _check_characters(key)
        _check_meaning(key)
        if len(key.encode()) > MAX_KEY_BYTES:
            raise _too_long()
        return cls(key)


def joined(app: str, name: str) -> str:
    """The key that ``app`` and ``name`` mean together, unchecked; "" if they name no stream.

    Empty parts are left out. A name that is a whole address says everything, also the app: some cameras
    send it as the name, or what OBS calls the stream key.
    """
    path = _path(name)
    if not (path and _WHOLE.match(name)):
        path = f"{_path(app)}/{path}"
    return "/".join(segment for segment in path.split("/") if segment)


def split_path(path: str) -> tuple[str, str]:
    """App and name of an address's path, as FFmpeg, MediaMTX and librtmp divide it; each with its query.

    One segment is the app, and the name is empty. Of more, the first two are the app if another follows
    and the second is not the beginning of a name ("mp4:"). A query belongs to what it follows: behind two
    or more segments to the name, behind one to the app.
    """
    before, mark, query = path.lstrip("/").partition("?")
    app, slash, rest = before.partition("/")
    if mark and not slash:
        query, _, name = query.partition("/")
        return f"{app}?{query}", name
    rest = rest.lstrip("/")
    second, slash, name = rest.partition("/")
    if slash and ":" not in second:
        app, rest = f"{app}/{second}", name.lstrip("/")
    return app, f"{rest}{mark}{query}"


def split_query(text: str) -> tuple[str, str]:
    """What stands before the first ``?`` and what stands behind it (empty if there is none)."""
    before, _, query = text.partition("?")
    return before, query


def clean_app(app: str) -> tuple[str, str]:
    """An app as ``connect`` names it, without slashes at its ends, and its query apart from it."""
    return _path(app).strip("/"), clean_name(app)[1]


def clean_name(name: str) -> tuple[str, str]:
    """A name as ``publish`` or ``play`` gives it, without its query, and the query.

    A whole address loses all that may be secret: user, password, and the queries of both its parts.
    """
    whole = _WHOLE.match(name)
    if whole is None:
        return split_query(name)
    app, stream = split_path(name[whole.end() :])
    app, app_query = split_query(app)
    stream, query = split_query(stream)
    path = "/".join(part for part in (app, stream) if part)
    return f"{whole[1]}{whole[2]}/{path}", query or app_query


def _path(text: str) -> str:
    """An app or a name without its query; of a whole address its path."""
    text, _ = clean_name(text)
    whole = _WHOLE.match(text)
    return text if whole is None else text[whole.end() :]


def _too_long() -> PeerViolation:
    detail = f"the stream key is longer than {MAX_KEY_BYTES} bytes of UTF-8"
    return PeerViolation(CloseReason.BAD_COMMAND, detail)


def _check_meaning(key: str) -> None:
    """Peers choose keys, and operators, tokens and back ends read them: ``live/*`` is all that begins so
    to the API and in tokens, and whoever has paths takes ``live/../tv/a`` for ``tv/a``."""
    if key.endswith("*"):
        raise PeerViolation(CloseReason.BAD_COMMAND, "the stream key ends with *, which means many streams")
    if not _DOTS.isdisjoint(key.split("/")):
        raise PeerViolation(CloseReason.BAD_COMMAND, "the stream key has . or .. as a segment")


def _check_characters(key: str) -> None:
    for index, character in enumerate(key):
        category = unicodedata.category(character)
        if category == "Cc":
            detail = f"the stream key holds the control character U+{ord(character):04X} at {index}"
            raise PeerViolation(CloseReason.BAD_COMMAND, detail)
        if category == "Cs":  # how bytes that are not UTF-8 stand in a decoded AMF string
            raise PeerViolation(CloseReason.BAD_COMMAND, f"the stream key is not UTF-8 at {index}")
