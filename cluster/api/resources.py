"""What the API answers with: the JSON is made from these, and so is the OpenAPI document.

A name that ends in ``_ms``, ``_s`` or ``_bytes`` says the unit. Times are of the host that answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Literal, NamedTuple, TypeVar

from cluster.core.bus import json_text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missing:
    """A worker that has not answered, so that what it has is missing here."""

    node: str
    id: str
    worker: int
    why: str


@dataclass(frozen=True, slots=True)
class MissingRouter:
    """A router that has not answered. What it knows, others know too."""

    router: str
    why: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Who has answered."""

    #: Every node has, with all its workers.
    complete: bool = True
    missing: list[Missing] = field(default_factory=list)
    missing_routers: list[MissingRouter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cluster(Coverage):
    """The whole cluster in numbers."""

    version: str = ""
    nodes: int = 0
    workers: int = 0
    routers: int = 0
    routers_answering: int = 0
    streams: int = 0
    publishers: int = 0
    players: int = 0
    connections: int = 0
    received_bits_per_s: int = 0
    sent_bits_per_s: int = 0


@dataclass(frozen=True, slots=True)
class Router:
    """A router of the cluster."""

    router: str
    answers: bool
    why: str
    after_ms: float
    workers: int
    streams: int
    #: Nodes that say it answers them, and all nodes that should have a link to it.
    nodes_linked: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a node."""

    worker: int
    incarnation: int
    state: Literal["ok", "draining", "silent", "lost"]
    silent_ms: int
    connections: int = 0
    publishers: int = 0
    players: int = 0
    streams: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    received_bits_per_s: int = 0
    sent_bits_per_s: int = 0
    memory_bytes: int = 0
    cpu_s: float = 0.0
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One ``rtmp-cluster edge``. ``node`` is its name, ``id`` what it drew when it started: nodes may share
    a name."""

    node: str
    id: str
    state: Literal["ok", "draining", "silent", "lost"]
    version: str
    workers: list[Worker]
    #: What is wrong with each router, as the node sees it: nothing is "".
    routers: dict[str, str]
    #: Where it serves HTTP, as it was told to: ``http://0.0.0.0:8080``, and ``http://:8080``, is on all
    #: addresses of its host.
    http_urls: list[str] = field(default_factory=list)
    connections: int = 0
    publishers: int = 0
    players: int = 0
    received_bits_per_s: int = 0
    sent_bits_per_s: int = 0
    age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Track:
    """A track of a stream; 0 or "" is not known, or not of this medium."""

    number: int
    kind: Literal["video", "audio"]
    codec: str
    profile: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class Players:
    """How many play a stream at one node, as one kind: rtmp, flv, ws_flv, mp4, ws_mp4; "paused" for those
    who have paused, "" where the node has not said."""

    node: str
    id: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream that is published. ``node``, ``id`` and ``worker``: its origin."""

    key: str
    epoch: int
    node: str
    id: str
    worker: int
    #: The session that publishes it, "" if the origin has not said.
    session: str = ""
    peer: str = ""
    agent: str = ""
    codecs: str = ""
    tracks: list[Track] = field(default_factory=list)
    players: int = 0
    players_by: list[Players] = field(default_factory=list)
    # What changes all the time comes last: see ``Texts``.
    bits_per_second: int = 0
    age_ms: int = 0
    keyframe_interval_ms: int = 0
    received_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A connection of a peer. ``session`` is the id that the log has too."""

    session: str
    node: str
    id: str
    worker: int
    role: str
    kind: str
    key: str
    peer: str
    agent: str = ""
    secure: bool = False
    state: str = ""
    age_ms: int = 0
    #: How far behind live it is sent: what its stream's log has and it was not sent yet.
    delay_ms: int = 0
    queue_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int | None = None
    #: Messages not passed on, by reason.
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a stream from its origin to a node that plays it."""

    key: str
    from_node: str
    from_id: str
    to_node: str
    to_id: str
    #: "" within a node: its own router.
    router: str
    #: Through a repeater of the node, if it has several workers.
    repeater: bool
    players: int


@dataclass(frozen=True, slots=True)
class TraceHop:
    """A station on the way of a stream, and how it comes there from ``from_hop`` (-1: it begins here).

    A repeater, and a node's own router, are not told apart from the worker behind them: their
    ``delay_ms`` is null, and that of the worker has theirs in it.
    """

    number: int
    from_hop: int
    kind: Literal["publisher", "origin", "router", "repeater", "worker", "players"]
    #: The publisher's address, the router's, or the node's name.
    name: str
    id: str = ""
    worker: int = 0
    #: From the station before to this one.
    delay_ms: float | None = None
    #: How long it stays here before it goes on.
    held_ms: float = 0.0
    #: From the publisher to here.
    total_ms: float | None = None
    bits_per_second: int | None = None
    #: Messages that were missing when it came here, or that slow players here were not sent.
    lost: int = 0
    players: int = 0
    players_behind: int = 0
    #: How far the slowest player is behind what its worker has.
    behind_ms: int = 0


@dataclass(frozen=True, slots=True)
class TraceRouter:
    """A router as one of the workers on the way has it."""

    node: str
    id: str
    worker: int
    router: str
    live: bool
    round_trip_ms: float
    #: How far the time of day is ahead there.
    clock_offset_ms: float | None
    #: Envelopes, of all streams, for which the worker's queue to it had no room.
    dropped: int


@dataclass(frozen=True, slots=True)
class Trace(Coverage):
    """The way of one stream through the cluster, hop by hop; delays are medians of the last seconds."""

    key: str = ""
    epoch: int = 0
    hops: list[TraceHop] = field(default_factory=list)
    routers: list[TraceRouter] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened in the cluster, as this process has seen it."""

    number: int
    at: str
    kind: Literal[
        "node_joined", "node_left", "node_lost", "node_drained", "node_undrained", "router_lost",
        "router_back", "stream_moved",
    ]  # fmt: skip
    text: str
    node: str = ""
    id: str = ""
    router: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class NodeList(Coverage):
    items: list[Node] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True, slots=True)
class RouterList(Coverage):
    items: list[Router] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True, slots=True)
class StreamList(Coverage):
    items: list[Stream] = field(default_factory=list)
    next: str | None = None


class JsonText(NamedTuple, Generic[T]):
    """An answer ``T`` that is JSON already."""

    text: str


def list_of_texts(empty: T, items: Iterable[str]) -> JsonText[T]:
    """``empty``, a list, with these items, which are JSON themselves."""
    before, name, after = json_text.write(empty).rpartition('"items":[')
    return JsonText(f"{before}{name}{','.join(items)}{after}")


@dataclass(frozen=True, slots=True)
class SessionList(Coverage):
    items: list[Session] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True, slots=True)
class RouteList(Coverage):
    items: list[Route] = field(default_factory=list)
    next: str | None = None


@dataclass(frozen=True, slots=True)
class EventList:
    items: list[Event] = field(default_factory=list)
    #: Ask for what comes behind it with ``after``.
    last: int = 0


@dataclass(frozen=True, slots=True)
class DrainOrder:
    """How long sessions may go on."""

    deadline_s: float = field(default=600.0, metadata={"minimum": 0, "maximum": 86400})


@dataclass(frozen=True, slots=True)
class Done:
    """A command was carried out."""

    done: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
