"""Hosts that answer to ssh: a network namespace each, with an address and an sshd of its own.

The namespace "control" holds the bridge between them and is where the operator sits. File systems and
users are the machine's own, so each host keeps its files in a directory of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_NETWORK = "10.78.0"
_STOP_TIMEOUT_S = 10.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class NotPossibleError(Exception):
    """Hosts cannot be made here; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class SshHost:
    """One host, and the directory where its files belong."""

    name: str
    address: str
    namespace: str
    directory: Path

    def pids(self) -> set[int]:
        """Every process on it."""
        return {int(pid) for pid in _run("ip", "netns", "pids", self.namespace).split()}


class SshHosts:
    """``start`` makes them, ``close`` ends every process on them and takes them down."""

    def __init__(self, names: list[str]) -> None:
        # Not pytest's directory: the path of a Unix socket (ssh's own) must be short.
        self.directory = Path(tempfile.mkdtemp(prefix="rtmp-hosts-"))
        self._prefix = f"rtmp-deploy-{os.getpid()}"
        self.control = f"{self._prefix}-control"
        self.hosts = {
            name: SshHost(name, f"{_NETWORK}.{number}", f"{self._prefix}-{name}", self.directory / name)
            for number, name in enumerate(names, 11)
        }
        self._made: list[str] = []
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __getitem__(self, name: str) -> SshHost:
        return self.hosts[name]

    @property
    def key(self) -> Path:
        """The private key that every host lets in."""
        return self.directory / "key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def start(self) -> None:
        """NotPossibleError where the machine lacks a permission or a program."""
        if os.geteuid() != 0:
            raise NotPossibleError("network namespaces need root")
        for program, package in (("ip", "iproute2"), ("sshd", "openssh-server"), ("ssh", "openssh-client")):
            if shutil.which(program, path=_PATH) is None:
                raise NotPossibleError(f"hosts need {program} (Debian: apt-get install {package})")
        try:
            self._add_namespace(self.control)
        except subprocess.CalledProcessError as error:
            why = error.stderr.strip()
            raise NotPossibleError(f"network namespaces are not permitted: {why}") from None
        _run("ip", "-n", self.control, "link", "add", "lan", "type", "bridge", "forward_delay", "0")
        _run("ip", "-n", self.control, "address", "add", f"{_NETWORK}.1/24", "dev", "lan")
        _run("ip", "-n", self.control, "link", "set", "lan", "up")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        # What sshd asks for; Debian's start script makes it otherwise.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        for number, host in enumerate(self.hosts.values()):
            self._connect(host, f"port{number}")
            self._serve_ssh(host)

    def on_control(self, *command: str) -> list[str]:
        """The command as run where the operator sits."""
        return [_find("ip"), "netns", "exec", self.control, *command]

    def close(self) -> None:
        for namespace in self._made:
            for pid in _run("ip", "netns", "pids", namespace).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
        for daemon in self._daemons:
            daemon.wait(_STOP_TIMEOUT_S)
        for namespace in self._made:
            _run("ip", "netns", "delete", namespace)
        shutil.rmtree(self.directory)

    def _add_namespace(self, name: str) -> None:
        _run("ip", "netns", "add", name)
        self._made.append(name)
        _run("ip", "-n", name, "link", "set", "lo", "up")

    def _connect(self, host: SshHost, port: str) -> None:
        self._add_namespace(host.namespace)
        far_end = ("peer", "name", "eth0", "netns", host.namespace)
        _run("ip", "-n", self.control, "link", "add", port, "type", "veth", *far_end)
        _run("ip", "-n", self.control, "link", "set", port, "master", "lan", "up")
        _run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        _run("ip", "-n", host.namespace, "link", "set", "eth0", "up")

    def _serve_ssh(self, host: SshHost) -> None:
        settings = self.directory / f"sshd-{host.name}"
        settings.mkdir()
        host_key = settings / "host_key"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key))
        with self.known_hosts.open("a") as known:
            known.write(f"{host.address} {host_key.with_suffix('.pub').read_text()}")
        (settings / "config").write_text(
            f"ListenAddress {host.address}\nHostKey {host_key}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.key.with_suffix('.pub')}\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\n"
        )
        command = [_find("ip"), "netns", "exec", host.namespace,
                   _find("sshd"), "-D", "-e", "-f", str(settings / "config")]  # fmt: skip
        with (settings / "log").open("wb") as log:
            self._daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log))

    def answers(self, host: SshHost) -> bool:
        """Whether its sshd lets the operator in."""
        command = self.on_control(
            _find("ssh"), "-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}",
            "-o", "BatchMode=yes", f"root@{host.address}", "true",
        )  # fmt: skip
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0


def _find(program: str) -> str:
    return shutil.which(program, path=_PATH) or program


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [_find(program), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout
