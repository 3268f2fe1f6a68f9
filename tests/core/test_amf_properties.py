"""AMF by generated input: what is written reads back the same, and no bytes break the readers."""

from __future__ import annotations

from typing import Any

import pytest
from amf_support import shape, truncations
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.core.amf import amf0, amf3
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

modest = settings(deadline=None, max_examples=150)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(bool)
dates = st.builds(AmfDate, st.floats(), st.just(0))
scalars = (
    st.none() | st.booleans() | st.floats() | texts | st.just(UNDEFINED) | st.builds(XmlDocument, texts)
)

vectors = (
    st.builds(Vector, st.just(VectorKind.INT), st.lists(st.integers(-(2**31), 2**31 - 1)), st.booleans())
    | st.builds(Vector, st.just(VectorKind.UINT), st.lists(st.integers(0, 2**32 - 1)), st.booleans())
    | st.builds(Vector, st.just(VectorKind.DOUBLE), st.lists(st.floats()), st.booleans())
)
amf3_scalars = (
    scalars
    | st.integers(-(2**28), 2**28 - 1)
    | dates
    | st.builds(Xml, texts)
    | st.binary(max_size=20)
    | vectors
)


@st.composite
def typed_objects(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> TypedObject:
    """Sealed members first, as they are read."""
    members = draw(st.dictionaries(names, values, max_size=4))
    sealed = list(members)[: draw(st.integers(0, len(members)))]
    return TypedObject(draw(names), members, sealed=sealed)


def amf3_containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(values, max_size=4)
    members = st.dictionaries(names, values, max_size=4)
    some = st.dictionaries(names, values, min_size=1, max_size=4)
    return (
        few
        | members
        | st.builds(EcmaArray, some)
        | typed_objects(values)
        | st.builds(Amf3Array, st.lists(values, min_size=1, max_size=4), some)
        | st.builds(Vector, st.just(VectorKind.OBJECT), few, st.booleans(), texts)
        | st.builds(Dictionary, st.lists(st.tuples(values, values), max_size=3), st.booleans())
        # The same object twice.
        | st.builds(lambda value: [value, value], values)
    )


def amf0_containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(texts, values, max_size=4)
    return (
        st.lists(values, max_size=4)
        | members
        | st.builds(EcmaArray, members)
        | st.builds(TypedObject, texts, members)
        | st.builds(lambda value: [value, value], values)
    )


amf3_values = st.recursive(amf3_scalars, amf3_containers, max_leaves=12)
amf3_only = (
    st.binary(max_size=20)
    | st.builds(Xml, texts)
    | vectors
    | st.builds(Dictionary, st.lists(st.tuples(amf3_scalars, amf3_scalars), max_size=3))
)
amf0_values = st.recursive(
    scalars | st.builds(AmfDate, st.floats(), st.integers(-(2**15), 2**15 - 1)) | amf3_only,
    amf0_containers,
    max_leaves=12,
)

# Bytes that look like AMF more often than any bytes do: small counts and markers.
likely_bytes = st.lists(st.integers(0, 0x12) | st.integers(0, 255), max_size=60).map(bytes)


@modest
@given(st.lists(amf0_values, max_size=3))
def test_amf0_reads_back_what_it_writes(values: list[Any]) -> None:
    data = amf0.encode(*values)
    assert shape(amf0.decode_all(data)) == shape(values)
    assert amf0.encode(*amf0.decode_all(data)) == data


@modest
@given(st.lists(amf3_values, max_size=3))
def test_amf3_reads_back_what_it_writes(values: list[Any]) -> None:
    data = amf3.encode(*values)
    assert shape(amf3.decode_all(data)) == shape(values)


@modest
@given(st.integers() | st.floats())
def test_any_number_survives_as_its_double(value: float) -> None:
    try:
        wanted = float(value)
    except OverflowError:
        for codec in (amf0, amf3):
            with pytest.raises(MisuseError):
                codec.encode(value)
        return
    assert shape(amf0.decode(amf0.encode(value))[0]) == shape(wanted)
    got, _ = amf3.decode(amf3.encode(value))
    assert isinstance(got, int | float)
    assert shape(float(got)) == shape(wanted)


@modest
@given(st.binary(max_size=30))
def test_any_bytes_survive_as_text(raw: bytes) -> None:
    long_string = b"\x0c" + len(raw).to_bytes(4, "big") + raw
    text, _ = amf0.decode(long_string)
    assert amf0.encode(text) == b"\x02" + len(raw).to_bytes(2, "big") + raw
    assert amf3.encode(text) == b"\x06" + bytes([len(raw) << 1 | 1]) + raw
    assert amf3.decode(amf3.encode(text))[0] == text


@modest
@given(amf3_values)
def test_amf3_cut_anywhere_is_an_amf_error(value: object) -> None:
    for cut in truncations(amf3.encode(value)):
        with pytest.raises(AmfError):
            amf3.decode(cut)


@modest
@given(st.lists(amf0_values, min_size=1, max_size=2))
def test_amf0_cut_anywhere_raises_nothing_else_than_an_amf_error(values: list[Any]) -> None:
    for cut in truncations(amf0.encode(*values)):
        _read_and_write_again(amf0, cut)


@settings(modest, max_examples=500)
@given(st.binary(max_size=200) | likely_bytes)
def test_no_bytes_raise_anything_else_than_an_amf_error(data: bytes) -> None:
    _read_and_write_again(amf0, data)
    _read_and_write_again(amf3, data)
    _read_and_write_again(amf0, b"\x11" + data)


@modest
@given(st.data(), st.sampled_from([(amf0, amf0_values), (amf3, amf3_values)]))
def test_a_changed_byte_raises_nothing_else_than_an_amf_error(data: st.DataObject, codec: Any) -> None:
    module, values = codec
    raw = bytearray(module.encode(data.draw(values)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    _read_and_write_again(module, bytes(raw))


def _read_and_write_again(codec: Any, data: bytes) -> None:
    """Read, and write what came out: a peer's values may be too entangled to write, which is misuse."""
    try:
        values = codec.decode_all(data)
    except AmfError:
        return
    try:
        codec.encode(*values)
    except MisuseError:
        return
