"""Fresh machines to type on: Debian with systemd in a container, one for each host, and no other network.

Their root is made once by debootstrap, with the packages that the documents install, and kept in
``~/.cache/rtmp-cluster/documents``. What a document changes on it is in memory, and goes with the machine.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from documents.reading import ROOT
from support.topology import Host, NotPermittedError

_SUITE = "bookworm"
_PYTHON = "3.11"  # of that suite
#: What the machines have before anybody types: what Debian's installer puts there, and ssh between them.
_BASE = (
    "systemd", "systemd-sysv", "dbus", "sudo", "ca-certificates", "python3", "python3-venv", "iproute2",
    "procps", "openssl", "curl", "openssh-server", "openssh-client",
)  # fmt: skip
#: What "pip install" needs beside the project's own dependencies.
_BUILD = ("pip", "setuptools>=77", "wheel")
#: Builds of wheels for Linux, those of the newest C library first.
_PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtmp-cluster" / "documents"
_INSTALL_TIMEOUT_S = 600.0
_BOOT_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 40.0
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

#: Where the machine keeps what a terminal has, from one command to the next: directory and variables.
_TERMINAL = "/run/terminal"
_CLONE = "/root/rtmp-cluster"
_INSTALLED = "/opt/rtmp-cluster"
_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    # In place of a registry.
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "/wheels",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # A player needs no screen and no loudspeaker.
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}  # fmt: skip


def prepare(packages: set[str]) -> Path:
    """The root with ``packages`` and, in its ``wheels``, what pip may install. NotPermittedError, in one
    line, where there can be none; RuntimeError if making it fails."""
    if os.geteuid() != 0:
        raise NotPermittedError("fresh machines need root")
    for program, package in (("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container")):
        if shutil.which(program, path=_PATH) is None:
            raise NotPermittedError(f"fresh machines need {program} (Debian: apt-get install {package})")
    wanted = sorted({*_BASE, *packages})
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    made_of = "\n".join([inspect.getsource(_make), *wanted, *project])
    root = _CACHE / hashlib.sha256(made_of.encode()).hexdigest()[:12]
    if not root.exists():
        print("installing a Debian, once ...", flush=True)
        unfinished = _CACHE / f"{root.name}.{os.getpid()}"
        unfinished.mkdir(parents=True)
        try:
            _make(unfinished, wanted, project)
            unfinished.rename(root)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return root


def _make(root: Path, packages: list[str], wheels: list[str]) -> None:
    _install(["debootstrap", "--variant=minbase", _SUITE, str(root)])
    no_services = root / "usr" / "sbin" / "policy-rc.d"
    no_services.write_text("#!/bin/sh\nexit 101\n")
    no_services.chmod(0o755)
    _install([
        "chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes",
        "--no-install-recommends", "--option=Dpkg::Options::=--force-unsafe-io", *packages,
    ])  # fmt: skip
    no_services.unlink()
    _install([
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:",
        f"--python-version={_PYTHON}", *(f"--platform={each}_{platform.machine()}" for each in _PLATFORMS),
        f"--dest={root}/wheels", *wheels, *_BUILD,
    ])  # fmt: skip
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (root / "etc" / "hostname").unlink()  # each machine has its own
    _let_hosts_trust_each_other(root / "root" / ".ssh")


def _let_hosts_trust_each_other(directory: Path) -> None:
    """Root of each machine may log in to each other, as readers may on hosts of theirs."""
    directory.mkdir(mode=0o700, exist_ok=True)
    _install(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "id_ed25519")])
    shutil.copy(directory / "id_ed25519.pub", directory / "authorized_keys")
    (directory / "config").write_text("StrictHostKeyChecking accept-new\n")


def _install(command: list[str]) -> None:
    program = shutil.which(command[0], path=_PATH) or command[0]
    whole = [program, *command[1:]]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise RuntimeError(f"{command[0]} failed: {lines[-1] if lines else done.returncode}")


def _copy() -> bytes:
    """The project's files as they are now, in a tar file: a clone, with what is not committed yet."""
    list_files = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(list_files, cwd=ROOT, check=True, capture_output=True).stdout
    there = b"\0".join(name for name in listed.split(b"\0") if name and (ROOT / os.fsdecode(name)).exists())
    pack = ["tar", "--create", "--null", "--files-from=-"]
    return subprocess.run(pack, cwd=ROOT, input=there, check=True, capture_output=True).stdout


class Running:
    """A command in a terminal of the machine."""

    def __init__(
        self, machine: Machine, process: subprocess.Popen[bytes], output: Path, group: str
    ) -> None:
        self._machine = machine
        self._process = process
        self._output = output
        self._group = group

    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def code(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None if it still runs then."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def interrupt(self) -> int | None:
        """Ctrl-C; its exit code, or None if it does not end by that."""
        self._machine.does(f"kill -INT -$(cat {self._group})")
        return self.wait(_END_TIMEOUT_S)


def _is_inside(pid: int) -> bool:
    """Whether the process is in a container: neither its processes nor its files are those of this host."""
    try:
        is_apart = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        return is_apart and not os.path.samefile(f"/proc/{pid}/root", "/")
    except OSError:  # it has ended
        return False


class Machine:
    """One host. ``start`` boots it, with a copy of the project in which its terminals begin."""

    def __init__(self, host: Host, root: Path) -> None:
        self.host = host
        self._root = root
        self._directory = Path(tempfile.mkdtemp(prefix="rtmp-documents-"))
        self._booted: subprocess.Popen[bytes] | None = None
        self._commands = 0

    def start(self, installed: Path | None) -> None:
        """``installed`` has the program, which then is on the path."""
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self._root}", "--volatile=overlay", "--boot",
            "--register=no", "--keep-unit", "--console=pipe",
            f"--hostname={self.host.name}", f"--network-namespace-path=/run/netns/{self.host.namespace}",
        ]  # fmt: skip
        if installed is not None:
            command.append(f"--bind-ro={installed}:{_INSTALLED}")
        with (self._directory / "boot").open("wb") as log:
            self._booted = subprocess.Popen(
                [shutil.which(command[0], path=_PATH) or command[0], *command[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait_booted(self) -> None:
        """NotPermittedError if it does not come up."""
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while "running" not in (state := self._state()) and "degraded" not in state:
            if time.monotonic() > deadline:
                log = (self._directory / "boot").read_text(errors="replace").strip()
                raise NotPermittedError(f"a container does not boot here: {log.rpartition(chr(10))[2]}")
            time.sleep(0.2)
        self.does(f"mkdir {_CLONE} && tar -x -C {_CLONE} && echo 'cd {_CLONE}' > {_TERMINAL}", _copy())
        program = f"{_INSTALLED}/current/bin/rtmp-cluster"
        self.does(f"test ! -e {program} || ln -s {program} /usr/local/bin")

    def _state(self) -> str:
        return self.does("systemctl is-system-running").stdout.decode() if self._leader() else ""

    def _leader(self) -> int:
        """The process id of its init, 0 before it has one: until then nspawn's child is on this host, and
        what would be typed there would be typed here."""
        if self._booted is None or self._booted.poll() is not None:
            raise NotPermittedError("a container does not run here")
        children = Path(f"/proc/{self._booted.pid}/task/{self._booted.pid}/children").read_text().split()
        return next((pid for pid in map(int, children) if _is_inside(pid)), 0)

    def _entered(self) -> list[str]:
        if not (leader := self._leader()):
            raise NotPermittedError("a container does not run here")
        environment = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        enter = ["nsenter", f"--target={leader}", "--all", "--root"]
        return [*enter, "env", "-i", "--chdir=/", *environment]

    def does(self, script: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Something that no reader types."""
        command = [*self._entered(), "sh", "-c", script]
        return subprocess.run(command, input=given, capture_output=True, timeout=60)

    def types(self, command: str) -> Running:
        """A command in a new terminal, where the last one that ended has left off."""
        self._commands += 1
        output, group = self._directory / f"output-{self._commands}", f"/run/terminal-{self._commands}"
        script = (
            f"echo $$ > {group}; . {_TERMINAL}; set -a\n{command}\ncode=$?\n"
            f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {_TERMINAL}; exit $code"
        )
        with output.open("wb") as written:
            process = subprocess.Popen(
                [*self._entered(), "setsid", "--wait", "bash", "-c", script],
                stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        return Running(self, process, output, group)

    def close(self) -> None:
        if self._booted is not None and self._booted.poll() is None:
            self._booted.terminate()
            try:
                self._booted.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._booted.kill()
                self._booted.wait()
        shutil.rmtree(self._directory)


def install(root: Path, directory: Path) -> Path:
    """Into ``directory`` the program, as machines are to have it."""
    _install([
        "systemd-nspawn", "--quiet", f"--directory={root}", "--volatile=overlay", "--register=no",
        "--keep-unit", "--as-pid2", "--private-network",
        f"--bind-ro={ROOT}:/source", f"--bind={directory}:{_INSTALLED}",
        *(f"--setenv={name}={value}" for name, value in _ENVIRONMENT.items()), "sh", "-ec",
        "cp -r /source/cluster /source/pyproject.toml /source/README.md /source/LICENSE /tmp;"
        f"python3 -m venv {_INSTALLED}/current; {_INSTALLED}/current/bin/pip install --quiet /tmp",
    ])  # fmt: skip
    directory.chmod(0o755)
    return directory
