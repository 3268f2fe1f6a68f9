"""What a player of low-latency HLS says and understands: one request after another on one connection.

It asks for the playlists, then part by part for what the newest lists, and then, waiting for an answer,
for the playlist that has the next part (``_HLS_msn``, ``_HLS_part``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final
from urllib.parse import urljoin, urlsplit

from cluster.core.message import Message
from cluster.load.fault import ServerFault
from cluster.load.fmp4_reader import Fmp4Reader
from cluster.load.hls_playlist import (
    MAX_PLAYLIST_BYTES,
    MediaPlaylist,
    Part,
    Place,
    first_variant,
    is_multivariant,
    read_playlist,
)
from cluster.load.http_answer import Answer
from cluster.load.http_dialogue import request
from cluster.load.http_url import HttpUrl

#: Of a part or an initialization section.
MAX_PART_BYTES = 64 * 1024 * 1024
#: After a request that failed.
RETRY_NS = 250_000_000
#: So many requests in a row may fail: five seconds of them.
MAX_FAILED_IN_A_ROW = 20
#: Between two requests for a playlist that is not new, whatever its parts are said to last.
_MIN_PAUSE_NS = 50_000_000

_OK: Final = 200


class _Asked(Enum):
    """What the present request is for; what it is called where it failed."""

    PLAYLIST = "the playlist"
    INIT = "the initialization section"
    PART = "a part"


class HlsDialogue:
    """One player's conversation about ``url``, which has the form HLS.

    ``decodes``: whether the media in parts is returned, or parts are only counted. With ``pause_ns`` it has
    nothing to say before ``resume`` is called after that time; with ``at_end`` not before there is another
    connection, and ``connected`` has been called.
    """

    __slots__ = (
        "_answer", "_asked", "_body", "_body_bytes", "_failed_in_a_row", "_init", "_newest", "_outgoing",
        "_part", "_playlist", "_reader", "_request", "_served", "_target", "_url", "answered", "asked",
        "at_end", "decodes", "failed", "failures", "media_bytes", "pause_ns", "ready",
    )  # fmt: skip

    def __init__(self, url: HttpUrl) -> None:
        self.asked = self.ready = False
        self.failed: str | None = None
        self.decodes = True
        self.pause_ns = 0
        #: Requests that were answered, and what was wrong with those that failed: to be taken.
        self.answered = 0
        self.failures: list[str] = []
        self.media_bytes = 0
        self._url = url
        #: Where the playlist is, as asked of the server.
        self._target = url.target
        self._reader = Fmp4Reader()
        self._playlist = MediaPlaylist()
        self._part: Part | None = None
        #: Of the newest part that came.
        self._newest: Place | None = None
        self._init = ""
        self._failed_in_a_row = 0
        self._request = self._outgoing = b""
        self.connected()
        self._ask(_Asked.PLAYLIST, self._target)

    def connected(self) -> None:
        """There is a new connection: what was asked last is asked again, if it has not been answered."""
        self._answer = Answer()
        self._served = 0
        self.at_end = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        if self.asked:
            self._outgoing = self._request

    def interrupted(self, why: str) -> bool:
        """The connection has ended. Whether the player goes on at another: between two answers servers may
        end one; in the middle of an answer, its request has failed."""
        between = self._served > 0 and not self._answer.status
        if not between:
            if self._newest is None or self._failed_in_a_row == MAX_FAILED_IN_A_ROW:
                return False
            self._fail(why)
        self.at_end = True
        return True

    def outgoing(self) -> bytes:
        """What must be sent now."""
        if self.pause_ns or self.at_end:
            return b""
        self.asked = True
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def resume(self) -> None:
        """``pause_ns`` have passed."""
        self.pause_ns = 0

    def keep_alive(self, received_bytes: int, now_ns: int) -> bytes:
        """Its requests show that it lives."""
        return b""

    def receive(self, data: bytes) -> list[Message]:
        """The media in what arrived. ServerFault if it cannot be read."""
        answer = self._answer
        body = answer.feed(data)
        if answer.status == _OK and self._asked is not _Asked.PLAYLIST:
            self.media_bytes += len(body)
        self._keep(body)
        if not answer.complete:
            return []
        self.answered += 1
        self._served += 1
        self.at_end = not answer.keeps_alive
        whole = b"".join(self._body)
        if answer.status == _OK:
            self.ready = True
            return _TAKE[self._asked](self, whole)
        self._refused(answer.said(whole))
        return []

    def _keep(self, body: bytes) -> None:
        """Keep of an answer's body what will be looked at."""
        self._body_bytes += len(body)
        limit = MAX_PLAYLIST_BYTES if self._asked is _Asked.PLAYLIST else MAX_PART_BYTES
        if self._body_bytes > limit:
            raise ServerFault(f"{self._asked.value} has more than {limit} bytes")
        if body and (self.decodes or self._asked is _Asked.PLAYLIST or self._answer.status != _OK):
            self._body.append(body)

    # What is asked next.

    def _ask(self, what: _Asked, target: str) -> None:
        self._asked = what
        self._body, self._body_bytes = [], 0
        self._answer.begin()
        self._request = self._outgoing = request(self._url, target)

    def _refused(self, said: str) -> None:
        if self._newest is None or self._failed_in_a_row == MAX_FAILED_IN_A_ROW:
            self.failed = said
            return
        self._fail(said)
        self._ask(_Asked.PLAYLIST, self._target)

    def _fail(self, why: str) -> None:
        """Count the present request as failed, and wait before there is another."""
        self._failed_in_a_row += 1
        self.failures.append(f"{self._asked.value}: {why}")
        self.pause_ns = RETRY_NS

    def _take_playlist(self, body: bytes) -> list[Message]:
        text = body.decode(errors="replace")
        if is_multivariant(text):
            self._target = self._resolved(first_variant(text))
            self._ask(_Asked.PLAYLIST, self._target)
            return []
        self._playlist = read_playlist(text)
        if not self._next_part():
            # It was to wait until there is one; who asks at once then would ask without end.
            if self._playlist.ended:
                self.failed = "the stream has ended"
            self.pause_ns = max(_MIN_PAUSE_NS, round(self._playlist.part_target_s * 1e9 / 2))
        return []

    def _take_init(self, body: bytes) -> list[Message]:
        assert self._part is not None
        messages = self._reader.feed(body)
        self._ask(_Asked.PART, self._resolved(self._part.uri))
        return messages

    def _take_part(self, body: bytes) -> list[Message]:
        assert self._part is not None
        self._newest = self._part.place
        self._failed_in_a_row = 0
        messages = self._reader.feed(body) if self.decodes else []
        self._next_part()
        return messages

    def _next_part(self) -> bool:
        """Ask for what comes next: a part that is listed, else the list that has it. Whether it was the
        former."""
        newest = self._newest
        part = self._playlist.newest_start if newest is None else self._playlist.after(newest)
        if part is not None:
            self._part = part
            if part.init and part.init != self._init:
                self._init = part.init
                self._ask(_Asked.INIT, self._resolved(part.init))
            else:
                self._ask(_Asked.PART, self._resolved(part.uri))
            return True
        if newest is None or not self._playlist.blocks:
            self._ask(_Asked.PLAYLIST, self._target)
        else:
            self._ask(_Asked.PLAYLIST, self._blocking(self._playlist.expected_after(newest)))
        return False

    def _blocking(self, place: Place) -> str:
        """The playlist once it has that part: names in order, as caches tell addresses apart (6.2.5.2)."""
        path, _, query = self._target.partition("?")
        fields = [*filter(None, query.split("&")), f"_HLS_msn={place.segment}", f"_HLS_part={place.part}"]
        return f"{path}?{'&'.join(sorted(fields))}"

    def _resolved(self, uri: str) -> str:
        """What to ask the server for, to get what the playlist names."""
        try:
            found = urlsplit(urljoin(f"{self._url.scheme}://{self._url.authority}{self._target}", uri))
        except ValueError:
            raise ServerFault("a playlist with an address that is none") from None
        if found.netloc not in (self._url.authority, f"{self._url.authority}:{self._url.port}"):
            raise ServerFault("a playlist that names another server")
        if not found.path.isascii() or any(character <= " " for character in found.path + found.query):
            raise ServerFault("a playlist with an address that is none")
        return f"{found.path}?{found.query}" if found.query else found.path


_TAKE: Final[dict[_Asked, Callable[[HlsDialogue, bytes], list[Message]]]] = {
    _Asked.PLAYLIST: HlsDialogue._take_playlist,
    _Asked.INIT: HlsDialogue._take_init,
    _Asked.PART: HlsDialogue._take_part,
}
