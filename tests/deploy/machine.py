"""One whole machine with systemd as its first process: Debian in a container, reached by ssh."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SUITE = "bookworm"
_PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,openssh-server"
_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 30.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class NoMachineError(Exception):
    """It cannot be had here; the text says why, in one line."""


class Machine:
    """``start`` installs and boots it; its network is a namespace with nothing but loopback, in which the
    operator sits as well."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rtmp-machine-"))
        self.namespace = f"rtmp-machine-{os.getpid()}"
        self._root = self.directory / "root"
        self._booted: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if os.geteuid() != 0:
            raise NoMachineError("a machine in a container needs root")
        for program, package in (
            ("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container"),
            ("ip", "iproute2"), ("ssh", "openssh-client"),
        ):  # fmt: skip
            if shutil.which(program, path=_PATH) is None:
                raise NoMachineError(f"a machine needs {program} (Debian: apt-get install {package})")
        for arguments in (
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(self._root)],
            ["ip", "netns", "add", self.namespace],
            ["ip", "-n", self.namespace, "link", "set", "lo", "up"],
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)],
        ):
            done = subprocess.run(
                _found(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S
            )
            if done.returncode != 0:
                lines = done.stdout.decode(errors="replace").splitlines()
                raise NoMachineError(f"{arguments[0]} failed: {lines[-1] if lines else done.returncode}")
        keys = self._root / "root" / ".ssh"
        keys.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), keys / "authorized_keys")
        self._boot()

    def _boot(self) -> None:
        command = _found([
            "systemd-nspawn", f"--directory={self._root}", "--boot", "--register=no", "--keep-unit",
            "--console=pipe", f"--network-namespace-path=/run/netns/{self.namespace}",
        ])  # fmt: skip
        with self.boot_log.open("wb") as log:
            self._booted = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def boot_log(self) -> Path:
        return self.directory / "boot.log"

    @property
    def ssh_options(self) -> list[str]:
        """The machine is new and nobody else is on its network: its key is taken as it comes."""
        return ["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
                "-o", "LogLevel=ERROR"]  # fmt: skip

    def beside(self) -> list[str]:
        """What begins a command that is to be run on the machine's network, but not on it."""
        return _found(["ip", "netns", "exec", self.namespace])

    def does(self, command: str) -> subprocess.CompletedProcess[str]:
        """A shell command on the machine."""
        ssh = ["ssh", "-i", str(self.key), "-o", "BatchMode=yes", *self.ssh_options, "root@127.0.0.1"]
        return subprocess.run(
            [*self.beside(), *ssh, command], capture_output=True, text=True, timeout=_TIMEOUT_S
        )

    def answers(self) -> bool:
        if self._booted is None or self._booted.poll() is not None:
            text = self.boot_log.read_text(errors="replace").strip()
            raise NoMachineError(f"a container does not boot here: {text.rpartition(chr(10))[2]}")
        return self.does("systemctl is-system-running --wait").stdout.strip() in ("running", "degraded")

    def close(self) -> None:
        if self._booted is not None:
            self._booted.terminate()
            try:
                self._booted.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._booted.kill()
                self._booted.wait()
        if Path("/run/netns", self.namespace).exists():
            subprocess.run(_found(["ip", "netns", "delete", self.namespace]), check=True, timeout=20)
        shutil.rmtree(self.directory)


def _found(command: list[str]) -> list[str]:
    return [shutil.which(command[0], path=_PATH) or command[0], *command[1:]]
