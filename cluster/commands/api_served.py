"""The API of an edge or a router, if it is to have one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cluster.api.guard import Tokens, read_tokens
from cluster.api.health import Health
from cluster.api.sources import Sources
from cluster.edge.node.config import EdgeConfig
from cluster.net.addresses import BindAddress


@contextlib.contextmanager
def served_api(
    address: BindAddress | None, options: EdgeConfig, sources: Sources, health: Health
) -> Iterator[str]:
    """Serve it while the body runs; yields its URL as it is reached from this host, "" without one.

    ``options`` say which tokens are good. EnvironmentFault if it cannot be.
    """
    if address is None:
        yield ""
        return
    from cluster.api.server import ApiSettings, served  # aiohttp, with which nobody else is burdened

    tokens = Tokens(
        [] if options.api_token is None else read_tokens(options.api_token),
        [] if options.api_read_token is None else read_tokens(options.api_read_token),
    )
    with served(ApiSettings(address, sources, health, tokens)) as where:
        host = where.host if where.host not in ("0.0.0.0", "::") else "127.0.0.1"
        yield f"http://{BindAddress(host, where.port)}"
