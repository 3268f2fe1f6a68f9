"""What one generator process has counted in one interval; those of several are added up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from cluster.load.histogram import Histogram


class Role(StrEnum):
    """What a connection of the generator is."""

    PUBLISHER = "publisher"
    PLAYER = "player"
    #: Reads more slowly than the stream comes; servers may drop messages for it or close it.
    SLOW_PLAYER = "slow player"


@dataclass(slots=True)
class Tally:
    """All fields are of one interval, and add up over processes and over intervals."""

    sent_bytes: int = 0
    sent_messages: int = 0
    #: Of players that are not slow, and of those that are.
    received_bytes: int = 0
    slow_received_bytes: int = 0
    #: Stamped messages that sampled players have parsed, missed, and got again or too late.
    frames: int = 0
    frames_lost: int = 0
    frames_out_of_order: int = 0
    #: How often players were refused at first and came again.
    tries_again: int = 0
    #: How often a player got nothing for ``STALL_S``, and the nanoseconds of that.
    stalls: int = 0
    stalled_ns: int = 0
    #: Of players of HLS: answers to their requests; the refusals among them, by what was asked and said.
    requests: int = 0
    failed_requests: Counter[str] = field(default_factory=Counter)
    cpu_ns: int = 0
    elapsed_ns: int = 0
    #: From publishing a message to reading it.
    video_delay: Histogram = field(default_factory=Histogram)
    audio_delay: Histogram = field(default_factory=Histogram)
    #: From connecting a player to its first frame, and to its first keyframe.
    join: Histogram = field(default_factory=Histogram)
    picture: Histogram = field(default_factory=Histogram)
    #: How late the generator itself did what was due.
    late: Histogram = field(default_factory=Histogram)
    #: (role, reason) of connections that came to nothing, and of those that ended after media flowed.
    refused: Counter[tuple[Role, str]] = field(default_factory=Counter)
    ended: Counter[tuple[Role, str]] = field(default_factory=Counter)

    @property
    def delay(self) -> Histogram:
        """That of video and of audio together."""
        both = Histogram()
        both.add(self.video_delay)
        both.add(self.audio_delay)
        return both

    def add(self, other: Tally) -> None:
        """Take in what another has counted."""
        for each in dataclasses.fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)


@dataclass(slots=True)
class Standing:
    """How many connections are in what state at one moment."""

    publishing: int = 0
    playing: int = 0
    slow_playing: int = 0
    #: Connecting, or waiting for media.
    joining: int = 0

    def add(self, other: Standing) -> None:
        self.publishing += other.publishing
        self.playing += other.playing
        self.slow_playing += other.slow_playing
        self.joining += other.joining


@dataclass(frozen=True, slots=True)
class Report:
    """What a process tells at the end of each interval; ``second`` counts from where measuring begins."""

    second: int
    #: When it was made, in nanoseconds of CLOCK_MONOTONIC.
    at_ns: int
    tally: Tally
    standing: Standing
    #: No connection is left, and none is still to come.
    idle: bool
