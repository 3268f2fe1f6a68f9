"""The command line: ``rtmp-cluster edge`` and ``rtmp-cluster router``, and the wiring of both.

The only place that knows edge and router alike. Options are read here and declared elsewhere
(``EdgeConfig``). Exit codes are those of ``ExitCode``; an error is one line on stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import select
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from cluster import __version__
from cluster.bus import cluster_key
from cluster.commands import client as client_commands
from cluster.commands.load import load
from cluster.commands.status import status as show_status
from cluster.core.bus.endpoints import endpoints
from cluster.core.errors import EnvironmentFault
from cluster.edge.node.config import OPTIONS, ConfigError, EdgeConfig, Option
from cluster.edge.node.supervisor import Supervisor
from cluster.net.addresses import reserved
from cluster.net.tls_certificate import Certificate
from cluster.process import signals
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import LogFormat, announce, configure
from cluster.process.notify import Notifier
from cluster.router.repeater import Repeaters
from cluster.router.router import Router

PROGRAM = "rtmp-cluster"

#: How often the router command looks whether its router still runs.
ROUTER_CHECK_S = 1.0

DEFAULT_ROUTER_BIND = "tcp://127.0.0.1:1936"

logger = logging.getLogger(__name__)


def main() -> None:
    """The ``rtmp-cluster`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx is not None else PROGRAM
        return _fail(ExitCode.USAGE, f"{error.format_message()} (options: {command} --help)")
    except ConfigError as error:
        return _fail(ExitCode.USAGE, str(error))
    except EnvironmentFault as error:
        return _fail(ExitCode.ENVIRONMENT, str(error))
    except (click.Abort, KeyboardInterrupt):  # Ctrl-C before there was anything to end
        return ExitCode.OK
    return int(result or ExitCode.OK)


def _fail(code: ExitCode, message: str) -> ExitCode:
    click.echo(f"{PROGRAM}: {' '.join(message.split())}", err=True)
    return code


def _reader(option: Option) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Reads an option's text as its declaration says."""

    def read(ctx: click.Context, param: click.Parameter, text: Any) -> Any:
        try:
            if option.repeatable:
                return tuple(map(option.parse, text))
            return None if text is None else option.parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return read


def _declared(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Click options for these fields of the configuration; one that is not given is not passed on,
    so that its default stays where it is declared."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            option = OPTIONS[name]
            command = click.option(
                option.flag, name,
                metavar=option.metavar, multiple=option.repeatable, callback=_reader(option),
                envvar=option.env, show_envvar=True,
                help=f"{option.help}  [default: {option.default_text}]",
            )(command)  # fmt: skip
        return command

    return decorate


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != ()}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 108})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """An RTMP server that uses every core and any number of hosts as one system."""


client_commands.add_to(cli)
cli.add_command(load)


@cli.command()
@_declared(*OPTIONS)
def edge(**values: Any) -> int:
    """Accept publishers and players, with one worker process per core."""
    config = EdgeConfig(**_given(values))
    configure(config.log_format, config.log_level)
    # Here, so that a bad one ends nothing but this command.
    key = None if config.cluster_key is None else cluster_key.load(config.cluster_key)
    with contextlib.ExitStack() as stack:
        if config.tls_files is not None:
            Certificate(*config.tls_files).warn()  # here, so that a bad one ends nothing but this command
        binds = stack.enter_context(reserved(config.binds))
        tls_binds = stack.enter_context(reserved(config.tls_binds))
        config = dataclasses.replace(config, binds=binds, tls_binds=tls_binds)
        if config.routers and config.workers == 1:
            return Supervisor(config).run()  # it has no siblings, and shares no subscription
        own_router = stack.enter_context(_own_router())
        if not config.routers:
            return Supervisor(dataclasses.replace(config, routers=(own_router,))).run()
        stack.enter_context(Repeaters(config.routers, own_router, key))
        return Supervisor(config, own_router=own_router).run()


@contextlib.contextmanager
def _own_router() -> Iterator[str]:
    """A router for this node alone, reachable by its user alone; yields its address."""
    with (
        tempfile.TemporaryDirectory(prefix=f"{PROGRAM}-") as directory,  # mode 0700
        Router(f"ipc://{Path(directory) / 'r'}") as router,
    ):
        yield router.endpoint


def _router_bind(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return endpoints(value, bind=True).base
    except EnvironmentFault as error:
        raise click.BadParameter(str(error), ctx, param) from None


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--watch", is_flag=True, help="Again every 2 s, on a screen of its own, until Ctrl-C.")
@_declared("routers", "cluster_key")
def status(as_json: bool, watch: bool, **values: Any) -> int:
    """Show the routers, nodes and streams of a cluster.

    The publisher of a stream without players is read twice a second: that long its pings wait.
    """
    config = EdgeConfig(**_given(values))
    routers = config.routers or (DEFAULT_ROUTER_BIND,)
    if watch:
        from cluster.commands.status_watch import watch_status  # the other commands do without rich's 4 MiB

        return watch_status(routers, config.cluster_key, as_json)
    return show_status(routers, config.cluster_key, as_json)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def keygen(directory: Path) -> None:
    """Make a cluster key, DIRECTORY/cluster.key, to be copied to every host of the cluster."""
    click.echo(f"{cluster_key.generate(directory)}: give it to every router and edge as --cluster-key")


@cli.command()
@click.option(
    "--bind", metavar="ADDRESS", default=DEFAULT_ROUTER_BIND, show_default=True,
    envvar="RTMP_CLUSTER_ROUTER_BIND", show_envvar=True, callback=_router_bind,
    help="Where workers reach this router: tcp://HOST:PORT (the two ports after it are used too) or ipc://PATH.",
)  # fmt: skip
@click.option(
    "--insecure", is_flag=True, envvar="RTMP_CLUSTER_ROUTER_INSECURE", show_envvar=True,
    help="Do not warn that whoever reaches this address without a --cluster-key is part of the cluster.",
)  # fmt: skip
@_declared("cluster_key", "log_format", "log_level")
def router(bind: str, insecure: bool, **values: Any) -> int:
    """Carry media between workers and hosts, and know who publishes what."""
    config = EdgeConfig(**_given(values))
    log_format: LogFormat = config.log_format
    configure(log_format, config.log_level)
    key = None if config.cluster_key is None else cluster_key.load(config.cluster_key)
    if key is None and not insecure and not endpoints(bind, bind=True).is_loopback:
        logger.warning(
            "no --cluster-key: whoever reaches %(bind)s can read, replace and end every stream "
            "(rtmp-cluster keygen makes a key; --insecure if the network is guarded)",
            {"bind": bind}, extra={"event": "router_open"},
        )  # fmt: skip
    with signals.queued(signal.SIGTERM, signal.SIGINT) as queue, Router(bind, key=key) as running:
        fields = {"endpoint": running.endpoint, "pid": os.getpid()}
        announce(logger, "ready", "ready on %(endpoint)s; pid %(pid)d", fields)
        notifier = Notifier.taken_from(os.environ)
        notifier.ready(f"ready on {running.endpoint}")
        while running.is_alive:
            select.select([queue], [], [], ROUTER_CHECK_S)
            if number := next(iter(signals.read(queue)), None):
                logger.info("%s: ending", signal.Signals(number).name, extra={"event": "ending"})
                notifier.stopping("ending")
                return ExitCode.OK
    logger.error("the router has failed: ending", extra={"event": "failed"})
    return 1
