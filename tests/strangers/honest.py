"""Honest peers in numbers: nobody is refused, nothing is dropped, with the edge as it is by default."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from support.cluster_process import ROOT

from .attack import Attack
from .bounds import MIB, Bounds
from .rig import Scene
from .rows import LEFT, Row
from .wire import (
    Stranger,
    Tally,
    Target,
    connect,
    flood,
    gather,
    paced,
    picture_header,
    play,
    publisher,
    streams,
    video,
)

_PLAYERS = 1_000
_ENCODERS = 200
_RETURNS = 3
_WALL = 64
_STREAMS = 16


def load(target: Target) -> Tally:
    """``rtmp-cluster load``: 1,000 players from one address."""
    tally = Tally()
    players = target.amount(_PLAYERS, least=_PLAYERS // 3)
    seconds = max(1.0, target.seconds - 6)
    command = [
        sys.executable, "-m", "cluster", "load", f"rtmp://127.0.0.1:{target.port}/live/load",
        "--players", str(players), "--bitrate", "200k", "--fps", "10", "--duration", f"{seconds:g}",
        "--ramp", "2", "--settle", "1", "--json", "-",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        tally.complaints.append(f"load ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return tally
    tally.opened = result["players"]["joined"]
    if tally.opened < players:
        tally.complaints.append(f"{tally.opened} of {players} joined")
    for what in ("refused", "disconnected"):
        if result[what]:
            tally.complaints.append(f"{what}: {result[what]}")
    if result["frames"]["lost"]:
        tally.complaints.append(f"{result['frames']['lost']} frames lost")
    tally.notes = {f"delay_{name}_ms": result["delay_ms"][name] or 0.0 for name in ("p50", "p99")}
    return tally


def storm(target: Target) -> Tally:
    """200 encoders lose their connections at once, and come back at once, again and again."""
    tally = Tally()
    encoders = target.amount(_ENCODERS, least=100)
    deadline = time.monotonic() + target.seconds
    frames = picture_header() + video(0, 2_000, key=True)
    for _ in range(_RETURNS):
        began = time.monotonic()
        crowd = gather(tally, encoders, lambda n: _encoder(target, n, frames))
        tally.notes["slowest_s"] = max(tally.notes.get("slowest_s", 0), time.monotonic() - began)
        for peer in crowd:
            peer.close()
        if time.monotonic() > deadline:
            break
    if tally.refused:
        tally.complaints.append(f"{tally.refused} encoders refused")
    return tally


def _encoder(target: Target, number: int, frames: bytes) -> Stranger:
    return publisher(target, f"encoder{number}", number).say(frames)


def wall(target: Target, at_once: int = 1) -> Tally:
    """64 players on one page, on one connection each, or 16 on the message streams of one."""
    until, tally = time.monotonic() + target.seconds, Tally()
    sources = [publisher(target, f"wall{each}") for each in range(4)]
    frames = [video(number * 40, 4_000, key=number % 25 == 0) for number in range(500)]

    def make(number: int) -> Stranger:
        plays = [play(f"wall{(number + each) % 4}", 1 + each) for each in range(at_once)]
        return Stranger(target, number).shake_hands().say(connect("live"), streams(at_once), *plays)

    for source in sources:
        source.say(picture_header(), frames[0])
    players = gather(tally, _WALL // at_once, make)
    live = lambda peer: paced(iter(frames[1:]), 25) if peer in sources else iter(())  # noqa: E731
    flood(tally, [*sources, *players], live, until)
    if tally.refused or tally.closed:
        tally.complaints.append(f"{tally.refused} refused, {tally.closed} closed")
    sent_each = tally.sent / len(sources)
    if tally.received < 0.9 * sent_each * _WALL:
        tally.complaints.append(f"{tally.received / 1e6:.0f} MB of {sent_each * _WALL / 1e6:.0f} came")
    return tally


def wall_of_streams(target: Target) -> Tally:
    """The same wall over four connections of 16 message streams."""
    return wall(target, at_once=_STREAMS)


def _nobody_closed(_scene: Scene, row: Row) -> Sequence[str]:
    closed = {reason: count for reason, count in row.reasons.items() if reason not in LEFT and count}
    return [f"honest peers were closed: {closed}"] if closed else []


def _counted(bounds: Bounds) -> Bounds:
    """The machine is busy with them: only who is served, and that all is well afterwards."""
    return replace(
        bounds, p99_ms=None, silence_s=None, join_s=3.0, log_bytes_per_s=1e9, worker_bytes=1024 * MIB
    )


ATTACKS = [
    Attack("load-1000", "=", load, adjust=_counted, judge=_nobody_closed, seconds=30, short_seconds=8),
    Attack("encoder-storm", "=", storm, adjust=_counted, judge=_nobody_closed, seconds=30, short_seconds=4),
    Attack("wall-64", "=", wall, adjust=_counted, judge=_nobody_closed),
    Attack("wall-of-streams", "=", wall_of_streams, adjust=_counted, judge=_nobody_closed),
]
