"""AMF0 by worked bytes: each marker both ways, references, truncation, limits, misuse."""

from __future__ import annotations

import enum
import math

import pytest
from amf_support import nested, shape, truncations

from cluster.core.amf import amf0
from cluster.core.amf.state import DEEPEST
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
from cluster.core.errors import AmfError, CloseReason, MisuseError
from cluster.core.limits import Limits

LONG = "é" * 32768  # 65536 bytes: one more than a u16 length can say

BOTH_WAYS = {
    "number": ("00 4008000000000000", 3.0),
    "minus-zero": ("00 8000000000000000", -0.0),
    "nan": ("00 7FF8000000000000", math.nan),
    "infinity": ("00 FFF0000000000000", -math.inf),
    "true": ("01 01", True),
    "false": ("01 00", False),
    "string": ("02 0004 61763031", "av01"),
    "empty-string": ("02 0000", ""),
    "utf8": ("02 0003 E282AC", "€"),
    "object": ("03 0001 61 01 01 0001 62 05 000009", {"a": True, "b": None}),
    "empty-object": ("03 000009", {}),
    "empty-key": ("03 0000 01 00 000009", {"": False}),
    "null": ("05", None),
    "undefined": ("06", UNDEFINED),
    "ecma-array": ("08 00000001 0001 61 06 000009", EcmaArray(a=UNDEFINED)),
    "empty-ecma-array": ("08 00000000 000009", EcmaArray()),
    "strict-array": ("0A 00000002 05 0A 00000000", [None, []]),
    "date": ("0B 4271F71FB0450000 0000", AmfDate(1234567890000.0)),
    "date-with-zone": ("0B 0000000000000000 FF88", AmfDate(0.0, -120)),
    "long-string": ("0C 00010000" + LONG.encode().hex(), LONG),
    "xml": ("0F 00000004 3C612F3E", XmlDocument("<a/>")),
    "typed-object": ("10 0001 43 0001 61 05 000009", TypedObject("C", {"a": None})),
    "amf3-byte-array": ("11 0C 05 0102", b"\x01\x02"),
    "amf3-xml": ("11 0B 09 3C612F3E", Xml("<a/>")),
    "amf3-vector": ("11 0D 03 00 FFFFFFFF", Vector(VectorKind.INT, [-1])),
    "amf3-dictionary": ("11 11 03 01 01 03", Dictionary([(None, True)], weak_keys=True)),
    "amf3-array": ("11 09 03 03 61 01 01 02", Amf3Array([False], {"a": None})),
    "amf3-inside-object": ("03 0001 61 11 0C 01 0001 62 05 000009", {"a": b"", "b": None}),
    # Enhanced RTMP, connect.
    "fourcc-list": (
        "03 000A 666F757243634C697374 0A 00000003"
        " 02 0004 61763031 02 0004 76703039 02 0004 68766331 000009",
        {"fourCcList": ["av01", "vp09", "hvc1"]},
    ),
    "caps-ex": ("03 0006 636170734578 00 4008000000000000 000009", {"capsEx": 3.0}),
    "fourcc-info-map": (
        "03 0012 766964656F466F75724363496E666F4D6170 03 0001 2A 00 4010000000000000 000009 000009",
        {"videoFourCcInfoMap": {"*": 4.0}},
    ),
}

READ_ONLY = {
    "boolean-not-0": ("01 7F", True),
    "ecma-count-is-advisory": ("08 FFFFFFFF 0001 61 05 000009", EcmaArray(a=None)),
    "last-of-two-equal-keys": ("03 0001 61 05 0001 62 05 0001 61 06 000009", {"a": UNDEFINED, "b": None}),
    "unsupported": ("0D", None),
    "short-long-string": ("0C 00000001 61", "a"),
    "amf3-integer": ("11 04 FFFFFFFF", -1),
    "amf3-object": ("11 0A 0B 01 03 61 01 01", {"a": None}),
}

ALL_EXAMPLES = {**BOTH_WAYS, **READ_ONLY}

# Enhanced RTMP, reconnect request.
RECONNECT_REQUEST = """
    02 0008 6F6E537461747573 00 0000000000000000 05
    03 0004 636F6465 02 0026 4E6574436F6E6E656374696F6E2E436F6E6E6563742E5265636F6E6E65637452657175657374
    0005 6C6576656C 02 0006 737461747573 0005 746355726C 02 0005 2F6C697665 000009
"""

# As FFmpeg 5.1 writes it into an FLV file.
FFMPEG_ON_METADATA = """
    02000a6f6e4d65746144617461080000000e00086475726174696f6e003fcccccccccccccd00057769647468004050000000000000
    0006686569676874004048000000000000000d766964656f64617461726174650040686a000000000000096672616d657261746500
    4039000000000000000c766964656f636f6465636964004000000000000000000d617564696f646174617261746500000000000000
    0000000f617564696f73616d706c65726174650040e5888000000000000f617564696f73616d706c6573697a650040300000000000
    00000673746572656f0100000c617564696f636f646563696400400000000000000000057469746c650200055072c3bc660007656e
    636f64657202000d4c61766635392e32372e313030000866696c6573697a650040b3370000000000000009
"""


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


@pytest.mark.parametrize(("text", "value"), ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_reads(text: str, value: object, buffer: type) -> None:
    data = hexed(text)
    got, after = amf0.decode(buffer(data))
    assert (shape(got), after) == (shape(value), len(data))
    assert shape(amf0.decode_all(buffer(data))) == shape([value])


@pytest.mark.parametrize(("text", "value"), BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_writes(text: str, value: object) -> None:
    assert amf0.encode(value) == hexed(text)


#: One key twice: its cuts hold another value than the whole.
TWICE = "03 0001 61 05 0001 62 05 0001 61 06 000009"


@pytest.mark.parametrize("text", [t for t, _ in ALL_EXAMPLES.values() if len(t) < 1000 and t != TWICE])
def test_truncated_anywhere_is_an_amf_error(text: str) -> None:
    whole = amf0.decode(hexed(text))[0]
    for cut in truncations(hexed(text)):
        # At the end of the data, objects and ECMA arrays may lack their terminators, and only those.
        if cut[:1] in (b"\x03", b"\x08", b"\x10"):
            try:
                assert is_beginning(amf0.decode(cut)[0], whole)
                continue
            except AmfError:
                pass
        with pytest.raises(AmfError) as caught:
            amf0.decode(cut)
        assert caught.value.reason is CloseReason.BAD_AMF


def is_beginning(part: object, whole: object) -> bool:
    """Whether ``part`` is ``whole``, or a container of its first members, of which the last may be such."""
    if type(part) is not type(whole) or not isinstance(part, dict) or not isinstance(whole, dict):
        return shape(part) == shape(whole)
    return list(part) == list(whole)[: len(part)] and all(
        is_beginning(part[key], whole[key]) for key in part
    )


def test_a_long_string_cut_short_is_an_amf_error() -> None:
    data = amf0.encode(LONG)
    for length in (4, 5, 6, len(data) - 1):
        with pytest.raises(AmfError):
            amf0.decode(data[:length])


def test_reads_the_value_at_an_offset_and_says_where_the_next_is() -> None:
    data = amf0.encode("connect", 1, None)
    assert amf0.decode(data) == ("connect", 10)
    assert amf0.decode(data, offset=10) == (1.0, 19)
    assert amf0.decode(data, offset=19) == (None, 20)
    assert amf0.decode_all(data, offset=10) == [1.0, None]
    assert amf0.decode_all(data, offset=20) == []
    with pytest.raises(AmfError):
        amf0.decode(data, offset=20)


def test_reconnect_request() -> None:
    info = {"code": "NetConnection.Connect.ReconnectRequest", "level": "status", "tcUrl": "/live"}
    data = hexed(RECONNECT_REQUEST)
    assert len(data) == 103
    assert amf0.decode_all(data) == ["onStatus", 0.0, None, info]
    assert amf0.encode("onStatus", 0, None, info) == data


def test_on_metadata_of_ffmpeg_stays_as_it_is() -> None:
    data = hexed(FFMPEG_ON_METADATA)
    name, metadata = amf0.decode_all(data)
    assert name == "onMetaData"
    assert type(metadata) is EcmaArray
    assert (metadata["width"], metadata["title"], metadata["stereo"]) == (64.0, "Prüf", False)
    assert amf0.encode(name, metadata) == data
    for cut in truncations(data[:-3]):
        try:
            shorter = amf0.decode_all(cut)
        except AmfError:
            continue
        assert shorter in ([], [name], *([name, dict(list(metadata.items())[:n])] for n in range(14)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("08 00000001 0001 61 05", EcmaArray(a=None)),
        ("08 00000001 0001 61 08 00000000", EcmaArray(a=EcmaArray())),
        ("03 0001 61 05", {"a": None}),
        ("03", {}),
        ("03 0001 61 03 0001 62 05", {"a": {"b": None}}),
        ("03 0001 61 08 00000000", {"a": EcmaArray()}),
        ("10 0001 43 0001 61 05", TypedObject("C", {"a": None})),
        ("0A 00000001 03 0001 61 05", [{"a": None}]),
    ],
)
def test_without_its_terminator_an_object_ends_with_the_data_only(text: str, value: object) -> None:
    """SRS and librtmp read these; a value that is cut is another thing."""
    data = hexed(text)
    got, after = amf0.decode(data)
    assert (shape(got), after) == (shape(value), len(data))
    for behind in ("00", "0000", "0001", "000161", "05"):
        with pytest.raises(AmfError):
            amf0.decode(data + hexed(behind))


BAD = {
    "movie-clip": "04",
    "record-set": "0E",
    "object-end-alone": "09",
    "marker-after-the-last": "12",
    "marker-255": "FF",
    "end-marker-under-a-key": "03 0001 61 09",
    "reference-without-objects": "07 0000",
    "strict-array-of-4-billion": "0A FFFFFFFF 05",
    "strict-array-one-too-many": "0A 00000002 05",
    "long-string-of-4-gigabytes": "0C FFFFFFFF 61",
    "xml-of-4-gigabytes": "0F FFFFFFFF 61",
    "amf3-marker-unknown": "11 12",
    "amf3-reference-into-amf0": "0A 00000002 03 000009 11 0A 00",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_refuses(text: str) -> None:
    with pytest.raises(AmfError):
        amf0.decode_all(hexed(text))


def test_bad_utf8_comes_back_as_it_was() -> None:
    data = hexed("03 0002 C328 02 0003 FFEDA0 0001 62 0F 00000001 80 000009")
    value, _ = amf0.decode(data)
    assert value == {"\udcc3(": "\udcff\udced\udca0", "b": "\udc80"}
    assert amf0.encode(value) == data


def test_references_count_objects_and_arrays_in_the_order_met() -> None:
    object_, ecma, array, typed = "03 000009", "08 00000000 000009", "0A 00000000", "10 0000 000009"
    references = " ".join(f"07 000{n}" for n in range(4))
    values = amf0.decode_all(hexed(f"{object_} 02 0000 {ecma} 05 {array} {typed} {references}"))
    objects = [values[0], values[2], values[4], values[5]]
    assert [type(value) for value in objects] == [dict, EcmaArray, list, TypedObject]
    assert all(got is wanted for got, wanted in zip(values[6:], objects, strict=True))
    with pytest.raises(AmfError):
        amf0.decode_all(hexed(f"{object_} 07 0001"))


def test_references_do_not_reach_into_another_message() -> None:
    data = hexed("03 000009 07 0000")
    _, after = amf0.decode(data)
    with pytest.raises(AmfError):
        amf0.decode(data, offset=after)


@pytest.mark.parametrize(
    "text",
    ["03 0001 61 07 0000 000009", "08 00000000 0001 61 07 0000 000009", "10 0000 0001 61 07 0000 000009"],
)
def test_an_object_that_holds_itself_is_read_and_not_written(text: str) -> None:
    value, _ = amf0.decode(hexed(text))
    assert isinstance(value, dict)
    assert value["a"] is value
    with pytest.raises(MisuseError, match="holds itself"):
        amf0.encode(value)


def test_an_array_that_holds_itself_is_read_and_not_written() -> None:
    value, _ = amf0.decode(hexed("0A 00000001 07 0000"))
    assert isinstance(value, list)
    assert value[0] is value
    with pytest.raises(MisuseError, match="holds itself"):
        amf0.encode(value)


def test_a_cycle_through_amf3_values_is_not_written() -> None:
    array = Amf3Array([], {"a": None})
    array.dense.append(Dictionary([(1, Vector(VectorKind.OBJECT, [array]))]))
    with pytest.raises(MisuseError, match="holds itself"):
        amf0.encode(array)


def test_a_shared_object_is_written_each_time() -> None:
    shared = {"a": None}
    assert amf0.encode(shared, [shared]) == hexed("03 0001 61 05 000009 0A 00000001 03 0001 61 05 000009")


def test_values_behind_the_amf3_marker_are_written_without_references_and_read_with_them() -> None:
    dictionary = Dictionary([("key", "key"), ({}, {})])
    once = amf0.encode(dictionary)
    assert amf0.encode(dictionary, dictionary) == once * 2
    assert amf0.decode_all(once * 2) == [dictionary, dictionary]
    first, second = amf0.decode_all(hexed("11 06 03 61 11 06 00"))
    assert (first, second) == ("a", "a")


def test_sharing_that_would_unfold_without_end_is_not_written() -> None:
    # Each array holds the next one twice, the second time by reference: 2**25 when written out.
    levels = 25
    data = hexed("0A 00000002" * levels + "05 05")
    data += b"".join(b"\x07" + index.to_bytes(2, "big") for index in range(levels - 1, 0, -1))
    value, after = amf0.decode(data)
    assert after == len(data)
    with pytest.raises(MisuseError, match="too many values"):
        amf0.encode(value)


WRAPS = {
    "object": lambda value: {"a": value},
    "ecma-array": lambda value: EcmaArray(a=value),
    "typed-object": lambda value: TypedObject("C", {"a": value}),
    "strict-array": lambda value: [value],
    "amf3-array": lambda value: Amf3Array([value], {"a": None}),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_depth_at_the_limit_and_one_past_it(wrap: object) -> None:
    limits = Limits(max_amf_depth=5)
    assert callable(wrap)
    fits, too_deep = nested(5, wrap), nested(6, wrap)
    assert amf0.decode(amf0.encode(fits, limits=limits), limits=limits)[0] == fits
    with pytest.raises(MisuseError, match="deep"):
        amf0.encode(too_deep, limits=limits)
    with pytest.raises(AmfError, match="deep"):
        amf0.decode(amf0.encode(too_deep), limits=limits)


def test_amf3_inside_amf0_counts_toward_one_depth() -> None:
    value = [Dictionary([(None, [None])])]
    data = amf0.encode(value)
    assert amf0.decode(data, limits=Limits(max_amf_depth=3))[0] == value
    with pytest.raises(AmfError, match="deep"):
        amf0.decode(data, limits=Limits(max_amf_depth=2))


@pytest.mark.parametrize("level", ["0A 00000001", "03 0001 61", "08 00000000 0001 61", "10 0000 0001 61"])
def test_bottomless_nesting_is_an_amf_error_whatever_the_limit_says(level: str) -> None:
    data = hexed(level * 20_000)
    for limits in (Limits(), Limits(max_amf_depth=1_000_000, max_amf_values=1_000_000)):
        with pytest.raises(AmfError, match="deep"):
            amf0.decode(data, limits=limits)


def test_the_deepest_configurable_depth_is_read_and_written() -> None:
    limits = Limits(max_amf_depth=1_000_000)
    value = nested(DEEPEST, WRAPS["object"])
    assert amf0.decode(amf0.encode(value, limits=limits), limits=limits)[0] == value
    with pytest.raises(MisuseError, match="deep"):
        amf0.encode(nested(100_000, WRAPS["object"]), limits=limits)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ((1.0, "a", None), 3),
        (([None, None],), 3),
        (([1.0, None],), 3),
        (([1.0] * 50, "a"), 2),  # an array of nothing but numbers is one value
        (({"a": 1.0, "b": {}},), 3),
        ((EcmaArray(a=None, b=None),), 3),
        # The marker of the switch counts as a value of its own.
        ((Vector(VectorKind.UINT, [1, 2, 3]),), 5),
        ((Dictionary([(None, True)]),), 4),
    ],
)
def test_number_of_values_at_the_limit_and_one_past_it(values: tuple[object, ...], count: int) -> None:
    data = amf0.encode(*values)
    enough, short = Limits(max_amf_values=count), Limits(max_amf_values=count - 1)
    assert amf0.decode_all(data, limits=enough) == list(values)
    assert amf0.encode(*values, limits=enough) == data
    with pytest.raises(AmfError, match="too many"):
        amf0.decode_all(data, limits=short)
    with pytest.raises(MisuseError, match="too many"):
        amf0.encode(*values, limits=short)


def test_the_keyframe_index_of_a_day_is_read_and_written() -> None:
    seconds = [float(second) for second in range(24 * 3600)]
    metadata = EcmaArray(keyframes={"times": seconds, "filepositions": [500_000 * s for s in seconds]})
    data = amf0.encode("onMetaData", metadata)
    assert amf0.decode_all(data) == ["onMetaData", metadata]
    assert amf0.encode([1, 2.0]) == hexed("0A 00000002 00 3FF0000000000000 00 4000000000000000")


def test_an_array_is_cheap_only_if_all_of_it_is_numbers() -> None:
    limit = Limits().max_amf_values
    head = hexed("0A") + (limit + 1).to_bytes(4, "big")
    number = hexed("00 3FF0000000000000")
    for index in (0, limit // 2, limit):
        items = [number] * (limit + 1)
        items[index] = b"\x05"
        with pytest.raises(AmfError, match="too many"):
            amf0.decode(head + b"".join(items))
    with pytest.raises(MisuseError, match="too many"):
        amf0.encode([1.0] * limit + [True])


@pytest.mark.parametrize("cut", [1, 8, 9, 10])
def test_an_array_of_numbers_cut_short(cut: int) -> None:
    data = amf0.encode([1.0] * 20_000)
    with pytest.raises(AmfError):
        amf0.decode(data[:-cut])


def test_references_count_as_values() -> None:
    data = hexed("03 000009" + "07 0000" * 9)
    assert len(amf0.decode_all(data, limits=Limits(max_amf_values=10))) == 10
    with pytest.raises(AmfError, match="too many"):
        amf0.decode_all(data, limits=Limits(max_amf_values=9))


class _Level(enum.StrEnum):
    STATUS = "status"


class _Code(enum.IntEnum):
    SEVEN = 7


def test_integers_and_subclasses_are_written_as_their_base() -> None:
    assert amf0.encode(3) == hexed("00 4008000000000000")
    assert amf0.encode(_Code.SEVEN) == amf0.encode(7.0)
    assert amf0.encode({_Level.STATUS: _Level.STATUS}) == amf0.encode({"status": "status"})


UNENCODABLE = {
    "complex": 1j,
    "tuple": (1, 2),
    "set-in-object": {"a": {1}},
    "key-not-text": {1: None},
    "integer-beyond-double": 10**400,
    "lone-surrogate": "\ud800",
    "key-of-65536-bytes": {LONG: None},
    "class-name-of-65536-bytes": TypedObject(LONG),
    "zone-beyond-16-bits": AmfDate(0.0, 40000),
    "text-beyond-24-bits": "a" * 0x1000000,
    "byte-array-beyond-24-bits": bytes(0x1000000),
    "epoch-beyond-double": AmfDate(10**400),
}


@pytest.mark.parametrize("value", UNENCODABLE.values(), ids=UNENCODABLE)
def test_what_amf0_cannot_say_is_misuse(value: object) -> None:
    with pytest.raises(MisuseError):
        amf0.encode(value)


def test_the_longest_key_and_text_are_written() -> None:
    key = "k" * 0xFFFF
    assert amf0.decode(amf0.encode({key: None}))[0] == {key: None}
    assert len(amf0.encode("a" * 0xFFFF)) == 3 + 0xFFFF
    assert len(amf0.encode("a" * 0xFFFFFF)) == 5 + 0xFFFFFF
    assert len(amf0.encode(bytes(0xFFFFFF))) == 2 + 4 + 0xFFFFFF


def test_typed_objects_differ_from_others_by_their_class() -> None:
    assert TypedObject("A", {"a": 1}) == TypedObject("A", [("a", 1)])
    assert TypedObject("A", {"a": 1}) != TypedObject("B", {"a": 1})
    assert TypedObject("A") != {}
    assert not UNDEFINED
    assert [repr(v) for v in (UNDEFINED, EcmaArray(a=1), TypedObject("A"))] == [
        "UNDEFINED",
        "EcmaArray({'a': 1})",
        "TypedObject('A', {})",
    ]
