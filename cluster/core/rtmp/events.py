"""What a session tells its shell: one frozen dataclass each, past tense.

A publish lives from its ``PublishRequested`` to exactly one ``PublishEnded``, pending or not, unless the
shell itself rejected or ended it; a play likewise. Names are as the peer wrote them, the part from the
first "?" on standing in ``query`` (without the "?"); a whole address has lost its credentials besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cluster.core.amf.values import AmfValue
from cluster.core.message import Message
from cluster.core.rtmp.capabilities import Capabilities
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.shared_object import SharedObjectMessage


class Event:
    """Base of all events."""

    __slots__ = ()


#: What one ``receive`` of a session returns, in order of arrival.
Received: TypeAlias = list[Event | Message]


@dataclass(frozen=True, slots=True)
class HandshakeCompleted(Event):
    """``kind`` is "simple", "digest-first" or "key-first"; ``peer_version`` the four bytes C1[4:8]."""

    kind: str
    peer_version: bytes


@dataclass(frozen=True, slots=True)
class ConnectRequested(Event):
    """Server role: answer with ``accept_connect`` or ``reject_connect``. ``args`` follow the object."""

    app: str
    tc_url: str
    query: str
    flash_ver: str
    object_encoding: int
    command_object: dict[str, AmfValue]
    capabilities: Capabilities
    args: tuple[AmfValue, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamCreated(Event):
    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamClosed(Event):
    """The message stream is gone, and its id may come again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PublishRequested(Event):
    """Answer with ``accept_publish`` or ``reject_publish``. ``publish_type``: live, record or append."""

    stream_id: int
    name: str
    query: str
    publish_type: str


@dataclass(frozen=True, slots=True)
class PublishEnded(Event):
    stream_id: int


@dataclass(frozen=True, slots=True)
class PlayRequested(Event):
    """Answer with ``accept_play`` or ``reject_play``.

    ``start`` in seconds: -2.0 live, else recorded; -1.0 live only; >= 0 a position, if it is recorded.
    ``duration`` in seconds: -1.0 to the end.
    """

    stream_id: int
    name: str
    query: str
    start: float
    duration: float
    reset: bool


@dataclass(frozen=True, slots=True)
class PlayEnded(Event):
    stream_id: int


@dataclass(frozen=True, slots=True)
class PauseChanged(Event):
    """The peer has been told already."""

    stream_id: int
    paused: bool
    at_ms: float


@dataclass(frozen=True, slots=True)
class SeekRequested(Event):
    """The peer has been told already that a live stream does not seek."""

    stream_id: int
    at_ms: float


@dataclass(frozen=True, slots=True)
class AudioEnabled(Event):
    stream_id: int
    on: bool


@dataclass(frozen=True, slots=True)
class VideoEnabled(Event):
    stream_id: int
    on: bool


@dataclass(frozen=True, slots=True)
class BufferLengthSet(Event):
    stream_id: int
    buffer_ms: int


@dataclass(frozen=True, slots=True)
class CommandReceived(Event):
    """A command that has no event of its own.

    Where it asked for an answer, that has been given, unless it is one of the session's ``methods``.
    """

    stream_id: int
    command: Command


@dataclass(frozen=True, slots=True)
class SharedObjectReceived(Event):
    shared: SharedObjectMessage


@dataclass(frozen=True, slots=True)
class SwfVerified(Event):
    """Server role: the peer has answered the verification of the SWF file it was asked for."""

    genuine: bool


@dataclass(frozen=True, slots=True)
class PongReceived(Event):
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class CallSucceeded(Event):
    """``values``: the command object of the answer, then its arguments."""

    transaction_id: float
    values: tuple[AmfValue, ...]


@dataclass(frozen=True, slots=True)
class CallFailed(Event):
    transaction_id: float
    code: str
    description: str
    values: tuple[AmfValue, ...]


@dataclass(frozen=True, slots=True)
class ConnectSucceeded(Event):
    """Client role. ``capabilities`` are the server's."""

    properties: AmfValue
    information: AmfValue
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class ConnectFailed(Event):
    """Client role. ``redirect`` is the tcUrl a server sends with code 302, or ""."""

    code: str
    description: str
    redirect: str


@dataclass(frozen=True, slots=True)
class StreamReady(Event):
    """Client role: createStream was answered."""

    stream_id: int
    transaction_id: float


@dataclass(frozen=True, slots=True)
class StatusReceived(Event):
    """Client role: an onStatus; ``info`` is its whole information object."""

    stream_id: int
    level: str
    code: str
    description: str
    info: AmfValue


@dataclass(frozen=True, slots=True)
class ReconnectRequested(Event):
    """Client role: go to ``tc_url`` ("": the same), at the next keyframe (Enhanced RTMP v2)."""

    tc_url: str
    description: str


@dataclass(frozen=True, slots=True)
class StreamEventReceived(Event):
    """Client role: a user control event about a stream (``UserControlEvent``): begin, end, dry, buffer."""

    stream_id: int
    event: int


@dataclass(frozen=True, slots=True)
class CloseRequested(Event):
    """The peer's ``close`` command (RTMP 1.0, section 7.2.1): the connection is to be closed."""
