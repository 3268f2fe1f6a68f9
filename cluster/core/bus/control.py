"""The control messages between a worker and a router, and their form on the wire.

    frame 0   msgpack [version, tag, field, ...], the fields as the dataclass declares them
    frame 1   of a Snapshot only: the payloads of its headers and messages

The table at the end is the protocol: a tag, a class, and what each field must be. Messages that cross
in both directions have one meaning in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cluster.core.bus.cluster_status import (
    StreamFacts,
    StreamStatus,
    WorkerStatus,
    are_facts,
    are_streams,
    are_workers,
    facts_from,
    streams_from,
    workers_from,
)
from cluster.core.bus.identity import is_instance, is_node
from cluster.core.bus.packing import (
    VERSION,
    PackingError,
    is_unsigned,
    join_payloads,
    message_fields,
    pack,
    split_messages,
    unpack,
)
from cluster.core.errors import ClusterError
from cluster.core.keys import MAX_KEY_BYTES
from cluster.core.message import Message

#: Why a publish is refused: another publisher has the stream key, or the worker is shutting down.
BUSY = "busy"
DRAINING = "draining"


class ControlError(ClusterError):
    """Frames from the bus that are no control message."""


# ---- worker to router ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Everything a router must know of a worker; it replaces what the router knew of it before.

    ``origins`` are (stream key, epoch) of the streams published at the worker.
    """

    node: str
    instance: str
    slot: int
    incarnation: int
    draining: bool
    load: Mapping[str, float]
    origins: Sequence[tuple[str, int]]
    watches: Sequence[str]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sender lives. A router answers each one with one of its own, without load.

    ``messages``: how many the sender sent since its Hello (its Welcome), this one not counted. A
    receiver that counts otherwise has missed something over a broken connection, and wants a Hello.
    """

    load: Mapping[str, float] = field(default_factory=dict)
    draining: bool = False
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The worker leaves; its streams end."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A publisher wants ``key``; ``replace``: also from a publisher that is well."""

    key: str
    replace: bool
    request_id: int


@dataclass(frozen=True, slots=True)
class Announce:
    """The worker is the origin of ``key`` in ``epoch``."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Unpublish:
    """The worker is no longer the origin of ``key``, if it was in ``epoch``."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Tell the worker when ``key`` has an origin and when not."""

    key: str


@dataclass(frozen=True, slots=True)
class Unwatch:
    """The end of a Watch."""

    key: str


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of the streams at the worker; it replaces the report before."""

    streams: Sequence[StreamFacts]


@dataclass(frozen=True, slots=True)
class ContestReply:
    """The origin's answer to a Contest: whether it gives up its publisher."""

    key: str
    request_id: int
    yielded: bool


# ---- from and to anyone ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What does the router know? Whoever asks need not be a worker, and changes nothing."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The answer to a StatusRequest: the workers and streams this router knows."""

    workers: Sequence[WorkerStatus]
    streams: Sequence[StreamStatus]


# ---- router to worker ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to a Hello: the router knows all it said."""


@dataclass(frozen=True, slots=True)
class HelloWanted:
    """The router does not know the worker (it was restarted, or had given the worker up)."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer to a Publish: the worker is the origin of ``key`` in ``epoch``."""

    key: str
    epoch: int
    request_id: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a Publish: not granted; ``reason`` is BUSY or DRAINING."""

    key: str
    reason: str
    request_id: int


@dataclass(frozen=True, slots=True)
class Contested:
    """An answer to a Publish is coming, once the present origin has been asked."""

    key: str
    request_id: int


@dataclass(frozen=True, slots=True)
class StreamUp:
    """A watched stream has an origin (or another one, in a higher epoch)."""

    key: str
    epoch: int
    origin: str


@dataclass(frozen=True, slots=True)
class StreamDown:
    """A watched stream's origin of ``epoch`` has ended."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Contest:
    """Another publisher wants ``key``: does the origin yield? Silence means yes."""

    key: str
    replace: bool
    request_id: int


@dataclass(frozen=True, slots=True)
class Revoked:
    """Another origin of ``key`` has a higher epoch: the publisher of ``epoch`` must be closed."""

    key: str
    epoch: int


@dataclass(frozen=True, slots=True)
class NameShared:
    """Several nodes that live have the name ``node``; ``instances`` are theirs."""

    node: str
    instances: Sequence[str]


# ---- through a router, from worker to worker -------------------------------------------------


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """``requester`` (filled in by the router) asks the origin of ``key`` for a snapshot."""

    key: str
    request_id: int
    requester: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a worker needs to join a stream: its headers and its log since the latest keyframe.

    ``messages`` are numbered without holes up to, not including, ``next_seq``. The last three fields
    are filled in by the origin's link.
    """

    key: str
    epoch: int
    next_seq: int
    headers: list[Message]
    messages: list[Message]
    origin: str = ""
    request_id: int = 0
    requester: str = ""

    @property
    def first_seq(self) -> int:
        """The number of the first of ``messages``."""
        return self.next_seq - len(self.messages)


@dataclass(frozen=True, slots=True)
class NoStream:
    """There is no snapshot of ``key`` to be had now."""

    key: str
    request_id: int
    requester: str = ""


ControlMessage: TypeAlias = (
    Hello | Heartbeat | Goodbye | Publish | Announce | Unpublish | Watch | Unwatch | ContestReply
    | Welcome | HelloWanted | Granted | Refused | Contested | StreamUp | StreamDown | Contest | Revoked
    | SnapshotRequest | Snapshot | NoStream | Report | StatusRequest | ClusterStatus | NameShared
)  # fmt: skip


# ---- the wire --------------------------------------------------------------------------------

_Check = Callable[[Any], bool]


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
    return type(value) is dict and all(
        type(name) is str and type(amount) in (int, float) for name, amount in value.items()
    )


def _keys(value: Any) -> bool:
    return type(value) is list and all(map(_key, value))


def _origins(value: Any) -> bool:
    return type(value) is list and all(
        type(pair) is list and len(pair) == 2 and _key(pair[0]) and is_unsigned(pair[1]) for pair in value
    )


#: tag -> (class, a check for each field). Tags are never used again for something else.
_SHAPES: dict[int, tuple[Callable[..., ControlMessage], tuple[_Check, ...]]] = {
    1: (Hello, (is_node, is_instance, is_unsigned, is_unsigned, _flag, _load, _origins, _keys)),
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
    12: (Granted, (_key, is_unsigned, is_unsigned)),
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
}
_SNAPSHOT_TAG = 21
#: key, epoch, next sequence number, origin, request id, requester, number of headers; then messages.
_SNAPSHOT_CHECKS: tuple[_Check, ...] = (
    _key, is_unsigned, is_unsigned, _text, is_unsigned, _text, is_unsigned
)  # fmt: skip
_TAGS = {shape[0]: tag for tag, shape in _SHAPES.items()}


def encode(message: ControlMessage) -> list[bytes | memoryview]:
    """``message`` as the frames it crosses the bus in."""
    if isinstance(message, Snapshot):
        return _encode_snapshot(message)
    fields = [getattr(message, name) for name in message.__match_args__]
    return [pack([VERSION, _TAGS[type(message)], *fields])]


def decode(frames: Sequence[bytes]) -> ControlMessage:
    """The control message in ``frames``; ControlError on anything else."""
    try:
        fields = unpack(frames[0]) if frames else []
        if not fields or type(fields[0]) is not int:
            raise ControlError("no tag")
        tag, values = fields[0], fields[1:]
        if tag == _SNAPSHOT_TAG:
            return _decode_snapshot(values, frames)
    except PackingError as error:
        raise ControlError(str(error)) from None
    shape = _SHAPES.get(tag)
    if shape is None or len(frames) != 1:
        raise ControlError(f"tag {tag} in {len(frames)} frames")
    cls, checks = shape
    if len(values) != len(checks):
        raise ControlError(f"tag {tag} with {len(values)} fields, not {len(checks)}")
    _check(tag, values, checks)
    if cls is Hello:
        values[6] = [(key, epoch) for key, epoch in values[6]]
    elif cls is Report:
        values = [facts_from(values[0])]
    elif cls is ClusterStatus:
        values = [workers_from(values[0]), streams_from(values[1])]
    return cls(*values)


def _encode_snapshot(snapshot: Snapshot) -> list[bytes | memoryview]:
    messages = [*snapshot.headers, *snapshot.messages]
    fields = (
        snapshot.key, snapshot.epoch, snapshot.next_seq, snapshot.origin, snapshot.request_id,
        snapshot.requester, len(snapshot.headers),
    )  # fmt: skip
    return [pack([VERSION, _SNAPSHOT_TAG, *fields, *message_fields(messages)]), join_payloads(messages)]


def _decode_snapshot(values: list[Any], frames: Sequence[bytes]) -> Snapshot:
    count = len(_SNAPSHOT_CHECKS)
    if len(frames) != 2 or len(values) < count:
        raise ControlError(f"a snapshot of {len(frames)} frames and {len(values)} fields")
    _check(_SNAPSHOT_TAG, values[:count], _SNAPSHOT_CHECKS)
    key, epoch, next_seq, origin, request_id, requester, headers = values[:count]
    messages = split_messages(values[count:], frames[1])
    if not headers <= len(messages) <= next_seq + headers:
        raise ControlError(f"a snapshot of {len(messages)} messages, {headers} headers, up to {next_seq}")
    return Snapshot(
        key, epoch, next_seq, messages[:headers], messages[headers:], origin, request_id, requester
    )


def _check(tag: int, values: Sequence[Any], checks: Sequence[_Check]) -> None:
    for index, (value, check) in enumerate(zip(values, checks, strict=True)):
        if not check(value):
            raise ControlError(f"tag {tag}: field {index} is of the wrong kind")
