"""Memory: of a worker with nobody connected, of idle players, and over a long time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from benchmarks import load, servers
from benchmarks.model import Case, Found, Measured, Scenario, Setting, Verdict, at_most, value
from benchmarks.scenarios.comparison import DELAY_COLUMNS

_EDGE = "edge"

# Idle players.

_IDLE = 1000
#: Little enough that what is kept of the stream is nothing beside the players.
_IDLE_STREAM = ["--bitrate", "64k", "--fps", "10"]
_IDLE_WINDOW_S = 5.0
#: What they were before audio waited for video, and what differs from one run to another.
_AIM_PLAYER_KB = 5.0
_AIM_BASE_MB = 35.0


def _idle_cases(setting: Setting) -> list[Case]:
    short = replace(setting, window_s=min(setting.window_s, _IDLE_WINDOW_S))
    return [Case(_EDGE, partial(_measure_idle, short))]


def _measure_idle(setting: Setting) -> Measured:
    options = [*load.players(_IDLE), *_IDLE_STREAM]
    with servers.edge(cores=setting.server_cores) as server:
        root, worker = psutil.Process(server.pids[0]), psutil.Process(server.workers[0])
        base = worker.memory_full_info()
        before = base.rss + root.memory_info().rss
        result = load.run(server, options, setting)
    measured = load.measured(result, options)
    measured.figures |= {
        "base_rss_mb": base.rss / 1e6,
        "base_pss_mb": base.pss / 1e6,
        # Resident memory as such: the proportional one falls when another Python shares its libraries.
        "player_kb": (result["server"]["rss_bytes_max"] - before) / 1e3 / _IDLE,
    }
    return measured


def _judge_idle(found: Found) -> list[Verdict]:
    return [
        at_most(f"resident memory of each of {_IDLE} idle players", _AIM_PLAYER_KB,
                found.value(_EDGE, "player_kb"), "{:.1f} KB"),
        at_most("resident memory of a worker with nobody connected", _AIM_BASE_MB,
                found.value(_EDGE, "base_rss_mb"), "{:.1f} MB"),
    ]  # fmt: skip


IDLE_PLAYERS = Scenario(
    name="idle-players",
    title=f"Memory of a worker, and of {_IDLE} players of a stream of 64 kbit/s",
    cases=_idle_cases,
    columns=(
        value("worker, nobody connected: RSS", "base_rss_mb", "{:.1f} MB"),
        value("PSS", "base_pss_mb", "{:.1f} MB"),
        value("each player", "player_kb", "{:.1f} KB"),
    ),
    judge=_judge_idle,
    told_by_aims=True,
    case_s=lambda setting: _IDLE_WINDOW_S + setting.settle_s + 10.0,
)

# A long time at half load.

_PROBE_PLAYERS = 200
_PROBE_S = 5.0
_HALF = 0.5
_MOST_PLAYERS = 1500
#: What warms up is over after 5 of 30 minutes.
_WARM_UP = 1 / 6
_AIM_GROWTH = 0.05
_MB = 1e6


def _soak_cases(setting: Setting) -> list[Case]:
    return [Case(_EDGE, partial(_measure_soak, setting))]


def _measure_soak(setting: Setting) -> Measured:
    with servers.edge(cores=setting.server_cores) as server:
        probe = load.run(server, load.players(_PROBE_PLAYERS), replace(setting, window_s=_PROBE_S))
        count = min(_MOST_PLAYERS, round(_PROBE_PLAYERS * _HALF / probe["server"]["cpu_share"]))
        options = load.players(count)
        result = load.run(server, options, replace(setting, window_s=setting.soak_s))
    measured = load.measured(result, options)
    rss = settled_rss(result["timeline"], setting.soak_s * _WARM_UP)
    measured.figures |= {
        "players": count,
        "minutes": setting.soak_s / 60,
        "rss_first_mb": rss[0] / _MB,
        "rss_last_mb": rss[-1] / _MB,
        "drift": drift(rss),
    }
    return measured


def settled_rss(timeline: Sequence[dict[str, Any]], from_s: float) -> list[int]:
    """The server's resident memory in each second from there on."""
    return [
        row["server_rss_bytes"] for row in timeline
        if row["ends_s"] >= from_s and row["server_rss_bytes"] is not None
    ]  # fmt: skip


def drift(values: Sequence[int]) -> float:
    """How far they get away from the first, as a share of it."""
    return max(abs(value - values[0]) for value in values) / values[0]


def _judge_soak(found: Found) -> list[Verdict]:
    minutes = found.value(_EDGE, "minutes") or 0.0
    what = (
        f"{minutes:.0f} minutes at half load: change of resident memory after the first "
        f"{minutes * _WARM_UP:.1f}"
    )
    return [at_most(what, _AIM_GROWTH, found.value(_EDGE, "drift"), "{:.1%}")]


SOAK = Scenario(
    name="soak",
    title="A long time at half load",
    cases=_soak_cases,
    columns=(
        value("minutes", "minutes", "{:.0f}"),
        value("players", "players", "{:.0f}"),
        value("CPU", "cpu_share", "{:.0%} of a core"),
        value("RSS after the warm-up", "rss_first_mb", "{:.1f} MB"),
        value("at the end", "rss_last_mb", "{:.1f} MB"),
        value("furthest away", "drift", "{:.1%}"),
        *DELAY_COLUMNS,
    ),
    judge=_judge_soak,
    told_by_aims=True,
    case_s=lambda setting: setting.soak_s + 30.0,
    on_demand=True,
)
