"""What a second worker adds, and what the bus between workers costs."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import replace
from functools import partial

from benchmarks import load, quota, servers
from benchmarks.model import (
    Case,
    Found,
    Measured,
    Scenario,
    Setting,
    Verdict,
    at_least,
    at_most,
    ratio,
    value,
)
from benchmarks.proc import Watch
from benchmarks.search import largest

# Two workers against one.

#: So much of a core for each worker, so that the generator beside them can saturate two.
WORKER_SHARE = 0.1
#: A full worker sends larger pieces, so that it serves several times what it would at its lowest delay.
_FIRST_TRY_PER_WORKER = 800
_MOST_PLAYERS = 5000
_MIN_DELIVERED = 0.99
#: Later than this is not live. Without a bound a full worker sends ever larger pieces ever later, and the
#: kernel's copying is all that is measured.
_MAX_DELAY_P99_MS = 500.0
_AIM_TWO_WORKERS = 1.8
#: Joining costs a group of pictures each: short ones, slowly, so that it is not what saturates.
_GENTLE = ["--gop", "0.5"]
#: At each worker, so that joining is no harder for one than for each of two.
_JOIN_EVERY_S = 0.01
_SETTLE_S = 4.0


def _workers_name(count: int) -> str:
    return f"{count} worker" + "s" * (count > 1)


def _worker_cases(setting: Setting) -> list[Case]:
    return [Case(_workers_name(count), partial(_most_players, count, setting)) for count in (1, 2)]


def _most_players(workers: int, setting: Setting) -> Measured:
    """The largest number of players that is served without loss."""
    trials: dict[int, load.Result] = {}
    lost: dict[int, str] = {}

    def serves(count: int) -> bool:
        trials[count], lost[count] = _try(workers, count, setting)
        return not lost[count]

    found = largest(serves, start=_FIRST_TRY_PER_WORKER * workers, most=_MOST_PLAYERS)
    if not found:
        fewest = min(lost)
        why = f"not measured: {fewest} players: {lost[fewest]}"
        return Measured({}, [why], _load_options(workers, fewest))
    measured = load.measured(trials[found], _load_options(workers, found))
    measured.figures |= {
        "players": float(found), "generator_share": max(map(load.generator_share, trials.values())),
    }  # fmt: skip
    too_many = min((count for count, why in lost.items() if why), default=None)
    measured.complaints.append(
        f"not saturated by {found} players, the most that are tried" if too_many is None
        else f"{too_many} players were too many: {lost[too_many]}"
    )  # fmt: skip
    return measured


def _load_options(workers: int, count: int) -> list[str]:
    return ["--players", str(count), "--ramp", f"{count * _JOIN_EVERY_S / workers:g}", *_GENTLE]


def _try(workers: int, count: int, setting: Setting) -> tuple[load.Result, str]:
    """The result with so many players, and what they missed."""
    gentle = replace(setting, settle_s=max(setting.settle_s, _SETTLE_S))
    with (
        servers.edge("--metrics", "127.0.0.1:0", cores=setting.server_cores, workers=workers) as server,
        quota.limited(server.workers, WORKER_SHARE),
    ):
        result = load.run(server, _load_options(workers, count), gentle)
        return result, losses(result, _skips(server))


def losses(result: load.Result, skips: int) -> str:
    """What players missed, or got too late, in a few words; empty if nothing."""
    delivered = result["delivered"] or 0.0
    frames = result["frames"]
    found = []
    if round(result["players"]["playing"]) < result["players"]["asked"] or result["disconnected"]:
        found.append("not all played")
    if delivered < _MIN_DELIVERED:
        found.append(f"{delivered:.1%} delivered")
    if frames["lost"] or frames["out_of_order"]:
        found.append(f"{frames['lost']} frames lost, {frames['out_of_order']} out of order")
    delay_ms = result["delay_ms"]["p99"]
    if delay_ms is not None and delay_ms > _MAX_DELAY_P99_MS:
        found.append(f"delay p99 {delay_ms:.0f} ms")
    if skips:
        found.append(f"{skips} skips")
    return ", ".join(found)


def _skips(server: servers.Server) -> int:
    """How often the edge moved a slow player to a newer place."""
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    numbers = re.findall(r"^rtmp_cluster_player_skips_total(?:\{.*\})? (\S+)$", text, re.MULTILINE)
    return round(sum(map(float, numbers)))


def _judge_workers(found: Found) -> list[Verdict]:
    seen = found.ratio(_workers_name(2), _workers_name(1), "players")
    what = "2 workers: players served without loss, of those of 1"
    return [at_least(what, _AIM_TWO_WORKERS, seen, "{:.2f}")]


TWO_WORKERS = Scenario(
    name="two-workers",
    title=f"2 workers against 1, each with {WORKER_SHARE:.0%} of a core",
    cases=_worker_cases,
    columns=(
        value("players served without loss", "players", "{:.0f}"),
        ratio("of 1 worker", "players", lambda case: _workers_name(1)),
        value("delay p50 then", "delay_p50_ms", "{:.0f} ms"),
        value("p99", "delay_p99_ms", "{:.0f} ms"),
        value("generator at most", "generator_share", "{:.0%} of a core"),
    ),
    judge=_judge_workers,
    case_s=lambda setting: 7 * (setting.window_s + _SETTLE_S + 11.0),
)

# The bus.

_STREAMS, _PLAYERS_EACH = 100, 10
_BUS_BITRATE = "1M"
_BUS_BUDGETS_MS = (0, 50)
_AIM_BUS = 1.3
#: The generator ends, and is read, after its window.
_TAIL_S = 1.0

_ONE, _ROUTER, _FIRST, _SECOND = "one worker", "router", "publishers' worker", "players' worker"
_ZMQ = "ZMQbg"


def _bus_name(budget_ms: int, *, apart: bool) -> str:
    return f"{'two nodes' if apart else _ONE}, budget {budget_ms} ms"


def _bus_cases(setting: Setting) -> list[Case]:
    # One core would be too little for a router and two workers: both may use any.
    anywhere = replace(setting, server_cores=None, generator_cores=None)
    return [
        Case(_bus_name(budget_ms, apart=apart), partial(_measure_bus, budget_ms, apart, anywhere))
        for budget_ms in _BUS_BUDGETS_MS
        for apart in (False, True)
    ]


def _measure_bus(budget_ms: int, apart: bool, setting: Setting) -> Measured:
    options = [
        *load.players(_STREAMS * _PLAYERS_EACH), "--publishers", str(_STREAMS), "--bitrate", _BUS_BITRATE,
    ]  # fmt: skip
    start = servers.two_nodes if apart else servers.edge
    with start(cores=setting.server_cores, budget_ms=budget_ms) as server:
        if apart:
            pids = dict(zip((_ROUTER, _FIRST, _SECOND), (server.pids[0], *server.workers), strict=True))
        else:
            pids = {_ONE: server.workers[0]}
        with Watch(pids, _ZMQ) as watch:
            result = load.run(server, options, setting)
        used = watch.used(max(1.0, setting.window_s - _TAIL_S), _TAIL_S)
    measured = load.measured(result, options)
    measured.figures |= {f"share of {name}": share for name, share in used.items()}
    if apart:
        threads = (used[f"{name} {_ZMQ}"] for name in (_FIRST, _SECOND))
        measured.figures["bus_share"] = used[_ROUTER] + sum(threads)
    return measured


def _together(case: str) -> str:
    """The one worker at the same budget."""
    return case.replace("two nodes", _ONE)


def _judge_bus(found: Found) -> list[Verdict]:
    verdicts = []
    for budget_ms in _BUS_BUDGETS_MS:
        apart, together = (_bus_name(budget_ms, apart=each) for each in (True, False))
        seen = found.ratio(apart, together, "cpu_share")
        what = f"players on another node than their publishers: CPU, of one worker's, budget {budget_ms} ms"
        verdicts.append(at_most(what, _AIM_BUS, seen, "{:.2f}"))
    return verdicts


_SHARE = "{:.1%}"

BUS = Scenario(
    name="bus",
    title=f"{_STREAMS} streams of 1 Mbit/s, {_PLAYERS_EACH} players each: one worker, or two nodes",
    cases=_bus_cases,
    columns=(
        value("CPU in all", "cpu_share", _SHARE),
        ratio("of one worker", "cpu_share", _together),
        value("the bus's part", "bus_share", _SHARE),
        value(_ROUTER, f"share of {_ROUTER}", _SHARE),
        value(_FIRST, f"share of {_FIRST}", _SHARE),
        value("its libzmq", f"share of {_FIRST} {_ZMQ}", _SHARE),
        value(_SECOND, f"share of {_SECOND}", _SHARE),
        value("its libzmq", f"share of {_SECOND} {_ZMQ}", _SHARE),
        value(_ONE, f"share of {_ONE}", _SHARE),
        value("delay p50", "delay_p50_ms", "{:.2f} ms"),
    ),
    judge=_judge_bus,
    case_s=lambda setting: setting.window_s + setting.settle_s + 12.0,
)
