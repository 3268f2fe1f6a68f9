"""ansible-playbook as the operator runs it, and what it left on hosts that are network namespaces."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import yaml
from ssh_hosts import SshHost, SshHosts

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "deploy" / "ansible"
_TIMEOUT_S = 300.0


def build_wheelhouse(directory: Path) -> Path:
    """The wheel of this tree and those of its dependencies, as ``make wheelhouse`` makes them."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
         "--wheel-dir", str(directory), str(_copy_of_the_tree(directory.with_suffix(".tree")))],
        check=True, timeout=_TIMEOUT_S,
    )  # fmt: skip
    return directory


def build_wheel(directory: Path) -> Path:
    """The wheel of this tree alone, as ``make wheel`` makes it."""
    _build_wheel(_copy_of_the_tree(directory / "tree"), directory)
    (wheel,) = directory.glob("*.whl")
    return wheel


def next_wheelhouse(wheelhouse: Path, version: str) -> Path:
    """The same with this tree as another version."""
    directory = wheelhouse.with_name(f"wheelhouse-{version}")
    directory.mkdir()
    for wheel in wheelhouse.glob("*.whl"):
        if not wheel.name.startswith("rtmp_cluster-"):
            shutil.copy(wheel, directory)
    tree = _copy_of_the_tree(directory.with_suffix(".tree"))
    init = tree / "cluster" / "__init__.py"
    text, count = re.subn(r'__version__ = ".*"', f'__version__ = "{version}"', init.read_text())
    assert count == 1
    init.write_text(text)
    _build_wheel(tree, directory)
    return directory


def _build_wheel(tree: Path, directory: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--wheel-dir", str(directory), str(tree)],
        check=True, timeout=_TIMEOUT_S,
    )  # fmt: skip


def _copy_of_the_tree(directory: Path) -> Path:
    """What a build reads, apart, so that it leaves nothing in the tree."""
    directory.mkdir()
    shutil.copytree(ROOT / "cluster", directory / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, directory)
    return directory


def inventory_of(
    hosts: SshHosts, edge_options: dict[str, Any], router_options: dict[str, Any]
) -> dict[str, Any]:
    """Hosts without systemd, each with its files in its own directory. Options as in an inventory."""
    python = getattr(sys, "_base_executable", sys.executable)

    def group(prefix: str) -> dict[str, Any]:
        return {
            "hosts": {
                host.name: {
                    "ansible_host": host.address,
                    "ansible_remote_tmp": str(host.directory.with_suffix(".ansible")),
                    "rtmp_cluster_prefix": str(host.directory / "opt"),
                    "rtmp_cluster_config_dir": str(host.directory / "etc"),
                    "rtmp_cluster_state_dir": str(host.directory / "state"),
                }
                for host in hosts.hosts.values()
                if host.name.startswith(prefix)
            }
        }

    return {
        "all": {
            "vars": {
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(hosts.key),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={hosts.known_hosts}",
                "ansible_python_interpreter": python,
                "rtmp_cluster_python": python,
                "rtmp_cluster_manager": "process",
                "rtmp_cluster_edge_options": edge_options,
                "rtmp_cluster_insecure": True,
                "rtmp_cluster_router_options": router_options,
            },
            "children": {"routers": group("router"), "edges": group("edge")},
        }
    }


class Operator:
    """Runs playbooks on the hosts of an inventory. ``prefix`` begins each command, and says where the
    operator sits; ``directory`` is for its files."""

    def __init__(self, prefix: list[str], directory: Path, inventory: dict[str, Any]) -> None:
        self._prefix = prefix
        self._directory = directory
        self._inventory = directory / "inventory.yml"
        self._inventory.write_text(yaml.safe_dump(inventory))

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Result:
        """One ansible-playbook run; it is the caller who looks whether it succeeded."""
        command = [
            *self._prefix, str(Path(sys.executable).with_name("ansible-playbook")),
            "-i", str(self._inventory), "-e", json.dumps(variables), *arguments, str(PLAYBOOKS / playbook),
        ]  # fmt: skip
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
            "ANSIBLE_HOME": str(self._directory / "ansible"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._directory / "cp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            command, env=environment, cwd=self._directory, text=True, timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Result(done.returncode, done.stdout)


class Result:
    """How a run ended. ``hosts`` has the numbers of Ansible's recap: ok, changed, failed, … by host."""

    def __init__(self, code: int, output: str) -> None:
        self.code = code
        self.output = output
        self.hosts: dict[str, dict[str, int]] = {}
        for line in output.rpartition("PLAY RECAP")[2].splitlines():
            if match := re.match(r"(\S+)\s+: (ok=.*)", line):
                numbers = (pair.split("=") for pair in match[2].split())
                self.hosts[match[1]] = {name: int(number) for name, number in numbers}


def service(host: SshHost, command: str) -> psutil.Process | None:
    """The process of ``rtmp-cluster COMMAND`` on that host, not the keeper's."""
    its_end = [str(host.directory / "opt/current/bin/rtmp-cluster"), command]
    for pid in host.pids():
        try:
            process = psutil.Process(pid)
            line = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if line[-2:] == its_end and "--" not in line:
            return process
    return None


def release_of(process: psutil.Process) -> str:
    """The version of the release whose interpreter it runs."""
    interpreter = process.cmdline()[0]
    match = re.search(r"/releases/(.+)-[0-9a-f]{8}/bin/", interpreter)
    assert match, interpreter
    return match[1]


def events(host: SshHost, command: str, name: str) -> list[dict[str, Any]]:
    """The service's log events of that name, oldest first; it must log JSON."""
    lines = (host.directory / "state" / command / "log").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in found if event.get("event") == name]
