"""Players that join, wait and join again: plays in a loop, keys that nobody publishes, pauses."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cluster.core.amf import amf0
from cluster.core.message import MessageType

from .attack import Attack
from .bounds import MIB
from .rig import Scene
from .rows import Row
from .wire import (
    Pieces,
    Stranger,
    Tally,
    Target,
    command,
    connect,
    flood,
    gather,
    hold,
    message,
    paced,
    picture_header,
    play,
    publisher,
    streams,
    video,
)

KEYS = 16
_LONG = 1_000
#: Of a core, for all keys that wait.
_IDLE_CPU = 0.02
_GOP_BYTES = 20 * MIB
_FRAME_BYTES = 100_000
_RESUMES_PER_S = 200
_METADATA_BYTES = 1_900_000
#: What makes a server begin anew with what a player is sent.
_TURNS = {
    "pause": command("pause", 0.0, True, stream=1) + command("pause", 0.0, False, stream=1),
    "receiveVideo": (
        command("receiveVideo", 0.0, False, stream=1) + command("receiveVideo", 0.0, True, stream=1)
    ),
    "play": play("long-gop"),
    "seek": command("seek", 0.0, 0.0, stream=1),
}
#: A player gets what is live, and the picture to begin with now and then: so much a second is honest.
_HONEST_RATE = 8 * MIB


def play_and_close(target: Target, peers: int = 50) -> Tally:
    """7: play 16 keys, closeStream, in a loop."""
    until, tally = time.monotonic() + target.seconds, Tally()

    def make(number: int) -> Stranger:
        return Stranger(target, number).shake_hands().say(connect("live"), streams(KEYS))

    def pieces(peer: Stranger) -> Pieces:
        plays = b"".join(play(f"loop{peer.number}-{each}", each) for each in range(1, KEYS + 1))
        closes = b"".join(command("closeStream", 0.0, stream=each) for each in range(1, KEYS + 1))
        yield from itertools.repeat(plays + closes)

    flood(tally, gather(tally, peers, make), pieces, until)
    return tally


def waiting_keys(target: Target, peers: int = 640, name_bytes: int = _LONG) -> Tally:
    """9: players of 16 keys each that nobody publishes."""
    until, tally = time.monotonic() + target.seconds, Tally()

    def make(number: int) -> Stranger:
        names = [f"{number:05}-{each:02}".ljust(name_bytes, "k") for each in range(KEYS)]
        plays = b"".join(play(name, 1 + each) for each, name in enumerate(names))
        peer = Stranger(target, number + target.number * peers).shake_hands()
        return peer.say(connect("live"), streams(KEYS), plays)

    crowd = gather(tally, target.amount(peers, least=min(peers, 100)), make, until)
    tally.notes["keys"] = KEYS * len(crowd)
    tally.notes["held_from"] = time.monotonic()
    hold(tally, crowd, until)
    return tally


def _metadata() -> bytes:
    """Of a long recording: what each player is sent first."""
    values = amf0.encode("@setDataFrame", "onMetaData", {"keyframes": "x" * _METADATA_BYTES})
    return message(MessageType.DATA_AMF0, values, stream=1, chunk_stream=8)


def pauses(target: Target, peers: int = 1, by: str = "pause") -> Tally:
    """11: pause and resume 200 times a second, on a stream of 20 MB since its keyframe."""
    until, tally = time.monotonic() + target.seconds, Tally()
    source = publisher(target, "long-gop")
    source.socket.settimeout(None)
    source.say(_metadata(), picture_header(), video(0, _FRAME_BYTES, key=True))
    frames = target.amount(_GOP_BYTES // _FRAME_BYTES, least=60)
    source.say(*(video(number * 10, _FRAME_BYTES) for number in range(1, frames)))
    both = _TURNS[by]

    def make(number: int) -> Stranger:
        peer = Stranger(target, number).shake_hands()
        return peer.say(connect("live"), streams(1), play("long-gop")).until("NetStream.Play.Start")

    def pieces(peer: Stranger) -> Pieces:
        if peer is source:
            live = (video(number * 10, 1_000) for number in itertools.count(frames))
            return paced(live, 25)
        return paced(itertools.repeat(both), _RESUMES_PER_S)

    players = gather(tally, peers, make)
    began = time.monotonic()
    flood(tally, [source, *players], pieces, until)
    rate = tally.received / max(time.monotonic() - began, 0.1) / peers
    tally.notes["out_per_peer_s"] = rate
    if rate > _HONEST_RATE:
        tally.complaints.append(f"each player got {rate / 1e6:.0f} MB a second")
    return tally


def _router_knows_few(scene: Scene, row: Row) -> Sequence[str]:
    """A key that nobody publishes costs a router next to nothing."""
    grown = row.router_peak - row.router_base
    return [] if grown < 64 * MIB else [f"{grown / MIB:.0f} MB in the router for keys nobody publishes"]


ATTACKS = [
    Attack("play-close-50", "7", play_and_close, crowd=True, sources=50),
    Attack(
        "play-close-200", "7", partial(play_and_close, peers=200), crowd=True, sources=8, in_short=False
    ),
    Attack(
        "waiting-keys", "9", waiting_keys, crowd=True, sources=8, judge=_router_knows_few,
        # A line about a play has its key twice: 2 kB each, of 20 a second and worker.
        adjust=lambda bounds: replace(
            bounds, router_growth_bytes=64 * MIB, log_bytes_per_s=2 * bounds.log_bytes_per_s
        ),
    ),
    Attack(
        "short-keys", "9b", partial(waiting_keys, peers=2_000, name_bytes=12), crowd=True, sources=8,
        adjust=lambda bounds: replace(bounds, held_cpu=_IDLE_CPU), short_seconds=3,
    ),
    Attack(
        # Its plays go on to come, 200 a second from each address, and give way to each other: never idle.
        "keys-100000", "9b", partial(waiting_keys, peers=6_250, name_bytes=12), crowd=True, sources=8,
        seconds=30, in_short=False,
    ),
    Attack("pauses-1", "11", pauses),
    Attack("pauses-50", "11", partial(pauses, peers=50), crowd=True, sources=50, in_short=False),
    Attack("replays", "11", partial(pauses, by="play"), in_short=False),
    Attack("receive-video", "11", partial(pauses, by="receiveVideo"), in_short=False),
]  # fmt: skip
