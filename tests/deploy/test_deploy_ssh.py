"""The playbooks on two routers and two edges over ssh: install, upgrade one at a time, remove."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lasting import Lasting, make_clip, source_hashes
from playbooks import (
    Operator,
    Result,
    build_wheelhouse,
    events,
    inventory_of,
    next_wheelhouse,
    release_of,
    service,
)
from ssh_hosts import NotPossibleError, SshHosts

from cluster import __version__

pytestmark = pytest.mark.deploy

_NEXT_VERSION = "99.0.0"
_ROUTERS = ("router-1", "router-2")
_EDGES = ("edge-1", "edge-2")


@pytest.fixture(scope="module")
def hosts(request: pytest.FixtureRequest) -> Iterator[SshHosts]:
    pytest.importorskip("ansible", reason="the playbooks need Ansible: pip install 'rtmp-cluster[deploy]'")
    hosts = SshHosts([*_ROUTERS, *_EDGES])
    try:
        try:
            hosts.start()
        except NotPossibleError as error:
            pytest.skip(str(error))
        yield hosts
    finally:
        hosts.close()


@pytest.fixture
def operator(hosts: SshHosts, eventually: Any) -> Operator:
    for host in hosts.hosts.values():
        eventually(lambda host=host: hosts.answers(host), f"sshd answers on {host.name}")
    edge_options = {
        "workers": 2, "drain-timeout": 1, "publish-grace": 60, "play-wait": 60, "log-format": "json",
    }  # fmt: skip
    inventory = inventory_of(hosts, edge_options, {"log-format": "json"})
    return Operator(hosts.on_control(), hosts.directory, inventory)


@pytest.fixture
def lasting(hosts: SshHosts, tmp_path: Path) -> Iterator[Callable[..., Lasting]]:
    """Starts peers that come back; all end with the test."""
    started: list[Lasting] = []

    def start(name: str, edge: str, clip: Path | None = None) -> Lasting:
        url = f"rtmp://{hosts[edge].address}/live/deployed"
        started.append(Lasting(hosts.on_control(), tmp_path / name, url=url, clip=clip))
        return started[-1]

    yield start
    for peer in started:
        peer.close()


def _done(result: Result) -> Result:
    assert result.code == 0, result.output
    return result


def _time(event: dict[str, Any]) -> datetime.datetime:
    return datetime.datetime.fromisoformat(event["time"])


def test_a_cluster_is_installed_upgraded_one_host_at_a_time_and_removed(
    hosts: SshHosts, operator: Operator, lasting: Any, eventually: Any, tmp_path: Path
) -> None:
    wheelhouse = build_wheelhouse(tmp_path / "wheelhouse")
    commands = [*((name, "router") for name in _ROUTERS), *((name, "edge") for name in _EDGES)]

    # ---- install
    _done(operator.play("site.yml", rtmp_cluster_wheelhouse=str(wheelhouse)))
    first = {name: service(hosts[name], command) for name, command in commands}
    for process in first.values():
        assert process is not None
        assert release_of(process) == __version__
    again = _done(operator.play("site.yml", rtmp_cluster_wheelhouse=str(wheelhouse)))
    assert {name: numbers["changed"] for name, numbers in again.hosts.items()} == dict.fromkeys(first, 0)

    # ---- what is published at one edge plays at the other
    clip = tmp_path / "clip.flv"
    make_clip(clip)
    publisher = lasting("publisher", "edge-1", clip)
    here, there = lasting("player-1", "edge-1"), lasting("player-2", "edge-2")

    def whole_clips(player: Lasting) -> bool:
        packets = player.sessions[0].packets()
        return len(packets) >= 2 * len(source)

    source = source_hashes(clip)
    eventually(lambda: whole_clips(there), "the player at edge-2 has the clip, twice", 60)
    packets = there.sessions[0].packets()
    begin = source.index(packets[0])
    expected = [source[(begin + number) % len(source)] for number in range(len(packets))]
    assert packets == expected, "packet for packet what was published at edge-1"

    # ---- upgrade
    upgraded = next_wheelhouse(wheelhouse, _NEXT_VERSION)
    before = len(there.sessions[0].packets())
    _done(operator.play("upgrade.yml", rtmp_cluster_wheelhouse=str(upgraded)))
    for name, command in commands:
        process = service(hosts[name], command)
        assert process is not None
        assert release_of(process) == _NEXT_VERSION
    order = [event for name, command in commands for event in _ran(hosts, name, command)]
    assert order == sorted(order), "each host was ready again before the next was drained"
    eventually(lambda: len(here.served()) == 2, f"the player at edge-1 is back: {here.log_text()}", 60)
    eventually(lambda: len(there.served()) == 2, f"the player at edge-2 is back: {there.log_text()}", 60)
    assert len(there.served()[0].packets()) > before
    for player, name in ((here, "edge-1"), (there, "edge-2")):
        (drained,) = _ending(hosts, name, "edge")
        ended = player.served()[0].ended
        assert ended is not None
        assert ended >= _time(drained), f"the player at {name} stayed while the other hosts were upgraded"
        assert player.served()[1].ended is None, "and stays since"

    # ---- an upgrade that fails leaves the other hosts as they were
    kept = service(hosts["edge-2"], "edge")
    wrong = {"workers": 2, "drain-timeout": 1, "log-format": "json", "play-wait": "nonsense"}
    failed = operator.play(
        "upgrade.yml", "--limit", "edges",
        rtmp_cluster_wheelhouse=str(upgraded), rtmp_cluster_edge_options=wrong,
    )  # fmt: skip
    assert failed.code != 0
    assert failed.hosts["edge-1"]["failed"] == 1
    assert "'nonsense' is not a number" in failed.output, "it says why"
    assert service(hosts["edge-1"], "edge") is None
    assert service(hosts["edge-2"], "edge") == kept

    # ---- remove
    for peer in (publisher, here, there):
        peer.close()
    _done(operator.play("remove.yml"))
    for host in hosts.hosts.values():
        left = [service(host, command) for command in ("router", "edge")]
        assert left == [None, None]
        assert not [path for path in host.directory.rglob("*") if not path.is_dir()]
        assert not list(host.directory.iterdir())


def _ending(hosts: SshHosts, name: str, command: str) -> list[dict[str, Any]]:
    """The events with which its supervisor or router began to end; workers drain in their turn."""
    if command == "router":
        return events(hosts[name], command, "ending")
    draining = events(hosts[name], command, "draining")
    return [event for event in draining if event["logger"] == "cluster.edge.node.supervisor"]


def _ran(hosts: SshHosts, name: str, command: str) -> list[datetime.datetime]:
    """When the upgraded service began to end, and when it was ready again."""
    ending = _ending(hosts, name, command)
    ready = events(hosts[name], command, "ready")
    assert (len(ending), len(ready)) == (1, 2)
    return [_time(ending[0]), _time(ready[1])]
