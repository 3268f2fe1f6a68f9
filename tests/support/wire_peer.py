"""Peers that speak RTMP message by message, as other servers' relays do on the wire: xiu, lal, MediaMTX.

Our own client role keeps to its state table and hides such habits. These peers do what they are written to
do, whatever they are told, and keep all that they are sent.
"""

from __future__ import annotations

import contextlib
import socket

from cluster.core.amf.values import AmfValue
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import command as commands
from cluster.core.rtmp import control
from cluster.core.rtmp.chunk_reader import ChunkReader
from cluster.core.rtmp.chunk_writer import ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.handshake import ClientHandshake

ENTROPY = bytes(range(256)) * 12
LIMITS = Limits()
_READ_BYTES = 1 << 18


class WirePeer:
    """One connection in the client role over a socket; ``pump`` moves bytes, and waits for none.

    Subclasses say what follows the answers.
    """

    def __init__(self, sock: socket.socket, app: str, name: str) -> None:
        self.app, self.name = app, name
        self.socket = sock
        self.socket.setblocking(False)
        self.closed = False
        self.messages: list[Message] = []
        self.commands: list[Command] = []
        self._handshake: ClientHandshake | None = ClientHandshake(
            entropy=ENTROPY, uptime_ms=0, mode="simple"
        )
        self._writer, self._reader = ChunkWriter(), ChunkReader(LIMITS)
        self._unsent = self._handshake.start()

    # What it has been sent.

    @property
    def codes(self) -> list[str]:
        """The codes of all onStatus."""
        infos = [each.arg(0) for each in self.commands if each.name == "onStatus"]
        return [str(info["code"]) for info in infos if isinstance(info, dict)]

    @property
    def status_streams(self) -> set[int]:
        """The message streams that NetStream statuses have come on."""
        return {each.stream_id for each in self.commands if each.name == "onStatus"}

    def results(self, transaction_id: float) -> int:
        """How many answers it got to that transaction."""
        answers = [each for each in self.commands if each.name in ("_result", "_error")]
        return [each.transaction_id for each in answers].count(transaction_id)

    def media(self, *, stream_id: int) -> list[Message]:
        """Audio and video on that message stream."""
        kinds = (MessageType.AUDIO, MessageType.VIDEO)
        return [each for each in self.messages if each.type_id in kinds and each.stream_id == stream_id]

    def user_events(self) -> list[tuple[int, ...]]:
        """The user control events but for pings, with their values."""
        read = [
            control.read_user_control(each)
            for each in self.messages
            if each.type_id == MessageType.USER_CONTROL
        ]
        return [(each.event, *each.values) for each in read]

    # What it sends.

    def command(
        self,
        name: str,
        transaction_id: float,
        *args: AmfValue,
        command_object: AmfValue = None,
        stream_id: int = 0,
    ) -> None:
        self.send(commands.encode(Command(name, transaction_id, command_object, args, stream_id)))

    def send(self, *messages: Message) -> None:
        for message in messages:
            self._unsent += self._writer.encode(message, 4)

    def on_connected_socket(self) -> None:
        """The handshake is over."""
        fields: dict[str, AmfValue] = {"app": self.app, "tcUrl": f"rtmp://edge.example/{self.app}"}
        self.command("connect", 1.0, command_object=fields)

    def on_result(self, transaction_id: float) -> None:
        raise NotImplementedError

    # Bytes.

    def pump(self) -> bool:
        """Send and receive what can be now; whether anything moved."""
        return self._write() | self._read()

    def close(self) -> None:
        """Leave without a word."""
        self.closed = True
        self.socket.close()

    def _write(self) -> bool:
        if not self._unsent or self.closed:
            return False
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            sent = self.socket.send(self._unsent)
            self._unsent = self._unsent[sent:]
            return sent > 0
        return False

    def _read(self) -> bool:
        if self.closed:
            return False
        try:
            data = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return True
        if self._handshake is not None:
            self._unsent += self._handshake.receive(data)
            if not self._handshake.done:
                return True
            data, self._handshake = self._handshake.leftover, None
            self.on_connected_socket()
        for message in self._reader.feed(data):
            self._on(message)
        return True

    def _on(self, message: Message) -> None:
        self.messages.append(message)
        if message.type_id == MessageType.COMMAND_AMF0:
            read = commands.decode(message, LIMITS)
            self.commands.append(read)
            if read.name == "_result":
                self.on_result(read.transaction_id)
        elif message.type_id == MessageType.USER_CONTROL:
            event = control.read_user_control(message)
            if event.event == control.UserControlEvent.PING_REQUEST:
                self.messages.pop()
                self.send(control.ping_response(event.values[0]))


class Xiu(WirePeer):
    """xiu's relay: all on message stream 0, and transaction 1 again and again; each answer begins it anew.

    What it creates with createStream it does not use. A pull plays with start 0, duration 0, reset false.
    """

    def __init__(self, sock: socket.socket, app: str, name: str, *, publishes: bool) -> None:
        super().__init__(sock, app, name)
        self._publishes = publishes
        self.set_ups = 0

    def on_result(self, transaction_id: float) -> None:
        if transaction_id == 1:
            self.set_ups += 1
            if self.set_ups < 10:
                self.send(control.acknowledgement(3107))
                self.command("releaseStream", 1.0, self.name)
                self.command("FCPublish", 1.0, self.name)
                self.command("createStream", 2.0)
        elif transaction_id == 2 and self._publishes:
            self.command("publish", 3.0, self.name, "live")
        elif transaction_id == 2:
            self.command("play", 0.0, self.name, 0.0, 0.0, False)
            self.command("getStreamLength", 0.0, self.name)
            self.send(control.set_buffer_length(1, 1300))


class Lal(WirePeer):
    """lal's and nginx-rtmp's relay that pulls: heeds no status, and stays until its connection ends."""

    def on_result(self, transaction_id: float) -> None:
        if transaction_id == 1:
            self.command("createStream", 2.0)
        elif transaction_id == 2:
            self.command("play", 3.0, self.name, -2.0, stream_id=1)


class MediaMtx(WirePeer):
    """MediaMTX given a plain address: the app is all of its path, and the name is empty."""

    def __init__(self, sock: socket.socket, path: str, *, publishes: bool) -> None:
        super().__init__(sock, path, "")
        self._publishes = publishes

    def on_result(self, transaction_id: float) -> None:
        if transaction_id == 1 and self._publishes:
            self.command("releaseStream", 2.0, self.name)
            self.command("FCPublish", 3.0, self.name)
        if transaction_id == 1:
            self.command("createStream", 4.0)
        elif transaction_id == 4 and self._publishes:
            self.command("publish", 5.0, self.name, self.app, stream_id=1)
        elif transaction_id == 4:
            self.send(control.set_buffer_length(1, 100))
            self.command("play", 5.0, self.name, stream_id=1)


