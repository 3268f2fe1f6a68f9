"""Dataclasses of plain types as JSON text, and back: each field is checked by its type.

What checks a type is put together once for each, not anew for each value.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias, TypeVar

from cluster.core.errors import ClusterError

T = TypeVar("T")

#: Makes what JSON has into a value of one type. The second argument is its name, for the JsonError.
_Reader: TypeAlias = Callable[[Any, str], Any]


class JsonError(ClusterError):
    """Text that is no JSON, or a value that is not of the type that it should be."""


def write(value: object) -> str:
    """``value``, and the dataclasses in it."""
    return json.dumps(value, default=_fields_of, separators=(",", ":"))


def _fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__match_args__}


def parsed(text: str | bytes) -> Any:
    """What JSON has in ``text``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise JsonError("no JSON") from None


def typed(kind: type[T], value: Any) -> T:
    """``value``, as JSON has it, as a ``kind``: a dataclass of plain types, or several in a tuple.

    A field that is missing has its default; one that is not known is of a newer version, and ignored.
    """
    made: T = _reader(typing.cast(Hashable, kind))(value, "it")
    return made


@functools.cache
def _reader(hint: Hashable) -> _Reader:
    kind: Any = hint
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # of one type and None
        return _optional(_reader(arguments[0]))
    if origin is tuple:
        return _tuple(_reader(arguments[0]))
    if origin is dict:
        return _dictionary(_reader(arguments[1]))
    if kind is float:
        return _float
    return _object(kind) if dataclasses.is_dataclass(kind) else _plain(kind)


def _plain(kind: type[Any]) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if type(value) is not kind:
            raise _wrong(value, name)
        return value

    return read


def _float(value: Any, name: str) -> float:
    if type(value) not in (int, float):
        raise _wrong(value, name)
    try:
        return float(value)
    except OverflowError:
        raise JsonError(f"{name} is too large") from None


def _optional(read_one: _Reader) -> _Reader:
    return lambda value, name: None if value is None else read_one(value, name)


def _tuple(read_one: _Reader) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if type(value) is not list:
            raise _wrong(value, name)
        return tuple([read_one(each, name) for each in value])

    return read


def _dictionary(read_one: _Reader) -> _Reader:
    def read(value: Any, name: str) -> Any:
        if type(value) is not dict:
            raise _wrong(value, name)
        return {key: read_one(each, name) for key, each in value.items()}

    return read


def _object(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    fields = [
        (each.name, hints[each.name], _reader(hints[each.name]), _is_needed(each))
        for each in dataclasses.fields(kind)
    ]

    def read(value: Any, _: str) -> Any:
        if type(value) is not dict:
            raise JsonError(f"{kind.__name__} is no object")
        given: dict[str, Any] = {}
        for name, hint, read_one, is_needed in fields:
            if name in value:
                said = value[name]
                # Most are of a plain type, and are what they should be: that needs no call.
                given[name] = said if type(said) is hint else read_one(said, name)
            elif is_needed:
                raise JsonError(f"{kind.__name__} has no {name}")
        return kind(**given)

    return read


def _is_needed(of: dataclasses.Field[Any]) -> bool:
    return of.default is dataclasses.MISSING and of.default_factory is dataclasses.MISSING


def _wrong(value: Any, name: str) -> JsonError:
    return JsonError(f"{name} is {type(value).__name__}")
