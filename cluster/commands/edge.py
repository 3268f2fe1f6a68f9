"""``rtmp-cluster edge``: one node, with the router of its own and the repeaters that it needs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cluster.api.sources import Sources
from cluster.bus import cluster_key
from cluster.bus.cluster_key import ClusterKey
from cluster.commands.api_served import served_api
from cluster.commands.declared import (
    Given,
    as_toml,
    config_file_option,
    declared,
    given,
    say_unknown_variables,
    tables_as_toml,
    warn_of_unknown_variables,
)
from cluster.commands.guarded import check_guarded
from cluster.commands.policy_tables import found_policy, rereader
from cluster.core.bus.endpoints import endpoints
from cluster.edge.node.config import OPTIONS, EdgeConfig
from cluster.edge.node.policy_source import PolicySource
from cluster.edge.node.supervisor import Supervisor
from cluster.net.addresses import reserved
from cluster.net.tls_certificate import Certificate
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import configure
from cluster.process.options import ConfigError
from cluster.process.running import Note, noted, service_place
from cluster.router.repeater import Repeaters
from cluster.router.router import Router

if TYPE_CHECKING:
    from cluster.process.config_file import ConfigFile

logger = logging.getLogger(__name__)


@click.command()
@declared(OPTIONS)
@config_file_option
@click.option("--print-config", is_flag=True, help="Show what is in force, as such a file, and end.")
def edge(config_file: Path | None, print_config: bool, **values: Any) -> int:
    """Accept publishers and players, with one worker process per core."""
    found, config = _checked(values, config_file)
    policy = found_policy(found)
    if print_config:
        say_unknown_variables()
        click.echo("\n".join(as_toml(OPTIONS, config, found.sources)))
        for line in tables_as_toml(found.file) if found.file is not None else ():
            click.echo(line)
        return ExitCode.OK
    # Here, so that a bad one ends nothing but this command.
    key = None if config.cluster_key is None else cluster_key.load(config.cluster_key)
    try:
        routers = map(endpoints, config.routers)
        check_guarded("--router", "routers", routers, key, config.insecure_links)
    except ConfigError as error:
        raise found.placed(error) from None
    if found.file is None:
        return _run(config, key, PolicySource(policy))
    reread = rereader(found, lambda: _checked(values, config_file)[0], OPTIONS)
    return _run(config, key, PolicySource(policy, reread), found.file)


def _checked(values: Mapping[str, Any], config_file: Path | None) -> tuple[Given, EdgeConfig]:
    """What was given, and the configuration that it makes; ConfigError says where something is wrong."""
    found = given(OPTIONS, values, config_file)
    try:
        return found, EdgeConfig(**found.values_of(OPTIONS))
    except ConfigError as error:
        raise found.placed(error) from None


def _run(
    config: EdgeConfig, key: ClusterKey | None, policy: PolicySource, file: ConfigFile | None = None
) -> int:
    configure(config.log_format, config.log_level)
    warn_of_unknown_variables(logger)
    with contextlib.ExitStack() as stack:
        if config.tls_files is not None:
            Certificate(*config.tls_files).warn()  # here, so that a bad one ends nothing but this command
        binds = stack.enter_context(reserved(config.binds))
        tls_binds = stack.enter_context(reserved(config.tls_binds))
        http_binds = stack.enter_context(reserved(config.http_binds))
        http_tls_binds = stack.enter_context(reserved(config.http_tls_binds))
        config = dataclasses.replace(
            config, binds=binds, tls_binds=tls_binds, http_binds=http_binds, http_tls_binds=http_tls_binds
        )
        has_siblings = config.workers > 1  # with none, it shares no subscription
        own = stack.enter_context(_own_router()) if has_siblings or not config.routers else None
        own_router = None if own is None else own.endpoint
        key_file = None if config.cluster_key is None else str(config.cluster_key.absolute())
        note = Note("edge", os.getpid(), config.routers, own_router, key_file, config.http_urls)
        if file is not None:
            policy = _left(note, policy, file)
        sources = Sources(config.routers, own_router, key)
        if own is None or own_router is None:
            supervisor = Supervisor(config, policy=policy)
        elif not config.routers:
            config = dataclasses.replace(config, routers=(own_router,))
            supervisor = Supervisor(config, is_alone=True, policy=policy)
        else:
            stack.enter_context(Repeaters(config.routers, own_router, key, own.node_reports))
            supervisor = Supervisor(config, own_router=own_router, policy=policy)
        api = stack.enter_context(served_api(config.api, config, sources, supervisor))
        token = None if config.api_token is None else str(config.api_token.absolute())
        stack.enter_context(noted(dataclasses.replace(note, api=api, api_token=token)))
        policy.in_force(policy.found)
        return supervisor.run()


def _left(note: Note, policy: PolicySource, file: ConfigFile) -> PolicySource:
    """The policy, to be left beside ``note`` for ``check --against running`` whenever it comes in force."""
    from cluster.commands import policy_note

    leave = functools.partial(policy_note.leave, note, policy_note.shown_options(file.values))
    return dataclasses.replace(policy, in_force=leave)


@contextlib.contextmanager
def _own_router() -> Iterator[Router]:
    """A router for this node alone, reachable by its user alone."""
    with (
        tempfile.TemporaryDirectory(prefix="rtmp-cluster-", dir=service_place()) as directory,  # mode 0700
        Router(f"ipc://{Path(directory) / 'r'}", is_nodes_own=True) as router,
    ):
        yield router
