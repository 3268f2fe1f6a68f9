"""Tickets: what an HLS player shows with each request, once it was let in.

A player of HLS asks ten times a second, of any worker, and brings only the addresses of a playlist. So
who is let in gets playlists whose addresses carry a ticket: until when, and a signature over that and the
stream's key. Any worker that has the secret can check it, and nobody is asked again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Final

from cluster.edge.http.answer import Answer

#: How long one is good: a viewer who watches for longer has to open the stream again. Whoever is given an
#: address out of a playlist can play it for so long, and nothing else.
TICKET_S: Final = 12 * 3600

#: The field of the query.
FIELD: Final = "ticket"

_SIGNATURE_BYTES: Final = 16
_FORM: Final = re.compile(r"([0-9a-f]{1,12})\.([A-Za-z0-9_-]{22})")
#: Where an address ends in a playlist: those of media, of an init segment, of another playlist.
_ADDRESS_END: Final = re.compile(rb'\.(?:m4s|mp4|m3u8)(?=["\n])')


class Tickets:
    """Gives and checks tickets. ``clock``: seconds since 1970."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, key: str, ends_at: float | None) -> str:
        """One for the stream ``key``, good until ``ends_at`` if that comes before its own end."""
        until = self._clock() + TICKET_S
        until_s = int(until if ends_at is None else min(until, ends_at))
        return f"{until_s:x}.{self._signature(key, until_s)}"

    def is_good(self, key: str, ticket: str) -> bool:
        """Whether ``ticket`` lets its holder play ``key`` now."""
        found = _FORM.fullmatch(ticket)
        if found is None:
            return False
        until_s = int(found[1], 16)
        right = hmac.compare_digest(self._signature(key, until_s), found[2])
        return right and self._clock() < until_s

    def _signature(self, key: str, until_s: int) -> str:
        text = f"hls\n{until_s}\n{key}".encode()
        signed = hmac.digest(self._secret, text, hashlib.sha256)[:_SIGNATURE_BYTES]
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


def ticket_in(query: str) -> str:
    """The ticket in ``query``, "" if there is none."""
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name == FIELD:
            return value
    return ""


def with_ticket(answer: Answer, ticket: str, *, is_new: bool) -> Answer:
    """``answer`` for the holder of ``ticket``: its addresses carry it, and no cache keeps its playlists.

    ``is_new``: the address that was asked for did not carry it. So it is no secret, and no cache that
    others ask may keep its media.
    """
    item = f"{FIELD}={ticket}"
    if answer.location:
        answer = answer._replace(location=f"{answer.location}&{item}")
    if not answer.content_type.endswith("mpegurl"):
        kept = answer.cache_control
        return answer._replace(cache_control=kept.replace("public", "private")) if is_new else answer
    text = b"".join(bytes(each) for each in answer.body)
    text = _ADDRESS_END.sub(rb"\g<0>?" + item.encode(), text)
    return answer._replace(body=[text], cache_control="private, no-store")
