"""The playbooks and the units on a machine that systemd runs: what only the real thing can tell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lasting import Lasting, make_clip
from machine import Machine, NoMachineError
from playbooks import Operator, build_wheelhouse

pytestmark = pytest.mark.deploy

_UNITS = ("rtmp-cluster-router", "rtmp-cluster-edge")
_EDGE_OPTIONS = {"workers": 2, "drain-timeout": 4, "log-format": "json"}


@pytest.fixture
def machine(eventually: Any) -> Iterator[Machine]:
    pytest.importorskip("ansible", reason="the playbooks need Ansible: pip install 'rtmp-cluster[deploy]'")
    machine = Machine()
    try:
        try:
            machine.start()
            eventually(machine.answers, f"the machine has booted: {machine.boot_log}", 60)
        except NoMachineError as error:
            pytest.skip(str(error))
        yield machine
    finally:
        machine.close()


@pytest.fixture
def operator(machine: Machine, tmp_path: Path) -> Operator:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    its = machine.does("python3 --version").stdout.split()[1]
    if not its.startswith(f"{version}."):
        pytest.skip(f"the wheels made here are for Python {version}, the machine has {its}")
    variables = {
        "ansible_user": "root",
        "ansible_host": "127.0.0.1",
        "ansible_ssh_private_key_file": str(machine.key),
        "ansible_ssh_common_args": " ".join(machine.ssh_options),
        "rtmp_cluster_edge_options": _EDGE_OPTIONS,
        "rtmp_cluster_insecure": True,
        "rtmp_cluster_wheelhouse": str(build_wheelhouse(tmp_path / "wheelhouse")),
    }
    host = {"hosts": {"one": None}}
    inventory = {"all": {"vars": variables, "children": {"routers": host, "edges": host}}}
    return Operator(machine.beside(), machine.directory, inventory)


def test_the_units_serve_drain_and_go(
    machine: Machine, operator: Operator, eventually: Any, tmp_path: Path
) -> None:
    installed = operator.play("site.yml")
    assert installed.code == 0, installed.output + machine.does("journalctl --no-pager -n 50").stdout
    for unit in _UNITS:
        assert _shown(machine, unit, "ActiveState") == "active"
        assert _shown(machine, unit, "StatusText").startswith("ready on "), "it has said so itself"

    clip = tmp_path / "clip.flv"
    make_clip(clip)
    url = "rtmp://127.0.0.1/live/deployed"
    publisher = Lasting(machine.beside(), tmp_path / "publisher", url=url, clip=clip)
    player = Lasting(machine.beside(), tmp_path / "player", url=url)
    try:
        eventually(player.served, f"the player is served: {player.log_text()}", 30)
        # Far less than the drain lasts: the edge must have asked for more, or systemd kills it.
        drop_in = "/etc/systemd/system/rtmp-cluster-edge.service.d"
        machine.does(f"mkdir {drop_in} && printf '[Service]\nTimeoutStopSec=1\n' > {drop_in}/stop.conf")
        machine.does("systemctl daemon-reload")
        before = {unit: _shown(machine, unit, "MainPID") for unit in _UNITS}
        upgraded = operator.play("upgrade.yml")
        assert upgraded.code == 0, upgraded.output
        ended = machine.does("journalctl --no-pager -u rtmp-cluster-edge").stdout
        assert "the drain timeout is over" in ended
        assert "Deactivated successfully" in ended
        assert "Killing process" not in ended
        for unit in _UNITS:
            assert _shown(machine, unit, "ActiveState") == "active"
            assert _shown(machine, unit, "MainPID") != before[unit]
    finally:
        publisher.close()
        player.close()

    router = _UNITS[0]
    stray = _shown(machine, router, "MainPID")
    machine.does(f"kill -TERM {stray}")
    eventually(lambda: _shown(machine, router, "MainPID") not in ("0", stray), "the router is another", 30)
    eventually(lambda: _shown(machine, router, "ActiveState") == "active", "and is ready again", 30)

    removed = operator.play("remove.yml")
    assert removed.code == 0, removed.output
    assert machine.does("pgrep -f /bin/rtmp-[c]luster").stdout == ""
    left = machine.does("find / -xdev -path /proc -prune -o -name '*rtmp*' -print")
    assert left.stdout == ""
    assert machine.does("systemctl list-units --all --no-legend 'rtmp*'").stdout.strip() == ""


def _shown(machine: Machine, unit: str, name: str) -> str:
    return machine.does(f"systemctl show --property={name} --value {unit}").stdout.strip()
