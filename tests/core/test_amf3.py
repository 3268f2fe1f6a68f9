"""AMF3 by worked bytes: each marker both ways, the three reference tables, truncation, limits, misuse."""

from __future__ import annotations

import math

import pytest
from amf_support import nested, shape, truncations

from cluster.core.amf import amf3
from cluster.core.amf.values import (
    UNDEFINED,
    Amf3Array,
    AmfDate,
    Dictionary,
    EcmaArray,
    TypedObject,
    Vector,
    VectorKind,
    Xml,
    XmlDocument,
)
from cluster.core.errors import AmfError, MisuseError
from cluster.core.limits import Limits

BOTH_WAYS = {
    "undefined": ("00", UNDEFINED),
    "null": ("01", None),
    "false": ("02", False),
    "true": ("03", True),
    "integer-0": ("04 00", 0),
    "integer-7f": ("04 7F", 0x7F),
    "integer-80": ("04 81 00", 0x80),
    "integer-3fff": ("04 FF 7F", 0x3FFF),
    "integer-4000": ("04 81 80 00", 0x4000),
    "integer-1fffff": ("04 FF FF 7F", 0x1FFFFF),
    "integer-200000": ("04 80 C0 80 00", 0x200000),
    "integer-largest": ("04 BF FF FF FF", 2**28 - 1),
    "integer-minus-1": ("04 FF FF FF FF", -1),
    "integer-smallest": ("04 C0 80 80 00", -(2**28)),
    "double": ("05 3FF8000000000000", 1.5),
    "minus-zero": ("05 8000000000000000", -0.0),
    "nan": ("05 7FF8000000000000", math.nan),
    "string": ("06 07 666F6F", "foo"),
    "empty-string": ("06 01", ""),
    "xml-document": ("07 09 3C612F3E", XmlDocument("<a/>")),
    "date": ("08 01 4271F71FB0450000", AmfDate(1234567890000.0)),
    "array": ("09 05 01 04 01 01", [1, None]),
    "empty-array": ("09 01 01", []),
    "ecma-array": ("09 01 03 61 04 01 01", EcmaArray(a=1)),
    "array-with-both-parts": ("09 03 03 61 04 01 01 02", Amf3Array([False], {"a": 1})),
    "object": ("0A 0B 01 03 61 01 01", {"a": None}),
    "empty-object": ("0A 0B 01 01", {}),
    "typed-dynamic": ("0A 0B 03 43 03 61 01 01", TypedObject("C", {"a": None})),
    "typed-sealed": (
        "0A 23 03 43 03 61 03 62 01 02",
        TypedObject("C", {"a": None, "b": False}, sealed=("a", "b")),
    ),
    "typed-sealed-and-dynamic": (
        "0A 1B 03 43 03 61 01 03 62 02 01",
        TypedObject("C", {"a": None, "b": False}, sealed=("a",)),
    ),
    "typed-without-members": ("0A 03 03 43", TypedObject("C")),
    "xml": ("0B 09 3C612F3E", Xml("<a/>")),
    "byte-array": ("0C 07 FF0001", b"\xff\x00\x01"),
    "empty-byte-array": ("0C 01", b""),
    "vector-int": ("0D 05 00 80000000 7FFFFFFF", Vector(VectorKind.INT, [-(2**31), 2**31 - 1])),
    "vector-uint": ("0E 03 01 FFFFFFFF", Vector(VectorKind.UINT, [2**32 - 1], fixed=True)),
    "vector-double": ("0F 03 00 8000000000000000", Vector(VectorKind.DOUBLE, [-0.0])),
    "vector-object": ("10 05 00 03 43 01 04 01", Vector(VectorKind.OBJECT, [None, 1], class_name="C")),
    "empty-vector": ("0D 01 01", Vector(VectorKind.INT, [], fixed=True)),
    "dictionary": (
        "11 05 01 0A 0B 01 01 02 06 03 61 03",
        Dictionary([({}, False), ("a", True)], weak_keys=True),
    ),
    "empty-dictionary": ("11 01 00", Dictionary()),
    # Tables: a string, then traits, met again.
    "string-again": ("09 07 01 06 03 61 06 00 06 01", ["a", "a", ""]),
    "key-again": ("09 05 01 0A 0B 01 03 61 06 00 01 0A 01 00 01 01", [{"a": "a"}, {"a": None}]),
    "traits-again": (
        "09 05 01 0A 13 03 43 03 61 01 0A 01 02",
        [TypedObject("C", {"a": None}, sealed=("a",)), TypedObject("C", {"a": False}, sealed=("a",))],
    ),
}

READ_ONLY = {
    "integer-in-more-bytes-than-needed": ("04 80 80 01", 1),
    "anonymous-sealed-object": ("0A 13 01 03 61 02", {"a": False}),
    "last-of-two-equal-keys": ("0A 0B 01 03 61 01 00 02 01", {"a": False}),
    "dynamic-over-sealed": ("0A 1B 01 03 61 01 00 02 01", {"a": False}),
    "sealed-empty-name": ("0A 13 01 01 02", {"": False}),
    "string-written-twice": ("09 05 01 06 03 61 06 03 61", ["a", "a"]),
}

ALL_EXAMPLES = {**BOTH_WAYS, **READ_ONLY}


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("text", "value"), ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_reads(text: str, value: object, buffer: type) -> None:
    data = hexed(text)
    got, after = amf3.decode(buffer(data))
    assert (shape(got), after) == (shape(value), len(data))
    assert shape(amf3.decode_all(buffer(data))) == shape([value])


@pytest.mark.parametrize(("text", "value"), BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_writes(text: str, value: object) -> None:
    assert amf3.encode(value) == hexed(text)


@pytest.mark.parametrize("text", [text for text, _ in ALL_EXAMPLES.values()], ids=ALL_EXAMPLES)
def test_truncated_anywhere_is_an_amf_error(text: str) -> None:
    for cut in truncations(hexed(text)):
        with pytest.raises(AmfError):
            amf3.decode(cut)


def test_reads_the_value_at_an_offset_and_says_where_the_next_is() -> None:
    data = amf3.encode("a", 1)
    assert amf3.decode(data) == ("a", 3)
    assert amf3.decode(data, offset=3) == (1, 5)
    assert amf3.decode_all(data, offset=3) == [1]
    assert amf3.decode_all(data, offset=5) == []


def test_integers_outside_29_bits_become_doubles() -> None:
    for value in (2**28, -(2**28) - 1, 2**53):
        got, _ = amf3.decode(amf3.encode(value))
        assert shape(got) == shape(float(value))


BAD = {
    "marker-after-the-last": "12",
    "marker-255": "FF",
    "string-reference-without-strings": "06 00",
    "string-reference-one-past": "09 05 01 06 03 61 06 02",
    "the-empty-string-is-not-in-the-table": "09 05 01 06 01 06 00",
    "object-reference-without-objects": "0A 00",
    "array-reference-one-past-itself": "09 03 01 09 02",
    "date-reference": "08 00",
    "xml-document-reference": "07 00",
    "xml-reference": "0B 00",
    "byte-array-reference": "0C 00",
    "vector-reference": "0D 00",
    "object-vector-reference": "10 00",
    "dictionary-reference": "11 00",
    "traits-reference-without-traits": "0A 01",
    "traits-reference-one-past": "09 05 01 0A 0B 01 01 0A 05 01",
    "string-of-268-megabytes": "06 FF FF FF FF 61",
    "byte-array-of-268-megabytes": "0C FF FF FF FF 61",
    "xml-of-268-megabytes": "07 FF FF FF FF 61",
    "array-of-268-million": "09 FF FF FF FF 01 01",
    "array-one-too-many": "09 05 01 01",
    "sealed-members-of-33-million": "0A FF FF FF F3 01",
    "vector-of-268-million": "0D FF FF FF FF 00 00000000",
    "vector-one-too-many": "0D 05 00 00000000 000000",
    "vector-of-doubles-one-too-many": "0F 05 00 0000000000000000 00000000000000",
    "object-vector-of-268-million": "10 FF FF FF FF 00 01 01",
    "dictionary-of-268-million": "11 FF FF FF FF 00 01 01",
    "dictionary-without-the-last-value": "11 03 00 01",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_refuses(text: str) -> None:
    with pytest.raises(AmfError):
        amf3.decode_all(hexed(text))


def test_externalizable_objects_are_refused_by_name() -> None:
    name = "flex.messaging.io.ArrayCollection"
    data = hexed("0A 07") + bytes([len(name) << 1 | 1]) + name.encode() + hexed("09 01 01")
    with pytest.raises(AmfError, match=r"externalizable class 'flex\.messaging\.io\.ArrayCollection'"):
        amf3.decode(data)


def test_bad_utf8_comes_back_as_it_was() -> None:
    data = hexed("0A 0B 03 FF 05 C328 06 07 FFEDA0 01")
    value, _ = amf3.decode(data)
    assert value == TypedObject("\udcff", {"\udcc3(": "\udcff\udced\udca0"})
    assert amf3.encode(value) == data


def test_objects_met_again_are_the_same_object_both_ways() -> None:
    shared: list[object] = [
        {},
        [None],
        EcmaArray(a=None),
        Amf3Array([None], {"a": None}),
        TypedObject("C"),
        AmfDate(1.0),
        XmlDocument("x"),
        Xml("x"),
        b"bytes",
        Vector(VectorKind.INT, [1]),
        Vector(VectorKind.OBJECT, [None]),
        Dictionary([(1, 2)]),
    ]
    data = amf3.encode([shared, shared, *shared])
    # The outer array is object 0, ``shared`` 1, and its items 2 and up, each a marker and an index.
    markers = [0x0A, 0x09, 0x09, 0x09, 0x0A, 0x08, 0x07, 0x0B, 0x0C, 0x0D, 0x10, 0x11]
    references = b"".join(bytes((marker, (index + 2) << 1)) for index, marker in enumerate(markers))
    assert data.endswith(hexed("09 02") + references)
    value, _ = amf3.decode(data)
    assert isinstance(value, list)
    assert shape(value[0]) == shape(shared)
    assert value[1] is value[0]
    assert all(again is first for again, first in zip(value[2:], value[0], strict=True))


def test_tables_do_not_reach_into_another_message() -> None:
    data = amf3.encode("a", "a")
    assert amf3.decode_all(data) == ["a", "a"]
    with pytest.raises(AmfError):
        amf3.decode(data, offset=3)


CYCLES = {
    "object": ("0A 0B 01 03 61 0A 00 01", lambda value: value["a"]),
    "typed-object": ("0A 13 03 43 03 61 0A 00", lambda value: value["a"]),
    "array": ("09 03 01 09 00", lambda value: value[0]),
    "ecma-array": ("09 01 03 61 09 00 01", lambda value: value["a"]),
    "array-with-both-parts": ("09 03 03 61 01 01 09 00", lambda value: value.dense[0]),
    "object-vector": ("10 03 00 01 10 00", lambda value: value.items[0]),
    "dictionary-key": ("11 03 00 11 00 01", lambda value: value.pairs[0][0]),
    "dictionary-value": ("11 03 00 01 11 00", lambda value: value.pairs[0][1]),
}


@pytest.mark.parametrize(("text", "inside"), CYCLES.values(), ids=CYCLES)
def test_a_value_that_holds_itself_is_read_and_not_written(text: str, inside: object) -> None:
    value, after = amf3.decode(hexed(text))
    assert after == len(hexed(text))
    assert callable(inside)
    assert inside(value) is value
    with pytest.raises(MisuseError, match="holds itself"):
        amf3.encode(value)


def test_sharing_stays_small_when_written() -> None:
    value: list[object] = []
    for _ in range(25):
        value = [value, value]
    data = amf3.encode(value)
    assert len(data) < 200
    got, _ = amf3.decode(data)
    for _ in range(25):
        assert isinstance(got, list)
        assert got[0] is got[1]
        got = got[0]
    assert got == []


WRAPS = {
    "object": lambda value: {"a": value},
    "typed-object": lambda value: TypedObject("C", {"a": value}, sealed=("a",)),
    "array": lambda value: [value],
    "ecma-array": lambda value: EcmaArray(a=value),
    "object-vector": lambda value: Vector(VectorKind.OBJECT, [value]),
    "dictionary": lambda value: Dictionary([(None, value)]),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_depth_at_the_limit_and_one_past_it(wrap: object) -> None:
    limits = Limits(max_amf_depth=5)
    assert callable(wrap)
    fits, too_deep = nested(5, wrap), nested(6, wrap)
    assert amf3.decode(amf3.encode(fits, limits=limits), limits=limits)[0] == fits
    with pytest.raises(MisuseError, match="deep"):
        amf3.encode(too_deep, limits=limits)
    with pytest.raises(AmfError, match="deep"):
        amf3.decode(amf3.encode(too_deep), limits=limits)


@pytest.mark.parametrize(
    "level", ["09 03 01", "09 01 03 61", "0A 0B 01 03 61", "0A 13 01 03 61", "10 03 00 01", "11 03 00"]
)
def test_bottomless_nesting_is_an_amf_error_whatever_the_limit_says(level: str) -> None:
    data = hexed(level * 20_000)
    for limits in (Limits(), Limits(max_amf_depth=1_000_000, max_amf_values=1_000_000)):
        with pytest.raises(AmfError, match="deep"):
            amf3.decode(data, limits=limits)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ([None, None], 3),
        ({"a": 1, "b": "c"}, 3),
        (EcmaArray(a=None, b=None), 3),
        (Amf3Array([None], {"a": None}), 3),
        (TypedObject("C", {"a": None, "b": None}, sealed=("a", "b")), 3),
        (Vector(VectorKind.DOUBLE, [1.0, 2.0]), 3),
        (Vector(VectorKind.OBJECT, [None, None]), 3),
        (Dictionary([(None, None)]), 3),
    ],
)
def test_number_of_values_at_the_limit_and_one_past_it(value: object, count: int) -> None:
    enough, short = Limits(max_amf_values=count), Limits(max_amf_values=count - 1)
    data = amf3.encode(value, limits=enough)
    assert amf3.decode(data, limits=enough)[0] == value
    with pytest.raises(AmfError, match="too many"):
        amf3.decode(data, limits=short)
    with pytest.raises(MisuseError, match="too many"):
        amf3.encode(value, limits=short)


UNENCODABLE = {
    "complex": 1j,
    "empty-key": {"": None},
    "empty-key-of-array": EcmaArray({"": None}),
    "empty-key-beside-sealed": TypedObject("C", {"a": 1, "": None}, sealed=("a",)),
    "sealed-member-missing": TypedObject("C", {"b": 1}, sealed=("a",)),
    "key-not-text": {1: None},
    "class-name-not-text": TypedObject(7),
    "lone-surrogate": "\ud800",
    "integer-beyond-double": 10**400,
    "date-not-a-number": AmfDate("now"),
    "vector-int-too-large": Vector(VectorKind.INT, [2**31]),
    "vector-uint-negative": Vector(VectorKind.UINT, [-1]),
    "vector-int-of-float": Vector(VectorKind.INT, [1.5]),
    "vector-double-of-text": Vector(VectorKind.DOUBLE, ["1"]),
    "vector-double-too-large": Vector(VectorKind.DOUBLE, [10**400]),
    "byte-array-beyond-24-bits": bytes(0x1000000),
    "xml-beyond-24-bits": Xml("a" * 0x1000000),
}


@pytest.mark.parametrize("value", UNENCODABLE.values(), ids=UNENCODABLE)
def test_what_amf3_cannot_say_is_misuse(value: object) -> None:
    with pytest.raises(MisuseError):
        amf3.encode(value)


def test_an_empty_ecma_array_is_an_empty_array() -> None:
    # Without an associative part nothing on the wire tells them apart.
    assert amf3.encode(EcmaArray()) == amf3.encode([])


def test_the_longest_byte_array_is_written() -> None:
    assert len(amf3.encode(bytes(0xFFFFFF))) == 1 + 4 + 0xFFFFFF
