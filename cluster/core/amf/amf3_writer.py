"""Writing AMF3: one function per Python type."""

from __future__ import annotations

import struct
from typing import Any

from cluster.core.amf.state import MAX_TEXT_BYTES, Traits, Writer, WriteState, find_writer, text_bytes
from cluster.core.amf.values import (
    Amf3Array,
    AmfDate,
    AmfValue,
    Dictionary,
    EcmaArray,
    TypedObject,
    Undefined,
    Vector,
    VectorKind,
    Xml,
    XmlDocument,
)
from cluster.core.errors import MisuseError

_DOUBLE = struct.Struct(">d")

_INTEGER = 0x04
_STRING = 0x06
_XML_DOCUMENT = 0x07
_DATE = 0x08
_ARRAY = 0x09
_OBJECT = 0x0A
_XML = 0x0B
_BYTE_ARRAY = 0x0C
_DICTIONARY = 0x11

_INTEGER_MIN = -(1 << 28)
_INTEGER_MAX = (1 << 28) - 1
_ANONYMOUS: Traits = ("", (), True)

_VECTOR_ITEM_CODE = {VectorKind.INT: "i", VectorKind.UINT: "I", VectorKind.DOUBLE: "d"}


def write_value(state: WriteState, value: AmfValue) -> None:
    """Write one value, marker first."""
    state.count()
    writer = _WRITERS.get(type(value)) or find_writer(_WRITERS, value)
    writer(state, value)


def _write_u29(state: WriteState, value: int) -> None:
    if value < 0x80:
        state.out.append(value)
    elif value < 0x4000:
        state.out += bytes((value >> 7 | 0x80, value & 0x7F))
    elif value < 0x200000:
        state.out += bytes((value >> 14 | 0x80, value >> 7 & 0x7F | 0x80, value & 0x7F))
    else:
        state.out += bytes(
            (value >> 22 | 0x80, value >> 15 & 0x7F | 0x80, value >> 8 & 0x7F | 0x80, value & 0xFF)
        )


def _write_undefined(state: WriteState, value: Undefined) -> None:
    state.out.append(0x00)


def _write_null(state: WriteState, value: None) -> None:
    state.out.append(0x01)


def _write_boolean(state: WriteState, value: bool) -> None:
    state.out.append(0x03 if value else 0x02)


def _write_integer(state: WriteState, value: int) -> None:
    if _INTEGER_MIN <= value <= _INTEGER_MAX:
        state.out.append(_INTEGER)
        _write_u29(state, value & 0x1FFFFFFF)
    else:
        _write_double(state, value)


def _write_double(state: WriteState, value: float) -> None:
    state.out.append(0x05)
    _write_double_body(state, value)


def _write_double_body(state: WriteState, value: float) -> None:
    try:
        state.out += _DOUBLE.pack(value)
    except (struct.error, OverflowError) as error:
        raise MisuseError(f"not an AMF double: {error}") from None


def _write_string(state: WriteState, value: str) -> None:
    state.out.append(_STRING)
    _write_text(state, value)


def _write_text(state: WriteState, text: str) -> None:
    index = state.strings.get(text)
    if index is not None:
        _write_u29(state, index << 1)
        return
    _write_counted(state, text_bytes(text))
    if text and state.share:
        state.strings[text] = len(state.strings)


def _write_counted(state: WriteState, raw: bytes) -> None:
    _write_u29(state, len(raw) << 1 | 1)
    state.out += raw


def _write_object_reference(state: WriteState, value: AmfValue) -> bool:
    """Write a reference if ``value`` stands in the object table, else give it the next place there."""
    if not state.share:
        return False
    index = state.objects.get(id(value))
    if index is None:
        state.objects[id(value)] = len(state.objects)
        return False
    state.refuse_cycle(value)
    _write_u29(state, index << 1)
    return True


def _write_xml_document(state: WriteState, value: XmlDocument) -> None:
    state.out.append(_XML_DOCUMENT)
    if not _write_object_reference(state, value):
        _write_counted(state, text_bytes(value))


def _write_xml(state: WriteState, value: Xml) -> None:
    state.out.append(_XML)
    if not _write_object_reference(state, value):
        _write_counted(state, text_bytes(value))


def _write_date(state: WriteState, value: AmfDate) -> None:
    state.out.append(_DATE)
    if not _write_object_reference(state, value):
        _write_u29(state, 1)
        _write_double_body(state, value.epoch_ms)


def _write_byte_array(state: WriteState, value: bytes) -> None:
    if len(value) > MAX_TEXT_BYTES:
        raise MisuseError(f"byte array of {len(value)} bytes fits no message")
    state.out.append(_BYTE_ARRAY)
    if not _write_object_reference(state, value):
        _write_counted(state, value)


def _write_list(state: WriteState, value: list[Any]) -> None:
    _write_array(state, value, value, {})


def _write_ecma_array(state: WriteState, value: EcmaArray) -> None:
    _write_array(state, value, [], value)


def _write_amf3_array(state: WriteState, value: Amf3Array) -> None:
    _write_array(state, value, value.dense, value.assoc)


def _write_array(state: WriteState, value: AmfValue, dense: list[Any], assoc: dict[str, Any]) -> None:
    state.out.append(_ARRAY)
    if _write_object_reference(state, value):
        return
    state.enter(value)
    _write_u29(state, len(dense) << 1 | 1)
    for key, member in assoc.items():
        _write_pair(state, key, member)
    _write_text(state, "")
    for item in dense:
        write_value(state, item)
    state.leave(value)


def _write_pair(state: WriteState, key: str, member: AmfValue) -> None:
    if key == "":
        raise MisuseError("an empty key ends an AMF3 object, it cannot name a member")
    _write_text(state, key)
    write_value(state, member)


def _write_object(state: WriteState, value: dict[str, Any]) -> None:
    state.out.append(_OBJECT)
    if _write_object_reference(state, value):
        return
    state.enter(value)
    _write_traits(state, _ANONYMOUS)
    for key, member in value.items():
        _write_pair(state, key, member)
    _write_text(state, "")
    state.leave(value)


def _write_typed_object(state: WriteState, value: TypedObject) -> None:
    state.out.append(_OBJECT)
    if _write_object_reference(state, value):
        return
    state.enter(value)
    sealed = frozenset(value.sealed)
    dynamic = [key for key in value if key not in sealed]
    _write_traits(state, (value.class_name, value.sealed, bool(dynamic)))
    for name in value.sealed:
        if name not in value:
            raise MisuseError(f"sealed member {name!r} of {value.class_name!r} has no value")
        write_value(state, value[name])
    for key in dynamic:
        _write_pair(state, key, value[key])
    if dynamic:
        _write_text(state, "")
    state.leave(value)


def _write_traits(state: WriteState, traits: Traits) -> None:
    index = state.traits.get(traits)
    if index is not None:
        _write_u29(state, index << 2 | 1)
        return
    class_name, sealed, dynamic = traits
    _write_u29(state, len(sealed) << 4 | dynamic << 3 | 3)
    _write_text(state, class_name)
    for name in sealed:
        _write_text(state, name)
    if state.share:
        state.traits[traits] = len(state.traits)


def _write_vector(state: WriteState, value: Vector) -> None:
    state.out.append(value.kind)
    if _write_object_reference(state, value):
        return
    _write_u29(state, len(value.items) << 1 | 1)
    state.out.append(value.fixed)
    if value.kind is VectorKind.OBJECT:
        _write_vector_objects(state, value)
        return
    state.count(len(value.items))
    code = _VECTOR_ITEM_CODE[value.kind]
    try:
        state.out += struct.pack(f">{len(value.items)}{code}", *value.items)
    except (struct.error, OverflowError) as error:
        raise MisuseError(f"not an item of a vector of {value.kind.name}: {error}") from None


def _write_vector_objects(state: WriteState, value: Vector) -> None:
    state.enter(value)
    _write_text(state, value.class_name)
    for item in value.items:
        write_value(state, item)
    state.leave(value)


def _write_dictionary(state: WriteState, value: Dictionary) -> None:
    state.out.append(_DICTIONARY)
    if _write_object_reference(state, value):
        return
    state.enter(value)
    _write_u29(state, len(value.pairs) << 1 | 1)
    state.out.append(value.weak_keys)
    for key, member in value.pairs:
        write_value(state, key)
        write_value(state, member)
    state.leave(value)


_WRITERS: dict[type, Writer] = {
    float: _write_double,
    int: _write_integer,
    bool: _write_boolean,
    str: _write_string,
    type(None): _write_null,
    Undefined: _write_undefined,
    dict: _write_object,
    EcmaArray: _write_ecma_array,
    TypedObject: _write_typed_object,
    list: _write_list,
    Amf3Array: _write_amf3_array,
    AmfDate: _write_date,
    XmlDocument: _write_xml_document,
    Xml: _write_xml,
    bytes: _write_byte_array,
    Vector: _write_vector,
    Dictionary: _write_dictionary,
}
