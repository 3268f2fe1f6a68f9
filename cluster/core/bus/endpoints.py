"""A router's address, and the three endpoints that follow from it.

    tcp://HOST:PORT   workers publish to PORT, subscribe at PORT + 1 and talk control on PORT + 2
    ipc://PATH        PATH.pub, PATH.sub and PATH.ctl

The workers of a node subscribe at the node's repeater of the router, whose address lies beside that of the
node's own router: PATH-HASH.sub for ipc://PATH.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from hashlib import blake2b

from cluster.core.errors import EnvironmentFault

#: The longest path a Unix socket can have on Linux (sun_path, 108 bytes with its NUL), less ".pub".
MAX_IPC_PATH_BYTES = 103

#: In the path of a repeater, which has little room; a node has a handful of them.
_REPEATER_HASH_BYTES = 4

_LAST_BASE_PORT = 65_533
_TCP = re.compile(r"tcp://(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


class EndpointError(EnvironmentFault):
    """A router address that does not parse; the text says what is expected."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """``base`` as the operator gave it, and where workers publish, subscribe and talk control."""

    base: str
    publish: str
    subscribe: str
    control: str

    @property
    def is_local(self) -> bool:
        """Whether the router is on this host, over ipc."""
        return self.base.startswith("ipc://")

    @property
    def is_ipv6(self) -> bool:
        return self.base.startswith("tcp://[")

    @property
    def host(self) -> str:
        """The host of a tcp address, without brackets; empty for ipc."""
        match = _TCP.fullmatch(self.base)
        return match["host"].strip("[]") if match is not None else ""

    @property
    def is_loopback(self) -> bool:
        """Only this host can reach it: ipc, or an address of the loopback interface."""
        if self.is_local or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, which may stand for several addresses."""
        if self.is_local or self.is_ipv6:
            return False
        try:
            ipaddress.IPv4Address(self.host)
        except ValueError:
            return self.host != "*"
        return False


def endpoints(base: str, *, bind: bool = False) -> Endpoints:
    """The three endpoints of the router at ``base``; EndpointError says what is wrong with it.

    With ``bind`` the host may be ``*`` (every interface) and the port 0 (any free three); the port
    then stands as 0 in all three endpoints.
    """
    if base.startswith("ipc://"):
        path = base.removeprefix("ipc://")
        if not path or len(path.encode("utf-8", "surrogateescape")) > MAX_IPC_PATH_BYTES:
            raise EndpointError(f"{base!r}: an ipc path has 1 to {MAX_IPC_PATH_BYTES} bytes")
        return Endpoints(base, f"{base}.pub", f"{base}.sub", f"{base}.ctl")
    match = _TCP.fullmatch(base)
    if match is None:
        meant = f"tcp://{base.removeprefix('rtmp://')}"
        expected = f"did you mean {meant}?" if _TCP.fullmatch(meant) else "expected tcp://HOST:PORT or ipc://PATH"
        raise EndpointError(f"{base!r} is not a router address: {expected}")
    host, port = match["host"], int(match["port"])
    if host == "*" and not bind:
        raise EndpointError(f"{base!r}: a worker cannot connect to *; name the router's host")
    if port == 0 and bind:
        return Endpoints(base, base, base, base)
    if not 1 <= port <= _LAST_BASE_PORT:
        raise EndpointError(f"{base!r}: the port must be 1 to {_LAST_BASE_PORT}: the next two are used too")
    return Endpoints(base, base, f"tcp://{host}:{port + 1}", f"tcp://{host}:{port + 2}")


def at_address(name: Endpoints, address: str) -> str:
    """The router of ``name`` at one of the addresses that its host name stands for."""
    port = name.base.rpartition(":")[2]
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def at_repeater(router: Endpoints, own_router: str) -> Endpoints:
    """``router`` as the workers of the node reach it whose own router is at ``own_router`` (ipc).

    EndpointError if the path of the repeater is too long.
    """
    base = router.base.encode("utf-8", "surrogateescape")
    digest = blake2b(base, digest_size=_REPEATER_HASH_BYTES).hexdigest()
    try:
        return replace(router, subscribe=endpoints(f"{own_router}-{digest}").subscribe)
    except EndpointError as error:
        raise EndpointError(f"{error}: TMPDIR must be a directory with a shorter path") from None
