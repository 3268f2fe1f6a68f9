"""AMF3, both ways: what stands behind marker 0x11 of an AMF0 message.

References become the same Python object (an object may hold itself). Only ``AmfError`` leaves the
reader, only ``MisuseError`` the writer.
"""

from __future__ import annotations

from cluster.core.amf.amf3_reader import read_value
from cluster.core.amf.amf3_writer import write_value
from cluster.core.amf.state import DEFAULT_LIMITS, ReadState, WriteState
from cluster.core.amf.values import AmfValue
from cluster.core.limits import Limits
from cluster.core.message import Buffer


def decode(data: Buffer, *, limits: Limits = DEFAULT_LIMITS, offset: int = 0) -> tuple[AmfValue, int]:
    """Read the one value at ``offset``; return it and the offset after it."""
    state = ReadState(data, offset, limits)
    return read_value(state), state.pos


def decode_all(data: Buffer, *, limits: Limits = DEFAULT_LIMITS, offset: int = 0) -> list[AmfValue]:
    """Read values from ``offset`` to the end of the data; they share reference tables."""
    state = ReadState(data, offset, limits)
    values = []
    while state.pos < state.end:
        values.append(read_value(state))
    return values


def encode(*values: AmfValue, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Write values that share reference tables: text and objects met again become references."""
    state = WriteState(limits, share=True)
    for value in values:
        write_value(state, value)
    return bytes(state.out)
