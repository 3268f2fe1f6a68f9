"""The server role's message streams: what a peer may do with them, and the answers it gets at once.

RTMP 1.0, section 7.2.2. Deviations name the peer that forces them. Answers that wait for a decision of
the shell are in ``ServerSession``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.keys import joined
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import arguments, control, status
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.command import encode as encode_command
from cluster.core.rtmp.control import UserControl, UserControlEvent
from cluster.core.rtmp.events import (
    AudioEnabled,
    BufferLengthSet,
    Event,
    PauseChanged,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    Received,
    SeekRequested,
    StreamCreated,
    VideoEnabled,
)
from cluster.core.rtmp.message_stream import MAX_PLAYLIST, HeldMessages, MessageStream
from cluster.core.rtmp.session import Session
from cluster.core.rtmp.states import SERVER_STREAM, StreamInput, StreamState, Verdict
from cluster.core.rtmp.status import Code, Level

_COMMAND_TYPES = (MessageType.COMMAND_AMF0, MessageType.COMMAND_AMF3)
PUBLISHER_STATES = (StreamState.PUBLISH_PENDING, StreamState.PUBLISHING)
_LISTENER_STATES = (StreamState.PLAY_PENDING, StreamState.PLAYING, StreamState.WAITING)
#: The message stream of the connection itself (RTMP 1.0, section 5.3.1.2.1).
_CONTROL_STREAM_ID = 0
_PLAYLIST_ENDS = (StreamInput.PLAY, StreamInput.STOP)


class ServerStreams(Session):
    """The part of a server-role session that deals with its message streams."""

    __slots__ = ("app", "refusal")

    app: str
    #: Code and description of the latest error that the peer was told; ("", "") if there is none.
    refusal: tuple[str, str]

    def send_status(
        self, stream_id: int, level: str, code: str, description: str, **info: AmfValue
    ) -> None:
        """An onStatus on the stream's own message stream; 0 stands for the connection."""
        if level == Level.ERROR:
            self.refusal = code, description
        self._send(status.on_status(stream_id, level, code, description, **info))

    def _media(self, message: Message, received: Received) -> None:
        stream = self.streams.get(message.stream_id)
        if stream is None or stream.state not in PUBLISHER_STATES:
            message = self._of_the_one_publisher(message)
        verdict = self._judge_stream(message.stream_id, StreamInput.MEDIA, received)
        if verdict is Verdict.HOLD:
            self._hold(message)
        elif verdict is Verdict.ACT:
            self._deliver(message, received)

    def _of_the_one_publisher(self, message: Message) -> Message:
        """Media on a message stream that does not publish: node-media-server's relay sends all of it on 0.

        It is meant for the one message stream that does; with none or several it stays where it is. Other
        servers heed no message stream id in media at all (nginx-rtmp, SRS).
        """
        publishing = [each.stream_id for each in self.streams.values() if each.state in PUBLISHER_STATES]
        return message._replace(stream_id=publishing[0]) if len(publishing) == 1 else message

    def _stream_event(self, event: UserControl, received: Received) -> None:
        """SetBufferLength; the other events of streams are a server's to send."""
        if event.event != UserControlEvent.SET_BUFFER_LENGTH or len(event.values) < 2:
            self.ignored_messages += 1
            return
        stream_id, buffer_ms = event.values
        if self._judge_stream(stream_id, StreamInput.BUFFER_LENGTH, received) is Verdict.ACT:
            self.streams[stream_id].buffer_ms = buffer_ms
            received.append(BufferLengthSet(stream_id, buffer_ms))

    @property
    def held_bytes(self) -> int:
        """What messages cost that wait for a decision of ours."""
        return 0 if self._held is None else self._held.cost_bytes

    def _hold(self, message: Message) -> None:
        """Keep a message until a decision of ours; media that the bound does not allow is dropped."""
        if self._held is None:
            self._held = HeldMessages()
        if self._held.add(message):
            return
        if message.type_id in _COMMAND_TYPES:
            raise PeerViolation(CloseReason.ILLEGAL_STATE, "too much was sent before connect was answered")
        self.dropped_messages += 1

    # The stream table.

    def _judge_stream(self, stream_id: int, what: StreamInput, received: Received) -> Verdict:
        """Look up the stream table for what the peer sent, and move."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            state = stream.state
        else:
            state = StreamState.ABSENT if stream_id != _CONTROL_STREAM_ID else StreamState.CONTROL
        step = SERVER_STREAM.get((state, what))
        if step is None:
            detail = f"{what.value} on message stream {stream_id}, {state.value}"
            raise PeerViolation(CloseReason.ILLEGAL_STATE, detail)
        if step.verdict is Verdict.IGNORE:
            self.ignored_messages += 1
        elif step.verdict is Verdict.ACT:
            if stream is None:  # the table has CONTROL do no more than begin
                stream = self.streams[stream_id] = MessageStream(stream_id)
                received.append(StreamCreated(stream_id))
            if what is StreamInput.PLAY or step.next is not state:
                received.extend(self._ended_by(stream))
            if state in _LISTENER_STATES and what in _PLAYLIST_ENDS:
                stream.playlist = ()
            if step.next is not state:
                self._move(stream, step.next)
        return step.verdict

    def _ended_by(self, stream: MessageStream) -> list[Event]:
        """The event of what ends when ``stream`` leaves its present state by the peer's doing."""
        if stream.state in PUBLISHER_STATES:
            return [PublishEnded(stream.stream_id)]
        return [PlayEnded(stream.stream_id)] if stream.state in _LISTENER_STATES else []

    def _move(self, stream: MessageStream, state: StreamState) -> None:
        if stream.state is StreamState.PUBLISH_PENDING and self._held is not None:
            if state is StreamState.PUBLISHING:
                self._held.released = True
            else:
                self.ignored_messages += self._held.discard(stream.stream_id)
        stream.state = state
        if state is StreamState.ABSENT:
            del self.streams[stream.stream_id]
        self._media_streams = tuple(
            each.stream_id for each in self.streams.values() if each.state is StreamState.PUBLISHING
        )

    # NetStream commands (RTMP 1.0, section 7.2.2).

    def _on_publish(self, command: Command, received: Received) -> None:
        stream_id = command.stream_id
        if command.arg(0) is False:  # Flash's way to stop
            self._stop(stream_id, StreamInput.UNPUBLISH, received)
            return
        named = arguments.stream_name(command.arg(0))
        if named is None:
            self.send_status(stream_id, Level.ERROR, Code.PUBLISH_BAD_NAME, "publish names no stream.")
            return
        verdict = self._judge_stream(stream_id, StreamInput.PUBLISH, received)
        if verdict is Verdict.REFUSE:
            description = f"Message stream {stream_id} is in use."
            self.send_status(stream_id, Level.ERROR, Code.PUBLISH_BAD_NAME, description)
        else:
            name, query = named
            self.streams[stream_id].name = joined(self.app, name)
            publish_type = command.arg(1)
            if not isinstance(publish_type, str):
                publish_type = "live"
            self._reader.expect_media()
            received.append(PublishRequested(stream_id, name, query, publish_type))

    def _on_play(self, command: Command, received: Received) -> None:
        if command.arg(0) is False:
            self._stop(command.stream_id, StreamInput.STOP, received)
            return
        self._play(command.stream_id, command.arg(0), command.args[1:], received)

    def _on_play2(self, command: Command, received: Received) -> None:
        """A switch of bit rate: without our own renditions, a play of the stream it names."""
        self._play(command.stream_id, status.field(command.arg(0), "streamName"), (), received)

    def _play(
        self, stream_id: int, named: AmfValue, args: tuple[AmfValue, ...], received: Received
    ) -> None:
        parts = arguments.stream_name(named)
        if parts is None:
            self.send_status(stream_id, Level.ERROR, Code.PLAY_FAILED, "play names no stream.")
            return
        name, query = parts
        start, duration, reset = (*args, None, None, None)[:3]
        replaces = arguments.play_reset(reset)
        start_s, duration_s = arguments.play_start_s(start), arguments.play_duration_s(duration)
        what = StreamInput.PLAY if replaces else StreamInput.QUEUE
        verdict = self._judge_stream(stream_id, what, received)
        if verdict is Verdict.REFUSE:
            description = f"Message stream {stream_id} is in use."
            self.send_status(stream_id, Level.ERROR, Code.PLAY_FAILED, description)
        elif verdict is Verdict.HOLD:
            self._queue(Command("play", 0.0, None, (named, start_s, duration_s, False), stream_id))
        else:
            stream = self.streams[stream_id]
            stream.name, stream.reset = joined(self.app, name), replaces
            received.append(PlayRequested(stream_id, name, query, start_s, duration_s, replaces))

    def _queue(self, play: Command) -> None:
        """Keep a play until the present one on its message stream has ended."""
        stream = self.streams[play.stream_id]
        if len(stream.playlist) < MAX_PLAYLIST:
            stream.playlist += (encode_command(play),)
        else:
            self.send_status(play.stream_id, Level.ERROR, Code.PLAY_FAILED, "The playlist is full.")

    def _play_next(self, stream: MessageStream) -> bool:
        """The present play has ended: the next of its playlist comes with the next ``receive``."""
        if not stream.playlist:
            return False
        if self._held is None:
            self._held = HeldMessages()
        self._held.release_first(stream.playlist[0])
        stream.playlist = stream.playlist[1:]
        return True

    def _on_close_stream(self, command: Command, received: Received) -> None:
        self._stop(command.stream_id, StreamInput.STOP, received)

    def _stop(self, stream_id: int, what: StreamInput, received: Received) -> None:
        """End what the stream does and say so, but keep the stream."""
        stream = self.streams.get(stream_id)
        before = StreamState.ABSENT if stream is None else stream.state
        if self._judge_stream(stream_id, what, received) is not Verdict.ACT:
            return
        code = Code.UNPUBLISH_SUCCESS if before in PUBLISHER_STATES else Code.PLAY_STOP
        self.send_status(stream_id, Level.STATUS, code, "Stopped.")

    def _on_pause(self, command: Command, received: Received) -> None:
        stream_id, paused = command.stream_id, bool(command.arg(0))
        if self._judge_stream(stream_id, StreamInput.PAUSE, received) is not Verdict.ACT:
            return
        # The user control events as SRS sends them: Flash players show by these whether media flows.
        if paused:
            self.send_status(stream_id, Level.STATUS, Code.PAUSE_NOTIFY, "Paused.")
            self._send_control(control.stream_eof(stream_id))
        else:
            self._send_control(control.stream_begin(stream_id))
            self.send_status(stream_id, Level.STATUS, Code.UNPAUSE_NOTIFY, "Unpaused.")
        received.append(PauseChanged(stream_id, paused, arguments.number(command.arg(1), 0.0)))

    def _on_seek(self, command: Command, received: Received) -> None:
        stream_id = command.stream_id
        if self._judge_stream(stream_id, StreamInput.SEEK, received) is not Verdict.ACT:
            return
        self.send_status(stream_id, Level.ERROR, Code.SEEK_FAILED, "A live stream does not seek.")
        received.append(SeekRequested(stream_id, arguments.number(command.arg(0), 0.0)))

    def _on_receive_audio(self, command: Command, received: Received) -> None:
        if self._judge_stream(command.stream_id, StreamInput.RECEIVE, received) is Verdict.ACT:
            received.append(AudioEnabled(command.stream_id, bool(command.arg(0))))

    def _on_receive_video(self, command: Command, received: Received) -> None:
        if self._judge_stream(command.stream_id, StreamInput.RECEIVE, received) is Verdict.ACT:
            received.append(VideoEnabled(command.stream_id, bool(command.arg(0))))


StreamHandler: TypeAlias = Callable[[ServerStreams, Command, Received], None]
STREAM_HANDLERS: dict[str, StreamHandler] = {
    "publish": ServerStreams._on_publish,
    "play": ServerStreams._on_play,
    "play2": ServerStreams._on_play2,
    "closeStream": ServerStreams._on_close_stream,
    "pause": ServerStreams._on_pause,
    "pauseRaw": ServerStreams._on_pause,
    "seek": ServerStreams._on_seek,
    "receiveAudio": ServerStreams._on_receive_audio,
    "receiveVideo": ServerStreams._on_receive_video,
}
