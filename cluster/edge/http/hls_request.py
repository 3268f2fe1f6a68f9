"""What an HLS player asks for, and what it is answered as soon as that is there."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from cluster.core.media.hls import HlsMuxer
from cluster.core.message import Buffer
from cluster.edge.http.answer import Answer, line

MEDIA_PLAYLIST: Final = "media.m3u8"

_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_MEDIA_TYPE = "video/mp4"

#: The multivariant playlist changes with the codecs alone.
_MASTER_KEPT = "public, max-age=30"
#: What a media playlist says is old at once, unless the address says what is waited for.
_LIST_KEPT = "no-cache"
#: Names are never used again.
_MEDIA_KEPT = "public, max-age=3600"

#: For how many target durations a cache may keep the answer to a request that names what it waits for
#: (draft-pantos-hls-rfc8216bis, appendix B.1).
_BLOCKED_TARGETS = 6

#: How often a player is sent on for one piece of media. FFmpeg follows eight times at most.
_SENT_ON_MOST = 6
#: The field of the query that counts this.
_SENT_ON_FIELD = "again"

_MOST_DIGITS = 18


class What(enum.Enum):
    """What can be asked for."""

    MASTER = enum.auto()
    LIST = enum.auto()
    SEGMENT = enum.auto()
    PART = enum.auto()
    INIT = enum.auto()


class HlsRequest(NamedTuple):
    """``number`` and ``part``: of what is asked for, or waited for; None if neither is said. ``sent_on``:
    how many workers have sent the player on already."""

    what: What
    name: str = ""
    number: int | None = None
    part: int | None = None
    skip: bool = False
    sent_on: int = 0


#: Players of one stream ask for what comes next with the same query. Longer ones are read each time.
_REMEMBERED = 256
_REMEMBERED_CHARACTERS = 128
#: No more are read: thousands would take ten milliseconds.
_MOST_FIELDS = 64


def fields_of(query: str) -> Mapping[str, str]:
    """The fields of a query, the first of them; of several with one name, the last."""
    if not query:
        return _NO_FIELDS
    return _remembered(query) if len(query) <= _REMEMBERED_CHARACTERS else _read(query)


def _read(query: str) -> Mapping[str, str]:
    first = query.split("&", _MOST_FIELDS)[:_MOST_FIELDS]
    return MappingProxyType(dict(parse_qsl("&".join(first))))


_remembered = lru_cache(_REMEMBERED)(_read)
_NO_FIELDS: Final = _read("")


def request_of(name: str, query: Mapping[str, str]) -> HlsRequest | None:
    """The request for the file ``name`` of a stream, empty for its multivariant playlist; None if there can
    be no such file, or if its query makes no sense."""
    if not name:
        return HlsRequest(What.MASTER)
    if name == MEDIA_PLAYLIST:
        number, part = query.get("_HLS_msn"), query.get("_HLS_part")
        if (number is None and part is not None) or not (_is_number(number) and _is_number(part)):
            return None
        skip = query.get("_HLS_skip") in ("YES", "v2")
        return HlsRequest(What.LIST, name, _int(number), _int(part), skip)
    stem, _, kind = name.rpartition(".")
    if kind == "mp4":
        return HlsRequest(What.INIT, stem)
    number, dot, part = stem.partition(".")
    if kind != "m4s" or not _is_number(number) or (dot and not _is_number(part)):
        return None
    what = What.PART if dot else What.SEGMENT
    sent_on = query.get(_SENT_ON_FIELD, "0")
    is_counted = len(sent_on) == 1 and _is_number(sent_on)
    return HlsRequest(
        what, name, int(number), int(part) if dot else None,
        sent_on=int(sent_on) if is_counted else _SENT_ON_MOST,
    )  # fmt: skip


def answer_to(request: HlsRequest, muxer: HlsMuxer, media_uri: str, *, has_all: bool) -> Answer | None:
    """The answer; None if it is to be waited for. ``media_uri``: of the media playlist, as seen from the
    multivariant one. ``has_all``: this worker has followed the stream for long."""
    match request.what:
        case What.MASTER:
            if muxer.is_ready and not muxer.is_over:
                return _playlist(muxer.master(media_uri), _MASTER_KEPT)
            return None
        case What.LIST:
            return _list(request, muxer)
        case What.INIT:
            found = muxer.init(request.name)
            return None if found is None else _media([found])
        case _:
            return _piece(request, muxer, has_all=has_all)


def _list(request: HlsRequest, muxer: HlsMuxer) -> Answer | None:
    if not muxer.is_ready:
        return None
    number = request.number
    if number is None or muxer.is_over:
        return _playlist(muxer.playlist(skip=request.skip), _LIST_KEPT)
    if muxer.has(number, request.part):
        kept = f"public, max-age={muxer.target_s * _BLOCKED_TARGETS}"
        return _playlist(muxer.playlist(skip=request.skip), kept)
    if not muxer.may_come(number):
        return line(400, f"segment {number} is too far ahead")
    return None


def _piece(request: HlsRequest, muxer: HlsMuxer, *, has_all: bool) -> Answer | None:
    number = request.number
    assert number is not None
    if request.part is None:
        body = muxer.segment(number)
    else:
        part = muxer.part(number, request.part)
        body = None if part is None else [part]
    if body is not None:
        return _media(body)
    if muxer.may_come(number):
        return None
    if has_all:
        return line(404, f"there is no {request.name}, or no longer")
    # Other workers may have it, and whoever connects again may reach one of them.
    if request.sent_on < _SENT_ON_MOST:
        location = f"{request.name}?{_SENT_ON_FIELD}={request.sent_on + 1}"
        return line(307, f"ask again at {location}")._replace(closes=True, location=location)
    # Browsers' players ask again after this, not after 404.
    return line(503, f"there is no {request.name} here yet")._replace(closes=True)


def _playlist(text: bytes, kept: str) -> Answer:
    return Answer(200, _PLAYLIST_TYPE, kept, [text], is_text=True)


def _media(body: Sequence[Buffer]) -> Answer:
    return Answer(200, _MEDIA_TYPE, _MEDIA_KEPT, body)


def _is_number(text: str | None) -> bool:
    return text is None or (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS)


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
