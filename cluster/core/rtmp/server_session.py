"""The server role of an RTMP session: NetConnection commands, and the shell's decisions.

RTMP 1.0, section 7.2.1. Deviations name the peer that forces them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import arguments, capabilities, control, status
from cluster.core.rtmp.chunk_writer import ChunkStreamId, encode_shared
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit
from cluster.core.rtmp.events import (
    CommandReceived,
    ConnectRequested,
    Event,
    Received,
    StreamClosed,
    StreamCreated,
)
from cluster.core.rtmp.handshake import ServerHandshake
from cluster.core.rtmp.message_stream import MessageStream, media_chunk_stream
from cluster.core.rtmp.server_streams import PUBLISHER_STATES, STREAM_HANDLERS, ServerStreams
from cluster.core.rtmp.session import DEFAULT_CHUNK_SIZE, DEFAULT_WINDOW_ACK_SIZE
from cluster.core.rtmp.states import (
    SERVER_SESSION,
    SERVER_STREAM,
    SessionInput,
    SessionState,
    StreamInput,
    StreamState,
    Verdict,
)
from cluster.core.rtmp.status import Code, Level

_OBJECT_ENCODING_AMF3 = 3
_FMS_VERSION = "FMS/3,5,7,7009"
_FMS_CAPABILITIES = 31
_REDIRECT = 302


class ServerSession(ServerStreams):
    """One accepted connection. See ``Session`` for ``receive``, ``outgoing`` and ``tick``.

    A decision (``accept_...``, ``reject_...``, ``end_...``) returns False if it came too late: the peer
    has stopped meanwhile, or the connection is closing. After ``accept_connect`` and ``accept_publish``
    the next ``receive`` begins with what the peer sent before the decision; ``receive(b"", now)`` gives
    it at once. Media of players goes out by ``send``, or beside it in the shared encoding: the session
    itself writes on chunk streams 2, 3 and 5 only.
    """

    __slots__ = (
        "_chunk_size",
        "_connect_transaction",
        "_fc_published",
        "_window_ack_size",
        "app",
        "capabilities",
        "flash_ver",
        "object_encoding",
        "query",
        "tc_url",
    )

    _TABLE = SERVER_SESSION

    def __init__(
        self,
        *,
        limits: Limits,
        entropy: bytes,
        now: float,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        window_ack_size: int = DEFAULT_WINDOW_ACK_SIZE,
    ) -> None:
        handshake = ServerHandshake(entropy=entropy, uptime_ms=int(now * 1000))
        super().__init__(limits=limits, now=now, handshake=handshake)
        self._chunk_size = chunk_size
        self._window_ack_size = window_ack_size
        self.app = ""
        self.query = ""
        self.tc_url = ""
        self.flash_ver = ""
        self.object_encoding = 0
        self.capabilities = capabilities.LEGACY
        self._connect_transaction = 0.0
        #: The encoder sends FCPublish, and may wait for onFCPublish (Flash Media Live Encoder does).
        self._fc_published = False

    # Decisions.

    def accept_connect(self, **properties: AmfValue) -> bool:
        """Let the peer in. ``properties`` are added to the properties object of the answer."""
        if not self._decide_connect(SessionInput.ACCEPT):
            return False
        self._announce_window(self._window_ack_size)
        self._send_control(control.set_peer_bandwidth(self._window_ack_size, PeerBandwidthLimit.DYNAMIC))
        self._send_control(control.set_chunk_size(self._chunk_size))
        self._send_control(control.stream_begin(0))
        server: dict[str, AmfValue] = {"fmsVer": _FMS_VERSION, "capabilities": _FMS_CAPABILITIES, "mode": 1}
        server |= capabilities.answer(self.capabilities)
        server |= properties
        info = status.information(
            Level.STATUS, Code.CONNECT_SUCCESS, "Connection succeeded.", objectEncoding=self.object_encoding
        )
        self._send(Command("_result", self._connect_transaction, server, (info,)))
        if self._held is not None:
            self._held.released = True
        return True

    def reject_connect(self, code: str, description: str, redirect: str | None = None) -> bool:
        """Refuse the peer, or send it to the tcUrl ``redirect``. To be followed by a close."""
        if not self._decide_connect(SessionInput.REJECT):
            return False
        self._held = None
        more: dict[str, AmfValue] = {}
        if redirect is not None:
            more["ex"] = {"code": _REDIRECT, "redirect": redirect, "redirect2": redirect}
        info = status.information(Level.ERROR, code, description, **more)
        self._send(Command("_error", self._connect_transaction, None, (info,)))
        return True

    def accept_publish(self, stream_id: int) -> bool:
        stream = self._decide(stream_id, StreamInput.ACCEPT_PUBLISH)
        if stream is None:
            return False
        description = f"{stream.name} is now published."
        if self._fc_published:
            info: AmfValue = {"code": str(Code.PUBLISH_START), "description": description}
            self.send_command("onFCPublish", info)
        self._send_control(control.stream_begin(stream_id))
        self.send_status(stream_id, Level.STATUS, Code.PUBLISH_START, description)
        return True

    def reject_publish(self, stream_id: int, code: str, description: str) -> bool:
        """Refuse a publish. OBS heeds BadName, Denied and Rejected only: close after it."""
        return self._end(stream_id, StreamInput.REJECT_PUBLISH, code, description)

    def end_publish(self, stream_id: int, code: str, description: str) -> bool:
        """Stop a publish, granted or pending, with a status of level "error"."""
        return self._end(stream_id, StreamInput.END_PUBLISH, code, description)

    def accept_play(self, stream_id: int) -> bool:
        """Let the play begin; metadata, sequence headers and media follow from the shell."""
        stream = self._decide(stream_id, StreamInput.ACCEPT_PLAY)
        if stream is None:
            return False
        self._send_control(control.stream_begin(stream_id))
        if stream.reset:
            description = f"Playing and resetting {stream.name}."
            self.send_status(stream_id, Level.STATUS, Code.PLAY_RESET, description)
        self.send_status(stream_id, Level.STATUS, Code.PLAY_START, f"Started playing {stream.name}.")
        access = Message(MessageType.DATA_AMF0, 0, _SAMPLE_ACCESS, stream_id)
        self.unsent.append(self._writer.encode(access, ChunkStreamId.STATUS))
        return True

    def reject_play(self, stream_id: int, code: str, description: str) -> bool:
        return self._end(stream_id, StreamInput.REJECT_PLAY, code, description)

    def end_play(self, stream_id: int) -> bool:
        """The stream is over. FFmpeg and librtmp players leave at the first of the two statuses."""
        stream = self._decide(stream_id, StreamInput.END_PLAY)
        if stream is None:
            return False
        self._send_control(control.stream_eof(stream_id))
        name = stream.name
        self.send_status(stream_id, Level.STATUS, Code.PLAY_UNPUBLISH_NOTIFY, f"{name} is now unpublished.")
        self.send_status(stream_id, Level.STATUS, Code.PLAY_STOP, f"Stopped playing {name}.")
        return True

    def send(self, message: Message) -> None:
        """Send media to a player, its stream id as given; without header compression (see above)."""
        chunk_stream_id = media_chunk_stream(message.type_id)
        self.unsent += encode_shared(message, chunk_stream_id, self._writer.chunk_size)

    def request_reconnect(self, tc_url: str | None = None, description: str = "") -> bool:
        """Ask the peer to go to ``tc_url`` (None: the same); False if it does not understand that."""
        if not self.capabilities.can_reconnect or self.state is not SessionState.CONNECTED:
            return False
        more: dict[str, AmfValue] = {} if tc_url is None else {"tcUrl": tc_url}
        self.send_status(0, Level.STATUS, Code.CONNECT_RECONNECT_REQUEST, description, **more)
        return True

    def close(self) -> list[Event]:
        """The connection is gone: returns the ends of all that lived on it, once."""
        super().close()
        ended: list[Event] = []
        for stream in self.streams.values():
            ended += self._ended_by(stream)
            ended.append(StreamClosed(stream.stream_id))
        self.streams.clear()
        self._media_streams = ()
        return ended

    def _decide_connect(self, what: SessionInput) -> bool:
        step = SERVER_SESSION.get((self.state, what))
        if step is None:
            return False
        self.state = step.next
        return True

    def _decide(self, stream_id: int, what: StreamInput) -> MessageStream | None:
        """Move a stream by a decision of ours; None if its peer has moved it meanwhile."""
        stream = self.streams.get(stream_id)
        if stream is None or self.state is not SessionState.CONNECTED:
            return None
        step = SERVER_STREAM.get((stream.state, what))
        if step is None:
            return None
        self._move(stream, step.next)
        return stream

    def _end(self, stream_id: int, what: StreamInput, code: str, description: str) -> bool:
        if self._decide(stream_id, what) is None:
            return False
        self.send_status(stream_id, Level.ERROR, code, description)
        return True

    # Time.

    def _keep_alive(self, now: float) -> None:
        """Ping, and give up on peers that are silent, or connected and idle."""
        self._liveness.received(self._last_received)
        if self._liveness.is_lost(now, self._limits):
            raise PeerViolation(CloseReason.PING_TIMEOUT, "a ping was not answered, and nothing else came")
        busy = self.state is SessionState.CONNECT_PENDING or any(
            stream.state is not StreamState.IDLE for stream in self.streams.values()
        )
        if busy:
            self._quiet_since = now
        elif now - self._quiet_since >= self._limits.idle_timeout_s:
            raise PeerViolation(CloseReason.IDLE_TIMEOUT, "nothing is published or played")
        if self.state is SessionState.CONNECTED and self._liveness.ping_due(now, self._limits):
            self.ping(now)

    # Dispatch.

    def _command(self, command: Command, message: Message, received: Received) -> None:
        what, handle = _HANDLERS.get(command.name, (SessionInput.CALL, ServerSession._on_call))
        verdict = self._judge(what)
        if verdict is Verdict.ACT:
            handle(self, command, received)
        elif verdict is Verdict.HOLD:
            self._hold(message)
        elif verdict is Verdict.REFUSE:
            self._send(status.error(command, Code.CONNECT_FAILED, "Already connected."))

    # NetConnection commands (RTMP 1.0, section 7.2.1).

    def _on_connect(self, command: Command, received: Received) -> None:
        fields = command.command_object
        app = fields.get("app") if isinstance(fields, dict) else None
        known = isinstance(app, str) and len(app) <= arguments.MAX_NAME_CHARACTERS
        if not isinstance(fields, dict) or not known:
            self._send(status.error(command, Code.CONNECT_REJECTED, "connect names no app."))
            raise PeerViolation(CloseReason.BAD_COMMAND, "connect without an app")
        path, self.query = arguments.stream_name(app)
        self.app = path.strip("/")
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
            self._answer_error(command, "Too many streams.")
            return
        stream_id = next(number for number in range(1, len(self.streams) + 2) if number not in self.streams)
        self.streams[stream_id] = MessageStream(stream_id)
        if command.transaction_id:
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
        if command.transaction_id:
            length_s = (0.0,) if command.name == "getStreamLength" else (None,)
            self._send(status.result(command, *length_s))
        received.append(CommandReceived(command.stream_id, command))

    def _on_fc_unpublish(self, command: Command, received: Received) -> None:
        name = arguments.stream_name(command.arg(0))[0]
        publishing = [each for each in self.streams.values() if each.state in PUBLISHER_STATES]
        streams = [each for each in publishing if each.name == name]
        if command.transaction_id:
            self._send(status.result(command, None))
        for stream in streams:
            if self._fc_published:
                info = {"code": str(Code.UNPUBLISH_SUCCESS), "description": f"{name} is now unpublished."}
                self.send_command("onFCUnpublish", info)
            self._stop(stream.stream_id, StreamInput.UNPUBLISH, received)
        if not streams:
            self.ignored_messages += 1

    def _on_call(self, command: Command, received: Received) -> None:
        """A command that is not ours: the shell may know it. Transaction 0 is never answered."""
        self._answer_error(command, f"{command.name[:64]}: no such method.")
        received.append(CommandReceived(command.stream_id, command))

    def _answer_error(self, command: Command, description: str) -> None:
        if command.transaction_id:
            self._send(status.error(command, Code.CALL_FAILED, description))


_SAMPLE_ACCESS = amf0.encode("|RtmpSampleAccess", True, True)

_Handler: TypeAlias = Callable[[ServerSession, Command, Received], None]
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
    "connect": (SessionInput.CONNECT, ServerSession._on_connect),
    "_result": (SessionInput.RESULT, ServerSession._answer),
    "_error": (SessionInput.RESULT, ServerSession._answer),
    "createStream": (SessionInput.STREAM_CONTROL, ServerSession._on_create_stream),
    "deleteStream": (SessionInput.STREAM_CONTROL, ServerSession._on_delete_stream),
    "FCUnpublish": (SessionInput.STREAM_CONTROL, ServerSession._on_fc_unpublish),
    **{name: (SessionInput.STREAM_CONTROL, handle) for name, handle in STREAM_HANDLERS.items()},
    **dict.fromkeys(_NO_OPS, (SessionInput.CALL, ServerSession._on_no_op)),
}
