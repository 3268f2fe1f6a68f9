"""The control messages between a worker and a router, as values; on the wire: ``control_coding``.

Messages that cross in both directions have one meaning in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cluster.core.bus.cluster_status import StreamFacts, StreamStatus, WorkerStatus
from cluster.core.message import Message

#: Why a publish is refused: another publisher has the stream key, or the worker is shutting down.
BUSY = "busy"
DRAINING = "draining"
#: The same, because an operator has closed the stream key for a time.
CLOSED = "closed"


# ---- worker to router ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Everything a router must know of a worker; it replaces what the router knew of it before.

    ``origins`` are (stream key, epoch) of the streams published at the worker. ``parts``: how many
    HelloParts follow, with more of them and of ``watches``.
    """

    node: str
    instance: str
    slot: int
    incarnation: int
    draining: bool
    load: Mapping[str, float]
    origins: Sequence[tuple[str, int]]
    watches: Sequence[str]
    parts: int = 0


@dataclass(frozen=True, slots=True)
class HelloPart:
    """What did not fit into a Hello, or into the part before."""

    origins: Sequence[tuple[str, int]]
    watches: Sequence[str]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sender lives. A router answers each one with one of its own.

    ``messages``: how many the sender sent since its Hello (its Welcome), this one not counted. A
    receiver that counts otherwise has missed something over a broken connection, and wants a Hello.
    The load of a router is empty, but for NODE_REPORTS of one that belongs to a node.
    """

    load: Mapping[str, float] = field(default_factory=dict)
    draining: bool = False
    messages: int = 0


@dataclass(frozen=True, slots=True)
class TimedHeartbeat(Heartbeat):
    """A Heartbeat that asks for the router's clock, or the answer to one; few are.

    ``sent_us``: when the worker sent its own, on its monotonic clock. The answer repeats it, and says in
    ``clock_us`` what time it was there, and in ``wall_ms`` what time of day.
    """

    sent_us: int = 0
    clock_us: int = 0
    wall_ms: int = 0


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


# ---- node to router --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The Reports of all workers of a node in one: it replaces theirs, and the one before.

    ``node`` is the node's id (``node_of`` its workers). The sender is no worker and gets no answer.
    """

    node: str
    streams: Sequence[StreamFacts]


# ---- from and to anyone ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What does the router know? Whoever asks need not be a worker, and changes nothing."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The answer to a StatusRequest: the workers and streams this router knows."""

    workers: Sequence[WorkerStatus]
    streams: Sequence[StreamStatus]

    def with_workers(self, more: Sequence[WorkerStatus]) -> ClusterStatus:
        """The same, and these workers too."""
        return ClusterStatus([*self.workers, *more], self.streams) if more else self


@dataclass(frozen=True, slots=True)
class Question:
    """``worker`` is asked, or told to do, what ``text`` says (``questions``); the router passes it on.

    Whoever asks need not be a worker. ``asker`` is filled in by the router.
    """

    worker: str
    request_id: int
    text: bytes
    asker: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer to a Question. ``is_known``: there is such a worker; if not, a router says so."""

    request_id: int
    text: bytes
    asker: str = ""
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class CloseKey:
    """Grant ``key`` to nobody for so many seconds; 0 opens it. To each router, from whoever operates it."""

    key: str
    seconds: int


# ---- router to worker ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to a Hello: the router knows all it said."""


@dataclass(frozen=True, slots=True)
class HelloWanted:
    """The router does not know the worker (it was restarted, or had given the worker up)."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The answer to a Publish: the worker is the origin of ``key`` in ``epoch``.

    ``watched``: others wait for the stream and subscribe to it now; they want it from its first message.
    """

    key: str
    epoch: int
    request_id: int
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to a Publish: not granted; ``reason`` is BUSY, DRAINING or CLOSED."""

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
class SealedSnapshot:
    """A Snapshot in the hands of a router, which reads whose it is and for whom, and no more."""

    key: str
    origin: str
    request_id: int
    requester: str
    frames: Sequence[Any]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NoStream:
    """There is no snapshot of ``key`` to be had now."""

    key: str
    request_id: int
    requester: str = ""


ControlMessage: TypeAlias = (
    Hello | HelloPart | Heartbeat | TimedHeartbeat | Goodbye | Publish | Announce | Unpublish | Watch
    | Unwatch | ContestReply | Welcome | HelloWanted | Granted | Refused | Contested | StreamUp | StreamDown
    | Contest | Revoked | SnapshotRequest | Snapshot | NoStream | Report | NodeReport | StatusRequest
    | ClusterStatus | NameShared | Question | Answer | CloseKey
)  # fmt: skip

#: What a router has to do with.
RoutedMessage: TypeAlias = ControlMessage | SealedSnapshot
