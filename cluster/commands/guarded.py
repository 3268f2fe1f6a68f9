"""Whether the links of a command are guarded: by a key, or by where they lie."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.bus.cluster_key import ClusterKey
from cluster.core.bus.endpoints import Endpoints
from cluster.process.options import ConfigError


def check_guarded(
    flag: str, name: str, addresses: Iterable[Endpoints], key: ClusterKey | None, insecure: bool
) -> None:
    """ConfigError if a link of option ``name`` leaves this host and whoever is on the network could be the
    other end of it."""
    if key is not None or insecure:
        return
    for address in addresses:
        if not address.is_loopback:
            raise ConfigError(
                f"{flag} {address.base} leaves this host, and without a key whoever reaches a router can "
                "read, replace and end every stream: add --cluster-key FILE (rtmp-cluster keygen DIRECTORY "
                "makes it), or --insecure if the network is guarded otherwise",
                (name,),
            )
