"""What a session sends, whatever its role: commands, calls and answers, control, shared objects."""

from __future__ import annotations

from cluster.core.amf.values import AmfValue
from cluster.core.message import Buffer, Message
from cluster.core.rtmp import command, control, shared_object, status
from cluster.core.rtmp.acknowledgement import Acknowledger
from cluster.core.rtmp.calls import Answered, Calls
from cluster.core.rtmp.chunk_writer import ChunkStreamId, ChunkWriter
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit
from cluster.core.rtmp.shared_object import SharedObjectMessage


class SessionOutput:
    """The sending half of a session. ``unsent`` is empty when ``outgoing`` has nothing.

    ``methods`` names the commands that the shell answers itself, by ``reply`` or ``reply_error``; every
    other one that the session does not know is answered with an error at once.
    """

    __slots__ = ("_acks", "_calls", "_writer", "methods", "unsent")

    def __init__(self) -> None:
        self.methods: frozenset[str] = frozenset()
        self.unsent: list[Buffer] = []
        self._writer = ChunkWriter()
        self._acks = Acknowledger()
        self._calls = Calls()

    def outgoing(self) -> bytes:
        """Everything to send since the last call."""
        if not self.unsent:
            return b""
        data = b"".join(self.unsent)
        self.unsent.clear()
        return data

    # Commands (RTMP 1.0, section 7.2).

    def call(
        self, name: str, *args: AmfValue, command_object: AmfValue = None, stream_id: int = 0
    ) -> float:
        """Call the peer; returns the transaction id of the CallSucceeded or CallFailed to come."""
        return self._ask(name, command_object, args, stream_id, None)

    def send_command(
        self,
        name: str,
        *args: AmfValue,
        command_object: AmfValue = None,
        transaction_id: float = 0.0,
        stream_id: int = 0,
    ) -> None:
        """Send a command that expects no answer, or is one."""
        self._send(Command(name, transaction_id, command_object, args, stream_id))

    def reply(self, call: Command, *values: AmfValue, command_object: AmfValue = None) -> None:
        """Answer a call of one of ``methods``. Transaction 0 asks for no answer, and gets none."""
        if call.transaction_id:
            self._send(status.result(call, *values, command_object=command_object))

    def reply_error(self, call: Command, code: str, description: str) -> None:
        """Answer a call with ``_error``."""
        if call.transaction_id:
            self._send(status.error(call, code, description))

    # Protocol and user control (sections 5.4 and 7.1.7).

    def set_chunk_size(self, chunk_size: int) -> None:
        """Announce our chunk size in bytes; it holds from the next message on."""
        self._send_control(control.set_chunk_size(chunk_size))

    def announce_window(self, window_bytes: int) -> None:
        """Have the peer acknowledge each ``window_bytes`` of ours."""
        self._acks.sent_window = window_bytes
        self._send_control(control.window_ack_size(window_bytes))

    def limit_peer_bandwidth(self, window_bytes: int, limit: PeerBandwidthLimit) -> None:
        """Ask the peer to bound its unacknowledged output."""
        self._send_control(control.set_peer_bandwidth(window_bytes, limit))

    def send_user_control(self, event: int, *values: int) -> None:
        """Send a user control event (``UserControlEvent``) with its u32 values."""
        self._send_control(control.user_control(event, *values))

    # Shared objects (section 7.1.3).

    def send_shared_object(self, shared: SharedObjectMessage) -> None:
        self.unsent.append(self._writer.encode(shared_object.encode(shared), ChunkStreamId.COMMAND))

    # For the roles.

    def _ask(
        self,
        name: str,
        command_object: AmfValue,
        args: tuple[AmfValue, ...],
        stream_id: int,
        answered: Answered | None,
    ) -> float:
        transaction_id = self._calls.begin(answered)
        self._send(Command(name, transaction_id, command_object, args, stream_id))
        return transaction_id

    def _send(self, outgoing_command: Command) -> None:
        chunk_stream_id = ChunkStreamId.STATUS if outgoing_command.stream_id else ChunkStreamId.COMMAND
        self.unsent.append(self._writer.encode(command.encode(outgoing_command), chunk_stream_id))

    def _send_control(self, message: Message) -> None:
        self.unsent.append(self._writer.encode(message, ChunkStreamId.CONTROL))
