"""A running edge of two workers is given other rules: who is in stays, who comes is judged by them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cluster.commands.main import run
from support.cluster_process import Edge, StartEdge
from support.polling import wait_until
from support.rtmp_peer import LivePlayer, PeerError, Peers

_NUMBERS = itertools.count()
RULES = """\
[[rule]]
match = "live/*"
publish = {{ users = ["studio"] }}
play = {play}
[[rule]]
match = "*"
publish = "deny"
play = "deny"
[users.studio]
password_file = "{secret}"
"""


class Reloading:
    """An edge, its file, and the file with the password of its publishers."""

    def __init__(self, start_edge: StartEdge, directory: Path) -> None:
        self.config, self.secret = directory / "edge.toml", directory / "secret"
        self.write("one-secret", '"allow"')
        self.edge: Edge = start_edge("--config", str(self.config), "--workers", "2")

    def write(self, password: str, play: str) -> None:
        self.secret.write_text(f"{password}\n")
        self.config.write_text(RULES.format(play=play, secret=self.secret))

    def signal(self, event: str) -> dict[str, Any]:
        """SIGHUP; the line that it brings."""
        before = len(self.edge.events(event))
        os.kill(self.edge.pid, signal.SIGHUP)
        wait_until(lambda: len(self.edge.events(event)) > before, f"the log says {event}")
        return dict(self.edge.events(event)[-1])

    def workers(self) -> list[int]:
        return list(self.edge.workers().values())

    def told_to_all(self) -> str:
        """What other users of the host, and programs that the edge might start, could see of it."""
        processes = [Path(f"/proc/{pid}") for pid in (self.edge.pid, *self.workers())]
        seen = [(process / name).read_bytes() for process in processes for name in ("cmdline", "environ")]
        return b"".join(seen).decode(errors="replace") + self.edge.log_text()


@pytest.fixture
def reloading(start_edge: StartEdge, tmp_path: Path) -> Reloading:
    return Reloading(start_edge, tmp_path)


def _may_publish(peers: Peers, edge: Edge, password: str, worker: int) -> bool:
    name = f"other-{next(_NUMBERS)}?user=studio&pass={password}"
    try:
        peers.publish(edge, name, worker=worker).stop()
    except PeerError:
        return False
    return True


def _may_play(player: LivePlayer) -> bool:
    wait_until(lambda: player.closed or player.frames, "the player gets the stream, or is refused")
    return bool(player.frames)


def test_all_workers_judge_by_the_new_rules_and_sessions_go_on(reloading: Reloading, peers: Peers) -> None:
    edge = reloading.edge
    publisher = peers.publish(edge, "cam?user=studio&pass=one-secret")
    players = [peers.play(edge, "cam", worker=worker) for worker in reloading.workers()]
    for player in players:
        player.wait_for_frames(10)
    for worker in reloading.workers():
        assert not _may_publish(peers, edge, "two-secret", worker)

    reloading.write("two-secret", '"deny"')
    reloaded = reloading.signal("reloaded")
    assert reloaded["changes"] == [
        'rule 1 changed from { match = "live/*", publish = { users = ["studio"] }, play = "allow" } '
        'to { match = "live/*", publish = { users = ["studio"] }, play = "deny" }',
        'user "studio" changed',
    ]
    seen = [len(player.frames) for player in players]
    for worker in reloading.workers():
        assert _may_publish(peers, edge, "two-secret", worker)
        assert not _may_publish(peers, edge, "one-secret", worker)
        assert not _may_play(peers.play(edge, "cam", worker=worker))
    for player, before in zip(players, seen, strict=True):
        player.wait_for_frames(before + 25)
        assert player.gaps() == []
    assert not publisher.closed
    assert "-secret" not in reloading.told_to_all()


def test_a_broken_file_changes_nothing(
    reloading: Reloading, peers: Peers
) -> None:
    edge = reloading.edge
    reloading.write("two-secret", "{ users = ['nobody'] }")
    refused = reloading.signal("reload_refused")
    assert str(refused["why"]).startswith(f"{reloading.config}:4: users in play of [[rule]]: there is no")
    reloading.secret.unlink()
    reloading.config.write_text(RULES.format(play='"allow"', secret=reloading.secret))
    assert str(reloading.secret) in str(reloading.signal("reload_refused")["why"])
    for worker in reloading.workers():
        assert _may_publish(peers, edge, "one-secret", worker)
        assert not _may_publish(peers, edge, "two-secret", worker)
    assert "-secret" not in edge.log_text()


def test_options_wait_for_a_restart_and_the_rules_beside_them_do_not(
    reloading: Reloading, peers: Peers
) -> None:
    reloading.write("two-secret", '"allow"')
    with reloading.config.open("a") as file:
        file.write("[limits]\nmax_connections = 1\n[logging]\nlog_level = 'debug'\n")
    reloading.signal("reloaded")
    (said,) = reloading.edge.events("needs_restart")
    assert said["options"] == "max_connections in [limits], log_level in [logging]"
    assert _may_publish(peers, reloading.edge, "two-secret", reloading.workers()[0])


def test_the_key_to_publish_is_one_of_the_rules(
    start_edge: StartEdge, tmp_path: Path, peers: Peers
) -> None:
    config = tmp_path / "edge.toml"
    config.write_text("[access]\npublish_key = 'one-secret'\n")
    edge = start_edge("--config", str(config), "--workers", "2")
    config.write_text("[access]\npublish_key = 'two-secret'\n")
    assert run(["check", str(config)]) == 0
    os.kill(edge.pid, signal.SIGHUP)
    wait_until(lambda: edge.events("reloaded"), "the new key is in force")
    for worker in edge.workers().values():

        def is_let_in(worker: int = worker) -> bool:
            with contextlib.suppress(PeerError):
                return bool(peers.publish(edge, f"cam-{worker}?key=two-secret", worker=worker))
            return False

        wait_until(is_let_in, f"{worker} to go by the new key")
        with pytest.raises(PeerError):
            peers.publish(edge, f"other-{worker}?key=one-secret", worker=worker)
    assert "-secret" not in edge.log_text()
