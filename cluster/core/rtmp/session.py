"""What both roles of an RTMP session share: bytes in, events and messages out, bytes to send kept ready.

A session owns no socket and no clock. Its shell hands it what arrived and the time (seconds, monotonic),
and writes what ``outgoing`` returns after every call. Message types decide what a message is, never the
chunk stream it came on (RTMP 1.0, section 5.3).
"""

from __future__ import annotations

import sys
from typing import ClassVar, TypeAlias

from cluster.core.errors import CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Buffer, Message, MessageType
from cluster.core.rtmp import command, control, shared_object
from cluster.core.rtmp.chunk_reader import MESSAGE_WORK, ChunkReader
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.control import UserControl, UserControlEvent
from cluster.core.rtmp.events import (
    Event,
    HandshakeCompleted,
    PongReceived,
    Received,
    SharedObjectReceived,
)
from cluster.core.rtmp.handshake import ClientHandshake, ServerHandshake
from cluster.core.rtmp.liveness import Liveness
from cluster.core.rtmp.message_stream import HeldMessages, MessageStream, deliver
from cluster.core.rtmp.session_output import SessionOutput
from cluster.core.rtmp.states import SessionInput, SessionState, SessionTable, Verdict
from cluster.core.rtmp.swf import SwfFile

#: What a command costs beside its message, in chunks: to read, judge and answer it takes 25 to 60 us.
COMMAND_WORK = 40
#: A control message, or one of a type that does not exist.
CONTROL_WORK = 8
#: Bytes of AMF that cost as much as a chunk.
AMF_BYTES_PER_WORK = 8

DEFAULT_CHUNK_SIZE = 65536
DEFAULT_WINDOW_ACK_SIZE = 2_500_000

_Handshake: TypeAlias = ServerHandshake | ClientHandshake
_AUDIO_VIDEO = (int(MessageType.AUDIO), int(MessageType.VIDEO))
_COMMANDS = frozenset((MessageType.COMMAND_AMF0, MessageType.COMMAND_AMF3))
_INPUTS: dict[int, SessionInput] = {
    **dict.fromkeys(range(1, 7), SessionInput.CONTROL),
    MessageType.AUDIO: SessionInput.MEDIA,
    MessageType.VIDEO: SessionInput.MEDIA,
    MessageType.DATA_AMF0: SessionInput.MEDIA,
    MessageType.DATA_AMF3: SessionInput.MEDIA,
    MessageType.AGGREGATE: SessionInput.MEDIA,
    MessageType.SHARED_OBJECT_AMF0: SessionInput.SHARED_OBJECT,
    MessageType.SHARED_OBJECT_AMF3: SessionInput.SHARED_OBJECT,
}
_SWF_EVENTS = (UserControlEvent.SWF_VERIFY_REQUEST, UserControlEvent.SWF_VERIFY_RESPONSE)


class Session(SessionOutput):
    """The part of a session that does not depend on its role.

    ``ignored_messages`` counts what was legal and useless, ``dropped_messages`` what was legal and came
    while the bound on held messages was reached, ``truncated_aggregates`` those whose end was missing.
    ``side_work`` is the part of ``work`` that everything but media has cost.
    """

    __slots__ = (
        "_handshake",
        "_held",
        "_last_received",
        "_limits",
        "_liveness",
        "_max_work",
        "_media_streams",
        "_quiet_since",
        "_reader",
        "_rest",
        "_swf",
        "_swf_key",
        "_violated",
        "bytes_received",
        "dropped_messages",
        "ignored_messages",
        "side_work",
        "state",
        "streams",
        "truncated_aggregates",
    )

    _TABLE: ClassVar[SessionTable]

    def __init__(self, *, limits: Limits, now: float, handshake: _Handshake) -> None:
        super().__init__()
        self.state = SessionState.HANDSHAKE
        self.streams: dict[int, MessageStream] = {}
        self.bytes_received = 0
        self.ignored_messages = 0
        self.dropped_messages = 0
        self.truncated_aggregates = 0
        self.side_work = 0
        #: Messages that were too much work for the latest ``receive``.
        self._rest: list[Message] = []
        self._limits = limits
        #: None once it is over: an idle session must not keep its 3 KiB of entropy.
        self._handshake: _Handshake | None = handshake
        self._reader = ChunkReader(limits)
        self._liveness = Liveness(now)
        #: The SWF file the connection is verified by, and the key for it: nothing is kept without one.
        self._swf: SwfFile | None = None
        self._swf_key = b""
        #: Ids of the message streams whose audio and video pass; a tuple, being nearly always of one.
        self._media_streams: tuple[int, ...] = ()
        #: Messages that wait for a decision of ours.
        self._held: HeldMessages | None = None
        self._max_work = sys.maxsize if limits.max_work_at_once is None else limits.max_work_at_once
        self._last_received = now
        self._quiet_since = now
        self._violated: tuple[CloseReason, str] | None = None

    # What the shell calls.

    def receive(self, data: Buffer, now: float) -> Received:
        """Take what arrived; return the events and media it makes, in order.

        Audio and video are the reader's own ``Message`` objects; data is AMF0 (type 18) without
        ``@setDataFrame``, or as it came if it is AMF3 throughout. ``b""`` is legal: it brings out what
        a decision of the shell released. Raises PeerViolation on a peer's error; if there are results
        that precede the error, they are returned and the next ``receive`` or ``tick`` raises.
        """
        if self.state is SessionState.CLOSED:
            if self._violated is not None:
                raise PeerViolation(*self._violated)
            return []
        received: Received = []
        if len(data):
            self.bytes_received += len(data)
            self._last_received = now
        try:
            self._read(data, received)
        except PeerViolation as violation:
            self._fail(violation)
            if not received:
                raise
        if len(data):
            self.bytes_received -= len(self._reader.unread)  # they are given again
        if self.bytes_received >= self._acks.due_at:
            self._send_control(control.acknowledgement(self._acks.acknowledge(self.bytes_received)))
        return received

    def tick(self, now: float) -> None:
        """Look at the timeouts, about once a second. Raises PeerViolation when the peer's time is up."""
        if self._violated is not None:
            raise PeerViolation(*self._violated)
        if self.state is SessionState.CLOSED:
            return
        try:
            if self._handshake is None:
                self._reader.check()
                self._keep_alive(now)
            elif now - self._quiet_since >= self._limits.handshake_timeout_s:
                # As a whole: a bound on each read would let a peer drip bytes.
                raise PeerViolation(CloseReason.HANDSHAKE_TIMEOUT, "the handshake is not over")
        except PeerViolation as violation:
            self._fail(violation)
            raise

    def ping(self, now: float) -> None:
        """Ask for a pong, which gives the round-trip time."""
        self._send_control(control.ping_request(self._liveness.pinged(now)))

    def close(self) -> list[Event]:
        """The connection is gone. Returns what ended with it: nothing but in the server role."""
        self.state = SessionState.CLOSED
        self._held = None
        return []

    @property
    def rtt_ms(self) -> float | None:
        """The last round-trip time; None until a ping was answered."""
        return self._liveness.rtt_ms

    @property
    def work(self) -> int:
        """What reading has cost so far, in chunks; see ``ChunkReader``."""
        return self._reader.work

    @property
    def unread(self) -> bytes:
        """Bytes that the latest ``receive`` left (``max_work_at_once``) and the next is to begin with."""
        return self._reader.unread

    @property
    def has_unread(self) -> bool:
        """The latest ``receive`` left something: the next is to be given ``unread``, be it empty."""
        return bool(self._rest or self._reader.unread)

    @property
    def lacking_bytes(self) -> int:
        """See ``ChunkReader``."""
        return self._reader.lacking_bytes

    @property
    def unfinished_bytes(self) -> int:
        """Payload bytes kept of messages whose end has not come."""
        return self._reader.partial_bytes

    @property
    def peer_acknowledged_bytes(self) -> int | None:
        """Bytes the peer has acknowledged, unwrapped; None if it never acknowledged any."""
        return self._acks.peer_acknowledged

    # What the roles add.

    def _handshake_over(self) -> None:
        """The handshake is over; the client role connects."""

    def _keep_alive(self, now: float) -> None:
        """Timeouts and pings after the handshake."""

    def _command(self, received_command: Command, message: Message, received: Received) -> None:
        raise NotImplementedError

    def _media(self, message: Message, received: Received) -> None:
        raise NotImplementedError

    def _swf_verification(self, event: UserControl, received: Received) -> None:
        raise NotImplementedError

    def _stream_event(self, event: UserControl, received: Received) -> None:
        raise NotImplementedError

    def _hold(self, message: Message) -> None:
        raise NotImplementedError

    # Reading.

    def _read(self, data: Buffer, received: Received) -> None:
        if self._handshake is not None:
            data = self._shake(self._handshake, data, received)
            if self._handshake is not None:
                return
        if self._rest and (data is self._reader.unread or not len(data)):
            messages, self._rest = self._rest, []  # what the reader left comes after them
        else:
            messages = self._reader.feed(data)
        # The hot path of ingest from here on: a publisher's audio and video pass with two look-ups each.
        if self._held is not None and self._held.released:
            held, self._held = self._held, None
            messages = held.take() + messages
        passed, media_streams = _AUDIO_VIDEO, self._media_streams
        append = received.append
        enough = self._reader.work + self._max_work
        waiting = iter(messages)
        for message in waiting:
            if message[0] in passed and message[3] in media_streams:
                append(message)
            else:
                self._dispatch(message, received)
                media_streams = self._media_streams
                if self._reader.work >= enough:
                    self._rest = list(waiting)
                    return

    def _shake(self, handshake: _Handshake, data: Buffer, received: Received) -> bytes:
        """Go on with the handshake; returns the bytes behind it once it is over."""
        reply = handshake.receive(data)
        if reply:
            self.unsent.append(reply)
        if not handshake.done:
            return b""
        self._handshake = None
        if self._swf is not None:
            self._swf_key = handshake.swf_key
        self._quiet_since = self._last_received
        self._judge(SessionInput.HANDSHAKE_DONE)
        received.append(HandshakeCompleted(str(handshake.kind), handshake.peer_version))
        self._handshake_over()
        return handshake.leftover

    def _dispatch(self, message: Message, received: Received) -> None:
        if message.type_id in _COMMANDS:
            self.note_side_work(COMMAND_WORK + len(message.payload) // AMF_BYTES_PER_WORK)
            self._decode_command(message, received)
            return
        what = _INPUTS.get(message.type_id, SessionInput.OTHER)
        if what is SessionInput.SHARED_OBJECT:
            self.note_side_work(COMMAND_WORK + len(message.payload) // AMF_BYTES_PER_WORK)
        elif what is not SessionInput.MEDIA:
            self.note_side_work(CONTROL_WORK)
        verdict = self._judge(what)
        if verdict is Verdict.HOLD:
            self._hold(message)
        elif verdict is Verdict.ACT:
            if what is SessionInput.CONTROL:
                self._control(message, received)
            elif what is SessionInput.SHARED_OBJECT:
                self._shared_object(message, received)
            else:
                self._media(message, received)

    def note_side_work(self, work: int) -> None:
        """Something that the peer asked for has cost so much."""
        self.side_work += work
        self._reader.work += work

    def _judge(self, what: SessionInput) -> Verdict:
        """Look up the session table and move; a peer's input without an entry is a violation."""
        step = self._TABLE.get((self.state, what))
        if step is None:
            raise PeerViolation(CloseReason.ILLEGAL_STATE, f"{what.value} in state {self.state.value}")
        if step.verdict is Verdict.ACT:
            self.state = step.next
        elif step.verdict is Verdict.IGNORE:
            self.ignored_messages += 1
        return step.verdict

    def _decode_command(self, message: Message, received: Received) -> None:
        if self.state is SessionState.CLOSING:
            self._judge(SessionInput.CALL)
            return
        try:
            if len(message.payload) > self._limits.max_command_bytes:
                raise PeerViolation(
                    CloseReason.MESSAGE_TOO_LARGE, f"a command of {len(message.payload)} bytes"
                )
            received_command = command.decode(message, self._limits)
        except PeerViolation:
            # Harmless between peers that have connected; before that, it is not an RTMP peer.
            if self.state is not SessionState.CONNECTED:
                raise
            self.ignored_messages += 1
            return
        self._command(received_command, message, received)

    def _shared_object(self, message: Message, received: Received) -> None:
        """Hand on a shared object message. One that cannot be read is ignored, as such a command is."""
        try:
            received.append(SharedObjectReceived(shared_object.decode(message, self._limits)))
        except PeerViolation:
            self.ignored_messages += 1

    def _deliver(self, message: Message, received: Received) -> None:
        """Hand on media that has passed the stream table. The parts of an aggregate are messages too."""
        before = len(received)
        if not deliver(message, received):
            self.truncated_aggregates += 1
        self._reader.work += MESSAGE_WORK * (len(received) - before - 1)

    # Protocol control.

    def _control(self, message: Message, received: Received) -> None:
        """Types 3 to 6; Set Chunk Size and Abort have been obeyed by the chunk reader."""
        type_id = message.type_id
        if type_id > MessageType.ABORT and control.is_short(message):
            # Without its value it says nothing, and nothing depends on it: nginx-rtmp passes over it.
            self.ignored_messages += 1
        elif type_id == MessageType.USER_CONTROL:
            self._user_control(control.read_user_control(message), received)
        elif type_id == MessageType.ACKNOWLEDGEMENT:
            self._acks.peer_acknowledgement(control.read_u32(message))
        elif type_id == MessageType.WINDOW_ACK_SIZE:
            self._acks.set_window(control.read_u32(message))
        elif type_id == MessageType.SET_PEER_BANDWIDTH:
            window_bytes = self._acks.peer_bandwidth(control.read_set_peer_bandwidth(message))
            if window_bytes is not None:
                self.announce_window(window_bytes)

    def _user_control(self, event: UserControl, received: Received) -> None:
        if event.event in _SWF_EVENTS:
            self._swf_verification(event, received)
        elif not event.values:
            self.ignored_messages += 1  # no other event without data means anything to us
        elif event.event == UserControlEvent.PING_REQUEST:
            self._send_control(control.ping_response(event.values[0]))
        elif event.event == UserControlEvent.PING_RESPONSE:
            self._pong(event.values[0], received)
        else:
            self._stream_event(event, received)

    def _pong(self, clock_ms: int, received: Received) -> None:
        rtt_ms = self._liveness.ponged(clock_ms, self._last_received)
        if rtt_ms is None:
            self.ignored_messages += 1
        else:
            received.append(PongReceived(rtt_ms))

    # Calls and their answers.

    def _answer(self, answer: Command, received: Received) -> None:
        """A ``_result`` or ``_error``; those that nothing waits for are ignored."""
        if not self._calls.finish(answer, received):
            self.ignored_messages += 1

    # Ending.

    def _fail(self, violation: PeerViolation) -> None:
        """The session is over. Not the exception is kept: its traceback has the receive buffer, and us."""
        self._violated = violation.reason, violation.detail
        self.state = SessionState.CLOSED
