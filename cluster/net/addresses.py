"""Addresses to listen on: their spelling, and keeping them for as long as the node lives.

The supervisor reserves each address with a socket that is bound but never listens, so that port 0 is
the same port for every worker and a worker that restarts gets its port back. The kernel hands
connections only to sockets that listen: the workers' own, bound to the same address (SO_REUSEPORT).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.core.errors import EnvironmentFault

_MAX_PORT = 65_535

#: With ``:0`` both families must get the same port; another program may hold the one of them.
_FREE_PORT_ATTEMPTS = 10

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


class BindAddress(NamedTuple):
    """Where to listen. ``host`` is "" for every address of this machine, IPv4 and IPv6 alike."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bind(text: str) -> BindAddress:
    """``:PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; ValueError says what is wrong with anything else."""
    if "://" in text:
        raise ValueError(f"{text!r} is the address of a stream or a router: write :PORT or HOST:PORT alone")
    host, colon, port_text = text.rpartition(":")
    if not colon:
        such_as = text if text.isdecimal() else "1935"
        raise ValueError(f"{text!r} has no port: write :PORT, HOST:PORT or [IPV6]:PORT, such as :{such_as}")
    if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= _MAX_PORT):
        raise ValueError(f"{text!r}: the port must be a number from 0 (any free one) to {_MAX_PORT}")
    return BindAddress(_parse_host(host, text), int(port_text))


def _parse_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv6Address(host[1:-1]))
        raise ValueError(f"{text!r}: {host[1:-1]!r} is not an IPv6 address")
    if ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address goes in brackets, such as [::1]:1935")
    if host and not host.strip("0123456789."):
        with contextlib.suppress(ValueError):
            return str(ipaddress.IPv4Address(host))
        raise ValueError(f"{text!r}: {host!r} is not an IPv4 address")
    if host and not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is not a host name; leave it empty for all addresses")
    return host


@contextlib.contextmanager
def reserved(wanted: Sequence[BindAddress]) -> Iterator[tuple[BindAddress, ...]]:
    """Hold these addresses while the body runs; yields them in numbers: no name, no port 0, no "".

    EnvironmentFault if one cannot be had: its text says which, why, and what to do.
    """
    with contextlib.ExitStack() as stack:
        addresses: list[BindAddress] = []
        for address in wanted:
            for held in _reserve(address):
                stack.enter_context(held)
                addresses.append(BindAddress(*held.getsockname()[:2]))
        yield tuple(addresses)


def _reserve(address: BindAddress) -> list[socket.socket]:
    try:
        if address.host:
            return [_hold(_resolve(address), address.port)]
        return _hold_every_family(address.port)
    except OSError as error:
        raise EnvironmentFault(f"cannot listen on {address}: {advice(error)}") from error


def _hold_every_family(port: int) -> list[socket.socket]:
    if not _has_ipv6():
        return [_hold("0.0.0.0", port)]
    for attempts_left in reversed(range(_FREE_PORT_ATTEMPTS)):
        ipv4 = _hold("0.0.0.0", port)
        try:
            return [ipv4, _hold("::", ipv4.getsockname()[1])]
        except OSError:
            ipv4.close()
            if port or not attempts_left:
                raise
    raise AssertionError("unreachable")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _resolve(address: BindAddress) -> str:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(found[0][4][0])


def _hold(host: str, port: int) -> socket.socket:
    if port:
        # Sharing would succeed beside another node of the same user, and split its connections:
        # bind once without it. SO_REUSEADDR looks past connections of an earlier run.
        with _bound(host, port, socket.SO_REUSEADDR):
            pass
    # Without SO_REUSEADDR: this socket must be in the way of that first bind of another node.
    return _bound(host, port, socket.SO_REUSEPORT)


def _bound(host: str, port: int, option: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held


def advice(error: OSError) -> str:
    """Why an address cannot be had, and what to do about it."""
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve; give an address of this machine"
    if error.errno == errno.EADDRINUSE:
        return "the port is taken; stop the program that has it or choose another (port 0 picks a free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address; leave the host empty to listen on all"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not permitted; choose a port above 1023 or run with the privilege to bind it"
    return error.strerror or str(error)
