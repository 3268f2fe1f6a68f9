"""The commands in the client role: ``publish``, ``play`` and ``probe``.

They print on stderr what goes on, and on stdout only what was asked for (``probe``, ``play -o -``). Ctrl-C
and SIGTERM end them cleanly, with exit code 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from cluster.client.backoff import Backoff
from cluster.client.connecting import DEFAULT_TIMEOUT_S, Connecting, ConnectOptions
from cluster.client.dialogue import Dialogue
from cluster.client.errors import RtmpError, Timeout, Unreachable
from cluster.client.flv_source import FlvSource
from cluster.client.media_sender import MediaSender
from cluster.client.probe import WATCH_S, ProbeReport, probe
from cluster.client.progress import Progress, told_if_slow
from cluster.client.reconnecting import Reconnecting
from cluster.client.reconnecting_publication import ReconnectingPublication
from cluster.client.recording import Recording
from cluster.client.statistics import StreamStatistics
from cluster.commands import flv_files
from cluster.commands.failures import failed
from cluster.commands.hints import hint, unused_tls_options
from cluster.commands.seconds import positive_seconds
from cluster.commands.urls import parsed_url, stream_url
from cluster.core.media.classify import is_coded
from cluster.core.media.flv import FlvError, FlvOddity
from cluster.core.message import Message
from cluster.core.rtmp.url import RtmpUrl
from cluster.net.tls_client import Tls
from cluster.process.event_loop import loop_factory
from cluster.process.exit_codes import ExitCode
from cluster.process.options import ConfigError
from cluster.process.words import hide_secrets, printable

_STDOUT = Path("/dev/stdout")
#: How the name of an FLV file ends; one without an ending promises nothing.
_FLV_NAMES = ("", ".flv")
#: What a file has wrong that does not keep it from being published.
_ODDITIES = {
    FlvOddity.VERSION: "its version of FLV is not 1, and it is read as if it were",
    FlvOddity.DATA_OFFSET: "its header says that it is shorter than 9 bytes, which none is",
    FlvOddity.FILTER_BIT: "it says that tags are encrypted, and they are not",
    FlvOddity.PREVIOUS_TAG_SIZE: "sizes behind its tags (PreviousTagSize) are wrong, and not needed",
}
_Command = Callable[..., Any]


def _connect_options(command: _Command) -> _Command:
    """The options of every command that connects; the command gets them as ``options``."""

    @functools.wraps(command)
    def run(
        url: RtmpUrl, timeout: float, insecure: bool, ca_file: str | None, server_name: str | None,
        **more: Any,
    ) -> Any:  # fmt: skip
        tls = Tls(verify=not insecure, ca_file=ca_file, server_name=server_name)
        if not url.tls and (unused := unused_tls_options(tls)):
            click.echo(unused, err=True)
        return command(url=url, options=ConnectOptions(timeout_s=timeout, tls=tls), **more)

    for option in (
        click.option("--server-name", metavar="NAME",
                     help="rtmps: the name to ask for and to check, instead of the URL's host."),
        click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
                     help="rtmps: the authorities to trust (PEM), instead of the system's."),
        click.option("--insecure", is_flag=True, help="rtmps: accept any certificate."),
        click.option("--timeout", callback=positive_seconds, default=f"{DEFAULT_TIMEOUT_S:g}",
                     show_default=True, metavar="S",
                     help="How long the server may take to connect, and for each answer, in seconds."),
    ):  # fmt: skip
        run = option(run)
    return run


_reconnect = click.option(
    "--reconnect", is_flag=True,
    help="Connect again when the connection is lost, with growing pauses; go where the server asks us to.",
)  # fmt: skip


class _FileArgument(click.Path):
    """An existing file in front of an address; who swaps the two is told so."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        if "://" in os.fspath(value):
            self.fail("the file goes first, and then the address", param, ctx)
        if os.fspath(value) == "-":
            self.fail("the file of standard input is /dev/stdin", param, ctx)
        return super().convert(value, param, ctx)


@click.command()
@click.argument("file", type=_FileArgument(exists=True, dir_okay=False, path_type=Path))
@click.argument("url", callback=stream_url)
@click.option("--loop", is_flag=True, help="Begin again at the end, on one clock that never steps back.")
@_reconnect
@_connect_options
def publish(file: Path, url: RtmpUrl, loop: bool, reconnect: bool, options: ConnectOptions) -> int:
    """Publish an FLV FILE to URL in real time."""
    flv_files.check(file)
    options = dataclasses.replace(options, publisher=True)
    return _run(url, lambda: _publish(file, url, loop, reconnect, options))


@click.command()
@click.argument("url", callback=stream_url)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write what is received to an FLV file, from the first frame on; - is standard output.")
@click.option("--duration", callback=positive_seconds, metavar="S",
              help="End that many seconds after the first frame, which has to come within --timeout.")
@_reconnect
@_connect_options
def play(
    url: RtmpUrl, output: Path | None, duration: float | None, reconnect: bool, options: ConnectOptions
) -> int:
    """Play URL, show how it arrives, and write it to a file if asked."""
    return _run(url, lambda: _play(url, output, duration, reconnect, options))


@click.command(name="probe")
@click.argument("url", callback=parsed_url)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines of text.")
@click.option("--dump", is_flag=True,
              help="Show on stderr what both sides say, message by message, secrets hidden.")
@_connect_options
def probe_command(url: RtmpUrl, as_json: bool, dump: bool, options: ConnectOptions) -> int:
    """Show what the server of URL is and can, what its stream holds, and how soon it came."""
    reports: list[ProbeReport] = []
    if dump:
        options = dataclasses.replace(options, tap=_dumping())

    async def run() -> None:
        async with told_if_slow(f"looking at {url}, for up to {options.timeout_s + WATCH_S:g} s"):
            reports.append(await probe(url, options))

    code = _run(url, run)
    for report in reports:
        shown = dataclasses.asdict(report)
        if dump:
            shown["url"] = hide_secrets(report.url.encode()).decode()
        click.echo(json.dumps(shown) if as_json else _as_text(shown))
        code = ExitCode.REFUSED if report.problem else code
    return code


def add_to(group: click.Group) -> None:
    """Register the commands."""
    for command in (publish, play, probe_command):
        group.add_command(command)


class _NothingPlayedError(RtmpError):
    """The server let us play, and there was nothing to be played."""


# What they do.


async def _publish(file: Path, url: RtmpUrl, loop: bool, reconnect: bool, options: ConnectOptions) -> None:
    source, statistics = FlvSource(file, loop=loop), StreamStatistics()
    now = asyncio.get_running_loop().time
    progress, said = Progress(statistics, f"to {url}"), set[str]()
    async with contextlib.AsyncExitStack() as stack:
        async with _connecting(url, options):
            publishing = _publication(url, reconnect, options, progress.say)
            publication = await stack.enter_async_context(publishing)
        await stack.enter_async_context(progress)
        async for message in source:
            await publication.send(message)
            statistics.add(message, now())
            if source.oddities != said:
                for oddity in sorted(source.oddities - said):
                    progress.say(f"{file}: {_ODDITIES[oddity]}")
                said.update(source.oddities)
        if source.truncated:
            progress.say(f"{file}: it ends in the middle of a tag, which is left out")
        if isinstance(publication, ReconnectingPublication) and publication.dropped:
            progress.say(f"{publication.dropped} messages were left out while there was no connection")
    if statistics.first_at is None:
        raise ConfigError(f"{file} had no audio and no video in it: nothing was published")


async def _play(
    url: RtmpUrl, output: Path | None, duration_s: float | None, reconnect: bool, options: ConnectOptions
) -> None:
    statistics = StreamStatistics()
    progress = Progress(statistics, f"from {url}", question="is it published?")
    now = asyncio.get_running_loop().time
    async with contextlib.AsyncExitStack() as stack:
        recording = None
        if output is not None:
            recording = stack.enter_context(Recording(_STDOUT if str(output) == "-" else output))
        async with _connecting(url, options):
            playing = _playback(url, reconnect, options, progress.say)
            playback = await stack.enter_async_context(playing)
        await stack.enter_async_context(progress)
        if output is not None and output.suffix.lower() not in _FLV_NAMES:
            progress.say(f"{output} will be FLV, whatever its name says")
        async for message in _for_a_time(playback, duration_s, options.timeout_s):
            statistics.add(message, now())
            if recording is not None:
                recording.write(message)
    if statistics.first_at is None:
        waited = "" if duration_s is None else f" within {options.timeout_s:g} s"
        raise _NothingPlayedError(f"no audio or video of {url} came{waited}: is it published?")


def _connecting(url: RtmpUrl, options: ConnectOptions) -> contextlib.AbstractAsyncContextManager[None]:
    """Tells of a server that takes its time."""
    where = f"{url.host}:{url.port}"
    return told_if_slow(f"waiting for an answer of {where}, for up to {options.timeout_s:g} s")


@contextlib.asynccontextmanager
async def _publication(
    url: RtmpUrl, reconnect: bool, options: ConnectOptions, told: Callable[[str], None]
) -> AsyncIterator[MediaSender]:
    if reconnect:
        async with Reconnecting(url, Backoff(), options, told).publish() as lasting:
            yield lasting
    else:
        async with Connecting(url, options) as connection, await connection.publish() as publication:
            yield publication


@contextlib.asynccontextmanager
async def _playback(
    url: RtmpUrl, reconnect: bool, options: ConnectOptions, told: Callable[[str], None]
) -> AsyncIterator[AsyncIterator[Message]]:
    if reconnect:
        async with Reconnecting(url, Backoff(), options, told).play() as lasting:
            yield lasting
    else:
        async with Connecting(url, options) as connection, await connection.play() as playback:
            yield playback


async def _for_a_time(
    playback: AsyncIterator[Message], duration_s: float | None, timeout_s: float
) -> AsyncIterator[Message]:
    """The messages that come until ``duration_s`` after the first frame; None: all.

    Servers send players headers, metadata and more of a stream that nobody publishes, so these do not
    begin it. If no frame comes within ``timeout_s``, that is the end.
    """
    loop = asyncio.get_running_loop()
    begun = duration_s is None
    ends_at = None if duration_s is None else loop.time() + timeout_s
    while True:
        try:
            async with asyncio.timeout_at(ends_at) as scope:
                message = await anext(playback)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not scope.expired():
                raise
            return
        if duration_s is not None and not begun and is_coded(message):
            begun, ends_at = True, loop.time() + duration_s
        yield message


def _run(url: RtmpUrl, work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run to the end or to a signal; the exit code, with one line on stderr if it is not 0."""
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_until_signalled(work))
    except RtmpError as error:
        code = ExitCode.UNREACHABLE if isinstance(error, Unreachable | Timeout) else ExitCode.REFUSED
        advice = hint(error, url)
        return failed(code, f"{error}; {advice}" if advice else error)
    except FlvError as error:
        return failed(ExitCode.USAGE, error)
    return ExitCode.OK


async def _until_signalled(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = asyncio.ensure_future(work())
    asked: list[int] = []

    def stop(number: int) -> None:
        asked.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise


def _dumping() -> Callable[[str], Dialogue]:
    """What shows each connection on stderr, with the time since now."""
    began = time.perf_counter()

    def tap(where: str) -> Dialogue:
        write = functools.partial(click.echo, err=True)
        return Dialogue(where, write, lambda: (time.perf_counter() - began) * 1000)

    return tap


def _as_text(report: dict[str, Any]) -> str:
    """A line for each thing that was seen."""
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        elif name.endswith("_ms") and value is not None:
            value = f"{value:.1f} ms"
        if value not in (None, ""):
            label = name.removesuffix("_ms").replace("_", " ")
            lines.append(f"{label:18} {printable(str(value))}")
    return "\n".join(lines)
