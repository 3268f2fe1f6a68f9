"""What a worker carries, what a second one adds, and what the bus between workers costs."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass, replace
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
from benchmarks.scenarios.comparison import DEFAULT_EDGE, DELAY_COLUMNS, NGINX, edge_name
from benchmarks.search import largest

# Capacity.

#: So much of a core for each worker, so that the generator beside them can saturate two.
WORKER_SHARE = 0.1
_MOST_PLAYERS = 5000
_MIN_DELIVERED = 0.99
#: A full worker sends ever larger pieces ever later: without a bound the kernel's copying is all that is
#: measured.
_MAX_VIDEO_P99_MS = 150.0
_AIM_CAPACITY = 2.5
_AIM_TWO_WORKERS = 1.8
#: Joining costs a group of pictures each: short ones, slowly, so that it is not what saturates.
_GENTLE = ["--gop", "0.5"]
#: At each worker, so that joining is no harder for one than for each of two.
_JOIN_EVERY_S = 0.01
_SETTLE_S = 4.0
#: Of one try; there are about six for each case.
_TRY_WINDOW_S = 5.0
_TRIES = 6

_ONE_WORKER, _TWO_WORKERS = "edge, 1 worker", "edge, 2 workers"


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A server whose capacity is asked for; ``first_try``: players that it may well carry."""

    start: servers.Starter
    workers: int
    first_try: int


def _capacity_cases(setting: Setting) -> list[Case]:
    cores = setting.server_cores
    edge = partial(servers.edge, "--metrics", "127.0.0.1:0", cores=cores, budget_ms=None)
    carriers = {
        NGINX: _Carrier(partial(servers.nginx, chunk_size=4096, cores=cores), 1, 250),
        _ONE_WORKER: _Carrier(edge, 1, 700),
        _TWO_WORKERS: _Carrier(partial(edge, workers=2), 2, 1400),
    }
    short = replace(
        setting, window_s=min(setting.window_s, _TRY_WINDOW_S), settle_s=max(setting.settle_s, _SETTLE_S)
    )
    return [
        Case(name, partial(_most_players, carrier, short)) for name, carrier in carriers.items()
    ]  # fmt: skip


def _most_players(carrier: _Carrier, setting: Setting) -> Measured:
    """The largest number of players that is served without loss, and soon enough."""
    trials: dict[int, load.Result] = {}
    lost: dict[int, str] = {}

    def serves(count: int) -> bool:
        trials[count], lost[count] = _try(carrier, count, setting)
        return not lost[count]

    found = largest(serves, start=carrier.first_try, most=_MOST_PLAYERS)
    if not found:
        fewest = min(lost)
        why = f"not measured: {fewest} players: {lost[fewest]}"
        return Measured({}, [why], _load_options(carrier, fewest))
    measured = load.measured(trials[found], _load_options(carrier, found))
    measured.figures |= {
        "players": float(found), "generator_share": max(map(load.generator_share, trials.values())),
    }  # fmt: skip
    too_many = min((count for count, why in lost.items() if why), default=None)
    measured.complaints.append(
        f"not saturated by {found} players, the most that are tried" if too_many is None
        else f"{too_many} players were too many: {lost[too_many]}"
    )  # fmt: skip
    return measured


def _load_options(carrier: _Carrier, count: int) -> list[str]:
    ramp_s = count * _JOIN_EVERY_S / carrier.workers
    return ["--players", str(count), "--ramp", f"{ramp_s:g}", *_GENTLE]


def _try(carrier: _Carrier, count: int, setting: Setting) -> tuple[load.Result, str]:
    """The result with so many players, and what they missed."""
    with carrier.start() as server, quota.limited(server.workers, WORKER_SHARE):
        result = load.run(server, _load_options(carrier, count), setting)
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
    delay_ms = result.get("video_delay_ms", {}).get("p99")
    if delay_ms is not None and delay_ms > _MAX_VIDEO_P99_MS:
        found.append(f"video delay p99 {delay_ms:.0f} ms")
    if skips:
        found.append(f"{skips} skips")
    return ", ".join(found)


def _skips(server: servers.Server) -> int:
    """How often the edge moved a slow player to a newer place; others do not tell, they lose frames."""
    if server.metrics is None:
        return 0
    with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    numbers = re.findall(r"^rtmp_cluster_player_skips_total(?:\{.*\})? (\S+)$", text, re.MULTILINE)
    return round(sum(map(float, numbers)))


def _judge_capacity(found: Found) -> list[Verdict]:
    what = "players of one stream that a worker carries"
    return [
        at_least(f"{what}, of nginx-rtmp's", _AIM_CAPACITY, found.ratio(_ONE_WORKER, NGINX, "players"),
                 "{:.2f}"),
        at_least(f"{what}: 2 workers, of those of 1", _AIM_TWO_WORKERS,
                 found.ratio(_TWO_WORKERS, _ONE_WORKER, "players"), "{:.2f}"),
    ]  # fmt: skip


CAPACITY = Scenario(
    name="capacity",
    title=f"Players of one stream that a worker carries on {WORKER_SHARE:.0%} of a core",
    cases=_capacity_cases,
    columns=(
        value("players", "players", "{:.0f}"),
        ratio("of nginx-rtmp", "players", lambda case: NGINX),
        ratio("of 1 worker", "players", {_TWO_WORKERS: _ONE_WORKER}.get),
        *DELAY_COLUMNS,
        value("generator at most", "generator_share", "{:.0%} of a core"),
    ),
    judge=_judge_capacity,
    case_s=lambda setting: _TRIES * (min(setting.window_s, _TRY_WINDOW_S) + _SETTLE_S + 9.0),
)

# The bus.

_STREAMS, _PLAYERS_EACH = 100, 10
_BUS_BITRATE = "1M"
#: None: it sets itself, and in each worker by its own load.
_BUS_BUDGETS_MS = (None, 0)
_AIM_BUS = 1.3
#: The generator ends, and is read, after its window.
_TAIL_S = 1.0

_ONE, _ROUTER, _FIRST, _SECOND = "one worker", "router", "publishers' worker", "players' worker"
_ZMQ = "ZMQbg"


def _bus_options(budget_ms: int | None) -> str:
    return (DEFAULT_EDGE if budget_ms is None else edge_name(budget_ms)).removeprefix("edge, ")


def _bus_name(budget_ms: int | None, *, apart: bool) -> str:
    return f"{'two nodes' if apart else _ONE}, {_bus_options(budget_ms)}"


def _bus_cases(setting: Setting) -> list[Case]:
    # One core would be too little for a router and two workers: both may use any.
    anywhere = replace(setting, server_cores=None, generator_cores=None)
    return [
        Case(_bus_name(budget_ms, apart=apart), partial(_measure_bus, budget_ms, apart, anywhere))
        for budget_ms in _BUS_BUDGETS_MS
        for apart in (False, True)
    ]


def _measure_bus(budget_ms: int | None, apart: bool, setting: Setting) -> Measured:
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
        what = "players on another node than their publishers: CPU, of one worker's"
        verdicts.append(at_most(f"{what}, {_bus_options(budget_ms)}", _AIM_BUS, seen, "{:.2f}"))
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
        *DELAY_COLUMNS,
    ),
    judge=_judge_bus,
    case_s=lambda setting: setting.window_s + setting.settle_s + 12.0,
)
