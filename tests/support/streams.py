"""Fakes for each side of a worker's streams: rules, an uplink, sinks and publishers."""

from __future__ import annotations

from typing import Any

from cluster.core.limits import MIB
from cluster.core.media.stream_log import LogLimits
from cluster.edge.streams.counters import Counters
from cluster.edge.streams.interfaces import EndOfPublish, EndOfRead, Refusal
from cluster.edge.streams.owner import SlowRule
from cluster.edge.streams.rules import StreamRules, YieldRule
from cluster.edge.streams.streams import Streams
from cluster.edge.streams.turn import Turn
from support.house import FakeLink, SteppedLoop

RULES = StreamRules(
    log=LogLimits(), slow=SlowRule(skip_ms=5000, close_s=30), contest=YieldRule(10, always=False),
    publish_grace_s=10, play_wait_s=30, audio_hold_s=0.04, worker_bytes=256 * MIB, segment_s=2,
)  # fmt: skip


def make_streams(loop: SteppedLoop, rules: StreamRules = RULES) -> tuple[Streams, FakeLink]:
    """The streams of a worker without sockets, and the link that grants what they ask for."""
    link = FakeLink()
    return Streams(rules, Counters(), Turn(loop, loop.time), lambda remote: link), link


class FakeSink:
    """A sink that takes everything; ``ended`` is why its read is over."""

    name = "fake sink"
    facts: dict[str, object] = {"peer": "fake sink"}  # noqa: RUF012
    is_full = False

    def __init__(self) -> None:
        self.taken = b""
        self.ended: EndOfRead | None = None

    def begin(self, reader: Any) -> None:
        self.reader = reader

    def send(self, data: Any) -> int:
        self.taken += bytes(data)
        return len(data)

    def write(self, buffers: Any) -> bool:
        self.taken += b"".join(map(bytes, buffers))
        return True

    def keep(self, rest: Any) -> None:
        raise AssertionError("its socket is never full")

    def failed(self, error: OSError) -> None:
        raise AssertionError("its socket never fails") from error

    def caught_up(self) -> None: ...

    def over(self, why: EndOfRead, detail: str) -> bool:
        self.ended = why
        return False

    def returned(self) -> None: ...


class FakePublisher:
    """A publisher that is no connection: ``feed`` once it has been granted its stream."""

    def __init__(self, name: str = "fake publisher", sender: str = "fake host") -> None:
        self.name = name
        self.sender = sender
        self.facts = {"peer": name}
        self.unfinished_bytes = 0
        self.unread_s = self.round_trip_s = 0.0
        self.most_bytes_per_s: int | None = None
        self.lost_why: EndOfPublish | None = None
        self.is_here = True
        self.feed: Any = None
        self.refusal: Refusal | None = None
        self.lost = ""
        self.told_of_audience = 0
        self.waits_for: list[int] = []

    def granted(self) -> bool:
        return self.is_here

    def begin(self, feed: Any) -> None:
        self.feed = feed

    def refused(self, why: Refusal, detail: str) -> None:
        self.refusal = why

    def ended(self, why: EndOfPublish, detail: str) -> None:
        self.lost = detail
        self.lost_why = why

    def heard(self) -> None:
        self.told_of_audience += 1

    def wait_for(self, quiet_bytes: int) -> None:
        self.waits_for.append(quiet_bytes)
