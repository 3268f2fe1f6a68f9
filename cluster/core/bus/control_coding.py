"""Control messages as the frames they cross the bus in, and back.

    frame 0   msgpack [version, tag, field, ...], the fields as the dataclass declares them
    frame 1   of a Snapshot only: the table of its headers and messages
    frame 2   of a Snapshot only: their payloads

The table below is the protocol: a tag, a class, and what each field must be. Routers read frame 0 alone,
and pass a snapshot on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, TypeAlias

from cluster.core.bus.bounds import (
    LONGEST_CLOSED_S,
    MAX_ANSWER_BYTES,
    MAX_CONTROL_BYTES,
    MAX_QUESTION_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_SNAPSHOT_MESSAGES,
)
from cluster.core.bus.cluster_status import (
    are_facts,
    are_streams,
    are_workers,
    facts_from,
    streams_from,
    workers_from,
)
from cluster.core.bus.control import (
    Announce,
    Answer,
    CloseKey,
    ClusterStatus,
    Contest,
    Contested,
    ContestReply,
    ControlMessage,
    Goodbye,
    Granted,
    Heartbeat,
    Hello,
    HelloPart,
    HelloWanted,
    NameShared,
    NodeReport,
    NoStream,
    Publish,
    Question,
    Refused,
    Report,
    Revoked,
    SealedSnapshot,
    Snapshot,
    SnapshotRequest,
    StatusRequest,
    StreamDown,
    StreamUp,
    TimedHeartbeat,
    Unpublish,
    Unwatch,
    Watch,
    Welcome,
)
from cluster.core.bus.identity import is_instance, is_node, is_node_id
from cluster.core.bus.packing import (
    MESSAGE,
    VERSION,
    PackingError,
    is_unsigned,
    join_payloads,
    message_table,
    pack,
    split_messages,
    unpack,
)
from cluster.core.errors import ClusterError
from cluster.core.keys import MAX_KEY_BYTES

_Check: TypeAlias = Callable[[Any], bool]

_NUMBERS = (int, float)


class ControlError(ClusterError):
    """Frames from the bus that are no control message."""


def _flag(value: Any) -> bool:
    return type(value) is bool


def _text(value: Any) -> bool:
    return type(value) is str


def _key(value: Any) -> bool:
    return (
        type(value) is str and "\0" not in value
        and len(value.encode("utf-8", "surrogateescape")) <= MAX_KEY_BYTES
    )  # fmt: skip


def _instances(value: Any) -> bool:
    return type(value) is list and all(map(is_instance, value))


def _load(value: Any) -> bool:
    if type(value) is not dict:
        return False
    for name, amount in value.items():
        if type(name) is not str or type(amount) not in _NUMBERS:
            return False
    return True


def _question(value: Any) -> bool:
    return type(value) is bytes and len(value) <= MAX_QUESTION_BYTES


def _answer(value: Any) -> bool:
    return type(value) is bytes and len(value) <= MAX_ANSWER_BYTES


def _closed_s(value: Any) -> bool:
    return is_unsigned(value) and bool(value <= LONGEST_CLOSED_S)


def _keys(value: Any) -> bool:
    return type(value) is list and all(map(_key, value))


def _origins(value: Any) -> bool:
    return type(value) is list and all(
        type(pair) is list and len(pair) == 2 and _key(pair[0]) and is_unsigned(pair[1]) for pair in value
    )


#: tag -> (class, a check for each field). Tags are never used again for something else.
_SHAPES: dict[int, tuple[Callable[..., ControlMessage], tuple[_Check, ...]]] = {
    1: (
        Hello,
        (is_node, is_instance, is_unsigned, is_unsigned, _flag, _load, _origins, _keys, is_unsigned),
    ),
    2: (Heartbeat, (_load, _flag, is_unsigned)),
    3: (Goodbye, ()),
    4: (Publish, (_key, _flag, is_unsigned)),
    5: (Announce, (_key, is_unsigned)),
    6: (Unpublish, (_key, is_unsigned)),
    7: (Watch, (_key,)),
    8: (Unwatch, (_key,)),
    9: (ContestReply, (_key, is_unsigned, _flag)),
    10: (Welcome, ()),
    11: (HelloWanted, ()),
    12: (Granted, (_key, is_unsigned, is_unsigned, _flag)),
    13: (Refused, (_key, _text, is_unsigned)),
    14: (Contested, (_key, is_unsigned)),
    15: (StreamUp, (_key, is_unsigned, _text)),
    16: (StreamDown, (_key, is_unsigned)),
    17: (Contest, (_key, _flag, is_unsigned)),
    18: (Revoked, (_key, is_unsigned)),
    19: (SnapshotRequest, (_key, is_unsigned, _text)),
    20: (NoStream, (_key, is_unsigned, _text)),
    22: (Report, (are_facts,)),
    23: (StatusRequest, ()),
    24: (ClusterStatus, (are_workers, are_streams)),
    25: (NameShared, (is_node, _instances)),
    26: (HelloPart, (_origins, _keys)),
    27: (Question, (_text, is_unsigned, _question, _text)),
    28: (Answer, (is_unsigned, _answer, _text, _flag)),
    29: (CloseKey, (_key, _closed_s)),
    30: (TimedHeartbeat, (_load, _flag, is_unsigned, is_unsigned, is_unsigned, is_unsigned)),
    31: (NodeReport, (is_node_id, are_facts)),
}
_SNAPSHOT_TAG = 21
#: key, epoch, next sequence number, origin, request id, requester, number of headers and of messages.
_SNAPSHOT_CHECKS: tuple[_Check, ...] = (
    _key, is_unsigned, is_unsigned, _text, is_unsigned, _text, is_unsigned, is_unsigned
)  # fmt: skip
_SNAPSHOT_FRAMES = 3
_TAGS = {shape[0]: tag for tag, shape in _SHAPES.items()}


def encode(message: ControlMessage) -> list[bytes | memoryview]:
    """``message`` as the frames it crosses the bus in."""
    if isinstance(message, Snapshot):
        return _encode_snapshot(message)
    fields = [getattr(message, name) for name in message.__match_args__]
    return [pack([VERSION, _TAGS[type(message)], *fields])]


def decode(frames: Sequence[bytes]) -> ControlMessage:
    """The control message in ``frames``; ControlError on anything else."""
    tag, values = _open(frames[0] if frames else b"")
    if tag != _SNAPSHOT_TAG:
        return _decode_fields(tag, values, len(frames))
    if len(frames) != _SNAPSHOT_FRAMES:
        raise ControlError(f"a snapshot of {len(frames)} frames")
    return _decode_snapshot(values, frames[1], frames[2])


def decode_sealed(head: bytes, rest: Sequence[Sized]) -> ControlMessage | SealedSnapshot:
    """The same for a router: ``rest``, the frames after the first one, is not looked into."""
    if len(head) > MAX_CONTROL_BYTES:
        raise ControlError(f"a control message of {len(head)} bytes")
    tag, values = _open(head)
    if tag != _SNAPSHOT_TAG:
        return _decode_fields(tag, values, 1 + len(rest))
    size_bytes = len(head) + sum(map(len, rest))
    if 1 + len(rest) != _SNAPSHOT_FRAMES or size_bytes > MAX_SNAPSHOT_BYTES:
        raise ControlError(f"a snapshot of {size_bytes} bytes in {1 + len(rest)} frames")
    _check(_SNAPSHOT_TAG, values, _SNAPSHOT_CHECKS)
    key, _, _, origin, request_id, requester, *_ = values
    return SealedSnapshot(key, origin, request_id, requester, (head, *rest), size_bytes)


def _open(head: bytes) -> tuple[int, list[Any]]:
    """The tag and the fields in frame 0."""
    try:
        fields = unpack(head)
    except PackingError as error:
        raise ControlError(str(error)) from None
    if not fields or type(fields[0]) is not int:
        raise ControlError("no tag")
    return fields[0], fields[1:]


def _decode_fields(tag: int, values: list[Any], frames: int) -> ControlMessage:
    shape = _SHAPES.get(tag)
    if shape is None or frames != 1:
        raise ControlError(f"tag {tag} in {frames} frames")
    cls, checks = shape
    _check(tag, values, checks)
    if cls is Hello:
        values[6] = [(key, epoch) for key, epoch in values[6]]
    elif cls is HelloPart:
        values[0] = [(key, epoch) for key, epoch in values[0]]
    elif cls is Report:
        values = [facts_from(values[0])]
    elif cls is NodeReport:
        values[1] = facts_from(values[1])
    elif cls is ClusterStatus:
        values = [workers_from(values[0]), streams_from(values[1])]
    return cls(*values)


def _encode_snapshot(snapshot: Snapshot) -> list[bytes | memoryview]:
    messages = [*snapshot.headers, *snapshot.messages]
    fields = (
        snapshot.key, snapshot.epoch, snapshot.next_seq, snapshot.origin, snapshot.request_id,
        snapshot.requester, len(snapshot.headers), len(snapshot.messages),
    )  # fmt: skip
    return [pack([VERSION, _SNAPSHOT_TAG, *fields]), message_table(messages), join_payloads(messages)]


def _decode_snapshot(values: list[Any], table: bytes, body: bytes) -> Snapshot:
    _check(_SNAPSHOT_TAG, values, _SNAPSHOT_CHECKS)
    key, epoch, next_seq, origin, request_id, requester, headers, count = values
    if headers + count > MAX_SNAPSHOT_MESSAGES or len(table) != MESSAGE.size * (headers + count):
        raise ControlError(f"a snapshot of {headers} headers and {count} messages in {len(table)} bytes")
    if count > next_seq:
        raise ControlError(f"a snapshot of {count} messages up to {next_seq}")
    try:
        messages = split_messages(table, body)
    except PackingError as error:
        raise ControlError(str(error)) from None
    return Snapshot(
        key, epoch, next_seq, messages[:headers], messages[headers:], origin, request_id, requester
    )


def _check(tag: int, values: Sequence[Any], checks: Sequence[_Check]) -> None:
    if len(values) != len(checks):
        raise ControlError(f"tag {tag} with {len(values)} fields, not {len(checks)}")
    for index, check in enumerate(checks):
        if not check(values[index]):
            raise ControlError(f"tag {tag}: field {index} is of the wrong kind")
