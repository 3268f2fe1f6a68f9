"""The server role's NetConnection commands: connect, message streams, calls, and what only wants an answer.

RTMP 1.0, section 7.2.1. Deviations name the peer that forces them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import clean_app, joined
from cluster.core.limits import Limits
from cluster.core.message import Message
from cluster.core.rtmp import arguments, capabilities, status, swf
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import UserControl, UserControlEvent
from cluster.core.rtmp.events import (
    CloseRequested,
    CommandReceived,
    ConnectRequested,
    Received,
    StreamClosed,
    StreamCreated,
    SwfVerified,
)
from cluster.core.rtmp.handshake import ServerHandshake
from cluster.core.rtmp.message_stream import MessageStream
from cluster.core.rtmp.server_streams import PUBLISHER_STATES, STREAM_HANDLERS, ServerStreams
from cluster.core.rtmp.states import SessionInput, StreamInput, Verdict
from cluster.core.rtmp.status import Code

_OBJECT_ENCODING_AMF3 = 3
_MAX_APP_CHARACTERS = arguments.MAX_NAME_CHARACTERS


class ServerCommands(ServerStreams):
    """The part of a server-role session that deals with commands; what connect said is kept here."""

    __slots__ = (
        "_connect_transaction",
        "_fc_published",
        "capabilities",
        "flash_ver",
        "object_encoding",
        "query",
        "tc_url",
    )

    def __init__(self, *, limits: Limits, now: float, handshake: ServerHandshake) -> None:
        super().__init__(limits=limits, now=now, handshake=handshake)
        self.app = ""
        self.refusal = ("", "")
        self.query = ""
        self.tc_url = ""
        self.flash_ver = ""
        self.object_encoding = 0
        self.capabilities = capabilities.LEGACY
        self._connect_transaction = 0.0
        #: The encoder sends FCPublish, and may wait for onFCPublish (Flash Media Live Encoder does).
        self._fc_published = False

    def _command(self, command: Command, message: Message, received: Received) -> None:
        what, handle = _HANDLERS.get(command.name, (SessionInput.CALL, ServerCommands._on_call))
        verdict = self._judge(what)
        if verdict is Verdict.ACT:
            handle(self, command, received)
        elif verdict is Verdict.HOLD:
            self._hold(message)
        elif verdict is Verdict.REFUSE:
            self._send(status.error(command, Code.CONNECT_FAILED, "Already connected."))

    def _on_connect(self, command: Command, received: Received) -> None:
        fields = command.command_object
        app = fields.get("app") if isinstance(fields, dict) else None
        if not isinstance(fields, dict) or not isinstance(app, str) or len(app) > _MAX_APP_CHARACTERS:
            self._send(status.error(command, Code.CONNECT_REJECTED, "connect names no app."))
            raise PeerViolation(CloseReason.BAD_COMMAND, "connect without an app")
        self.app, self.query = clean_app(app)
        self.tc_url = status.field(fields, "tcUrl")[: arguments.MAX_NAME_CHARACTERS]
        self.flash_ver = status.field(fields, "flashVer")[: arguments.MAX_NAME_CHARACTERS]
        encoding = _OBJECT_ENCODING_AMF3 if fields.get("objectEncoding") == _OBJECT_ENCODING_AMF3 else 0
        self.object_encoding = encoding
        self.capabilities = declared = capabilities.read(fields)
        self._connect_transaction = command.transaction_id
        event = ConnectRequested(
            self.app, self.tc_url, self.query, self.flash_ver, encoding, fields, declared, command.args
        )
        received.append(event)

    def _on_create_stream(self, command: Command, received: Received) -> None:
        if len(self.streams) >= self._limits.max_message_streams:
            self.reply_error(command, Code.CALL_FAILED, "Too many streams.")
            return
        stream_id = next(number for number in range(1, len(self.streams) + 2) if number not in self.streams)
        self.streams[stream_id] = MessageStream(stream_id)
        # Whatever the transaction id, 0 included: without the answer it is of no use.
        self._send(status.result(command, float(stream_id)))
        received.append(StreamCreated(stream_id))

    def _on_delete_stream(self, command: Command, received: Received) -> None:
        named = command.arg(0)
        stream_id = command.stream_id if named is None else arguments.stream_id(named)
        if self._judge_stream(stream_id, StreamInput.DELETE, received) is Verdict.ACT:
            received.append(StreamClosed(stream_id))

    def _on_no_op(self, command: Command, received: Received) -> None:
        """releaseStream and its like: answered because some encoders wait, and of no further effect."""
        self._fc_published |= command.name == "FCPublish"
        self._answer_no_op(command, 0.0 if command.name == "getStreamLength" else None)
        received.append(CommandReceived(command.stream_id, command))

    def _on_fc_unpublish(self, command: Command, received: Received) -> None:
        named = arguments.stream_name(command.arg(0))
        name = "" if named is None else joined(self.app, named[0])
        publishing = [each for each in self.streams.values() if each.state in PUBLISHER_STATES]
        streams = [each for each in publishing if each.name == name]
        self._answer_no_op(command, None)
        for stream in streams:
            if self._fc_published:
                info = {"code": str(Code.UNPUBLISH_SUCCESS), "description": f"{name} is now unpublished."}
                self.send_command("onFCUnpublish", info)
            self._stop(stream.stream_id, StreamInput.UNPUBLISH, received)
        if not streams:
            self.ignored_messages += 1

    def _answer_no_op(self, command: Command, value: AmfValue) -> None:
        """Answer a call that waits for nothing of ours, unless its transaction id is that of connect.

        xiu uses that id again for releaseStream and FCPublish, and takes each answer for one to connect:
        it then begins anew.
        """
        if command.transaction_id != self._connect_transaction:
            self.reply(command, value)

    def _on_call(self, command: Command, received: Received) -> None:
        """A command that is not ours: the shell may know it. Transaction 0 is never answered."""
        if command.name not in self.methods:
            self.reply_error(command, Code.CALL_FAILED, f"{command.name[:64]}: no such method.")
        received.append(CommandReceived(command.stream_id, command))

    def _on_close(self, command: Command, received: Received) -> None:
        received.append(CloseRequested())

    def _swf_verification(self, event: UserControl, received: Received) -> None:
        """Only an answer to our own question means anything."""
        if self._swf is None or event.event != UserControlEvent.SWF_VERIFY_RESPONSE:
            self.ignored_messages += 1
        else:
            received.append(SwfVerified(swf.proves(event, self._swf, self._swf_key)))


_Handler: TypeAlias = Callable[[ServerCommands, Command, Received], None]
_NO_OPS = (
    "releaseStream",
    "FCPublish",
    "FCSubscribe",
    "FCUnsubscribe",
    "_checkbw",
    "checkBandwidth",
    "getStreamLength",
    "setPeerInfo",
)
_HANDLERS: dict[str, tuple[SessionInput, _Handler]] = {
    "connect": (SessionInput.CONNECT, ServerCommands._on_connect),
    "_result": (SessionInput.RESULT, ServerCommands._answer),
    "_error": (SessionInput.RESULT, ServerCommands._answer),
    "createStream": (SessionInput.STREAM_CONTROL, ServerCommands._on_create_stream),
    "deleteStream": (SessionInput.STREAM_CONTROL, ServerCommands._on_delete_stream),
    "FCUnpublish": (SessionInput.STREAM_CONTROL, ServerCommands._on_fc_unpublish),
    **{name: (SessionInput.STREAM_CONTROL, handle) for name, handle in STREAM_HANDLERS.items()},
    **dict.fromkeys(_NO_OPS, (SessionInput.CALL, ServerCommands._on_no_op)),
    "close": (SessionInput.CALL, ServerCommands._on_close),
}
