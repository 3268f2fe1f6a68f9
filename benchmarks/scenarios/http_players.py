"""What players over HTTP cost beside those of RTMP, and what HTTP costs where nobody uses it."""

from __future__ import annotations

from functools import partial

from benchmarks import load, servers
from benchmarks.model import Case, Found, Measured, Scenario, Setting, Verdict, at_most, ratio, value
from benchmarks.scenarios.comparison import DELAY_COLUMNS, HOST_COLUMNS

_FEW, _MANY = 300, 1000
_PLAIN, _UNUSED = f"{_FEW} over RTMP, HTTP off", f"{_FEW} over RTMP"
_FLV = f"{_FEW} of .flv"
_MANY_PLAIN, _MP4 = f"{_MANY} over RTMP", f"{_MANY} of .mp4"
_HLS, _ONE_HLS = f"{_FEW} of .m3u8", "1 of .m3u8"
#: The case that each is judged beside.
_BESIDE = {_UNUSED: _PLAIN, _FLV: _UNUSED, _MP4: _MANY_PLAIN}

_AIM_UNUSED = 1.02
_AIM_PLAYER = 1.05
_AIM_REQUEST_US = 60.0


def _cases(setting: Setting) -> list[Case]:
    plain = partial(servers.edge, cores=setting.server_cores, budget_ms=0)
    with_http = partial(plain, "--http", "127.0.0.1:0")
    return [
        _case(_PLAIN, plain, _FEW, "", setting),
        _case(_UNUSED, with_http, _FEW, "", setting),
        _case(_FLV, with_http, _FEW, ".flv", setting),
        _case(_MANY_PLAIN, with_http, _MANY, "", setting),
        _case(_MP4, with_http, _MANY, ".mp4", setting),
        _case(_ONE_HLS, with_http, 1, ".m3u8", setting),
        _case(_HLS, with_http, _FEW, ".m3u8", setting),
    ]


def _case(name: str, start: servers.Starter, players: int, play: str, setting: Setting) -> Case:
    options = load.players(players)

    def measure() -> Measured:
        with start() as server:
            return load.measured(load.run(server, options, setting, play=play), options)

    return Case(name, measure)


def _request_us(found: Found) -> float | None:
    """CPU of one request more: the publisher and the making of segments are in the case of one player."""
    one_share, share = (found.value(case, "cpu_share") for case in (_ONE_HLS, _HLS))
    one_rate, rate = (found.value(case, "requests_per_s") for case in (_ONE_HLS, _HLS))
    if one_share is None or one_rate is None or share is None or rate is None:
        return None
    return (share - one_share) / (rate - one_rate) * 1e6


def _judge(found: Found) -> list[Verdict]:
    def of(case: str) -> float | None:
        return found.ratio(case, _BESIDE[case], "cpu_ms")

    return [
        at_most(f"{_FEW} players over RTMP: CPU with HTTP on, of that with HTTP off", _AIM_UNUSED,
                of(_UNUSED), "{:.2f}"),
        at_most(f"{_FEW} players of HTTP-FLV: CPU, of that of as many over RTMP", _AIM_PLAYER, of(_FLV),
                "{:.2f}"),
        at_most(f"{_MANY} players of MP4: CPU, of that of as many over RTMP", _AIM_PLAYER, of(_MP4),
                "{:.2f}"),
        at_most(f"{_FEW} players of low-latency HLS: CPU of one request more", _AIM_REQUEST_US,
                _request_us(found), "{:.0f} us"),
    ]  # fmt: skip


HTTP_PLAYERS = Scenario(
    name="http-players",
    title="Players of one stream over HTTP, beside those over RTMP, budget 0",
    cases=_cases,
    columns=(
        value("CPU ms a player-second", "cpu_ms", "{:.3f}"),
        ratio("of RTMP", "cpu_ms", _BESIDE.get),
        value("CPU a request", "request_us", "{:.0f} us"),
        value("requests a second", "requests_per_s", "{:,.0f}"),
        *DELAY_COLUMNS,
        *HOST_COLUMNS,
    ),
    judge=_judge,
    told_by_aims=True,
    case_s=lambda setting: setting.window_s + setting.settle_s + 4.0 + 0.004 * _MANY,
)
