"""The server role of an RTMP session: the shell's decisions, and time.

RTMP 1.0, section 7.2.1. Deviations name the peer that forces them.
"""

from __future__ import annotations

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import capabilities, control, status
from cluster.core.rtmp.chunk_writer import ChunkStreamId, encode_shared
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import PeerBandwidthLimit
from cluster.core.rtmp.events import Event, StreamClosed
from cluster.core.rtmp.handshake import ServerHandshake
from cluster.core.rtmp.message_stream import MessageStream, media_chunk_stream
from cluster.core.rtmp.server_commands import ServerCommands
from cluster.core.rtmp.session import DEFAULT_CHUNK_SIZE, DEFAULT_WINDOW_ACK_SIZE
from cluster.core.rtmp.states import (
    SERVER_SESSION,
    SERVER_STREAM,
    SessionInput,
    SessionState,
    StreamInput,
    StreamState,
)
from cluster.core.rtmp.status import Code, Level
from cluster.core.rtmp.swf import SwfFile

_FMS_VERSION = "FMS/3,5,7,7009"
_FMS_CAPABILITIES = 31
_REDIRECT = 302


class ServerSession(ServerCommands):
    """One accepted connection. See ``Session`` for ``receive``, ``outgoing`` and ``tick``.

    A decision (``accept_...``, ``reject_...``, ``end_...``) returns False if it came too late: the peer
    has stopped meanwhile, or the connection is closing. After ``accept_connect`` and ``accept_publish``
    the next ``receive`` begins with what the peer sent before the decision; ``receive(b"", now)`` gives
    it at once; so it is after ``end_play`` and ``reject_play``, which bring the next of a playlist. Media
    of players goes out by ``send``, or beside it in the shared encoding: the session itself writes on
    chunk streams 2, 3 and 5 only. ``in_use`` is the shell's to set while the connection serves anything
    but streams: it is then not idle.
    """

    __slots__ = (
        "_chunk_size",
        "_window_ack_size",
        "in_use",
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
        verify_swf: SwfFile | None = None,
    ) -> None:
        """``verify_swf``: ask players to prove that they run this file; SwfVerified tells the answer."""
        handshake = ServerHandshake(entropy=entropy, uptime_ms=int(now * 1000))
        super().__init__(limits=limits, now=now, handshake=handshake)
        self._reader.expect_small()
        self._swf = verify_swf
        self.in_use = False
        self._chunk_size = chunk_size
        self._window_ack_size = window_ack_size

    # Decisions.

    def accept_connect(self, **properties: AmfValue) -> bool:
        """Let the peer in. ``properties`` are added to the properties object of the answer."""
        if not self._decide_connect(SessionInput.ACCEPT):
            return False
        self.announce_window(self._window_ack_size)
        self.limit_peer_bandwidth(self._window_ack_size, PeerBandwidthLimit.DYNAMIC)
        self.set_chunk_size(self._chunk_size)
        self._send_control(control.stream_begin(0))
        server: dict[str, AmfValue] = {"fmsVer": _FMS_VERSION, "capabilities": _FMS_CAPABILITIES, "mode": 1}
        server |= capabilities.answer(self.capabilities)
        server |= properties
        info = status.information(
            Level.STATUS, Code.CONNECT_SUCCESS, "Connection succeeded.", objectEncoding=self.object_encoding
        )
        self._send(Command("_result", self._connect_transaction, server, (info,)))
        if self._swf is not None:
            self._send_control(control.swf_verify_request())
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
        self._begin_play(stream)
        return True

    def reject_play(self, stream_id: int, code: str, description: str) -> bool:
        if not self._end(stream_id, StreamInput.REJECT_PLAY, code, description):
            return False
        self._play_next(self.streams[stream_id])
        return True

    def end_play(self, stream_id: int) -> bool:
        """The play is over: as much of the stream was sent as was asked for, or it goes on to the next.

        FFmpeg and librtmp players leave at the first of the statuses; so a player with a playlist is told
        of the switch in a data message only.
        """
        stream = self._decide(stream_id, StreamInput.END_PLAY)
        if stream is None:
            return False
        if self._play_next(stream):
            self._send_play_status(stream_id, Code.PLAY_SWITCH)
            return True
        self._send_play_status(stream_id, Code.PLAY_COMPLETE)
        self._send_control(control.stream_eof(stream_id))
        self.send_status(stream_id, Level.STATUS, Code.PLAY_STOP, f"Stopped playing {stream.name}.")
        return True

    def suspend_play(self, stream_id: int) -> bool:
        """The stream has ended, and its player is told so; True if it waits for the stream to return.

        FFmpeg and librtmp players leave at the first of the statuses. lal and nginx-rtmp heed none of
        them, and their viewers wait behind the connection. A player with a playlist does not wait.
        """
        stream = self.streams.get(stream_id)
        if stream is not None and stream.playlist:
            self.end_play(stream_id)
            return False
        stream = self._decide(stream_id, StreamInput.SUSPEND_PLAY)
        if stream is None:
            return False
        self._send_control(control.stream_eof(stream_id))
        description = f"{stream.name} is now unpublished."
        self.send_status(stream_id, Level.STATUS, Code.PLAY_UNPUBLISH_NOTIFY, description)
        self.send_status(stream_id, Level.STATUS, Code.PLAY_STOP, f"Stopped playing {stream.name}.")
        return True

    def resume_play(self, stream_id: int) -> bool:
        """The stream that its player waits for is there again; media follows from the shell."""
        stream = self._decide(stream_id, StreamInput.RESUME_PLAY)
        if stream is None:
            return False
        self._begin_play(stream)
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

    def _begin_play(self, stream: MessageStream) -> None:
        stream_id, name = stream.stream_id, stream.name
        self._send_control(control.stream_begin(stream_id))
        if stream.reset:
            self.send_status(stream_id, Level.STATUS, Code.PLAY_RESET, f"Playing and resetting {name}.")
        self.send_status(stream_id, Level.STATUS, Code.PLAY_START, f"Started playing {name}.")

    def _send_play_status(self, stream_id: int, code: Code) -> None:
        info = status.information(Level.STATUS, code, "")
        self._send_data(stream_id, amf0.encode("onPlayStatus", info))

    def _send_data(self, stream_id: int, payload: bytes) -> None:
        data = Message(MessageType.DATA_AMF0, 0, payload, stream_id)
        self.unsent.append(self._writer.encode(data, ChunkStreamId.STATUS))

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
        states = {stream.state for stream in self.streams.values()} - {StreamState.IDLE}
        owes_media = states == {StreamState.PUBLISHING}
        if self._liveness.is_lost(now, self._limits, owes_media=owes_media):
            raise PeerViolation(CloseReason.PING_TIMEOUT, "a ping was not answered, and nothing else came")
        if states or self.in_use or self.state is SessionState.CONNECT_PENDING:
            self._quiet_since = now
        elif now - self._quiet_since >= self._limits.idle_timeout_s:
            raise PeerViolation(CloseReason.IDLE_TIMEOUT, "nothing is published or played")
        if self.state is SessionState.CONNECTED and self._liveness.ping_due(now, self._limits):
            self.ping(now)


#: Lets Flash players read the samples of what they play: to be sent before the first media of a play, and
#: not sooner. A player that waits for a publisher would take it for media.
SAMPLE_ACCESS = amf0.encode("|RtmpSampleAccess", True, True)
