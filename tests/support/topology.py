"""Hosts made of network namespaces: each has an address of its own on one Ethernet, and links that break.

    namespace "switch":   bridge "lan" ── every host's port, and bridge "island" ── the ports cut off
    namespace of a host:  eth0 with its address, and loopback

Nothing is made in the namespace the tests run in, so nothing there can be left behind or get in the way.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NETWORK = "10.77.0"
_CLONE_NEWNET = 0x4000_0000
_COUNT = itertools.count()
_LIBC = ctypes.CDLL(None, use_errno=True)


class NotPermittedError(Exception):
    """Network namespaces cannot be made here; the text is one line."""


class CommandError(Exception):
    """``ip`` has failed; the text says how, in one line."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host: its name, its address on the common network, and its namespace."""

    name: str
    address: str
    namespace: str

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile (sockets, processes) is on this host."""
        with (
            open("/proc/thread-self/ns/net", "rb") as before,
            open(f"/run/netns/{self.namespace}", "rb") as there,
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


def _enter(namespace_fd: int) -> None:
    if _LIBC.setns(namespace_fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class Topology:
    """Hosts on one bridge; the first has address 1 of ``network``, and so on. ``close`` takes everything
    down, also after a half-made start."""

    def __init__(self, names: list[str], network: str = _NETWORK) -> None:
        prefix = f"rtmp-{os.getpid()}-{next(_COUNT)}"
        self._switch = f"{prefix}-switch"
        self.hosts = {
            name: Host(name, f"{network}.{number}", f"{prefix}-{name}")
            for number, name in enumerate(names, 1)
        }
        self._made: list[str] = []

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def start(self) -> None:
        """Make all of it; NotPermittedError where that is not allowed."""
        try:
            self._add_namespace(self._switch)
            for bridge in ("lan", "island"):
                self._in_switch("link", "add", bridge, "type", "bridge", "forward_delay", "0")
                self._in_switch("link", "set", bridge, "up")
        except CommandError as error:
            raise NotPermittedError(f"network namespaces are not permitted here: {error}") from None
        for host in self.hosts.values():
            self._add_namespace(host.namespace)
            far_end = ("peer", "name", "eth0", "netns", host.namespace)
            self._in_switch("link", "add", _port(host.name), "type", "veth", *far_end)
            self._in_switch("link", "set", _port(host.name), "master", "lan", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")

    def close(self) -> None:
        for namespace in reversed(self._made):
            with contextlib.suppress(CommandError):
                _ip("netns", "delete", namespace)
        self._made.clear()

    # ---- what breaks -------------------------------------------------------------------------

    def cut(self, name: str) -> None:
        """The host's cable is dead: its own interface stays up, and nothing comes through."""
        self._in_switch("link", "set", _port(name), "down")

    def mend(self, name: str) -> None:
        self._in_switch("link", "set", _port(name), "up")

    def partition(self, *names: str) -> None:
        """These hosts reach each other and no other; the others likewise."""
        for name in names:
            self._in_switch("link", "set", _port(name), "master", "island")

    def heal(self) -> None:
        """Every link is whole again."""
        for name in self.hosts:
            self._in_switch("link", "set", _port(name), "master", "lan", "up")

    def received_bytes(self, name: str) -> int:
        """Bytes that have come to the host over the network."""
        return int(self._counter(name, "tx_bytes"))  # sent by the switch's end of the cable

    def sent_bytes(self, name: str) -> int:
        """Bytes that the host has sent over the network."""
        return int(self._counter(name, "rx_bytes"))

    def _counter(self, name: str, counter: str) -> str:
        path = f"/sys/class/net/{_port(name)}/statistics/{counter}"
        return _ip("netns", "exec", self._switch, "cat", path)

    # ---- making it ---------------------------------------------------------------------------

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _in_switch(self, *arguments: str) -> None:
        _ip("-n", self._switch, *arguments)


def _port(name: str) -> str:
    """The switch's end of a host's cable."""
    return f"port-{name}"


def _ip(*arguments: str) -> str:
    program = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise NotPermittedError("hosts need iproute2 (Debian: apt-get install iproute2)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise CommandError(f"ip {' '.join(arguments)}: {why}")
    return done.stdout


def leftovers(topology: Topology) -> list[str]:
    """The namespaces of ``topology`` that still exist."""
    names = [topology._switch, *(host.namespace for host in topology.hosts.values())]
    return [name for name in names if Path("/run/netns", name).exists()]
