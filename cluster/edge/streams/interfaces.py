"""What streams ask of others. Nothing in this package knows who answers.

    Sink        where a reader's bytes go: a player on an RTMP connection, a response, a file
    Encoding    how the messages of a log become those bytes
    Follower    who is given the messages of a log as they are: what cuts them into segments
    Publisher   who feeds a stream
    Uplink      the way to the streams of other workers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from cluster.core.bus.control import Granted, Refused
from cluster.core.bus.packing import MessageLike
from cluster.core.media.log_entry import LogEntry
from cluster.core.message import Buffer

if TYPE_CHECKING:
    from cluster.edge.streams.publishing import Feed
    from cluster.edge.streams.reader import Reader


class EndOfRead(Enum):
    """Why a reader gets no more; each protocol says it in its own words."""

    #: Nobody published the stream while it waited.
    NOT_FOUND = auto()
    #: The publisher left, and the grace period is over.
    ENDED = auto()
    #: As much as the reader asked for has been sent.
    COMPLETE = auto()
    #: The reader's socket was full for too long.
    SLOW = auto()


class Encoding(Protocol):
    """How messages are written. Stateless, so that one object serves any number of readers.

    ``is_shared``: its bytes are the same for all its readers. It keeps them with the entry, and whoever is
    in step gets them in one ``send``.
    """

    @property
    def is_shared(self) -> bool: ...

    @property
    def kind(self) -> str:
        """As what its readers are counted."""

    def entry(self, entry: LogEntry) -> list[Buffer]:
        """One message."""

    def greeting(self) -> list[Buffer]:
        """What goes before a reader's first message, once."""

    def headers(self, headers: list[LogEntry]) -> list[Buffer]:
        """The stream's headers, before the first message that needs them."""


class Sink(Protocol):
    """Where the bytes of one reader go."""

    def send(self, data: Buffer, /) -> int:
        """The socket's own method: the bytes that it took, or BlockingIOError, or another OSError."""

    @property
    def name(self) -> str:
        """For listings."""

    @property
    def facts(self) -> Mapping[str, object]:
        """For log lines: who it is, by the names of the fields."""

    def begin(self, reader: Reader) -> None:
        """``reader`` is what it is the sink of; nothing has been written yet."""

    @property
    def is_full(self) -> bool:
        """Bytes wait for the socket: nothing may be sent past them."""

    def write(self, buffers: Sequence[Buffer]) -> bool:
        """Send whole messages; False if the socket is full and the rest waits."""

    def keep(self, rest: Sequence[Buffer]) -> None:
        """Let ``rest``, of the one message that was cut, wait until the socket takes bytes again."""

    def failed(self, error: OSError) -> None:
        """``send`` raised ``error``."""

    def caught_up(self) -> None:
        """The reader has everything there is: from here on it is sent to when the stream is."""

    def over(self, why: EndOfRead, detail: str) -> bool:
        """The reader's stream is over; True if it stays, and waits for the stream to return.

        Only ``ENDED`` can be waited out. ``detail`` is for people.
        """

    def returned(self) -> None:
        """The stream, whose end the reader was told, is there again."""


class Follower(Protocol):
    """Who is given what stands in a log, and sends it nowhere: nothing here can be slow.

    ``entries`` are the log's own. None of these may end a read or a publish.
    """

    def began(self, headers: list[LogEntry], entries: list[LogEntry], *, at_origin: bool) -> None:
        """The stream begins, or begins anew: from the latest keyframe on, or whatever comes first.

        ``at_origin``: the publisher is on this worker, and ``timestamp`` is the origin's time; elsewhere
        ``wire_ms`` is.
        """

    def flushed(self, entries: list[LogEntry]) -> None:
        """These follow on what there was."""

    def left(self) -> None:
        """The publisher has gone; it may return."""


class Refusal(Enum):
    """Why a publisher is not let in."""

    #: Another one publishes the stream and does not yield.
    BUSY = auto()
    #: This node is shutting down.
    DRAINING = auto()


class EndOfPublish(Enum):
    """Why a stream is taken from its publisher."""

    #: Another publisher has it now.
    REPLACED = auto()
    #: The streams of the worker took more memory than they may together, and this one most.
    MEMORY = auto()
    #: The publisher has sent more than it may.
    BITRATE = auto()
    #: An operator has ended it.
    OPERATOR = auto()


class Publisher(Protocol):
    """Who feeds a stream: an RTMP connection, a pull from another server, a file."""

    @property
    def name(self) -> str:
        """For listings."""

    @property
    def facts(self) -> Mapping[str, object]:
        """For log lines: who it is, by the names of the fields."""

    @property
    def sender(self) -> str:
        """Whom the memory of its stream is charged to: several publishers of one host are one sender."""

    @property
    def unfinished_bytes(self) -> int:
        """What is kept of messages whose end has not come."""

    @property
    def most_bytes_per_s(self) -> int | None:
        """What it may send, over ten seconds; None if the limits of its key say it."""

    @property
    def unread_s(self) -> float:
        """How long what it sent last had to wait until it was read, just now; 0 if that is not known."""

    @property
    def round_trip_s(self) -> float:
        """To its host and back; 0 if that is not known."""

    def granted(self) -> bool:
        """The stream is the publisher's own; False if the publisher has gone meanwhile."""

    def begin(self, feed: Feed) -> None:
        """``feed`` takes its messages from now on."""

    def refused(self, why: Refusal, detail: str) -> None:
        """The publisher's request was refused. ``detail`` is for people."""

    def ended(self, why: EndOfPublish, detail: str) -> None:
        """The stream has been taken from it. ``detail`` is for people."""

    def heard(self) -> None:
        """``feed.is_heard`` may have changed, and so how soon the publisher's messages must be read."""

    def wait_for(self, quiet_bytes: int) -> None:
        """Fewer bytes than this can only be audio, which may wait for what comes next. 0: nothing may."""


class Uplink(Protocol):
    """The way to the other workers; ``edge/link`` says what each of these means."""

    async def request_publish(self, key: str, *, replace: bool) -> Granted | Refused: ...
    def unpublish(self, key: str, epoch: int) -> None: ...
    def wanted(self, key: str) -> bool: ...
    def publish(
        self, key: str, epoch: int, first_seq: int, messages: Sequence[MessageLike], *, more: bool = False,
        waited_s: float | None = None,
    ) -> None: ...  # fmt: skip
    def watch(self, key: str) -> None: ...
    def unwatch(self, key: str) -> None: ...
    def request_snapshot(self, key: str) -> None: ...
