"""AMF0, both ways: commands, onMetaData and all other script data of RTMP and FLV.

A decoded message keeps its shape: an ECMA array stays one, key order is kept, the last of two equal
keys wins, references become the same Python object (an object may hold itself). Only ``AmfError``
leaves the reader, only ``MisuseError`` the writer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from cluster.core.amf import amf3_reader, amf3_writer
from cluster.core.amf.state import DEFAULT_LIMITS, ReadState, Writer, WriteState, find_writer, text_bytes
from cluster.core.amf.values import (
    UNDEFINED,
    Amf3Array,
    AmfDate,
    AmfValue,
    Dictionary,
    EcmaArray,
    TypedObject,
    Undefined,
    Vector,
    Xml,
    XmlDocument,
)
from cluster.core.errors import AmfError, MisuseError
from cluster.core.limits import Limits
from cluster.core.message import Buffer

_DOUBLE = struct.Struct(">d")
_MARKED_DOUBLE = struct.Struct(">xd")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_DATE = struct.Struct(">dh")

_NUMBER = 0x00
_STRING = 0x02
_OBJECT = 0x03
_ECMA_ARRAY = 0x08
_OBJECT_END = 0x09
_STRICT_ARRAY = 0x0A
_LONG_STRING = 0x0C
_XML = 0x0F
_TYPED_OBJECT = 0x10
_SWITCH_TO_AMF3 = 0x11

_END_OF_PAIRS = b"\x00\x00\x09"
_LONGEST_U16_TEXT = 0xFFFF


def decode(data: Buffer, *, limits: Limits = DEFAULT_LIMITS, offset: int = 0) -> tuple[AmfValue, int]:
    """Read the one value at ``offset``; return it and the offset after it."""
    state = ReadState(data, offset, limits)
    return _read_value(state), state.pos


def decode_all(data: Buffer, *, limits: Limits = DEFAULT_LIMITS, offset: int = 0) -> list[AmfValue]:
    """Read the values of a whole message, from ``offset`` to its end; they share references."""
    state = ReadState(data, offset, limits)
    values = []
    while state.pos < state.end:
        values.append(_read_value(state))
    return values


def encode(*values: AmfValue, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Write the values of one message.

    Shared objects are written out each time: librtmp, and with it many players, cannot read references.
    What only AMF3 can say goes behind marker 0x11, without references: readers do not agree on
    whether two such values share tables.
    """
    state = WriteState(limits, share=False)
    for value in values:
        _write_value(state, value)
    return bytes(state.out)


# Reading: one function per marker. Numbers and strings are nearly all there is, so these two, and the
# keys, read the data without the helpers of ``state``.


def _read_value(state: ReadState) -> AmfValue:
    marker = state.next_marker()
    if marker >= len(_READERS):
        raise AmfError(f"no AMF0 type has marker {marker:#04x}")
    return _READERS[marker](state)


def _read_number(state: ReadState) -> float:
    pos = state.pos
    if pos + 8 > state.end:
        raise state.truncated()
    state.pos = pos + 8
    value: float = _DOUBLE.unpack_from(state.data, pos)[0]
    return value


def _read_boolean(state: ReadState) -> bool:
    return state.take_byte() != 0


def _read_string(state: ReadState) -> str:
    data = state.data
    start = state.pos + 2
    if start > state.end:
        raise state.truncated()
    stop = start + (data[start - 2] << 8 | data[start - 1])
    if stop > state.end:
        raise state.truncated()
    state.pos = stop
    return data[start:stop].decode("utf-8", "surrogateescape")


def _read_object(state: ReadState) -> dict[str, Any]:
    members: dict[str, Any] = {}
    state.references.append(members)
    _read_pairs(state, members)
    return members


def _read_null(state: ReadState) -> None:
    """Read null, and 0x0D as well: the peer had something that AMF0 does not support."""
    return


def _read_undefined(state: ReadState) -> Undefined:
    return UNDEFINED


def _read_reference(state: ReadState) -> AmfValue:
    index: int = _U16.unpack(state.take(2))[0]
    if index >= len(state.references):
        raise AmfError(f"reference to object {index} of {len(state.references)}")
    return state.references[index]


def _read_ecma_array(state: ReadState) -> EcmaArray:
    # The count is advisory and often 0 or wrong: only the terminator ends the array.
    state.take(4)
    members = EcmaArray()
    state.references.append(members)
    _read_pairs(state, members)
    return members


def _read_strict_array(state: ReadState) -> list[AmfValue]:
    count: int = _U32.unpack(state.take(4))[0]
    items: list[AmfValue] = []
    state.references.append(items)
    state.enter()
    stop = state.pos + count * _MARKED_DOUBLE.size
    # The keyframe index of a recording of hours is two arrays of thousands of numbers. Nine bytes a
    # number, read at one go: the length of the message bounds them well enough.
    if stop <= state.end and state.data[state.pos : stop : _MARKED_DOUBLE.size].count(_NUMBER) == count:
        items += [number for (number,) in _MARKED_DOUBLE.iter_unpack(state.data[state.pos : stop])]
        state.pos = stop
    else:
        for _ in range(state.check_count(count, 1)):
            items.append(_read_value(state))
    state.leave()
    return items


def _read_date(state: ReadState) -> AmfDate:
    return AmfDate(*_DATE.unpack(state.take(10)))


def _read_long_string(state: ReadState) -> str:
    return state.take_text(_U32.unpack(state.take(4))[0])


def _read_xml(state: ReadState) -> XmlDocument:
    return XmlDocument(_read_long_string(state))


def _read_typed_object(state: ReadState) -> TypedObject:
    value = TypedObject(_read_string(state))
    state.references.append(value)
    _read_pairs(state, value)
    return value


def _refuse(what: str) -> Callable[[ReadState], AmfValue]:
    def refuse(state: ReadState) -> AmfValue:
        raise AmfError(what)

    return refuse


def _read_pairs(state: ReadState, into: dict[str, Any]) -> None:
    """Read (u16 key, value) pairs up to 00 00 09.

    An empty key before another marker is a member like any other. Some writers leave the terminator
    out at the end of a message, which SRS and librtmp do not miss.
    """
    state.enter()
    data = state.data
    end = state.end
    while True:
        pos = state.pos
        if pos == end:
            break
        key_start = pos + 2
        if key_start > end:
            raise state.truncated()
        key_stop = key_start + (data[pos] << 8 | data[pos + 1])
        if key_stop >= end:
            raise state.truncated()
        if key_stop == key_start and data[key_stop] == _OBJECT_END:
            state.pos = key_stop + 1
            break
        state.pos = key_stop
        into[data[key_start:key_stop].decode("utf-8", "surrogateescape")] = _read_value(state)
    state.leave()


_READERS: tuple[Callable[[ReadState], AmfValue], ...] = (
    _read_number,
    _read_boolean,
    _read_string,
    _read_object,
    _refuse("movie clip (0x04) is reserved"),
    _read_null,
    _read_undefined,
    _read_reference,
    _read_ecma_array,
    _refuse("object end without an object"),
    _read_strict_array,
    _read_date,
    _read_long_string,
    _read_null,
    _refuse("record set (0x0e) is reserved"),
    _read_xml,
    _read_typed_object,
    amf3_reader.read_value,
)


# Writing: one function per Python type.


def _write_value(state: WriteState, value: AmfValue) -> None:
    state.count()
    writer = _WRITERS.get(type(value)) or find_writer(_WRITERS, value)
    writer(state, value)


def _write_number(state: WriteState, value: float) -> None:
    state.out.append(_NUMBER)
    try:
        state.out += _DOUBLE.pack(value)
    except (struct.error, OverflowError) as error:
        raise MisuseError(f"not an AMF number: {error}") from None


def _write_boolean(state: WriteState, value: bool) -> None:
    state.out += b"\x01\x01" if value else b"\x01\x00"


def _write_string(state: WriteState, value: str) -> None:
    raw = text_bytes(value)
    if len(raw) <= _LONGEST_U16_TEXT:
        state.out.append(_STRING)
        state.out += _U16.pack(len(raw))
    else:
        state.out.append(_LONG_STRING)
        state.out += _U32.pack(len(raw))
    state.out += raw


def _write_null(state: WriteState, value: None) -> None:
    state.out.append(0x05)


def _write_undefined(state: WriteState, value: Undefined) -> None:
    state.out.append(0x06)


def _write_object(state: WriteState, value: dict[str, Any]) -> None:
    state.out.append(_OBJECT)
    _write_pairs(state, value)


def _write_ecma_array(state: WriteState, value: EcmaArray) -> None:
    state.out.append(_ECMA_ARRAY)
    state.out += _U32.pack(len(value))
    _write_pairs(state, value)


def _write_typed_object(state: WriteState, value: TypedObject) -> None:
    state.out.append(_TYPED_OBJECT)
    _write_u16_text(state, value.class_name)
    _write_pairs(state, value)


def _write_strict_array(state: WriteState, value: list[Any]) -> None:
    state.enter(value)
    state.out.append(_STRICT_ARRAY)
    state.out += _U32.pack(len(value))
    are_numbers = all(type(item) is float or type(item) is int for item in value)
    write = _write_number if are_numbers else _write_value  # the latter counts each, as the reader does
    for item in value:
        write(state, item)
    state.leave(value)


def _write_date(state: WriteState, value: AmfDate) -> None:
    state.out.append(0x0B)
    try:
        state.out += _DATE.pack(value.epoch_ms, value.zone_minutes)
    except (struct.error, OverflowError) as error:
        raise MisuseError(f"not an AMF date: {error}") from None


def _write_xml(state: WriteState, value: XmlDocument) -> None:
    raw = text_bytes(value)
    state.out.append(_XML)
    state.out += _U32.pack(len(raw))
    state.out += raw


def _switch_to_amf3(state: WriteState, value: AmfValue) -> None:
    state.out.append(_SWITCH_TO_AMF3)
    amf3_writer.write_value(state, value)


def _write_pairs(state: WriteState, value: dict[str, Any]) -> None:
    state.enter(value)
    for key, member in value.items():
        _write_u16_text(state, key)
        _write_value(state, member)
    state.out += _END_OF_PAIRS
    state.leave(value)


def _write_u16_text(state: WriteState, text: str) -> None:
    raw = text_bytes(text)
    if len(raw) > _LONGEST_U16_TEXT:
        raise MisuseError(f"AMF0 key or class name of {len(raw)} bytes, at most 65535 fit")
    state.out += _U16.pack(len(raw))
    state.out += raw


_WRITERS: dict[type, Writer] = {
    float: _write_number,
    int: _write_number,
    bool: _write_boolean,
    str: _write_string,
    type(None): _write_null,
    Undefined: _write_undefined,
    dict: _write_object,
    EcmaArray: _write_ecma_array,
    TypedObject: _write_typed_object,
    list: _write_strict_array,
    AmfDate: _write_date,
    XmlDocument: _write_xml,
    Xml: _switch_to_amf3,
    bytes: _switch_to_amf3,
    Amf3Array: _switch_to_amf3,
    Vector: _switch_to_amf3,
    Dictionary: _switch_to_amf3,
}
