"""Reading AMF3: one function per marker. Section numbers are those of the AMF 3 specification."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from cluster.core.amf.state import ReadState, Traits
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
    VectorKind,
    Xml,
    XmlDocument,
)
from cluster.core.errors import AmfError

_DOUBLE = struct.Struct(">d")
_INTEGER_MAX = (1 << 28) - 1

#: The struct code and the size in bytes of one item.
_VECTOR_ITEM = {VectorKind.INT: ("i", 4), VectorKind.UINT: ("I", 4), VectorKind.DOUBLE: ("d", 8)}


def read_value(state: ReadState) -> AmfValue:
    """Read one value, marker first, with the tables of ``state``."""
    marker = state.next_marker()
    if marker >= len(_READERS):
        raise AmfError(f"no AMF3 type has marker {marker:#04x}")
    return _READERS[marker](state)


def _read_u29(state: ReadState) -> int:
    """Section 1.3.1: seven bits a byte while the high bit is set, eight in the fourth byte."""
    value = 0
    for _ in range(3):
        byte = state.take_byte()
        if byte < 0x80:
            return value << 7 | byte
        value = value << 7 | byte & 0x7F
    return value << 8 | state.take_byte()


def _read_undefined(state: ReadState) -> Undefined:
    return UNDEFINED


def _read_null(state: ReadState) -> None:
    return None


def _read_false(state: ReadState) -> bool:
    return False


def _read_true(state: ReadState) -> bool:
    return True


def _read_integer(state: ReadState) -> int:
    value = _read_u29(state)
    return value if value <= _INTEGER_MAX else value - (1 << 29)


def _read_double(state: ReadState) -> float:
    value: float = _DOUBLE.unpack(state.take(8))[0]
    return value


def _read_string(state: ReadState) -> str:
    header = _read_u29(state)
    if not header & 1:
        index = header >> 1
        if index >= len(state.strings):
            raise AmfError(f"reference to string {index} of {len(state.strings)}")
        return state.strings[index]
    # The empty string never stands in the table (section 1.3.2).
    if header == 1:
        return ""
    text = state.take_text(header >> 1)
    state.strings.append(text)
    return text


def _read_object_reference(state: ReadState, index: int) -> AmfValue:
    if index >= len(state.objects):
        raise AmfError(f"reference to object {index} of {len(state.objects)}")
    return state.objects[index]


def _read_xml_document(state: ReadState) -> AmfValue:
    return _read_xml_as(state, XmlDocument)


def _read_xml(state: ReadState) -> AmfValue:
    return _read_xml_as(state, Xml)


def _read_xml_as(state: ReadState, xml_type: type[XmlDocument] | type[Xml]) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    value = xml_type(state.take_text(header >> 1))
    state.objects.append(value)
    return value


def _read_date(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    value = AmfDate(_read_double(state))
    state.objects.append(value)
    return value


def _read_array(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    count = state.check_count(header >> 1, 1)
    # The first key tells which Python type this is, before any value can refer to it.
    key = _read_string(state)
    dense: list[Any] = []
    assoc: dict[str, Any] = {} if count else EcmaArray()
    value: AmfValue = dense
    if key:
        value = Amf3Array(dense, assoc) if count else assoc
    state.objects.append(value)
    state.enter()
    _read_pairs(state, assoc, key)
    for _ in range(count):
        dense.append(read_value(state))
    state.leave()
    return value


def _read_object(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    class_name, sealed, dynamic = _read_traits(state, header)
    members: dict[str, Any] = TypedObject(class_name, sealed=sealed) if class_name else {}
    state.objects.append(members)
    state.enter()
    for name in sealed:
        members[name] = read_value(state)
    if dynamic:
        _read_pairs(state, members, _read_string(state))
    state.leave()
    return members


def _read_traits(state: ReadState, header: int) -> Traits:
    """Section 3.12: traits by reference (low bits 01), inline (011) or externalizable (111)."""
    if not header & 2:
        index = header >> 2
        if index >= len(state.traits):
            raise AmfError(f"reference to traits {index} of {len(state.traits)}")
        return state.traits[index]
    if header & 4:
        class_name = _read_string(state)[:80]
        raise AmfError(f"externalizable class {class_name!r}: only the class itself can read its bytes")
    # Each sealed member has a name and a value still to come.
    count = state.check_count(header >> 4, 2)
    class_name = _read_string(state)
    sealed = tuple([_read_string(state) for _ in range(count)])
    traits = (class_name, sealed, bool(header & 8))
    state.traits.append(traits)
    return traits


def _read_pairs(state: ReadState, into: dict[str, Any], key: str) -> None:
    """Read (key, value) pairs up to an empty key; the first ``key`` has been read already."""
    while key:
        into[key] = read_value(state)
        key = _read_string(state)


def _read_byte_array(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    value = state.take(header >> 1)
    state.objects.append(value)
    return value


def _vector_reader(kind: VectorKind) -> Callable[[ReadState], AmfValue]:
    code, item_bytes = _VECTOR_ITEM[kind]

    def read_vector(state: ReadState) -> AmfValue:
        header = _read_u29(state)
        if not header & 1:
            return _read_object_reference(state, header >> 1)
        fixed = state.take_byte() != 0
        count = state.check_count(header >> 1, item_bytes)
        state.values_left -= count
        items = list(struct.unpack(f">{count}{code}", state.take(count * item_bytes)))
        value = Vector(kind, items, fixed)
        state.objects.append(value)
        return value

    return read_vector


def _read_object_vector(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    fixed = state.take_byte() != 0
    class_name = _read_string(state)
    count = state.check_count(header >> 1, 1)
    value = Vector(VectorKind.OBJECT, [], fixed, class_name)
    state.objects.append(value)
    state.enter()
    for _ in range(count):
        value.items.append(read_value(state))
    state.leave()
    return value


def _read_dictionary(state: ReadState) -> AmfValue:
    header = _read_u29(state)
    if not header & 1:
        return _read_object_reference(state, header >> 1)
    weak_keys = state.take_byte() != 0
    count = state.check_count(header >> 1, 2)
    value = Dictionary([], weak_keys)
    state.objects.append(value)
    state.enter()
    for _ in range(count):
        value.pairs.append((read_value(state), read_value(state)))
    state.leave()
    return value


_READERS: tuple[Callable[[ReadState], AmfValue], ...] = (
    _read_undefined,
    _read_null,
    _read_false,
    _read_true,
    _read_integer,
    _read_double,
    _read_string,
    _read_xml_document,
    _read_date,
    _read_array,
    _read_object,
    _read_xml,
    _read_byte_array,
    _vector_reader(VectorKind.INT),
    _vector_reader(VectorKind.UINT),
    _vector_reader(VectorKind.DOUBLE),
    _read_object_vector,
    _read_dictionary,
)
