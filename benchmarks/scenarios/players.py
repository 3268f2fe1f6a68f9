"""What players see: joining in the middle of a group of pictures, and slow ones beside them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from benchmarks import load, servers
from benchmarks.model import Case, Found, Measured, Scenario, Setting, Verdict, at_most, ratio, value
from benchmarks.scenarios.comparison import DELAY_COLUMNS, NGINX, edge_name

# Joining.

#: The generator lets them join half a second after the stream began: half-way to the next keyframe.
_JOIN = ["--players", "100", "--ramp", "0", "--gop", "1"]
_JOIN_WINDOW_S = 3.0
_AIM_JOIN_MS = 300.0


def _measure(start: servers.Starter, options: list[str], setting: Setting) -> Measured:
    with start() as server:
        return load.measured(load.run(server, options, setting), options)


def _join_cases(setting: Setting) -> list[Case]:
    short = replace(setting, window_s=min(setting.window_s, _JOIN_WINDOW_S))
    cores = setting.server_cores
    starters: dict[str, servers.Starter] = {
        NGINX: partial(servers.nginx, chunk_size=4096, cores=cores),
        edge_name(0): partial(servers.edge, cores=cores, budget_ms=0),
        edge_name(50): partial(servers.edge, cores=cores, budget_ms=50),
    }
    return [Case(name, partial(_measure, start, _JOIN, short)) for name, start in starters.items()]


def _judge_join(found: Found) -> list[Verdict]:
    what = "100 players at once, mid-GOP: p99 of the time to the first picture"
    return [at_most(what, _AIM_JOIN_MS, found.value(edge_name(0), "picture_p99_ms"), "{:.0f} ms")]


JOIN = Scenario(
    name="join-100",
    title="100 players join at once, half-way between keyframes a second apart",
    cases=_join_cases,
    columns=(
        value("first frame p50", "join_p50_ms", "{:.0f} ms"),
        value("p99", "join_p99_ms", "{:.0f} ms"),
        value("first picture p50", "picture_p50_ms", "{:.0f} ms"),
        value("p99", "picture_p99_ms", "{:.0f} ms"),
    ),
    judge=_judge_join,
    told_by_aims=True,
    case_s=lambda setting: _JOIN_WINDOW_S + setting.settle_s + 5.0,
)

# Slow players.

_SLOW_PLAYERS = 300
_ALL_FAST, _SOME_SLOW = "none is slow", "one in ten reads at a tenth of the bit rate"
_AIM_SLOW = 1.10
#: In a shorter window one hiccup of the machine, of 50 ms in 5 s, is all that the p99 tells of.
_SLOW_WINDOW_S = 15.0


def _slow_cases(setting: Setting) -> list[Case]:
    start = partial(servers.edge, cores=setting.server_cores)
    fast = load.players(_SLOW_PLAYERS)
    slow = [*fast, "--slow-share", "0.1", "--slow-rate", "0.1"]
    longer = replace(setting, window_s=max(setting.window_s, _SLOW_WINDOW_S))
    return [
        Case(_ALL_FAST, partial(_measure, start, fast, longer)),
        Case(_SOME_SLOW, partial(_measure, start, slow, longer)),
    ]


def _judge_slow(found: Found) -> list[Verdict]:
    seen = found.ratio(_SOME_SLOW, _ALL_FAST, "video_p99_ms")
    what = "one player in ten slow: video delay p99 of the others, of a run without"
    return [at_most(what, _AIM_SLOW, seen, "{:.2f}")]


SLOW = Scenario(
    name="slow-players",
    title=f"{_SLOW_PLAYERS} players of one stream, budget 0; delays of those that are not slow",
    cases=_slow_cases,
    columns=(
        *DELAY_COLUMNS,
        ratio("video p99, of none slow", "video_p99_ms", lambda case: _ALL_FAST),
        value("CPU ms a player-second", "cpu_ms", "{:.3f}"),
        value("memory", "memory_mib", "{:.1f} MiB"),
    ),
    judge=_judge_slow,
    told_by_aims=True,
    case_s=lambda setting: max(setting.window_s, _SLOW_WINDOW_S) + setting.settle_s + 12.0,
)
