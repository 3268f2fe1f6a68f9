"""What a stream needs from the worker it lives in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cluster.core.media.log_entry import LogEntry
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.reader import Reader

if TYPE_CHECKING:
    from cluster.edge.streams.stream import Stream


@dataclass(frozen=True, slots=True)
class SlowRule:
    """How far behind a reader may fall.

    Beyond ``skip_ms`` of media it is moved to the newest keyframe; after ``close_s`` without having
    caught up once it is closed.
    """

    skip_ms: int
    close_s: float


class StreamOwner(Protocol):
    """What a stream needs from the worker it lives in."""

    counters: Counters

    @property
    def now(self) -> float:
        """The time of this turn, in seconds, monotonic."""

    def arrived_at(self, stream: Stream) -> float:
        """When the newest of what this turn has brought of ``stream`` reached this host, on that clock."""

    def clock(self) -> float:
        """The time now, in seconds, on the same clock."""

    @property
    def dirty_streams(self) -> list[Stream]:
        """The streams that have something to send at the end of the turn."""

    @property
    def segment_ms(self) -> int:
        """No segment of a stream that is published here is shorter (``core/media/marks.py``)."""

    def publish_to_bus(self, stream: Stream, first_seq: int, entries: list[LogEntry]) -> None:
        """Hand the messages from ``first_seq`` on to the other workers that play this stream."""

    def audience_changed(self, stream: Stream) -> None:
        """``stream.is_heard`` may have changed."""

    def catch_up_later(self, reader: Reader) -> None:
        """``reader`` has been sent much, and lacks more: it goes on when others have had their turn."""

    def read_over(self, reader: Reader) -> None:
        """``reader`` has been sent as much as it asked for: end it after this turn."""

    def reader_left(self, reader: Reader) -> None:
        """``reader`` reads no more."""
