"""Shared object messages (types 19 and 16), both ways: a name, a version, and events.

RTMP 1.0, section 7.1.3, which leaves most of it out; the layout is that of Flash Media Server and Red5:

    name (u16, UTF-8) · version u32 · persistence u32 (2: persistent) · u32 0 · events
    event: type u8 · length u32 · data

Type 16 has one more byte in front: 0 for values in AMF0, 3 for values in AMF3. Names of properties stand
as u16 and UTF-8, without a marker, in both.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.core.amf import amf0, amf3
from cluster.core.amf.values import AmfValue
from cluster.core.errors import CloseReason, MisuseError, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType

#: Events of one message. A Use is answered with one message of all properties, so this bounds those.
MAX_EVENTS = 1024
#: Every user of an object is sent what one of them says, so what one message may say is bounded closer
#: than messages are: a whole object and its names.
MAX_MESSAGE_BYTES = 256 * 1024

_NAME = struct.Struct(">H")
_HEADER = struct.Struct(">III")
_EVENT = struct.Struct(">BI")
_PERSISTENT = 2
_AMF0_FORMAT, _AMF3_FORMAT = 0, 3
_LONGEST_NAME_BYTES = 0xFFFF


class SharedEventType(enum.IntEnum):
    """What happened to a shared object; 1, 2, 3, 6 and 10 are for users to send, the others for servers."""

    USE = 1
    RELEASE = 2
    REQUEST_CHANGE = 3
    CHANGE = 4
    SUCCESS = 5
    SEND_MESSAGE = 6
    STATUS = 7
    CLEAR = 8
    REMOVE = 9
    REQUEST_REMOVE = 10
    USE_SUCCESS = 11


_WITH_VALUES = (SharedEventType.REQUEST_CHANGE, SharedEventType.CHANGE)
_WITH_NAME = (SharedEventType.SUCCESS, SharedEventType.REMOVE, SharedEventType.REQUEST_REMOVE)


@dataclass(frozen=True, slots=True)
class SharedEvent:
    """One event. ``type_id`` is a plain int: a peer may send any.

    ``name`` is that of the property (3, 4, 5, 9, 10), of the method (6), or the code of a Status, whose
    level is the one value. ``values``: the property's value, or the arguments of the method.
    """

    type_id: int
    name: str = ""
    values: tuple[AmfValue, ...] = ()


@dataclass(frozen=True, slots=True)
class SharedObjectMessage:
    """What one message says about the shared object ``name``. ``amf3``: it is of type 16."""

    name: str
    version: int = 0
    persistent: bool = False
    events: tuple[SharedEvent, ...] = ()
    amf3: bool = False


def decode(message: Message, limits: Limits) -> SharedObjectMessage:
    """Read a message of type 19 or 16.

    A Change of several properties becomes one event for each. Raises PeerViolation(BAD_COMMAND) for what
    is cut short or too long, AmfError for values that are not AMF.
    """
    if len(message.payload) > MAX_MESSAGE_BYTES:
        raise _bad(f"{len(message.payload)} bytes")
    data = bytes(message.payload)
    amf3_type = message.type_id == MessageType.SHARED_OBJECT_AMF3
    offset, format_byte = 0, _AMF0_FORMAT
    if amf3_type:
        offset, format_byte = 1, data[0] if data else _AMF0_FORMAT
        if format_byte not in (_AMF0_FORMAT, _AMF3_FORMAT):
            raise _bad(f"format {format_byte}")
    name, offset = _read_name(data, offset, len(data))
    if offset + _HEADER.size > len(data):
        raise _bad("it ends in its header")
    version, persistence, _ = _HEADER.unpack_from(data, offset)
    reader = _EventReader(data, limits, format_byte == _AMF3_FORMAT)
    events = tuple(reader.read(offset + _HEADER.size))
    return SharedObjectMessage(name, version, persistence == _PERSISTENT, events, amf3_type)


class _EventReader:
    """Reads the events of one message; ``limits`` hold for each value."""

    def __init__(self, data: bytes, limits: Limits, values_are_amf3: bool) -> None:
        self._data = data
        self._limits = limits
        self._decode = amf3.decode if values_are_amf3 else amf0.decode
        self._count = 0

    def read(self, offset: int) -> Iterator[SharedEvent]:
        data = self._data
        while offset < len(data):
            if offset + _EVENT.size > len(data):
                raise _bad("it ends in an event's header")
            type_id, length = _EVENT.unpack_from(data, offset)
            start = offset + _EVENT.size
            offset = start + length
            if offset > len(data):
                raise _bad("an event is longer than the message")
            for event in self._event(type_id, start, offset):
                self._count += 1
                if self._count > MAX_EVENTS:
                    raise _bad(f"more than {MAX_EVENTS} events")
                yield event

    def _event(self, type_id: int, start: int, end: int) -> Iterator[SharedEvent]:
        data = self._data
        if type_id in _WITH_VALUES:
            while start < end:
                name, start = _read_name(data, start, end)
                value, start = self._value(start, end)
                yield SharedEvent(type_id, name, (value,))
        elif type_id in _WITH_NAME:
            yield SharedEvent(type_id, _read_name(data, start, end)[0])
        elif type_id == SharedEventType.STATUS:
            code, start = _read_name(data, start, end)
            yield SharedEvent(type_id, code, (_read_name(data, start, end)[0],))
        elif type_id == SharedEventType.SEND_MESSAGE:
            values: list[AmfValue] = []
            while start < end:
                value, start = self._value(start, end)
                values.append(value)
            if not values or not isinstance(values[0], str):
                raise _bad("a message without a method's name")
            yield SharedEvent(type_id, values[0], tuple(values[1:]))
        else:
            yield SharedEvent(type_id)

    def _value(self, start: int, end: int) -> tuple[AmfValue, int]:
        value, used = self._decode(self._data[start:end], limits=self._limits)
        return value, start + used


def encode(shared: SharedObjectMessage) -> Message:
    """Write a message of type 19, or 16 with values in AMF0. MisuseError for what has no form."""
    out = bytearray(b"\x00" if shared.amf3 else b"")
    out += _name_bytes(shared.name)
    out += _HEADER.pack(shared.version, _PERSISTENT if shared.persistent else 0, 0)
    for event in shared.events:
        data = _event_bytes(event)
        out += _EVENT.pack(event.type_id, len(data)) + data
    type_id = MessageType.SHARED_OBJECT_AMF3 if shared.amf3 else MessageType.SHARED_OBJECT_AMF0
    return Message(type_id, 0, bytes(out))


def _event_bytes(event: SharedEvent) -> bytes:
    if event.type_id in _WITH_VALUES:
        return _name_bytes(event.name) + amf0.encode(*event.values)
    if event.type_id in _WITH_NAME:
        return _name_bytes(event.name)
    if event.type_id == SharedEventType.STATUS:
        return _name_bytes(event.name) + _name_bytes(str(event.values[0]))
    if event.type_id == SharedEventType.SEND_MESSAGE:
        return amf0.encode(event.name, *event.values)
    return b""


def _name_bytes(name: str) -> bytes:
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise MisuseError(f"a name with a lone surrogate at {error.start} has no UTF-8 form") from None
    if len(raw) > _LONGEST_NAME_BYTES:
        raise MisuseError(f"a shared object's name of {len(raw)} bytes, at most {_LONGEST_NAME_BYTES} fit")
    return _NAME.pack(len(raw)) + raw


def _read_name(data: bytes, offset: int, end: int) -> tuple[str, int]:
    start = offset + _NAME.size
    if start > end:
        raise _bad("it ends in a name")
    stop = start + int(_NAME.unpack_from(data, offset)[0])
    if stop > end:
        raise _bad("it ends in a name")
    return data[start:stop].decode("utf-8", "surrogateescape"), stop


def _bad(what: str) -> PeerViolation:
    return PeerViolation(CloseReason.BAD_COMMAND, f"a shared object message: {what}")
