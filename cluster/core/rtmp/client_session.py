"""The client role of an RTMP session: for the relay, the load generator, the client command, the tests.

RTMP 1.0, section 7.2. What the user asks for goes out at once; what comes of it arrives as events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.limits import Limits
from cluster.core.media.metadata import encode_metadata
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import arguments, capabilities, control, status, swf
from cluster.core.rtmp.capabilities import Capabilities, VideoFunction
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import UserControl, UserControlEvent
from cluster.core.rtmp.events import (
    CallFailed,
    CloseRequested,
    CommandReceived,
    ConnectFailed,
    ConnectSucceeded,
    Received,
    ReconnectRequested,
    StatusReceived,
    StreamEventReceived,
    StreamReady,
)
from cluster.core.rtmp.handshake import ClientHandshake
from cluster.core.rtmp.message_stream import MessageStream, media_chunk_stream
from cluster.core.rtmp.session import DEFAULT_CHUNK_SIZE, DEFAULT_WINDOW_ACK_SIZE, Session
from cluster.core.rtmp.states import (
    CLIENT_SESSION,
    CLIENT_STREAM,
    STATUS_INPUTS,
    RemoteInput,
    SessionInput,
    SessionState,
    StreamState,
    Verdict,
)
from cluster.core.rtmp.status import Code, Level
from cluster.core.rtmp.swf import SwfFile
from cluster.core.rtmp.url import RtmpUrl

#: Servers take a peer that calls itself FMLE for an encoder.
PUBLISHER_FLASH_VER = "FMLE/3.0 (compatible; rtmp-cluster)"
PLAYER_FLASH_VER = "LNX 9,0,124,2"
DEFAULT_BUFFER_MS = 3000

_CAPABILITIES = 15
_ALL_AUDIO_CODECS = 0x0FFF
_ALL_VIDEO_CODECS = 0x00FF

_BANDWIDTH_CHECKS = ("_onbwcheck", "onBWCheck")
_OnStream: TypeAlias = Callable[[int], None]
_RECEIVING = (StreamState.PLAY_PENDING, StreamState.PLAYING)


class ClientSession(Session):
    """One connection to a server. See ``Session`` for ``receive``, ``outgoing`` and ``tick``.

    ``start``, then ``publish`` or ``play`` after ConnectSucceeded. A call that the present state does
    not allow raises MisuseError; after the server has broken the protocol, that PeerViolation.
    """

    __slots__ = ("_chunk_size", "_connect", "_window_ack_size")

    _TABLE = CLIENT_SESSION

    def __init__(
        self,
        *,
        limits: Limits,
        entropy: bytes,
        now: float,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        window_ack_size: int = DEFAULT_WINDOW_ACK_SIZE,
        handshake: Literal["auto", "simple"] = "auto",
    ) -> None:
        client_handshake = ClientHandshake(entropy=entropy, uptime_ms=int(now * 1000), mode=handshake)
        super().__init__(limits=limits, now=now, handshake=client_handshake)
        self._chunk_size = chunk_size
        self._window_ack_size = window_ack_size
        #: The connect to send once the handshake is over: command object and arguments.
        self._connect: tuple[dict[str, AmfValue], tuple[AmfValue, ...]] | None = None

    # What a user asks for.

    def start(
        self,
        url: RtmpUrl,
        *,
        publisher: bool = False,
        flash_ver: str | None = None,
        swf_url: str | None = None,
        swf_file: SwfFile | None = None,
        page_url: str | None = None,
        object_encoding: Literal[0, 3] = 0,
        declared: Capabilities = capabilities.RELAY,
        args: tuple[AmfValue, ...] = (),
    ) -> None:
        """Begin the handshake, and connect to the app of ``url`` after it.

        ``args`` follow the command object. ``swf_file`` is what a server's SWF verification is answered
        with; without it, it is not answered.
        """
        if not isinstance(self._handshake, ClientHandshake) or self._connect is not None:
            raise MisuseError("a session starts once")
        if flash_ver is None:
            flash_ver = PUBLISHER_FLASH_VER if publisher else PLAYER_FLASH_VER
        fields: dict[str, AmfValue | None] = {
            "app": url.app,
            "type": "nonprivate" if publisher else None,
            "flashVer": flash_ver,
            "swfUrl": swf_url,
            "tcUrl": url.tc_url,
            "fpad": False,
            "capabilities": _CAPABILITIES,
            "audioCodecs": _ALL_AUDIO_CODECS,
            "videoCodecs": _ALL_VIDEO_CODECS,
            "videoFunction": int(declared.video_function or VideoFunction.CLIENT_SEEK),
            "pageUrl": page_url,
            "objectEncoding": object_encoding,
            **capabilities.declare(declared),
        }
        self._connect = ({name: value for name, value in fields.items() if value is not None}, args)
        self._swf = swf_file
        self.unsent.append(self._handshake.start())

    def create_stream(self) -> float:
        """Make a message stream; StreamReady or CallFailed carries the returned transaction id."""
        self._require_connected()
        return self._ask("createStream", None, (), 0, self._stream_created)

    def publish(self, name: str, publish_type: str = "live", *, stream_id: int | None = None) -> None:
        """Publish ``name``, on a new message stream if no ``stream_id`` is given.

        StreamReady tells the message stream, StatusReceived NetStream.Publish.Start or the refusal.
        """
        self._require_connected()
        begin = partial(self._publish_on, name=name, publish_type=publish_type)
        if stream_id is not None:
            begin(stream_id)
            return
        self._ask("releaseStream", None, (name,), 0, _expect_nothing)
        self._ask("FCPublish", None, (name,), 0, _expect_nothing)
        self._ask("createStream", None, (), 0, partial(self._stream_created, then=begin))

    def play(
        self,
        name: str,
        *,
        start: float = arguments.LIVE_ELSE_RECORDED,
        duration: float = arguments.TO_THE_END,
        reset: bool | None = None,
        buffer_ms: int = DEFAULT_BUFFER_MS,
        stream_id: int | None = None,
    ) -> None:
        """Play ``name``, on a new message stream if no ``stream_id`` is given; times in seconds."""
        self._require_connected()
        args: tuple[AmfValue, ...] = (name, start, duration, reset)
        if reset is None:
            args = args[:3]
            if duration == arguments.TO_THE_END:
                args = args[:1] if start == arguments.LIVE_ELSE_RECORDED else args[:2]
        begin = partial(self._play_on, args=args, buffer_ms=buffer_ms)
        if stream_id is not None:
            begin(stream_id)
            return
        self._ask("createStream", None, (), 0, partial(self._stream_created, then=begin))

    def pause(self, stream_id: int, paused: bool, at_ms: float = 0) -> None:
        self._stream_command(stream_id, "pause", paused, at_ms)

    def seek(self, stream_id: int, at_ms: float) -> None:
        self._stream_command(stream_id, "seek", at_ms)

    def receive_audio(self, stream_id: int, on: bool) -> None:
        self._stream_command(stream_id, "receiveAudio", on)

    def receive_video(self, stream_id: int, on: bool) -> None:
        self._stream_command(stream_id, "receiveVideo", on)

    def set_buffer_length(self, stream_id: int, buffer_ms: int) -> None:
        self._send_control(control.set_buffer_length(stream_id, buffer_ms))

    def close_stream(self, stream_id: int) -> None:
        """Stop publishing or playing, and keep the message stream."""
        self._ask_stream(stream_id, RemoteInput.CLOSE)
        self.send_command("closeStream", stream_id=stream_id)

    def delete_stream(self, stream_id: int) -> None:
        """Stop publishing or playing, and give the message stream back."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.state is StreamState.PUBLISHING:
            self._ask("FCUnpublish", None, (stream.name,), 0, _expect_nothing)
        self._ask_stream(stream_id, RemoteInput.DELETE)
        self.send_command("deleteStream", float(stream_id))

    def send(self, message: Message) -> None:
        """Publish audio, video or data; the message carries its message stream and timestamp."""
        self.unsent.append(self._writer.encode(message, media_chunk_stream(message.type_id)))

    def send_metadata(self, stream_id: int, metadata: dict[str, AmfValue], timestamp: int = 0) -> None:
        """Publish onMetaData."""
        payload = amf0.encode("@setDataFrame") + encode_metadata(metadata)
        self.send(Message(MessageType.DATA_AMF0, timestamp, payload, stream_id))

    # connect.

    def _handshake_over(self) -> None:
        if self._connect is None:
            raise MisuseError("start comes before receive")
        fields, args = self._connect
        # Before connect, as OBS does: the connect itself then goes out in one chunk.
        self.set_chunk_size(self._chunk_size)
        self._ask("connect", fields, args, 0, self._connect_answered)
        self._judge(SessionInput.CONNECT)

    def _connect_answered(self, answer: Command, received: Received) -> None:
        info = answer.arg(0)
        if answer.name == "_result" and status.field(info, "level") != Level.ERROR:
            self._judge(SessionInput.ACCEPT)
            self.announce_window(self._window_ack_size)
            server = capabilities.read(answer.command_object)
            received.append(ConnectSucceeded(answer.command_object, info, server))
            return
        self._judge(SessionInput.REJECT)
        extra = info.get("ex") if isinstance(info, dict) else None
        code, description = status.field(info, "code"), status.field(info, "description")
        received.append(ConnectFailed(code, description, status.field(extra, "redirect")))

    # Message streams.

    def _require_connected(self) -> None:
        if self._violated is not None:  # it came behind the event that the shell acts on: no misuse
            raise PeerViolation(*self._violated)
        if self.state is not SessionState.CONNECTED:
            raise MisuseError(f"the session is {self.state.value}, not connected")

    def _stream_created(self, answer: Command, received: Received, then: _OnStream | None = None) -> None:
        stream_id = arguments.stream_id(answer.arg(0))
        if answer.name != "_result" or stream_id <= 0 or stream_id in self.streams:
            code = status.field(answer.arg(0), "code") or str(Code.CALL_FAILED)
            description = status.field(answer.arg(0), "description")
            values = (answer.command_object, *answer.args)
            received.append(CallFailed(answer.transaction_id, code, description, values))
            return
        self.streams[stream_id] = MessageStream(stream_id)
        received.append(StreamReady(stream_id, answer.transaction_id))
        if then is not None:
            then(stream_id)

    def _publish_on(self, stream_id: int, name: str, publish_type: str) -> None:
        self._ask_stream(stream_id, RemoteInput.ASK_PUBLISH).name = name
        self._ask("publish", None, (name, publish_type), stream_id, _expect_nothing)

    def _play_on(self, stream_id: int, args: tuple[AmfValue, ...], buffer_ms: int) -> None:
        self._ask_stream(stream_id, RemoteInput.ASK_PLAY).name = str(args[0])
        self.set_buffer_length(stream_id, buffer_ms)
        self._ask("play", None, args, stream_id, _expect_nothing)

    def _stream_command(self, stream_id: int, name: str, *args: AmfValue) -> None:
        if stream_id not in self.streams:
            raise MisuseError(f"no message stream {stream_id}")
        self.send_command(name, *args, stream_id=stream_id)

    def _ask_stream(self, stream_id: int, what: RemoteInput) -> MessageStream:
        """Move a stream by a request of ours."""
        stream = self.streams.get(stream_id)
        state = StreamState.ABSENT if stream is None else stream.state
        step = CLIENT_STREAM.get((state, what))
        if stream is None or step is None:
            raise MisuseError(f"{what.value} on message stream {stream_id}, {state.value}")
        self._move(stream, step.next)
        return stream

    def _move(self, stream: MessageStream, state: StreamState) -> None:
        stream.state = state
        if state is StreamState.ABSENT:
            del self.streams[stream.stream_id]
        playing = [each.stream_id for each in self.streams.values() if each.state in _RECEIVING]
        self._media_streams = tuple(playing)

    def _judge_stream(self, stream_id: int, what: RemoteInput) -> Verdict:
        """Look up the stream table for what the server sent, and move."""
        stream = self.streams.get(stream_id)
        step = CLIENT_STREAM[StreamState.ABSENT if stream is None else stream.state, what]
        if step.verdict is Verdict.IGNORE:
            self.ignored_messages += 1
        elif stream is not None and step.next is not stream.state:
            self._move(stream, step.next)
        return step.verdict

    # What the server sends.

    def _command(self, command: Command, message: Message, received: Received) -> None:
        if command.name in ("_result", "_error"):
            if self._judge(SessionInput.RESULT) is Verdict.ACT:
                self._answer(command, received)
            return
        if self._judge(SessionInput.CALL) is not Verdict.ACT:
            return
        if command.name == "onStatus":
            self._on_status(command, received)
        elif command.name == "close":
            received.append(CloseRequested())
        else:
            if command.name in _BANDWIDTH_CHECKS:
                self.reply(command, None)
            elif command.name not in self.methods:
                self.reply_error(command, Code.CALL_FAILED, "No such method.")
            received.append(CommandReceived(command.stream_id, command))

    def _on_status(self, command: Command, received: Received) -> None:
        info = command.arg(0)
        level, code, description = (status.field(info, name) for name in ("level", "code", "description"))
        if code == Code.CONNECT_RECONNECT_REQUEST:
            received.append(ReconnectRequested(status.field(info, "tcUrl"), description))
            return
        stream_id = command.stream_id
        if stream_id not in self.streams and code.startswith("NetStream.") and len(self.streams) == 1:
            # Servers of the Flash era send the status of a stream on message stream 0.
            stream_id = next(iter(self.streams))
        failed = RemoteInput.FAILED if level == Level.ERROR else RemoteInput.NOTICE
        self._judge_stream(stream_id, STATUS_INPUTS.get(code, failed))
        received.append(StatusReceived(stream_id, level, code, description, info))

    def _media(self, message: Message, received: Received) -> None:
        if not message.stream_id and len(self._media_streams) == 1:
            # node-media-server sends what is played on message stream 0, which carries none.
            message = message._replace(stream_id=self._media_streams[0])
        if self._judge_stream(message.stream_id, RemoteInput.MEDIA) is Verdict.ACT:
            self._deliver(message, received)

    def _stream_event(self, event: UserControl, received: Received) -> None:
        received.append(StreamEventReceived(event.values[0], event.event))

    def _swf_verification(self, event: UserControl, received: Received) -> None:
        if self._swf is None or event.event != UserControlEvent.SWF_VERIFY_REQUEST:
            self.ignored_messages += 1
        else:
            self._send_control(swf.response(self._swf, self._swf_key))

    def _keep_alive(self, now: float) -> None:
        """A server has ``idle_timeout_s`` to answer connect; what comes later is for the user to judge."""
        waiting = self.state is SessionState.CONNECT_PENDING
        if waiting and now - self._quiet_since >= self._limits.idle_timeout_s:
            raise PeerViolation(CloseReason.IDLE_TIMEOUT, "connect was not answered")


def _expect_nothing(answer: Command, received: Received) -> None:
    """The handler of an answer that says nothing: the effect shows in an onStatus, or not at all."""
