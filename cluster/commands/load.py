"""``rtmp-cluster load``: a load on any RTMP server, and what publishers and players saw."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import click

from cluster.commands import flv_files
from cluster.commands.failures import failed
from cluster.commands.hints import unused_tls_options
from cluster.commands.seconds import seconds
from cluster.commands.urls import parsed_url
from cluster.core.errors import EnvironmentFault
from cluster.core.media.flv import FlvError
from cluster.core.rtmp.url import RtmpUrl, UrlError
from cluster.load.conductor import Refused, Unreachable, run_load
from cluster.load.http_url import DEFAULT_PORTS, HttpUrl
from cluster.load.job import Drain, LoadPlan, PlanError
from cluster.load.media import ShapeError, StreamShape
from cluster.net.tls_client import Tls
from cluster.process import signals
from cluster.process.exit_codes import ExitCode
from cluster.process.files import check_writable

_STDOUT = Path("-")
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}
#: Linux numbers processes up to this (proc(5), pid_max).
_MAX_PID = 1 << 22

_Context = click.Context
_Parameter = click.Parameter


def _played_url(ctx: _Context, param: _Parameter, text: str | None) -> RtmpUrl | HttpUrl | None:
    """An address of RTMP or of HTTP, which its scheme tells."""
    if text is None or text.partition("://")[0].lower() not in DEFAULT_PORTS:
        return parsed_url(ctx, param, text)
    try:
        return HttpUrl.parse(text)
    except UrlError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def _bit_rate(ctx: _Context, param: _Parameter, text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if match is None:
        raise click.BadParameter("not a bit rate, as 2500k and 2.5M are", ctx, param)
    return round(float(match[1]) * _UNITS[match[2].lower()])


def _pids(ctx: _Context, param: _Parameter, texts: tuple[str, ...]) -> tuple[int, ...]:
    for text in texts:
        if not text.strip():
            raise click.BadParameter("empty: the program that it was asked of is not running", ctx, param)
        if len(text.split()) > 1:
            raise click.BadParameter(f"{text!r} are several: repeat --pid for each", ctx, param)
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PID):
            raise click.BadParameter(f"{text!r} is not a process id, as pidof prints them", ctx, param)
    return tuple(map(int, texts))


@click.command()
@click.argument("url", callback=_played_url)
@click.option("--publishers", type=click.IntRange(0), default=1, show_default=True, metavar="N",
              help="One publishes the URL's stream; several publish it with -0, -1, … behind its name. "
                   "0: play what is published already.")
@click.option("--players", type=click.IntRange(0), default=0, show_default=True, metavar="N",
              help="Dealt to the streams by turns.")
@click.option("--play-from", "--play", callback=_played_url, metavar="URL",
              help="Where the players play, if not at URL: the same stream at another node, or over HTTP "
                   "(http, https: .flv, .mp4, .m3u8; ws, wss: .flv).")
@click.option("--duration", callback=seconds, default="30", show_default=True, metavar="S",
              help="How long to measure, once everybody is there.")
@click.option("--ramp", callback=seconds, default="1", show_default=True, metavar="S",
              help="Spread the players' joins over this time; 0: all at once.")
@click.option("--settle", callback=seconds, default="2", show_default=True, metavar="S",
              help="Between the last player's joining and measuring.")
@click.option("--bitrate", callback=_bit_rate, default="2500k", show_default=True, metavar="RATE",
              help="Of each synthetic stream, sound included, in bits a second.")
@click.option("--fps", type=click.IntRange(1, 240), default=30, show_default=True, metavar="N",
              help="Frames a second.")
@click.option("--gop", callback=seconds, default="2s", show_default=True, metavar="S",
              help="From one keyframe to the next.")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FLV",
              help="Publish this file over and over instead of synthetic media.")
@click.option("--chunk-size", type=click.IntRange(128, 65536), default=4096, show_default=True, metavar="N",
              help="Of what publishers send, in bytes; 128 is the hard case for a server.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Generator processes; each uses a core.")
@click.option("--sample", type=click.IntRange(1), default=50, show_default=True, metavar="N",
              help="One player in N parses all it gets, for delay and losses; the others count bytes.")
@click.option("--drain", type=click.Choice(list(map(str, Drain))), default="arrival", show_default=True,
              help="When the others read: on each arrival, as players do, or every 50 ms, for very many.")
@click.option("--slow-share", type=click.FloatRange(0, 1), default=0, show_default=True, metavar="SHARE",
              help="How many of the players read too slowly; delays are those of the others.")
@click.option("--slow-rate", type=click.FloatRange(0, 1, min_open=True), default=0.1, show_default=True,
              metavar="SHARE", help="What they read of --bitrate.")
@click.option("--timeout", callback=seconds, default="10", show_default=True, metavar="S",
              help="How long the server may take to let a publisher or a player in.")
@click.option("--insecure", is_flag=True, help="rtmps, https, wss: accept any certificate.")
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="rtmps, https, wss: the authorities to trust (PEM), instead of the system's.")
@click.option("--pid", "pids", callback=_pids, multiple=True, metavar="PID",
              help="Measure the server's processes: this one and its descendants (may be repeated).")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
              metavar="FILE", help="Write the result as JSON; - is standard output, without the table.")
@click.option("--report", "report_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the result as one HTML page with plots.")
def load(
    url: RtmpUrl | HttpUrl, bitrate: int, fps: int, gop: float, insecure: bool, ca_file: str | None,
    duration: float, ramp: float, settle: float, timeout: float, drain: str,
    json_file: Path | None, report_file: Path | None, **more: Any,
) -> int:  # fmt: skip
    """Put publishers and players on the server of URL, and measure what they see.

    Delay, joining, stalls, losses, bytes and disconnects; with --pid the server's CPU and memory too.
    docs/load.md says how to read the result.
    """
    # An edge, which shares the command line, need not carry what only this command shows things with.
    from cluster.load.origin import command_line
    from cluster.load.report import html_report
    from cluster.load.terminal import LiveView, print_result

    tls = Tls(verify=not insecure, ca_file=ca_file)
    try:
        plan = LoadPlan(
            url=url, shape=StreamShape(bitrate, fps, gop),
            duration_s=duration, ramp_s=ramp, settle_s=settle, timeout_s=timeout,
            drain=Drain(drain), tls=tls, **more,
        )  # fmt: skip
    except (PlanError, ShapeError) as error:
        raise click.UsageError(str(error)) from None
    _check_files(plan.file, json_file, report_file)
    if not (plan.url.tls or plan.play_url.tls) and (unused := unused_tls_options(tls)):
        click.echo(unused, err=True)
    try:
        with signals.queued(signal.SIGINT, signal.SIGTERM) as queue, LiveView(plan, sys.stderr) as view:
            result = run_load(plan, stop=lambda: bool(signals.read(queue)), watch=view)
    except Unreachable as error:
        return failed(ExitCode.UNREACHABLE, error)
    except Refused as error:
        return failed(ExitCode.REFUSED, error)
    except FlvError as error:
        return failed(ExitCode.USAGE, f"{plan.file}: {error.detail}")
    result.command = command_line(sys.argv[1:])
    shown = result.as_dict()
    if json_file == _STDOUT:
        click.echo(json.dumps(shown))
    else:
        print_result(shown, sys.stdout)
        _write(json_file, json.dumps(shown) + "\n")
    _write(report_file, html_report(shown))
    if result.faults:
        return 1
    return ExitCode.REFUSED if result.came_to_nothing or result.something_failed else ExitCode.OK


def _check_files(published: Path | None, json_file: Path | None, report_file: Path | None) -> None:
    """What can be told before the run: whether the files it needs, and those about it, will do."""
    if json_file is not None and json_file == report_file:
        raise click.UsageError(f"--json and --report both write {json_file}: name two files")
    for path in (json_file, report_file):
        if path is not None and path != _STDOUT:
            check_writable(path)
    if published is not None:
        flv_files.check(published)


def _write(path: Path | None, text: str) -> None:
    """After the result was shown: a full disk loses no more than the file."""
    if path is None:
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}") from None
