"""What is asked for (``LoadPlan``), and each process's part of it (``Job``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from cluster.core.keys import NO_STREAM
from cluster.core.rtmp.url import RtmpUrl
from cluster.load.http_url import Form, HttpUrl
from cluster.load.media import StreamShape
from cluster.load.tally import Role
from cluster.net.tls_client import Tls

#: Timestamps stay below 2**24 milliseconds, 4.6 hours: no message needs an extended one.
MAX_RUN_S = 4 * 3600.0
#: Anything shorter is noise.
MIN_DURATION_S = 0.5
MAX_CONNECTIONS = 1_000_000
MAX_PROCESSES = 256
#: At least this many players are sampled, if there are as many.
MIN_SAMPLED = 6
#: Descriptors of a process that are not connections: pipes, the loop, libraries.
SPARE_DESCRIPTORS = 64


class PlanError(ValueError):
    """This load cannot be generated; the text says what to change."""


class Drain(StrEnum):
    """When a player that is not sampled reads."""

    #: Whenever something has arrived, as players do.
    ARRIVAL = "arrival"
    #: Every 50 ms, which is cheaper. But TCP then acknowledges later, and a server that leaves Nagle's
    #: algorithm on sends fewer, larger segments than it would to players.
    TIMER = "timer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load: one stream at ``url``, or with several publishers that name with -0, -1, … behind it.

    A run is: the publishers connect; the players join within ``ramp_s``; ``settle_s`` more pass; and
    ``duration_s`` are measured. PlanError if that is no sensible load.
    """

    #: Of HTTP if nobody publishes.
    url: RtmpUrl | HttpUrl
    #: Where the players play, if that is not where the publishers publish: another server of one cluster,
    #: or over HTTP.
    play_from: RtmpUrl | HttpUrl | None = None
    #: 0: play what others publish at ``url``.
    publishers: int = 1
    players: int = 0
    duration_s: float = 30.0
    ramp_s: float = 1.0
    settle_s: float = 2.0
    shape: StreamShape = StreamShape()  # noqa: RUF009
    #: An FLV file to publish over and over, instead of synthetic media.
    file: Path | None = None
    #: Of the publishers' chunks.
    chunk_size: int = 4096
    processes: int = 1
    #: One player in this many parses what it gets.
    sample: int = 50
    drain: Drain = Drain.ARRIVAL
    #: The share of the players that are slow, and the share of ``shape``'s bit rate they read.
    slow_share: float = 0.0
    slow_rate: float = 0.1
    #: For connecting, and for the answer to publish and play.
    timeout_s: float = 10.0
    #: Roots of the server's process trees, to be measured.
    pids: tuple[int, ...] = ()
    #: How to check the server of an rtmps address.
    tls: Tls = Tls()  # noqa: RUF009

    def __post_init__(self) -> None:
        for url in (self.url, self.play_url):
            if not url.key:
                raise PlanError(NO_STREAM)
            if url.user is not None:
                raise PlanError("the URL has a user, but load does not log in: put a key into its query")
        if self.publishers and isinstance(self.url, HttpUrl):
            raise PlanError(
                "publishers publish over RTMP: give --play this address, and an rtmp address as the URL; "
                "or --publishers 0, to play what is published there already"
            )
        if self.slow_share and isinstance(self.play_url, HttpUrl) and self.play_url.form is Form.HLS:
            raise PlanError("--slow-share: players of HLS ask for each part, and are never slow")
        if self.play_from is not None and not (self.publishers and self.players):
            raise PlanError("--play-from is for publishers and players: give the one address as the URL")
        if not self.publishers and not self.players:
            raise PlanError("no --publishers and no --players: there is nothing to do")
        if self.publishers + self.players > MAX_CONNECTIONS:
            raise PlanError(f"more than {MAX_CONNECTIONS} connections: fewer --players, or several hosts")
        if self.processes > min(MAX_PROCESSES, self.publishers + self.players):
            raise PlanError(f"--processes: more processes than connections, or than {MAX_PROCESSES}")
        if self.duration_s < MIN_DURATION_S:
            raise PlanError(f"--duration: measure for longer, at least {MIN_DURATION_S:g} s")
        if self.ramp_s + self.settle_s + self.duration_s > MAX_RUN_S:
            raise PlanError(f"longer than {MAX_RUN_S / 3600:g} hours, as far as RTMP timestamps are simple")

    @property
    def slow_players(self) -> int:
        return round(self.players * self.slow_share)

    @property
    def slow_bytes_per_s(self) -> float:
        return self.shape.bits_per_second / 8 * self.slow_rate

    @property
    def descriptors_per_process(self) -> int:
        """How many descriptors the largest process needs."""
        return math.ceil((self.publishers + self.players) / self.processes) + SPARE_DESCRIPTORS

    @property
    def play_url(self) -> RtmpUrl | HttpUrl:
        """Where the players play, without the number of their stream."""
        return self.play_from or self.url

    def publisher_url(self, stream: int) -> RtmpUrl:
        """Where the publisher of that number publishes."""
        assert isinstance(self.url, RtmpUrl)
        return self.url if self.publishers <= 1 else self.url.with_suffix(f"-{stream}")

    def player_url(self, stream: int) -> RtmpUrl | HttpUrl:
        """Where the stream of that publisher is played."""
        return self.play_url if self.publishers <= 1 else self.play_url.with_suffix(f"-{stream}")


@dataclass(frozen=True, slots=True)
class PlayerJob:
    """One player: which stream, when it joins (0 to 1: the ramp's begin to end), of what kind."""

    stream: int
    joins_at: float
    role: Role
    sampled: bool


class ServerAddress(NamedTuple):
    """A server's address as found, for a socket of that family."""

    family: int
    address: Any


@dataclass(frozen=True, slots=True)
class Job:
    """The part of a plan that one process does."""

    plan: LoadPlan
    publish_to: ServerAddress
    play_from: ServerAddress
    publishers: tuple[int, ...]
    players: tuple[PlayerJob, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When things happen, in nanoseconds of CLOCK_MONOTONIC."""

    #: Publishers begin, spread evenly over ``spread_ns``.
    media_ns: int
    spread_ns: int
    #: Players join from here on, over the plan's ramp.
    join_ns: int
    #: Intervals of one second are counted from here, backwards and forwards.
    measure_ns: int

    def publisher_starts_ns(self, index: int, count: int) -> int:
        """When one of ``count`` publishers sends its first message."""
        return self.media_ns + self.spread_ns * index // count


def jobs(plan: LoadPlan, publish_to: ServerAddress, play_from: ServerAddress) -> list[Job]:
    """Publishers and each kind of players dealt evenly to the processes and to the streams."""
    hands: list[tuple[list[int], list[PlayerJob]]] = [([], []) for _ in range(plan.processes)]
    for index in range(plan.publishers):
        hands[index % plan.processes][0].append(index)
    dealt = plan.publishers
    for player in sorted(_players(plan), key=lambda player: (player.sampled, player.role)):
        hands[dealt % plan.processes][1].append(player)
        dealt += 1
    return [Job(plan, publish_to, play_from, tuple(own), tuple(players)) for own, players in hands]


def _players(plan: LoadPlan) -> list[PlayerJob]:
    slow = _spread(plan.slow_players, plan.players)
    others = [number for number in range(plan.players) if number not in slow]
    wanted = max(math.ceil(len(others) / plan.sample), min(MIN_SAMPLED, len(others)))
    sampled = {others[place] for place in _spread(wanted, len(others))}
    streams = max(1, plan.publishers)
    return [
        PlayerJob(number % streams, number / plan.players,
                  Role.SLOW_PLAYER if number in slow else Role.PLAYER, number in sampled)
        for number in range(plan.players)
    ]  # fmt: skip


def _spread(count: int, total: int) -> set[int]:
    """``count`` numbers of ``range(total)``, spread evenly, but not in step with the streams."""
    if not count:
        return set()
    step = total / count
    # Each a little further into its stretch than the one before.
    return {int(step * (place + place / count)) for place in range(count)}
