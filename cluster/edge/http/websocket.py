"""WebSocket (RFC 6455) on a connection whose request was for it: our media out, and what a player may say.

``wsproto`` answers the handshake and reads what comes. What goes out are binary messages, each with the
bytes of one message of the stream, and their headers are written here: the same for all players.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping
from wsproto.events import Request as Handshake
from wsproto.frame_protocol import CloseReason as CloseCode
from wsproto.utilities import ProtocolError

from cluster.core.errors import CloseReason
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer
from cluster.edge.http.interfaces import HttpEncoding
from cluster.edge.http.request import BadRequest, Request

if TYPE_CHECKING:
    from cluster.edge.http.connection import HttpConnection

#: Codes for applications (RFC 6455, section 7.4.2), made of the status that HTTP has for it.
_CODES = {
    CloseReason.STREAM_NOT_FOUND: 4404,
    CloseReason.SLOW_PLAYER: 4408,
    CloseReason.DRAINED: CloseCode.GOING_AWAY,
}
_LONGEST_REASON_BYTES = 123

#: 16 bytes in base64 (RFC 6455, section 4.1).
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")

_BINARY = 0x82  # the only frame of its message (section 5.2)
_LONG, _LONGER = 126, 127
_pack_short = struct.Struct(">BB").pack
_pack_long = struct.Struct(">BBH").pack
_pack_longer = struct.Struct(">BBQ").pack


def frame(buffers: list[Buffer]) -> list[Buffer]:
    """One binary message of ``buffers``; nothing of nothing."""
    size = sum(map(len, buffers))
    if not size:
        return []
    if size < _LONG:
        header = _pack_short(_BINARY, size)
    elif size <= 0xFFFF:
        header = _pack_long(_BINARY, _LONG, size)
    else:
        header = _pack_longer(_BINARY, _LONGER, size)
    return [header, *buffers]


class WebSocketEncoding:
    """What ``inner`` makes of each message of a stream, as a message of WebSocket."""

    is_shared = True

    def __init__(self, inner: HttpEncoding) -> None:
        self._inner = inner
        self.kind = f"ws_{inner.kind}"

    def begin(self, headers: Iterable[LogEntry], *, audio: str | None, video: str | None) -> list[Buffer]:
        return frame(self._inner.begin(headers, audio=audio, video=video))

    def entry(self, entry: LogEntry) -> list[Buffer]:
        encoded = entry.encoded
        if encoded is None:
            encoded = entry.encoded = {}
        framed = encoded.get(self)
        if framed is None:
            framed = encoded[self] = frame(self._inner.entry(entry))
        return framed

    def greeting(self) -> list[Buffer]:
        return frame(self._inner.greeting())

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        return frame(self._inner.headers(headers))


class WebSocket:
    """The WebSocket that one connection has become."""

    def __init__(self, connection: HttpConnection, request: Request) -> None:
        """BadRequest if the request is none for it."""
        key = request.headers.get(b"sec-websocket-key", b"")
        if _KEY.fullmatch(key) is None:
            raise BadRequest(400, "Sec-WebSocket-Key is not 16 bytes in base64")
        self._connection = connection
        self._protocol = WSConnection(ConnectionType.SERVER)
        fields = [
            (b"Host", b"server"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Key", key),
            (b"Sec-WebSocket-Version", request.headers.get(b"sec-websocket-version", b"")),
        ]  # fmt: skip
        try:
            self._protocol.initiate_upgrade_connection(fields, "/")
        except ProtocolError as error:
            raise BadRequest(400, str(error)) from None

    def accept(self, rest: bytes) -> None:
        """Answer the handshake, and read what came behind it."""
        for event in self._protocol.events():
            if isinstance(event, Handshake):
                self._connection.say([self._protocol.send(AcceptConnection())])
        if rest:
            self.receive(rest)

    def receive(self, data: Buffer) -> None:
        """What the player says: nothing of it is needed but its pings and its goodbye.

        Of several pings the last is answered (section 5.5.3).
        """
        connection = self._connection
        self._protocol.receive_data(bytes(data))
        ping: Ping | None = None
        for event in self._protocol.events():
            if isinstance(event, Ping):
                ping = event
            elif isinstance(event, CloseConnection):
                connection.say([self._protocol.send(event.response())])
                connection.end(CloseReason.PEER_CLOSED, "")
                return
        if ping is not None:
            connection.say([self._protocol.send(ping.response())])

    def say_goodbye(self, reason: CloseReason, why: str) -> None:
        """Tell the player why the connection ends."""
        text = why.encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")
        code = _CODES.get(reason, CloseCode.NORMAL_CLOSURE)
        self._connection.say([self._protocol.send(CloseConnection(code, text))])
