"""A client of HTTP/2 over TLS that asks many things at once on one connection, and waits for them."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

_READ_BYTES = 1 << 16
_TIMEOUT_S = 30.0
_HEAD_BYTES = 9
_GOAWAY = 0x7


@dataclass
class Got:
    """The answer to one request. ``took_s``: from the request to its end."""

    path: str
    began_at: float
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    took_s: float | None = None

    @property
    def is_whole(self) -> bool:
        return self.took_s is not None


class H2Client:
    """``requests``: all that was asked for, by the number of its stream. ``goodbye``: the code of it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket = context.wrap_socket(plain, server_hostname="localhost")
        assert self._socket.selected_alpn_protocol() == "h2"
        self._protocol = H2Connection(H2Configuration(header_encoding=None))
        self._protocol.initiate_connection()
        self._protocol.increment_flow_control_window(1 << 24)
        self.requests: dict[int, Got] = {}
        self.goodbye: int | None = None
        self._received = b""

    def ask(self, path: str) -> Got:
        """Send a request; its answer comes while others are waited for, too."""
        number = self._protocol.get_next_available_stream_id()
        head = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self._protocol.send_headers(number, head, end_stream=True)
        got = self.requests[number] = Got(path, time.monotonic())
        self._flush()
        return got

    def get(self, path: str) -> Got:
        return self.wait(self.ask(path))[0]

    def wait(self, *asked: Got) -> list[Got]:
        """Read until these are whole."""
        until = time.monotonic() + _TIMEOUT_S
        while not all(each.is_whole for each in asked):
            assert time.monotonic() < until, [each.path for each in asked if not each.is_whole]
            self._read()
        return list(asked)

    def wait_goodbye(self) -> int:
        """Read until it has come."""
        while self.goodbye is None:
            self._read()
        return self.goodbye

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(_READ_BYTES)
        assert data, "the server has closed the connection"
        for event in self._events(data):
            if isinstance(event, ResponseReceived):
                got = self.requests[event.stream_id]
                fields = {name.decode(): value.decode() for name, value in event.headers}
                got.status, got.fields = int(fields.pop(":status")), fields
            elif isinstance(event, DataReceived):
                self.requests[event.stream_id].body += event.data
                self._protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded | StreamReset):
                got = self.requests[event.stream_id]
                got.took_s = time.monotonic() - got.began_at
        self._flush()

    def _events(self, data: bytes) -> list[Event]:
        """``h2`` hears nothing more once the server has said goodbye, which yet answers what was asked."""
        found: list[Event] = []
        self._received += data
        while len(self._received) >= _HEAD_BYTES:
            size = _HEAD_BYTES + int.from_bytes(self._received[:3])
            if len(self._received) < size:
                break
            frame, self._received = self._received[:size], self._received[size:]
            if frame[3] == _GOAWAY:
                self.goodbye = int.from_bytes(frame[13:17])
            else:
                found += self._protocol.receive_data(frame)
        return found

    def _flush(self) -> None:
        if data := self._protocol.data_to_send():
            self._socket.sendall(data)
