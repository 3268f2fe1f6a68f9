"""What one worker knows of the way of a stream: the answer to ``AskTrace``.

Delays are medians of a few looks within the last seconds. They begin at the origin, when a message arrives
there from its publisher: what lies before is half of a round trip to the publisher.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouterWay:
    """A router as the worker has it. ``round_trip_ms`` is to it and back; ``clock_offset_ms``: how far the
    time of day is ahead there; ``dropped``: envelopes, of all streams, for which its queue had no room."""

    router: str
    is_own: bool
    is_live: bool
    round_trip_ms: float = 0.0
    clock_offset_ms: float | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A stream at one worker; it is not ``is_known`` where nobody plays or publishes it.

    ``looks``: how many the delays are medians of. ``origin_ms``: from the arrival until the origin sent it;
    ``bus_ms``: from there to this worker; ``sockets_ms``: from there until the players' sockets had it.
    ``peer``, its round trip and what was not taken of it: the publisher, at the origin. ``router``: the one
    it comes through, and ``lost`` the messages that were missing. ``behind_ms``: how far the slowest player
    is behind; ``players_dropped``: messages that slow ones were not sent.
    """

    is_known: bool = False
    epoch: int | None = None
    is_origin: bool = False
    bits_per_second: int = 0
    looks: int = 0
    origin_ms: float = 0.0
    bus_ms: float = 0.0
    sockets_ms: float = 0.0
    peer: str = ""
    peer_round_trip_ms: float = 0.0
    peer_dropped: int = 0
    router: str = ""
    lost: int = 0
    players: int = 0
    players_behind: int = 0
    behind_ms: int = 0
    players_dropped: int = 0
    players_round_trip_ms: float = 0.0
    ways: tuple[RouterWay, ...] = ()
