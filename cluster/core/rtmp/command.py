"""Command messages (types 20 and 17): a name, a transaction id, a command object, arguments.

RTMP 1.0, section 7.1.1. Type 17 has a leading format byte 0 and then AMF0, in which a value may be AMF3
behind its marker 0x11; some peers leave the format byte out.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import AmfError, CloseReason, PeerViolation
from cluster.core.limits import Limits
from cluster.core.message import Message, MessageType

#: Arguments kept of a command that does not decode as a whole; no command of the protocol has ten.
MAX_SALVAGED_VALUES = 32

_AMF0_STRING_MARKER = 0x02


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``transaction_id`` 0 asks for no answer; it is a float because some peers count so.

    ``args`` are the values after the command object. ``amf3`` says type 17.
    """

    name: str
    transaction_id: float = 0.0
    command_object: AmfValue = None
    args: tuple[AmfValue, ...] = ()
    stream_id: int = 0
    amf3: bool = False

    def arg(self, index: int) -> AmfValue:
        """The argument at ``index``; None where the peer sent fewer."""
        return self.args[index] if index < len(self.args) else None


def encode(command: Command, timestamp: int = 0) -> Message:
    """The command as a message; ``MisuseError`` for values AMF0 has no form for."""
    payload = amf0.encode(
        command.name, float(command.transaction_id), command.command_object, *command.args
    )
    if command.amf3:
        return Message(MessageType.COMMAND_AMF3, timestamp, b"\x00" + payload, command.stream_id)
    return Message(MessageType.COMMAND_AMF0, timestamp, payload, command.stream_id)


def decode(message: Message, limits: Limits) -> Command:
    """Read a message of type 20 or 17.

    Raises ``PeerViolation(BAD_COMMAND)`` if it does not begin with a name, and ``AmfError`` if it is a
    connect whose command object cannot be read. Garbage behind readable values is left out.
    """
    payload = message.payload
    amf3 = message.type_id == MessageType.COMMAND_AMF3
    offset = 1 if amf3 and len(payload) and payload[0] != _AMF0_STRING_MARKER else 0
    try:
        values = amf0.decode_all(payload, limits=limits, offset=offset)
    except AmfError:
        values = _salvage(message, limits, offset)
    if not values or not isinstance(values[0], str):
        raise PeerViolation(CloseReason.BAD_COMMAND, "a command message that does not begin with a name")
    return Command(
        values[0],
        _number(values[1]) if len(values) > 1 else 0.0,
        values[2] if len(values) > 2 else None,
        tuple(values[3:]),
        message.stream_id,
        amf3,
    )


def _salvage(message: Message, limits: Limits, offset: int) -> list[AmfValue]:
    """The values in front of the first that cannot be read."""
    values: list[AmfValue] = []
    while offset < len(message.payload) and len(values) < MAX_SALVAGED_VALUES:
        try:
            value, offset = amf0.decode(message.payload, limits=limits, offset=offset)
        except AmfError:
            if len(values) < 3 and values[:1] == ["connect"]:
                raise
            break
        values.append(value)
    return values


def _number(value: AmfValue) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return 0.0
