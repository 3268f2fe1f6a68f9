"""``rtmp-cluster router``: a router as a process of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from pathlib import Path
from typing import Any

import click

from cluster.api.sources import Sources
from cluster.bus import cluster_key
from cluster.commands.api_served import served_api
from cluster.commands.declared import config_file_option, declared, given, warn_of_unknown_variables
from cluster.commands.guarded import check_guarded
from cluster.core.bus.endpoints import endpoints
from cluster.edge.node.config import OPTIONS as EDGE_OPTIONS
from cluster.edge.node.config import EdgeConfig
from cluster.net.metrics_page import served
from cluster.process import signals
from cluster.process.exit_codes import ExitCode
from cluster.process.logs import announce, configure
from cluster.process.notify import Notifier
from cluster.process.options import ConfigError, Option
from cluster.process.running import Note, noted
from cluster.router.config import OPTIONS as ROUTER_OPTIONS
from cluster.router.config import RouterConfig
from cluster.router.metrics import RouterNumbers
from cluster.router.router import Router

#: How often the command looks whether its router still runs.
CHECK_S = 1.0

#: The options of a router that mean the same to an edge.
SHARED: dict[str, Option] = {
    name: EDGE_OPTIONS[name]
    for name in ("cluster_key", "api_token", "api_read_token", "log_format", "log_level")
}
OPTIONS: dict[str, Option] = {**ROUTER_OPTIONS, **SHARED}

#: Where a router listens on every interface, and how it is reached from its own host.
_EVERYWHERE = {
    "tcp://*": "tcp://127.0.0.1", "tcp://0.0.0.0": "tcp://127.0.0.1", "tcp://[::]": "tcp://[::1]",
}  # fmt: skip

logger = logging.getLogger(__name__)


@click.command()
@declared(OPTIONS)
@config_file_option
def router(config_file: Path | None, **values: Any) -> int:
    """Carry media between workers and hosts, and know who publishes what."""
    found = given(OPTIONS, values, config_file)
    own = RouterConfig(**found.values_of(ROUTER_OPTIONS))
    shared = EdgeConfig(**found.values_of(SHARED))
    configure(shared.log_format, shared.log_level)
    warn_of_unknown_variables(logger)
    key = None if shared.cluster_key is None else cluster_key.load(shared.cluster_key)
    try:
        check_guarded("--bind", "bind", [endpoints(own.bind, bind=True)], key, own.insecure)
    except ConfigError as error:
        raise found.placed(error) from None
    key_file = None if shared.cluster_key is None else str(shared.cluster_key.absolute())
    with contextlib.ExitStack() as stack:
        queue = stack.enter_context(signals.queued(signal.SIGTERM, signal.SIGINT))
        running = stack.enter_context(Router(own.bind, key=key))
        here = _from_here(running.endpoint)
        sources = Sources((), here, key, learns=True)
        api = stack.enter_context(served_api(own.router_api, shared, sources, _Health(running)))
        token = None if shared.api_token is None else str(shared.api_token.absolute())
        note = Note("router", os.getpid(), (here,), None, key_file, api=api, api_token=token)
        stack.enter_context(noted(note))
        fields: dict[str, Any] = {"endpoint": running.endpoint, "pid": os.getpid()}
        where = "%(endpoint)s"
        if own.router_metrics is not None:
            fields["metrics"] = str(stack.enter_context(served(RouterNumbers(running), own.router_metrics)))
            where += ", metrics on http://%(metrics)s/metrics"
        announce(logger, "ready", f"ready on {where}; pid %(pid)d", fields)
        notifier = Notifier.taken_from(os.environ)
        notifier.ready(f"ready on {running.endpoint}")
        while running.is_alive:
            select.select([queue], [], [], CHECK_S)
            if number := next(iter(signals.read(queue)), None):
                logger.info("%s: ending", signal.Signals(number).name, extra={"event": "ending"})
                notifier.stopping("ending")
                return ExitCode.OK
    logger.error("the router has failed: ending", extra={"event": "failed"})
    return 1


class _Health:
    """That of a router: it has nothing to wait for."""

    def __init__(self, running: Router) -> None:
        self._running = running

    def alive(self) -> dict[str, str]:
        return {"router": "" if self._running.is_alive else "it has failed"}

    ready = alive


def _from_here(endpoint: str) -> str:
    """How a command on this host reaches the router that is bound there."""
    host, _, port = endpoint.rpartition(":")
    return f"{_EVERYWHERE[host]}:{port}" if host in _EVERYWHERE else endpoint
