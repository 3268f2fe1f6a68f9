"""What a player of FLV or MP4 over HTTP says and understands: one request, and media without end."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from typing import Final

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from cluster import __version__
from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from cluster.load.fault import ServerFault
from cluster.load.fmp4_reader import Fmp4Reader
from cluster.load.http_answer import Answer
from cluster.load.http_url import Form, HttpUrl

#: What a server makes its answer of (RFC 6455, 4.2.2).
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OK, _SWITCHING = 200, 101


def request(url: HttpUrl, target: str, **headers: str) -> bytes:
    """A GET of ``target`` at the server of ``url``."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {url.authority}", f"User-Agent: rtmp-cluster/{__version__}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class HttpDialogue:
    """One player's conversation about ``url``, which has the form FLV or MP4.

    ``asked`` once the request is on its way, ``ready`` once the stream has been granted; ``failed`` says
    why it never will be, or why it is over.
    """

    __slots__ = ("_answer", "_media", "_outgoing", "asked", "failed", "ready")

    def __init__(self, url: HttpUrl) -> None:
        self.asked = self.ready = False
        self.failed: str | None = None
        self._answer = Answer()
        self._media: Callable[[bytes], list[Message]] = (
            FlvReader().feed if url.form is Form.FLV else Fmp4Reader().feed
        )
        self._outgoing = self._request(url)

    def _request(self, url: HttpUrl) -> bytes:
        return request(url, url.target)

    def outgoing(self) -> bytes:
        """What must be sent now."""
        self.asked = True
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes) -> list[Message]:
        """The media in what arrived. ServerFault or FlvError if it cannot be read."""
        answer = self._answer
        body = answer.feed(data)
        if not self.ready:
            if not answer.status:
                return []
            if not self._granted(answer):
                self.failed = self.failed or answer.said(body)
                return []
            self.ready = True
        if answer.complete and not answer.upgraded:
            self.failed = "the stream has ended"
        return self._media(self._unwrapped(body))

    def keep_alive(self, received_bytes: int, now_ns: int) -> bytes:
        """What a player that does not look at what it gets sends now and then: HTTP knows no such thing."""
        return b""

    def _granted(self, answer: Answer) -> bool:
        return answer.status == _OK

    def _unwrapped(self, body: bytes) -> bytes:
        return body


class WebSocketDialogue(HttpDialogue):
    """The same in the binary messages of a WebSocket (RFC 6455)."""

    __slots__ = ("_accept", "_frames")

    def __init__(self, url: HttpUrl) -> None:
        self._frames = FrameProtocol(client=True, extensions=[])
        super().__init__(url)

    def _request(self, url: HttpUrl) -> bytes:
        key = base64.b64encode(os.urandom(16))
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        return request(
            url, url.target, Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Version="13",
            Sec_WebSocket_Key=key.decode(),
        )  # fmt: skip

    def keep_alive(self, received_bytes: int, now_ns: int) -> bytes:
        """A pong that nobody asked for: it sees no ping (5.5.3)."""
        return bytes(self._frames.pong())

    def _granted(self, answer: Answer) -> bool:
        if answer.status != _SWITCHING:
            return False
        if answer.headers.get(b"sec-websocket-accept") != self._accept:
            self.failed = "it did not accept this WebSocket, but another"
            return False
        return True

    def _unwrapped(self, body: bytes) -> bytes:
        """The payload of the binary frames in ``body``, whole or not."""
        payload = []
        try:
            self._frames.receive_bytes(body)
            for frame in self._frames.received_frames():
                if frame.opcode is Opcode.CLOSE:
                    self.failed = "the stream has ended"
                elif not isinstance(frame.payload, bytes | bytearray):
                    raise ServerFault("text came in a WebSocket, where media is binary")
                elif frame.opcode is Opcode.BINARY:
                    payload.append(frame.payload)
                elif frame.opcode is Opcode.PING:
                    self._outgoing += bytes(self._frames.pong(bytes(frame.payload)))
        except ParseFailed as error:
            raise ServerFault(f"no WebSocket: {error}") from None
        return b"".join(payload)
