"""The options that only the router command has; it shares those for the key and for logs with the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.core.bus.endpoints import EndpointError, endpoints
from cluster.net.addresses import BindAddress, parse_bind
from cluster.process.options import Option, declared_in, option, yes_or_no

DEFAULT_ROUTER_BIND = "tcp://127.0.0.1:1936"


def _bind(text: str) -> str:
    try:
        return endpoints(text, bind=True).base
    except EndpointError as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Where a router is reached, and who is told of it."""

    bind: str = option(
        "--bind", _bind, "ADDRESS",
        "Where workers reach this router: tcp://HOST:PORT (the two ports after it are used too) or ipc://PATH.",
        DEFAULT_ROUTER_BIND, group="router", env_words="router-bind",
    )  # fmt: skip
    insecure: bool = option(
        "--insecure", yes_or_no, "",
        "Start without --cluster-key though other hosts can reach this address: the network is guarded.",
        False, group="router", default_text="false", env_words="router-insecure",
    )  # fmt: skip
    router_metrics: BindAddress | None = option(
        "--metrics", parse_bind, "ADDRESS", "Serve the router's Prometheus metrics over HTTP here.",
        None, default_text="off", group="router", env_words="router-metrics",
    )  # fmt: skip
    router_api: BindAddress | None = option(
        "--api", parse_bind, "ADDRESS",
        "Serve the API for operators and the health checks over HTTP here, such as 127.0.0.1:9996.",
        None, default_text="off", group="router", env_words="router-api",
    )  # fmt: skip


#: Each of them by the name of its field.
OPTIONS: Mapping[str, Option] = declared_in(RouterConfig)
