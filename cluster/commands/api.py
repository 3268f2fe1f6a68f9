"""The commands that ask, and tell, a whole cluster over the API of one of its processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cluster.commands import api_tables, trace_tree
from cluster.commands.api_client import Api, ApiRefused, found, in_path
from cluster.commands.declared import declared, given, say_unknown_variables
from cluster.commands.failures import failed
from cluster.commands.seconds import duration
from cluster.core.errors import EnvironmentFault
from cluster.edge.node.config import OPTIONS
from cluster.process.exit_codes import ExitCode
from cluster.process.words import printable

_TOKEN = {
    "api_token": replace(
        OPTIONS["api_token"], help="A file whose first line is a token.",
        default_text="that of what runs on this host",
    )
}  # fmt: skip

api_option = click.option(
    "--api", "url", metavar="URL",
    help="The API to ask: http://HOST:9997.  [default: that of what runs on this host]",
)  # fmt: skip
_json_option = click.option("--json", "as_json", is_flag=True, help="JSON, an object for each page.")


def _asking(command: Callable[[Api], int]) -> Callable[..., int]:
    """What all of these commands do alike."""

    def run(url: str | None, token_file: Path | None) -> int:
        try:
            return command(found(url, token_file))
        except ApiRefused as error:
            return failed(ExitCode.REFUSED, error)
        except EnvironmentFault as error:
            return failed(ExitCode.UNREACHABLE, error)

    return run


def _token(values: dict[str, Any]) -> Path | None:
    say_unknown_variables()
    token: Path | None = given(_TOKEN, values).values.get("api_token")
    return token


def _show(pages: Iterator[Any], as_json: bool, table: Callable[[Iterable[Any]], Iterable[str]]) -> int:
    first = next(pages)  # nothing is shown above a failure
    pages = itertools.chain([first], pages)
    for line in map(json.dumps, pages) if as_json else table(pages):
        click.echo(line)
    return ExitCode.OK


@click.command()
@click.option("--key", default="", help="This stream key, or with * at its end all that begin so.")
@click.option("--node", default="", help="Those whose origin is this node.")
@_json_option
@api_option
@declared(_TOKEN)
def streams(key: str, node: str, as_json: bool, url: str | None, **values: Any) -> int:
    """Show the streams of the cluster: tracks, bit rate, players."""

    def ask(api: Api) -> int:
        return _show(api.items("/v1/streams", key=key, node=node), as_json, api_tables.streams)

    return _asking(ask)(url, _token(values))


@click.command()
@click.option("--key", default="", help="This stream key, or with * at its end all that begin so.")
@click.option("--node", default="", help="Those at this node.")
@click.option("--role", type=click.Choice(["publisher", "player"]), help="Those alone.")
@_json_option
@api_option
@declared(_TOKEN)
def sessions(
    key: str, node: str, role: str | None, as_json: bool, url: str | None, **values: Any
) -> int:
    """Show who publishes and plays, with the id that kick takes."""

    def ask(api: Api) -> int:
        pages = api.items("/v1/sessions", key=key, node=node, role=role or "", limit=1000)
        return _show(pages, as_json, api_tables.sessions)

    return _asking(ask)(url, _token(values))


@click.command()
@click.argument("session", metavar="ID")
@click.option("--why", default="", help="A reason, for the log and for the peer.")
@api_option
@declared(_TOKEN)
def kick(session: str, why: str, url: str | None, **values: Any) -> int:
    """End a connection, by the id that the log and the sessions command have of it."""
    return _order("DELETE", f"/v1/sessions/{in_path(session)}", url, values, {"why": why} if why else {})


@click.command()
@click.argument("node")
@click.option(
    "--deadline", callback=duration, default="10m", metavar="TIME",
    help="How long sessions may go on: 30, 30s, 10m or 2h.  [default: 10m]",
)  # fmt: skip
@api_option
@declared(_TOKEN)
def drain(node: str, deadline: float, url: str | None, **values: Any) -> int:
    """Take a node out of service: it accepts nobody, and its sessions are asked to go."""
    return _order("POST", f"/v1/nodes/{in_path(node)}/drain", url, values, {}, {"deadline_s": deadline})


@click.command()
@click.argument("node")
@api_option
@declared(_TOKEN)
def undrain(node: str, url: str | None, **values: Any) -> int:
    """Take a node into service again."""
    return _order("POST", f"/v1/nodes/{in_path(node)}/undrain", url, values, {})


@click.command()
@click.argument("key")
@_json_option
@api_option
@declared(_TOKEN)
def trace(key: str, as_json: bool, url: str | None, **values: Any) -> int:
    """Show the way of a stream hop by hop: where does it hang?"""

    def ask(api: Api) -> int:
        found = api.get(f"/v1/streams/{in_path(key)}/trace")
        click.echo(json.dumps(found) if as_json else "\n".join(trace_tree.tree(found)))
        return ExitCode.OK

    return _asking(ask)(url, _token(values))


def _order(
    method: str, path: str, url: str | None, values: dict[str, Any], query: dict[str, str | int],
    body: Any = None,
) -> int:  # fmt: skip
    def tell(api: Api) -> int:
        click.echo(printable(str(api.ask(method, path, query, body)["detail"])))
        return ExitCode.OK

    return _asking(tell)(url, _token(values))


def api_status(url: str, token_file: Path | None, as_json: bool) -> int:
    """What ``status`` shows when it is to ask an API."""

    def ask(api: Api) -> int:
        routers, nodes = api.get("/v1/routers"), api.get("/v1/nodes")
        streams = list(api.items("/v1/streams"))
        if as_json:
            rows = [row for page in streams for row in page["items"]]
            click.echo(json.dumps({"routers": routers, "nodes": nodes, "streams": rows}))
            return ExitCode.OK
        plain = [{**page, "complete": True, "missing": [], "missing_routers": []} for page in streams]
        for lines in (api_tables.routers(routers), api_tables.nodes([nodes]), api_tables.streams(plain)):
            click.echo("\n".join(lines) + "\n")
        return ExitCode.OK

    return _asking(ask)(url, token_file)


def add_to(group: click.Group) -> None:
    """Make them commands of ``group``."""
    for command in (streams, sessions, kick, drain, undrain, trace):
        group.add_command(command)
