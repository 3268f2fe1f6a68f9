"""A peer that speaks HTTP/2, at the other end of a connection of a ``House``."""

from __future__ import annotations

from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)

from cluster.core.media.flv import FlvReader
from cluster.core.message import Message
from cluster.edge.peers.door import Arrival
from cluster.net.outbox import StreamSocket
from support.house import House, SocketPeer

_HEAD_BYTES = 9
_GOAWAY = 0x7


@dataclass
class Reply:
    """What has come on one stream. ``reset``: the code with which it was ended before its time."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    def flv(self) -> list[Message]:
        return FlvReader().feed(self.body)


class H2Peer(SocketPeer):
    """Asks on as many streams as it is told to. One of the house's peers: ``settle`` carries its bytes.

    ``acknowledges``: it opens its windows again for what it has been sent. ``goaway``: how the other end
    has said goodbye.
    """

    def __init__(self, house: House, host: str = "192.0.2.9", *, acknowledges: bool = True) -> None:
        super().__init__()
        self.house = house
        self.acknowledges = acknowledges
        self.replies: dict[int, Reply] = {}
        self._received = b""
        self.goaway: ConnectionTerminated | None = None
        config = H2Configuration(header_encoding=None, validate_outbound_headers=False)
        self.protocol = H2Connection(config)
        self.protocol.initiate_connection()
        house.peers.append(self)
        door = house.http._door

        def agree(accepted: StreamSocket, arrival: Arrival) -> None:
            door._open_up(accepted, arrival._replace(alpn="h2"))

        door._come_in(self.accepted, (host, 40_000), agree)
        house.settle()

    def ask(self, path: str, *fields: tuple[str, str], method: str = "GET", ends: bool = True) -> int:
        """Ask for ``path``; the number of the stream. Nothing is sent before ``settle``."""
        number = self.protocol.get_next_available_stream_id()
        head = [
            (":method", method), (":scheme", "https"), (":authority", "edge.example"), (":path", path),
        ]  # fmt: skip
        self.protocol.send_headers(number, [*head, *fields], end_stream=ends)
        self.replies[number] = Reply()
        return number

    def get(self, path: str, *fields: tuple[str, str], method: str = "GET") -> Reply:
        """Ask, and let all settle."""
        number = self.ask(path, *fields, method=method)
        self.house.settle()
        return self.replies[number]

    def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._unsent += self.protocol.data_to_send() + data
        self.house.settle()

    def _outgoing(self) -> bytes:
        return self.protocol.data_to_send()

    def _take(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _HEAD_BYTES:
            size = _HEAD_BYTES + int.from_bytes(self._received[:3])
            if len(self._received) < size:
                break
            frame, self._received = self._received[:size], self._received[size:]
            self._take_frame(frame)
            if frame[3] == _GOAWAY and self.goaway is not None and not self.goaway.error_code:
                self.protocol.state_machine.state = ConnectionState.CLIENT_OPEN  # h2 would hear no answer

    def _take_frame(self, frame: bytes) -> None:
        for event in self.protocol.receive_data(frame):
            if isinstance(event, ResponseReceived):
                fields = {name.decode(): value.decode() for name, value in event.headers}
                reply = self.replies[event.stream_id]
                reply.status, reply.fields = int(fields.pop(":status")), fields
            elif isinstance(event, DataReceived):
                self.replies[event.stream_id].body += event.data
                if self.acknowledges:
                    size = event.flow_controlled_length
                    self.protocol.acknowledge_received_data(size, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.replies[event.stream_id].ended = True
            elif isinstance(event, StreamReset):
                self.replies[event.stream_id].reset = int(event.error_code)
            elif isinstance(event, ConnectionTerminated):
                self.goaway = event
