"""CPU and delay beside other servers and the floor: one stream for many players, many for few, many for
none."""

from __future__ import annotations

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
#: With the options that an operator need not give: audio rides with video, and the budget sets itself.
DEFAULT_EDGE = "edge, default options"
_CHUNK_SIZE = 4096

# Aims. CPU is that of nginx-rtmp's, unless another is named.

_AIM_PLAYING = 0.75
_AIM_PUBLISHING = 0.75
_AIM_SMALL_CHUNKS = 1.5
#: So much later than from nginx-rtmp a frame may come, in the median.
_AIM_LATER_MS = 1.0
_AIM_OF_FLOOR = 1.15
_BATCH_MS = 50
#: That of many streams, where one is named.
_MANY_MS = 20
#: At that budget: of the CPU of a server that sends each message by itself.
_AIM_BATCHED = 0.40
_AIM_BATCHED_P50_MS = 40.0


def edge_name(budget_ms: int) -> str:
    return f"edge, budget {budget_ms} ms"


_NO_HOLD = f"{edge_name(0)}, no audio hold"
_FLOOR, _FLOOR_NO_HOLD = "floor", "floor, no audio hold"


def floor_name(batch_ms: int) -> str:
    return f"{_FLOOR}, batches of {batch_ms} ms" if batch_ms else _FLOOR


#: The floor that waits as long as this edge does.
_FLOOR_OF = {
    DEFAULT_EDGE: _FLOOR, _NO_HOLD: _FLOOR_NO_HOLD,
    **{edge_name(budget_ms): floor_name(budget_ms) for budget_ms in (0, _MANY_MS, _BATCH_MS)},
}  # fmt: skip

DELAY_COLUMNS: tuple[Column, ...] = (
    value("video p50", "video_p50_ms", "{:.1f} ms"),
    value("p99", "video_p99_ms", "{:.1f} ms"),
    value("audio p50", "audio_p50_ms", "{:.1f} ms"),
)
HOST_COLUMNS: tuple[Column, ...] = (
    value("memory", "memory_mib", "{:.0f} MiB"),
    value("generator", "generator_share", "{:.0%} of a core"),
)
_COLUMNS = (
    value("CPU ms", "cpu_ms", "{:.3f}"),
    ratio("of nginx-rtmp", "cpu_ms", lambda case: NGINX),
    ratio("of the floor", "cpu_ms", _FLOOR_OF.get),
    *DELAY_COLUMNS,
    *HOST_COLUMNS,
)
_TABLE = "Beside other servers: CPU a player-second, or a publisher-second where nobody plays"


def play(count: int, *, closely: bool) -> Scenario:
    """So many players of one stream of 2.5 Mbit/s, 30 frames a second. ``closely``: with more servers, and
    with what each part of the default options does."""
    return Scenario(
        name=f"play-{count}",
        title=f"{count} players of one stream",
        cases=partial(_play_cases, count, closely),
        columns=_COLUMNS,
        judge=partial(_judge_play, count, closely),
        case_s=lambda setting: setting.window_s + setting.settle_s + 4.0 + 0.004 * count,
        bar=("cpu_ms", "ms of CPU per player-second"),
        table=_TABLE,
    )


def publish(count: int, chunk_size: int = _CHUNK_SIZE) -> Scenario:
    """So many publishers of one such stream each, and nobody who plays."""
    small = chunk_size != _CHUNK_SIZE
    title = f"{count} publishers" + (f", chunks of {chunk_size} bytes" if small else ", nobody playing")
    return Scenario(
        name=f"publish-{count}-chunks-{chunk_size}" if small else f"publish-{count}",
        title=title,
        cases=partial(_publish_cases, count, chunk_size),
        columns=_COLUMNS,
        judge=partial(_judge_cpu, title, {DEFAULT_EDGE: _AIM_SMALL_CHUNKS if small else _AIM_PUBLISHING}),
        case_s=lambda setting: setting.window_s + setting.settle_s + 6.0 + 0.004 * count,
        bar=("cpu_ms", "ms of CPU per publisher-second"),
        table=_TABLE,
    )


def many(name: str, streams: int, each: int, *, aim: float, at_budget: dict[int, float]) -> Scenario:
    """So many streams of 1 Mbit/s, with so many players each. ``aim``: of nginx-rtmp's CPU, with default
    options; ``at_budget``: the same by latency budget."""
    title = _many_title(streams, each)
    aims = {DEFAULT_EDGE: aim} | {edge_name(budget_ms): limit for budget_ms, limit in at_budget.items()}
    return Scenario(
        name=name,
        title=title,
        cases=partial(_many_cases, streams, each, tuple(at_budget)),
        columns=_COLUMNS,
        judge=lambda found: [*_judge_cpu(title, aims, found), _judge_delay(title, found)],
        case_s=partial(_many_seconds, streams, each),
        bar=("cpu_ms", "ms of CPU per player-second"),
        table=_TABLE,
    )


_RTMP, _RTMPS = f"{DEFAULT_EDGE}, RTMP", f"{DEFAULT_EDGE}, RTMPS"


def many_with_tls(streams: int, each: int) -> Scenario:
    """What RTMPS adds; nginx-rtmp has none."""
    return Scenario(
        name="many-streams-tls",
        title=f"{_many_title(streams, each)}: RTMP and RTMPS",
        cases=partial(_tls_cases, _many_options(streams, each)),
        columns=(
            value("CPU ms a player-second", "cpu_ms", "{:.3f}"),
            ratio("of RTMP", "cpu_ms", lambda case: _RTMP),
            *DELAY_COLUMNS, *HOST_COLUMNS,
        ),
        case_s=partial(_many_seconds, streams, each),
    )  # fmt: skip


def _many_title(streams: int, each: int) -> str:
    return f"{streams} streams of 1 Mbit/s, {'one player' if each == 1 else f'{each} players'} each"


def _many_options(streams: int, each: int) -> list[str]:
    return [*load.players(streams * each), "--publishers", str(streams), "--bitrate", "1000k"]


def _many_seconds(streams: int, each: int, setting: Setting) -> float:
    return setting.window_s + setting.settle_s + 4.0 + 0.004 * streams * (1 + each)


# Cases.


def _play_cases(count: int, closely: bool, setting: Setting) -> list[Case]:
    options, cores = load.players(count), setting.server_cores
    cases = [_nginx(options, setting)]
    if closely:
        cases += _others(options, _CHUNK_SIZE, setting)
    cases += [_edge(None, options, setting), _edge(_BATCH_MS, options, setting)]
    floors = {_FLOOR: (0, True), floor_name(_BATCH_MS): (_BATCH_MS, True)}
    if closely:
        no_hold = partial(servers.edge, "--audio-hold", "0", cores=cores, budget_ms=0)
        cases += [_edge(0, options, setting), _case(_NO_HOLD, no_hold, options, setting)]
        floors[_FLOOR_NO_HOLD] = (0, False)
    for name, (batch_ms, hold) in floors.items():
        floor = partial(servers.floor, players=count, batch_ms=batch_ms, hold_audio=hold, cores=cores)
        cases.append(_case(name, floor, [*options, "--publishers", "0"], setting))
    return cases


def _publish_cases(count: int, chunk_size: int, setting: Setting) -> list[Case]:
    options = ["--publishers", str(count), "--ramp", "0", "--chunk-size", str(chunk_size)]
    others = _others(options, chunk_size, setting) if chunk_size == _CHUNK_SIZE else []
    return [_nginx(options, setting, chunk_size), *others, _edge(None, options, setting)]


def _many_cases(streams: int, each: int, budgets_ms: tuple[int, ...], setting: Setting) -> list[Case]:
    options = _many_options(streams, each)
    cases = [_nginx(options, setting)]
    cases += [_edge(budget_ms, options, setting) for budget_ms in (None, 0, *budgets_ms)]
    for batch_ms in (0, *budgets_ms):
        floor = partial(
            servers.floor_of_many, streams=streams, players=streams * each, batch_ms=batch_ms,
            cores=setting.server_cores,
        )  # fmt: skip
        cases.append(_case(floor_name(batch_ms), floor, options, setting))
    return cases


def _tls_cases(options: list[str], setting: Setting) -> list[Case]:
    cores = setting.server_cores
    return [
        _case(_RTMP, partial(servers.edge, cores=cores, budget_ms=None), options, setting),
        _case(_RTMPS, partial(servers.edge_with_tls, cores=cores), options, setting),
    ]


def _nginx(options: list[str], setting: Setting, chunk_size: int = _CHUNK_SIZE) -> Case:
    start = partial(servers.nginx, chunk_size=chunk_size, cores=setting.server_cores)
    return _case(NGINX, start, options, setting)


def _edge(budget_ms: int | None, options: list[str], setting: Setting) -> Case:
    """With that budget and otherwise default options; None: with those alone."""
    start = partial(servers.edge, cores=setting.server_cores, budget_ms=budget_ms)
    return _case(DEFAULT_EDGE if budget_ms is None else edge_name(budget_ms), start, options, setting)


def _others(options: list[str], chunk_size: int, setting: Setting) -> list[Case]:
    """The servers that are there, besides nginx-rtmp."""
    cores = setting.server_cores
    cases = []
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


# Verdicts.


def _judge_cpu(what: str, aims: dict[str, float], found: Found) -> list[Verdict]:
    return [
        at_most(f"{what}: CPU, of nginx-rtmp's, {_told(case)}", limit, found.ratio(case, NGINX, "cpu_ms"),
                "{:.2f}")
        for case, limit in aims.items()
    ]  # fmt: skip


def _judge_delay(what: str, found: Found) -> Verdict:
    ours, theirs = (found.value(case, "video_p50_ms") for case in (DEFAULT_EDGE, NGINX))
    later_ms = None if ours is None or theirs is None else ours - theirs
    aim = f"{what}: video delay p50, above nginx-rtmp's, {_told(DEFAULT_EDGE)}"
    return at_most(aim, _AIM_LATER_MS, later_ms, "{:.1f} ms")


def _judge_play(count: int, closely: bool, found: Found) -> list[Verdict]:
    what = f"{count} players"
    verdicts = [*_judge_cpu(what, {DEFAULT_EDGE: _AIM_PLAYING}, found), _judge_delay(what, found)]
    batched = edge_name(_BATCH_MS)
    if closely:
        verdicts.append(at_most(
            f"{what}: CPU, of that of budget 0 ms without audio hold, {_told(batched)}", _AIM_BATCHED,
            found.ratio(batched, _NO_HOLD, "cpu_ms"), "{:.2f}",
        ))  # fmt: skip
        verdicts.append(at_most(
            f"{what}: video delay p50, {_told(batched)}", _AIM_BATCHED_P50_MS,
            found.value(batched, "video_p50_ms"), "{:.1f} ms",
        ))  # fmt: skip
    for case in (DEFAULT_EDGE, batched):
        seen = found.ratio(case, _FLOOR_OF[case], "cpu_ms")
        verdicts.append(at_most(
            f"{what}: CPU, of the floor's, {_told(case)}", _AIM_OF_FLOOR, seen, "{:.2f}"
        ))  # fmt: skip
    return verdicts


def _told(case: str) -> str:
    """What is special about this edge."""
    return case.removeprefix("edge, ")
