"""The command line: every command, and what it ends with when it fails.

Options are declared elsewhere (``EdgeConfig``, ``RouterConfig``). Exit codes are those of
``ExitCode``; an error is one line on stderr.
"""

from __future__ import annotations

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cluster import __version__
from cluster.bus import cluster_key
from cluster.commands import api as api_commands
from cluster.commands import client as client_commands
from cluster.commands.check import check
from cluster.commands.declared import declared, given, say_unknown_variables
from cluster.commands.edge import edge
from cluster.commands.failures import failed
from cluster.commands.load import load
from cluster.commands.router import router
from cluster.commands.sign import sign
from cluster.commands.status import status as show_status
from cluster.core import message
from cluster.core.errors import EnvironmentFault
from cluster.edge.node.config import OPTIONS, EdgeConfig
from cluster.process.exit_codes import ExitCode
from cluster.process.options import ConfigError

PROGRAM = "rtmp-cluster"
#: An extension if the modules that every message passes are compiled (``setup.py``).
_IS_COMPILED = (message.__file__ or "").endswith(".so")
_VERSION = f"{__version__} (compiled)" if _IS_COMPILED else __version__

#: Without a router, ``status`` looks for what runs here.
_STATUS_OPTIONS = {
    "routers": replace(
        OPTIONS["routers"], help="A router to ask: tcp://HOST:PORT or ipc://PATH. Repeatable.",
        default_text="what this user runs on this host",
    ),
    "cluster_key": replace(
        OPTIONS["cluster_key"], help="The cluster's key, made by keygen.",
        default_text="that of what runs on this host",
    ),
    "api_token": replace(OPTIONS["api_token"], help="With --api: a file whose first line is a token."),
}  # fmt: skip

#: What a full disk, or one that fails, says to who writes.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

#: What somebody may have meant by an argument too many.
_INSTEAD_OF_ARGUMENTS = {
    "edge": "where to listen is said by --bind",
    "router": "where to listen is said by --bind",
    "play": "the file to write is said by -o",
    "status": "whom to ask is said by --router",
}


def main() -> None:
    """The ``rtmp-cluster`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.UsageError as error:
        return failed(ExitCode.USAGE, _explained(error, arguments), PROGRAM)
    except ConfigError as error:
        return failed(ExitCode.USAGE, error, PROGRAM)
    except EnvironmentFault as error:
        return failed(ExitCode.ENVIRONMENT, error, PROGRAM)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        sys.stdout = None  # what it still holds would fail again at the end
        return failed(ExitCode.ENVIRONMENT, f"cannot write to standard output: {error.strerror}", PROGRAM)
    except (click.Abort, KeyboardInterrupt):  # Ctrl-C before there was anything to end
        return ExitCode.OK
    return int(result or ExitCode.OK)


def _explained(error: click.UsageError, arguments: list[str]) -> str:
    """What is wrong with the arguments, and where it says what is right."""
    command = next((each for each in arguments if each in cli.commands), "")
    said = error.format_message().removesuffix(".")
    if said.startswith("Got unexpected extra argument") and command in _INSTEAD_OF_ARGUMENTS:
        said += f": {_INSTEAD_OF_ARGUMENTS[command]}"
    return f"{said} (options: {f'{PROGRAM} {command}'.strip()} --help)"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 108})
@click.version_option(_VERSION, prog_name=PROGRAM)
def cli() -> None:
    """An RTMP server that uses every core and any number of hosts as one system."""


client_commands.add_to(cli)
api_commands.add_to(cli)
cli.add_command(load)
cli.add_command(edge)
cli.add_command(router)
cli.add_command(check)
cli.add_command(sign)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--watch", is_flag=True, help="Again every 2 s, on a screen of its own, until Ctrl-C.")
@api_commands.api_option
@declared(_STATUS_OPTIONS)
def status(as_json: bool, watch: bool, url: str | None, **values: Any) -> int:
    """Show the routers, nodes and streams of a cluster: without options, of what runs on this host.

    The publisher of a stream without players is read twice a second: that long its pings wait.
    """
    say_unknown_variables()
    config = EdgeConfig(**given(OPTIONS, values).values)
    routers = config.routers
    if url is not None and watch:
        raise click.UsageError("--watch asks routers (--router), and not an API (--api)")
    if url is not None:
        return api_commands.api_status(url, config.api_token, as_json)
    if watch:
        from cluster.commands.status_watch import watch_status  # the other commands do without rich's 4 MiB

        return watch_status(routers, config.cluster_key, as_json)
    return show_status(routers, config.cluster_key, as_json)


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
def keygen(directory: Path) -> None:
    """Make a cluster key, DIRECTORY/cluster.key, to be copied to every host of the cluster."""
    click.echo(f"{cluster_key.generate(directory)}: give it to every router and edge as --cluster-key")
