"""What the AMF tests share: an exact comparison, and truncation of worked bytes."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator

from cluster.core.amf.values import Amf3Array, AmfDate, Dictionary, TypedObject, Vector


def shape(value: object) -> object:
    """A value as nested tuples that differ wherever type, key order, NaN or the sign of 0 differ."""
    name = type(value).__name__
    if isinstance(value, float):
        return name, struct.pack(">d", value).hex()
    if isinstance(value, AmfDate):
        return name, shape(value.epoch_ms), value.zone_minutes
    if isinstance(value, TypedObject):
        return name, value.class_name, value.sealed, tuple((k, shape(v)) for k, v in value.items())
    if isinstance(value, dict):
        return name, tuple((k, shape(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return name, tuple(shape(item) for item in value)
    if isinstance(value, Amf3Array):
        return name, shape(value.dense), tuple((k, shape(v)) for k, v in value.assoc.items())
    if isinstance(value, Vector):
        return name, value.kind, shape(value.items), value.fixed, value.class_name
    if isinstance(value, Dictionary):
        return name, shape(value.pairs), value.weak_keys
    if isinstance(value, enum.Enum):
        return name, value.name
    return name, value


def nested(levels: int, wrap: Callable[[object], object]) -> object:
    """``levels`` containers inside each other, the innermost made by ``wrap(None)``."""
    value: object = None
    for _ in range(levels):
        value = wrap(value)
    return value


def truncations(data: bytes) -> Iterator[bytes]:
    """Everything from the empty start of ``data`` to all but its last byte."""
    for length in range(len(data)):
        yield data[:length]
