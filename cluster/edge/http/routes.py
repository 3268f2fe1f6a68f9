"""What the path of a request means: a stream, and as what it is asked for."""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import NamedTuple

from cluster.core.errors import PeerViolation
from cluster.core.keys import StreamKey


class Kind(enum.StrEnum):
    """As what a stream is asked for. The names are those of the metrics."""

    PAGE = "page"
    FLV = "flv"
    MP4 = "mp4"
    HLS = "hls"


class Route(NamedTuple):
    """``name``: of HLS, which of its files. ``key`` is empty for the page that asks for one."""

    kind: Kind
    key: str
    name: str = ""


class NoRoute(Exception):
    """The path means nothing here; the text says why."""


#: The files of HLS below the path of their stream: the media playlist, init segments, segments and parts.
_HLS_FILE = re.compile(
    r"(?P<stream>.+)/(?P<file>media\.m3u8|[0-9a-f]{8,64}\.mp4|\d{1,20}(\.\d{1,6})?\.m4s)"
)
_ENDLESS = {".flv": Kind.FLV, ".mp4": Kind.MP4}

#: Players of one stream ask for the same files. Longer paths, and more of them, are read each time.
_REMEMBERED = 512
_REMEMBERED_CHARACTERS = 256


def route_of(path: str) -> Route:
    """NoRoute if there is none."""
    return _remembered(path) if len(path) <= _REMEMBERED_CHARACTERS else _read(path)


def _read(path: str) -> Route:
    if not path.strip("/"):
        return Route(Kind.PAGE, "")
    found = _HLS_FILE.fullmatch(path)
    if found is not None:
        return Route(Kind.HLS, _key(found["stream"]), found["file"])
    if path.endswith(".m3u8"):
        return Route(Kind.HLS, _key(path.removesuffix(".m3u8")), "")
    stem, dot, suffix = path.rpartition(".")
    kind = _ENDLESS.get(dot + suffix)
    return Route(Kind.PAGE, _key(path.rstrip("/"))) if kind is None else Route(kind, _key(stem))


_remembered = lru_cache(_REMEMBERED)(_read)


def _key(path: str) -> str:
    if path.endswith("/"):
        raise NoRoute("the address names no stream: expected http://HOST/APP/NAME.flv, .m3u8 or .mp4")
    try:
        return StreamKey.parse("", path)
    except PeerViolation as violation:
        raise NoRoute(violation.detail) from None
