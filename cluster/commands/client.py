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
from cluster.client.probe import ProbeReport, probe
from cluster.client.progress import Progress
from cluster.client.reconnecting import Reconnecting
from cluster.client.recording import Recording
from cluster.client.statistics import StreamStatistics
from cluster.commands.failures import failed
from cluster.commands.urls import parsed_url, stream_url
from cluster.core.media.classify import is_coded
from cluster.core.media.flv import FlvError, FlvOddity
from cluster.core.message import Message
from cluster.core.rtmp.url import RtmpUrl
from cluster.net.tls_client import Tls
from cluster.process.event_loop import loop_factory
from cluster.process.exit_codes import ExitCode
from cluster.process.words import hide_secrets, printable

_STDOUT = Path("/dev/stdout")
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
        timeout: float, insecure: bool, ca_file: str | None, server_name: str | None, **more: Any
    ) -> Any:
        tls = Tls(verify=not insecure, ca_file=ca_file, server_name=server_name)
        return command(options=ConnectOptions(timeout_s=timeout, tls=tls), **more)

    for option in (
        click.option("--server-name", metavar="NAME",
                     help="rtmps: the name to ask for and to check, instead of the URL's host."),
        click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
                     help="rtmps: the authorities to trust (PEM), instead of the system's."),
        click.option("--insecure", is_flag=True, help="rtmps: accept any certificate."),
        click.option("--timeout", type=click.FloatRange(0, min_open=True), default=DEFAULT_TIMEOUT_S,
                     show_default=True, metavar="S",
                     help="How long the server may take to connect, and for each answer, in seconds."),
    ):  # fmt: skip
        run = option(run)
    return run


_reconnect = click.option(
    "--reconnect", is_flag=True,
    help="Connect again when the connection is lost, with growing pauses; go where the server asks us to.",
)  # fmt: skip


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("url", callback=stream_url)
@click.option("--loop", is_flag=True, help="Begin again at the end, on one clock that never steps back.")
@_reconnect
@_connect_options
def publish(file: Path, url: RtmpUrl, loop: bool, reconnect: bool, options: ConnectOptions) -> int:
    """Publish an FLV FILE to URL in real time."""
    options = dataclasses.replace(options, publisher=True)
    return _run(lambda: _publish(file, url, loop, reconnect, options))


@click.command()
@click.argument("url", callback=stream_url)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write what is received to an FLV file, from the first frame on; - is standard output.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="S",
              help="End that many seconds after the first frame, which has to come within --timeout.")
@_reconnect
@_connect_options
def play(
    url: RtmpUrl, output: Path | None, duration: float | None, reconnect: bool, options: ConnectOptions
) -> int:
    """Play URL, show how it arrives, and write it to a file if asked."""
    return _run(lambda: _play(url, output, duration, reconnect, options))


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
        reports.append(await probe(url, options))

    code = _run(run)
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
    async with _publication(url, reconnect, options) as publication, progress:
        async for message in source:
            await publication.send(message)
            statistics.add(message, now())
            if source.oddities != said:
                for oddity in sorted(source.oddities - said):
                    progress.say(printable(f"{file}: {_ODDITIES[oddity]}"))
                said.update(source.oddities)
        if source.truncated:
            progress.say(printable(f"{file}: it ends in the middle of a tag, which is left out"))


async def _play(
    url: RtmpUrl, output: Path | None, duration_s: float | None, reconnect: bool, options: ConnectOptions
) -> None:
    statistics = StreamStatistics()
    now = asyncio.get_running_loop().time
    async with contextlib.AsyncExitStack() as stack:
        playback = await stack.enter_async_context(_playback(url, reconnect, options))
        recording = None
        if output is not None:
            recording = stack.enter_context(Recording(_STDOUT if str(output) == "-" else output))
        await stack.enter_async_context(Progress(statistics, f"from {url}"))
        async for message in _for_a_time(playback, duration_s, options.timeout_s):
            statistics.add(message, now())
            if recording is not None:
                recording.write(message)
    if not statistics.video + statistics.audio:
        waited = "" if duration_s is None else f" within {options.timeout_s:g} s"
        raise _NothingPlayedError(f"no audio or video of {url} came{waited}: is it published?")


@contextlib.asynccontextmanager
async def _publication(
    url: RtmpUrl, reconnect: bool, options: ConnectOptions
) -> AsyncIterator[MediaSender]:
    if reconnect:
        async with Reconnecting(url, Backoff(), options).publish() as lasting:
            yield lasting
    else:
        async with Connecting(url, options) as connection, await connection.publish() as publication:
            yield publication


@contextlib.asynccontextmanager
async def _playback(
    url: RtmpUrl, reconnect: bool, options: ConnectOptions
) -> AsyncIterator[AsyncIterator[Message]]:
    if reconnect:
        async with Reconnecting(url, Backoff(), options).play() as lasting:
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


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run to the end or to a signal; the exit code, with one line on stderr if it is not 0."""
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_until_signalled(work))
    except (Unreachable, Timeout) as error:
        return failed(ExitCode.UNREACHABLE, error)
    except RtmpError as error:
        return failed(ExitCode.REFUSED, error)
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
