"""The state tables of both roles: what is legal when, and what comes of it.

A table maps (state, input) to a ``Step``. A pair without an entry is illegal: what the peer sent ends
the connection with ILLEGAL_STATE; a decision of ours has come too late, and does nothing. Real peers
pipeline and repeat commands, so those are entries here and not conditions in the handlers.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from cluster.core.rtmp.status import Code


class SessionState(enum.Enum):
    HANDSHAKE = "handshake"
    CONNECTING = "connecting"  # handshake done; server role: no connect yet
    CONNECT_PENDING = "connect_pending"  # connect sent or received, not answered
    CONNECTED = "connected"
    CLOSING = "closing"  # refused or told to leave: what the peer still sends means nothing
    CLOSED = "closed"


class StreamState(enum.Enum):
    """Server role only: CONTROL and WAITING."""

    ABSENT = "absent"  # never created, or deleted
    CONTROL = "control"  # message stream 0 of the connection itself, which nobody has to create
    IDLE = "idle"
    PUBLISH_PENDING = "publish_pending"
    PUBLISHING = "publishing"
    PLAY_PENDING = "play_pending"
    PLAYING = "playing"
    WAITING = "waiting"  # was told that the stream has ended, and is given it again when it returns


class SessionInput(enum.Enum):
    """What can happen to a session. From the peer, but for the last four."""

    CONTROL = "control"  # message types 1 to 6
    CONNECT = "connect"
    STREAM_CONTROL = "stream_control"  # createStream, deleteStream and the commands of message streams
    CALL = "call"  # every other command
    RESULT = "result"  # _result and _error
    MEDIA = "media"  # audio, video, data, aggregates
    SHARED_OBJECT = "shared_object"
    OTHER = "other"  # message types that do not exist

    HANDSHAKE_DONE = "handshake_done"
    ACCEPT = "accept"
    REJECT = "reject"
    CLOSE = "close"


class StreamInput(enum.Enum):
    """What can happen to a message stream. From the peer, but for the last eight (server role)."""

    PUBLISH = "publish"
    PLAY = "play"
    QUEUE = "queue"  # play with reset false: after what is played now
    UNPUBLISH = "unpublish"  # FCUnpublish, publish(false)
    STOP = "stop"  # closeStream, play(false)
    DELETE = "delete"
    PAUSE = "pause"
    SEEK = "seek"
    RECEIVE = "receive"  # receiveAudio, receiveVideo
    BUFFER_LENGTH = "buffer_length"
    MEDIA = "media"

    ACCEPT_PUBLISH = "accept_publish"
    REJECT_PUBLISH = "reject_publish"
    ACCEPT_PLAY = "accept_play"
    REJECT_PLAY = "reject_play"
    END_PUBLISH = "end_publish"
    END_PLAY = "end_play"
    SUSPEND_PLAY = "suspend_play"  # the publisher has left for good
    RESUME_PLAY = "resume_play"  # and yet there is one again


class RemoteInput(enum.Enum):
    """What can happen to a message stream of the client role: what we ask, then what the server says."""

    ASK_PUBLISH = "ask_publish"
    ASK_PLAY = "ask_play"
    CLOSE = "close"
    DELETE = "delete"

    PUBLISH_STARTED = "publish_started"
    PLAY_STARTED = "play_started"
    ENDED = "ended"  # Play.Stop, Play.Complete, Unpublish.Success
    FAILED = "failed"  # any status of level "error"
    NOTICE = "notice"  # any other status
    MEDIA = "media"


class Verdict(enum.Enum):
    ACT = "act"
    HOLD = "hold"  # keep it until the pending decision is made
    REFUSE = "refuse"  # answer with an error, and go on
    IGNORE = "ignore"  # harmless and useless; counted


_State = TypeVar("_State", SessionState, StreamState)


class Step(NamedTuple, Generic[_State]):
    """``next`` is the state afterwards; only ``Verdict.ACT`` changes it."""

    verdict: Verdict
    next: _State


SessionTable: TypeAlias = Mapping[tuple[SessionState, SessionInput], Step[SessionState]]
StreamTable: TypeAlias = Mapping[tuple[StreamState, StreamInput], Step[StreamState]]
RemoteTable: TypeAlias = Mapping[tuple[StreamState, RemoteInput], Step[StreamState]]

_S = SessionState
_I = SessionInput
_T = StreamState
_ACT, _HOLD, _REFUSE, _IGNORE = Verdict.ACT, Verdict.HOLD, Verdict.REFUSE, Verdict.IGNORE

_Input = TypeVar("_Input", StreamInput, RemoteInput)

_FROM_PEER = (
    _I.CONTROL, _I.CONNECT, _I.STREAM_CONTROL, _I.CALL, _I.RESULT, _I.MEDIA, _I.SHARED_OBJECT, _I.OTHER,
)  # fmt: skip

_BOTH_ROLES: dict[tuple[SessionState, SessionInput], Step[SessionState]] = {
    (_S.HANDSHAKE, _I.HANDSHAKE_DONE): Step(_ACT, _S.CONNECTING),
    (_S.CONNECTING, _I.CONTROL): Step(_ACT, _S.CONNECTING),
    (_S.CONNECTING, _I.OTHER): Step(_IGNORE, _S.CONNECTING),
    (_S.CONNECT_PENDING, _I.CONTROL): Step(_ACT, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.OTHER): Step(_IGNORE, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.ACCEPT): Step(_ACT, _S.CONNECTED),
    (_S.CONNECT_PENDING, _I.REJECT): Step(_ACT, _S.CLOSING),
    (_S.CONNECTED, _I.CONTROL): Step(_ACT, _S.CONNECTED),
    (_S.CONNECTED, _I.CALL): Step(_ACT, _S.CONNECTED),
    (_S.CONNECTED, _I.RESULT): Step(_ACT, _S.CONNECTED),
    (_S.CONNECTED, _I.MEDIA): Step(_ACT, _S.CONNECTED),
    (_S.CONNECTED, _I.SHARED_OBJECT): Step(_ACT, _S.CONNECTED),
    (_S.CONNECTED, _I.OTHER): Step(_IGNORE, _S.CONNECTED),
    **{(_S.CLOSING, what): Step(_IGNORE, _S.CLOSING) for what in _FROM_PEER},
    **{(_S.CLOSED, what): Step(_IGNORE, _S.CLOSED) for what in _FROM_PEER},
    **{(state, _I.CLOSE): Step(_ACT, _S.CLOSED) for state in _S if state is not _S.CLOSED},
}

SERVER_SESSION: SessionTable = {
    **_BOTH_ROLES,
    (_S.CONNECTING, _I.CONNECT): Step(_ACT, _S.CONNECT_PENDING),
    # A peer that does not wait for the answer to its connect.
    (_S.CONNECT_PENDING, _I.CONNECT): Step(_REFUSE, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.STREAM_CONTROL): Step(_HOLD, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.CALL): Step(_HOLD, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.RESULT): Step(_IGNORE, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.MEDIA): Step(_HOLD, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.SHARED_OBJECT): Step(_HOLD, _S.CONNECT_PENDING),
    (_S.CONNECTED, _I.CONNECT): Step(_REFUSE, _S.CONNECTED),
    (_S.CONNECTED, _I.STREAM_CONTROL): Step(_ACT, _S.CONNECTED),
}

CLIENT_SESSION: SessionTable = {
    **_BOTH_ROLES,
    # Our own connect: sent as soon as the handshake is over.
    (_S.CONNECTING, _I.CONNECT): Step(_ACT, _S.CONNECT_PENDING),
    # onBWDone and onStatus come before the answer to connect from some servers.
    (_S.CONNECT_PENDING, _I.CALL): Step(_ACT, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.RESULT): Step(_ACT, _S.CONNECT_PENDING),
    (_S.CONNECT_PENDING, _I.SHARED_OBJECT): Step(_IGNORE, _S.CONNECT_PENDING),
}


def _to(
    states: tuple[StreamState, ...], what: _Input, next_state: StreamState
) -> dict[tuple[StreamState, _Input], Step[StreamState]]:
    return {(state, what): Step(_ACT, next_state) for state in states}


def _stay(
    states: tuple[StreamState, ...], what: _Input, verdict: Verdict = _ACT
) -> dict[tuple[StreamState, _Input], Step[StreamState]]:
    return {(state, what): Step(verdict, state) for state in states}


_ASKED = (_T.PUBLISH_PENDING, _T.PUBLISHING, _T.PLAY_PENDING, _T.PLAYING)
_PUBLISHER = (_T.PUBLISH_PENDING, _T.PUBLISHING)
_PLAYER = (_T.PLAY_PENDING, _T.PLAYING)

#: Of the server role. A player that waits for its stream to return is a player to what its peer asks, but
#: its message stream is free for another play or publish at once, as it is after any end.
_NOTHING = (_T.ABSENT, _T.CONTROL)
_FREE = (_T.CONTROL, _T.IDLE, _T.WAITING)
_LISTENER = (*_PLAYER, _T.WAITING)
_CREATED = (_T.IDLE, *_ASKED, _T.WAITING)
_NOT_PUBLISHER = (*_NOTHING, _T.IDLE, *_LISTENER)
_NOT_LISTENER = (*_NOTHING, _T.IDLE, *_PUBLISHER)

#: Server role. publish and play on a stream that does not exist have no entry: no real peer does it. On
#: message stream 0 xiu does both, and what it creates it does not use; nginx-rtmp takes that.
SERVER_STREAM: StreamTable = {
    **_to(_FREE, StreamInput.PUBLISH, _T.PUBLISH_PENDING),
    **_stay(_ASKED, StreamInput.PUBLISH, _REFUSE),
    # A second play on a stream replaces the first, or waits for its end (section 7.2.2.1, reset).
    **_to((*_FREE, *_PLAYER), StreamInput.PLAY, _T.PLAY_PENDING),
    **_stay(_PUBLISHER, StreamInput.PLAY, _REFUSE),
    **_to(_FREE, StreamInput.QUEUE, _T.PLAY_PENDING),
    **_stay(_PLAYER, StreamInput.QUEUE, _HOLD),
    **_stay(_PUBLISHER, StreamInput.QUEUE, _REFUSE),
    **_to(_PUBLISHER, StreamInput.UNPUBLISH, _T.IDLE),
    **_stay(_NOT_PUBLISHER, StreamInput.UNPUBLISH, _IGNORE),
    **_to((*_PUBLISHER, *_LISTENER), StreamInput.STOP, _T.IDLE),
    **_stay((*_NOTHING, _T.IDLE), StreamInput.STOP, _IGNORE),
    **_to(_CREATED, StreamInput.DELETE, _T.ABSENT),
    **_stay(_NOTHING, StreamInput.DELETE, _IGNORE),
    **_stay(_LISTENER, StreamInput.PAUSE),
    **_stay(_NOT_LISTENER, StreamInput.PAUSE, _IGNORE),
    **_stay(_LISTENER, StreamInput.SEEK),
    **_stay(_NOT_LISTENER, StreamInput.SEEK, _IGNORE),
    # Flash players choose the tracks and the buffer before they play.
    **_stay(_CREATED, StreamInput.RECEIVE),
    **_stay(_NOTHING, StreamInput.RECEIVE, _IGNORE),
    **_stay(_CREATED, StreamInput.BUFFER_LENGTH),
    # librtmp sets one for message stream 0, too.
    **_stay(_NOTHING, StreamInput.BUFFER_LENGTH, _IGNORE),
    **_stay((_T.PUBLISHING,), StreamInput.MEDIA),
    # Encoders that do not wait for NetStream.Publish.Start.
    **_stay((_T.PUBLISH_PENDING,), StreamInput.MEDIA, _HOLD),
    **_stay(_NOT_PUBLISHER, StreamInput.MEDIA, _IGNORE),
    **_to((_T.PUBLISH_PENDING,), StreamInput.ACCEPT_PUBLISH, _T.PUBLISHING),
    **_to((_T.PUBLISH_PENDING,), StreamInput.REJECT_PUBLISH, _T.IDLE),
    **_to((_T.PLAY_PENDING,), StreamInput.ACCEPT_PLAY, _T.PLAYING),
    **_to((_T.PLAY_PENDING,), StreamInput.REJECT_PLAY, _T.IDLE),
    **_to(_PUBLISHER, StreamInput.END_PUBLISH, _T.IDLE),
    **_to(_LISTENER, StreamInput.END_PLAY, _T.IDLE),
    **_to((_T.PLAYING,), StreamInput.SUSPEND_PLAY, _T.WAITING),
    **_to((_T.WAITING,), StreamInput.RESUME_PLAY, _T.PLAYING),
}

_REMOTE = (_T.ABSENT, _T.IDLE, *_ASKED)
_ALIVE = (_T.IDLE, *_ASKED)
_NOT_PLAYER = (_T.ABSENT, _T.IDLE, *_PUBLISHER)

#: Client role. Servers send statuses and media late and early, so none of theirs is illegal.
CLIENT_STREAM: RemoteTable = {
    **_to((_T.IDLE,), RemoteInput.ASK_PUBLISH, _T.PUBLISH_PENDING),
    **_to((_T.IDLE, *_PLAYER), RemoteInput.ASK_PLAY, _T.PLAY_PENDING),
    **_to(_ALIVE, RemoteInput.CLOSE, _T.IDLE),
    **_to(_ALIVE, RemoteInput.DELETE, _T.ABSENT),
    **_stay(_REMOTE, RemoteInput.NOTICE),
    **_stay(_REMOTE, RemoteInput.PUBLISH_STARTED),
    **_to((_T.PUBLISH_PENDING,), RemoteInput.PUBLISH_STARTED, _T.PUBLISHING),
    **_stay(_REMOTE, RemoteInput.PLAY_STARTED),
    **_to((_T.PLAY_PENDING,), RemoteInput.PLAY_STARTED, _T.PLAYING),
    **_stay((_T.ABSENT,), RemoteInput.ENDED),
    **_to(_ALIVE, RemoteInput.ENDED, _T.IDLE),
    **_stay((_T.ABSENT,), RemoteInput.FAILED),
    **_to(_ALIVE, RemoteInput.FAILED, _T.IDLE),
    # |RtmpSampleAccess and metadata may come before NetStream.Play.Start.
    **_stay(_PLAYER, RemoteInput.MEDIA),
    **_stay(_NOT_PLAYER, RemoteInput.MEDIA, _IGNORE),
}

#: What a status tells about its message stream; any other is a FAILED or a NOTICE, by its level.
STATUS_INPUTS: Mapping[str, RemoteInput] = {
    Code.PUBLISH_START: RemoteInput.PUBLISH_STARTED,
    Code.PLAY_START: RemoteInput.PLAY_STARTED,
    Code.PLAY_PUBLISH_NOTIFY: RemoteInput.PLAY_STARTED,
    Code.PLAY_STOP: RemoteInput.ENDED,
    Code.PLAY_COMPLETE: RemoteInput.ENDED,
    Code.UNPUBLISH_SUCCESS: RemoteInput.ENDED,
    # An error that ends nothing: live streams do not seek.
    Code.SEEK_FAILED: RemoteInput.NOTICE,
}
