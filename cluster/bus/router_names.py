"""Host names of routers: one name may stand for several routers, and for others tomorrow."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from cluster.core.bus import bounds
from cluster.core.bus.endpoints import Endpoints, at_address
from cluster.process.words import reason_of

logger = logging.getLogger(__name__)


async def addresses_of(host: str) -> list[str]:
    """The addresses of ``host``: IPv4 if it has any, else IPv6 (a router is not to be counted twice);
    OSError if there are none, UnicodeError if it cannot be a name."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET6, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class RouterNames:
    """Looks ``names`` up again and again; ``on_resolved`` gets the addresses of all the routers they
    stand for each time. A name that cannot be looked up keeps what it had; with nothing, it is among
    ``failed``."""

    def __init__(self, names: Sequence[Endpoints], on_resolved: Callable[[set[str]], None]) -> None:
        self._names = names
        self._on_resolved = on_resolved
        self._found: dict[str, set[str]] = {}
        #: The names that stand for nothing because they cannot be looked up, and why not.
        self.failed: dict[str, str] = {}
        self._known: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(bounds.RESOLVE_INTERVAL_S)
            await self.resolve()

    async def resolve(self) -> None:
        """Look every name up once."""
        for name in self._names:
            try:
                async with asyncio.timeout(bounds.RESOLVE_TIMEOUT_S):
                    addresses = await addresses_of(name.host)
            except (OSError, UnicodeError) as error:  # the latter: no name at all, as a..b
                late = isinstance(error, TimeoutError)
                if name.base not in self._found:
                    self.failed[name.base] = "no answer in time" if late else reason_of(error)
                continue
            self.failed.pop(name.base, None)
            self._found[name.base] = {at_address(name, address) for address in addresses}
        known = set().union(*self._found.values())
        if known != self._known:
            self._known = known
            logger.debug(
                "routers by name: %(routers)s", {"routers": ", ".join(sorted(known))},
                extra={"event": "routers_resolved"},
            )  # fmt: skip
        self._on_resolved(known)
