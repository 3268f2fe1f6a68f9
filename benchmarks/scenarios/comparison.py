"""CPU and delay beside other servers and the floor: one stream with many players, many with none."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from benchmarks import load, servers, strangers
from benchmarks.model import (
    Case,
    Column,
    Found,
    Measured,
    Scenario,
    Setting,
    Verdict,
    at_most,
    ratio,
    value,
)

NGINX = "nginx-rtmp"
_CHUNK_SIZE = 4096
#: One of them has the delay of nginx-rtmp.
_LOW_BUDGETS_MS = (0, 1, 2, 5)
_HIGH_BUDGETS_MS = (50, 100)
_FLOOR_BATCHES_MS = (0, 50, 100)

_PLAYER_CPU, _PUBLISHER_CPU = "cpu_ms_per_player_s", "cpu_ms_per_publisher_s"

#: Of nginx-rtmp's CPU.
_AIM_BY_DEFAULT = 0.75
_AIM_AT_EQUAL_DELAY = 0.9
_AIM_AT_BUDGET_MS = {0: 1.0, 50: 0.30, 100: 0.24}
_AIM_OF_FLOOR = 1.15
_AIM_PUBLISHING = 0.9
_AIM_SMALL_CHUNKS = 1.5


#: With the options that an operator need not give: a latency budget that sets itself.
DEFAULT_EDGE = "edge, default options"


def edge_name(budget_ms: int) -> str:
    return f"edge, budget {budget_ms} ms"


def _floor_name(batch_ms: int) -> str:
    return f"floor, batches of {batch_ms} ms" if batch_ms else "floor, no batches"


def play(count: int) -> Scenario:
    """So many players of one stream of 2.5 Mbit/s, 30 frames a second."""
    return Scenario(
        name=f"play-{count}",
        title=f"{count} players of one stream",
        cases=partial(_play_cases, count),
        columns=(
            value("CPU ms per player-second", _PLAYER_CPU, "{:.3f}"),
            ratio("of nginx-rtmp", _PLAYER_CPU, lambda case: NGINX),
            ratio("of the floor", _PLAYER_CPU, _floor_of),
            *_COMMON_COLUMNS,
        ),
        judge=partial(_judge_play, count),
        case_s=lambda setting: setting.window_s + setting.settle_s + 4.0 + 0.004 * count,
        bar=(_PLAYER_CPU, "ms of CPU per player-second"),
    )


def publish(count: int, chunk_size: int = _CHUNK_SIZE) -> Scenario:
    """So many publishers of one such stream each, and nobody who plays."""
    small = chunk_size != _CHUNK_SIZE
    title = f"{count} publishers, nobody playing" + (f", chunks of {chunk_size} bytes" if small else "")
    return Scenario(
        name=f"publish-{count}-chunks-{chunk_size}" if small else f"publish-{count}",
        title=title,
        cases=partial(_publish_cases, count, chunk_size),
        columns=(
            value("CPU ms per publisher-second", _PUBLISHER_CPU, "{:.3f}"),
            ratio("of nginx-rtmp", _PUBLISHER_CPU, lambda case: NGINX),
            value("memory", "memory_mib", "{:.1f} MiB"),
            value("generator", "generator_share", "{:.0%} of a core"),
        ),
        judge=partial(_judge_publish, title, _AIM_SMALL_CHUNKS if small else _AIM_PUBLISHING),
        case_s=lambda setting: setting.window_s + setting.settle_s + 6.0 + 0.004 * count,
        bar=(_PUBLISHER_CPU, "ms of CPU per publisher-second"),
    )


def many(name: str, streams: int, each: int, aims: dict[str, float]) -> Scenario:
    """So many streams of 1 Mbit/s, with so many players each. ``aims``: of nginx-rtmp's CPU, by case."""
    what = f"{streams} streams of 1 Mbit/s, {'one player' if each == 1 else f'{each} players'} each"
    return Scenario(
        name=name,
        title=what,
        cases=partial(_many_cases, streams, each),
        columns=(
            value("CPU ms per player-second", _PLAYER_CPU, "{:.3f}"),
            ratio("of nginx-rtmp", _PLAYER_CPU, lambda case: NGINX),
            *_COMMON_COLUMNS,
        ),
        judge=partial(_judge_many, what, aims),
        case_s=lambda setting: setting.window_s + setting.settle_s + 4.0 + 0.004 * streams * (1 + each),
        bar=(_PLAYER_CPU, "ms of CPU per player-second"),
    )


_COMMON_COLUMNS: tuple[Column, ...] = (
    value("delay p50", "delay_p50_ms", "{:.2f} ms"),
    value("p99", "delay_p99_ms", "{:.1f} ms"),
    value("memory", "memory_mib", "{:.1f} MiB"),
    value("generator", "generator_share", "{:.0%} of a core"),
)


def _play_cases(count: int, setting: Setting) -> list[Case]:
    options = load.players(count)
    cases = _others(options, _CHUNK_SIZE, setting)
    default = partial(servers.edge, cores=setting.server_cores, budget_ms=None)
    cases.append(_case(DEFAULT_EDGE, default, options, setting))
    for budget_ms in (*_LOW_BUDGETS_MS, *_HIGH_BUDGETS_MS):
        start = partial(servers.edge, cores=setting.server_cores, budget_ms=budget_ms)
        cases.append(_case(edge_name(budget_ms), start, options, setting))
    for batch_ms in _FLOOR_BATCHES_MS:
        floor = partial(servers.floor, players=count, batch_ms=batch_ms, cores=setting.server_cores)
        cases.append(_case(_floor_name(batch_ms), floor, [*options, "--publishers", "0"], setting))
    return cases


def _many_cases(streams: int, each: int, setting: Setting) -> list[Case]:
    options = [*load.players(streams * each), "--publishers", str(streams), "--bitrate", "1000k"]
    cases = _others(options, _CHUNK_SIZE, setting)
    for name, budget_ms in ((DEFAULT_EDGE, None), (edge_name(0), 0), (edge_name(20), 20)):
        start = partial(servers.edge, cores=setting.server_cores, budget_ms=budget_ms)
        cases.append(_case(name, start, options, setting))
    return cases


def _judge_many(what: str, aims: dict[str, float], found: Found) -> list[Verdict]:
    return [
        at_most(
            f"{what}: CPU of nginx-rtmp's, {case}", limit, found.ratio(case, NGINX, _PLAYER_CPU), "{:.2f}"
        )
        for case, limit in aims.items()
    ]


def _publish_cases(count: int, chunk_size: int, setting: Setting) -> list[Case]:
    options = ["--publishers", str(count), "--ramp", "0", "--chunk-size", str(chunk_size)]
    cases = _others(options, chunk_size, setting)
    for budget_ms in (0, 50):
        start = partial(servers.edge, cores=setting.server_cores, budget_ms=budget_ms)
        cases.append(_case(edge_name(budget_ms), start, options, setting))
    return cases


def _others(options: list[str], chunk_size: int, setting: Setting) -> list[Case]:
    """The servers of others that are there."""
    cores = setting.server_cores
    cases = [_case(NGINX, partial(servers.nginx, chunk_size=chunk_size, cores=cores), options, setting)]
    if strangers.has_node_media_server():
        node = partial(servers.node_media_server, cores=cores)
        cases.append(_case("node-media-server", node, options, setting))
    if setting.srs is not None:
        srs = partial(servers.srs, setting.srs, chunk_size=chunk_size, cores=cores)
        cases.append(_case("SRS", srs, options, setting))
    if setting.mediamtx is not None:
        mediamtx = partial(servers.mediamtx, setting.mediamtx, cores=cores)
        cases.append(_case("MediaMTX", mediamtx, options, setting))
    return cases


def _case(name: str, start: servers.Starter, options: list[str], setting: Setting) -> Case:
    def measure() -> Measured:
        with start() as server:
            return load.measured(load.run(server, options, setting), options)

    return Case(name, measure)


def _floor_of(case: str) -> str | None:
    """The floor that batches as this edge does."""
    budget = re.search(r"budget (\d+) ms", case)
    batch_ms = int(budget[1]) if budget else None
    return _floor_name(batch_ms) if batch_ms in _FLOOR_BATCHES_MS else None


def _judge_play(count: int, found: Found) -> list[Verdict]:
    what = f"{count} players: CPU per player-second, of nginx-rtmp's"
    seen = found.ratio(DEFAULT_EDGE, NGINX, _PLAYER_CPU)
    verdicts = [at_most(f"{what}, default options", _AIM_BY_DEFAULT, seen, "{:.2f}")]
    verdicts.append(_judge_equal_delay(what, found))
    for budget_ms, limit in _AIM_AT_BUDGET_MS.items():
        seen = found.ratio(edge_name(budget_ms), NGINX, _PLAYER_CPU)
        verdicts.append(at_most(f"{what}, budget {budget_ms} ms", limit, seen, "{:.2f}"))
    for batch_ms in _FLOOR_BATCHES_MS:
        seen = found.ratio(edge_name(batch_ms), _floor_name(batch_ms), _PLAYER_CPU)
        verdicts.append(at_most(
            f"{count} players: CPU of the floor's, both at {batch_ms} ms", _AIM_OF_FLOOR, seen, "{:.2f}"
        ))  # fmt: skip
    return verdicts


def _judge_equal_delay(what: str, found: Found) -> Verdict:
    equal = _budget_of_equal_delay(found)
    seen = None if equal is None else found.ratio(edge_name(equal), NGINX, _PLAYER_CPU)
    verdict = at_most(f"{what}, where the median delay is no higher", _AIM_AT_EQUAL_DELAY, seen, "{:.2f}")
    if equal is not None:
        return replace(verdict, seen=f"{verdict.seen} (budget {equal} ms)")
    if found.ratio(edge_name(0), NGINX, "delay_p50_ms") is not None:
        return replace(verdict, seen="higher at every budget", reached=False)
    return verdict


def _budget_of_equal_delay(found: Found) -> int | None:
    """The largest budget whose median delay is not above nginx-rtmp's."""
    reference = found.value(NGINX, "delay_p50_ms")
    for budget_ms in reversed(_LOW_BUDGETS_MS):
        delay = found.value(edge_name(budget_ms), "delay_p50_ms")
        if delay is not None and reference is not None and delay <= reference:
            return budget_ms
    return None


def _judge_publish(title: str, limit: float, found: Found) -> list[Verdict]:
    what = f"{title}: CPU per publisher-second, of nginx-rtmp's, budget 0 ms"
    return [at_most(what, limit, found.ratio(edge_name(0), NGINX, _PUBLISHER_CPU), "{:.2f}")]
