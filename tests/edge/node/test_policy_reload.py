"""A new policy on SIGHUP: all workers have it, or none. The workers are those of ``fake_worker``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_worker import GO_ON
from test_supervisor import ENVIRONMENT, FAKE_WORKER, Node, has_ended, stop

from cluster.process.exit_codes import ExitCode

OLD = {"users": {"a": {"password": "marked-secret-1"}}}
NEW = {"users": {"a": {"password": "marked-secret-2"}}, "limit": [{"match": "*", "players": 3}]}
#: With a worker that is slow to prepare, until the test lets it go on.
PATIENT = {"prepare_s": 60, "silence_s": 60, "heartbeat_timeout_s": 60}
CHANGES = ['user "a" changed', 'limit 1 added: { match = "*", players = 3 }']


class ReloadingNode:
    """A node of two workers, and the file of its policy."""

    def __init__(self, directory: Path, eventually: Callable[..., Any], **options: Any) -> None:
        self.policy = directory / "policy.json"
        self.eventually = eventually
        self.write(OLD)
        self.node = Node({"policy": str(self.policy), **options}, directory / "node.log")
        eventually(self.node.ready, "the node is ready")

    def write(self, tables: dict[str, Any], **found: Any) -> None:
        self.policy.write_text(json.dumps({"tables": tables, **found}))

    def reload(self, tables: dict[str, Any], **found: Any) -> None:
        self.write(tables, **found)
        self.node.process.send_signal(signal.SIGHUP)

    def go_on(self) -> None:
        """Those that are slow are so no longer."""
        (self.policy.parent / GO_ON).touch()

    def said(self, event: str) -> dict[str, Any]:
        return dict(self.eventually(lambda: self.node.events(event), f"the log says {event}")[-1])

    def policies(self) -> list[Any]:
        """What both workers go by."""
        answers = [
            self.eventually(lambda slot=slot: self.node.ask_slot(slot), f"worker {slot} answers")
            for slot in (0, 1)
        ]
        return [answer["policy"] for answer in answers]

    def wait_for(self, tables: dict[str, Any]) -> None:
        """Until both go by these."""
        self.eventually(lambda: self.policies() == [tables, tables], "both to go by the policy")


StartReloading = Callable[..., ReloadingNode]


@pytest.fixture
def start(tmp_path: Path, eventually: Any) -> Iterator[StartReloading]:
    nodes: list[Node] = []

    def begin(**options: Any) -> ReloadingNode:
        node = ReloadingNode(tmp_path, eventually, **options)
        nodes.append(node.node)
        return node

    yield begin
    for node in nodes:
        assert "marked-secret" not in node.log.read_text()
        pids = [event["pid"] for event in node.events("worker_started")]
        node.process.kill()
        node.process.wait()
        eventually(lambda pids=pids: all(map(has_ended, pids)), "no worker outlives the supervisor")


def test_every_worker_goes_by_the_new_policy_and_lives_on(start: StartReloading) -> None:
    node = start()
    pids = [node.node.pid(slot) for slot in (0, 1)]
    assert node.policies() == [OLD, OLD]
    node.reload(NEW, opens=["anybody may play"], restricts=True)
    said = node.said("reloaded")
    assert said["changes"] == CHANGES
    assert said["openness"] == "anybody may play"
    assert node.policies() == [NEW, NEW]
    assert [node.node.pid(slot) for slot in (0, 1)] == pids
    node.reload(OLD, restricts=True)
    node.eventually(lambda: len(node.node.events("reloaded")) == 2, "the way back")
    node.wait_for(OLD)
    assert stop(node.node) == ExitCode.OK


def test_a_worker_that_starts_later_gets_what_is_in_force(start: StartReloading) -> None:
    node = start()
    node.reload(NEW)
    node.said("reloaded")
    os.kill(node.node.pid(1), signal.SIGKILL)
    node.eventually(lambda: len(node.node.events("worker_ready")) == 3, "another is ready")
    node.wait_for(NEW)


def test_what_is_wrong_with_the_file_changes_nothing(start: StartReloading) -> None:
    node = start(metrics="127.0.0.1:0")
    node.policy.write_text("{")
    node.node.process.send_signal(signal.SIGHUP)
    assert node.said("reload_refused")["why"] == f"{node.policy}:1: is no policy"
    assert node.policies() == [OLD, OLD]
    refused = "rtmp_cluster_reload_refused"
    node.eventually(lambda: node.node.metrics()[refused] == 1, "the metrics tell it")
    node.reload(NEW)
    node.said("reloaded")
    node.eventually(lambda: node.node.metrics()[refused] == 0, "and that it is over")
    node.wait_for(NEW)


def test_a_file_without_rules_opens_no_node_that_had_some(start: StartReloading) -> None:
    """Such as one that is about to be written."""
    node = start()
    node.reload(NEW, restricts=True)
    node.said("reloaded")
    node.reload({})
    assert node.said("reload_refused")["why"].startswith("no rule is left in it")
    assert node.policies() == [NEW, NEW]
    node.reload(OLD, restricts=True)
    node.wait_for(OLD)


def test_options_that_differ_are_named_and_the_rest_is_reloaded(start: StartReloading) -> None:
    node = start()
    node.reload(NEW, unlike=["workers in [node]", "bind in [network]"])
    assert node.said("needs_restart")["options"] == "workers in [node], bind in [network]"
    assert node.said("reloaded")["changes"] == CHANGES


def test_a_file_that_says_the_same_is_reloaded_without_a_change(start: StartReloading) -> None:
    node = start()
    node.reload(OLD)
    assert node.said("reloaded")["text"] == "nothing has changed"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("refuses-1", "worker 1 cannot go by it: not this one"),
        ("fails-1", "worker 1 cannot go by it: ValueError in fake_worker.py:"),
        ("hangs-1", "worker 1 did not prepare it within 3 s"),
        ("dies-1", "worker 1 has ended before it had prepared it"),
    ],
)
def test_a_worker_that_does_not_prepare_leaves_all_as_they_are(
    bad: str, why: str, start: StartReloading
) -> None:
    node = start(bad=bad, timing={"prepare_s": 3 if bad == "hangs-1" else 60, "heartbeat_timeout_s": 5.0})
    node.reload(NEW)
    assert node.said("reload_refused")["why"].startswith(why)
    assert not node.node.events("reloaded")
    assert node.policies() == [OLD, OLD]


def test_one_that_dies_once_it_has_prepared_holds_up_nobody_and_its_successor_is_told(
    start: StartReloading,
) -> None:
    """Its successor is started with the former policy, before the other has prepared the new one."""
    node = start(bad="slow-0", timing=PATIENT)
    pid = node.node.pid(1)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_prepared"), "it has prepared, and the other is slow")
    os.kill(pid, signal.SIGKILL)
    node.eventually(lambda: len(node.node.events("worker_started")) == 3, "another is started")
    node.go_on()
    node.said("reloaded")
    node.eventually(lambda: len(node.node.events("worker_ready")) == 3, "and is ready")
    order = [json.loads(line)["event"] for line in node.node.log.read_text().splitlines()]
    assert order.index("reloaded") > [at for at, each in enumerate(order) if each == "worker_started"][2]
    node.wait_for(NEW)


def test_one_that_cannot_put_in_force_what_it_has_prepared_drains_and_is_replaced(
    start: StartReloading,
) -> None:
    node = start(bad="breaks-1", workers="2")
    pid = node.node.pid(1)
    node.reload(NEW)
    assert node.said("policy_failed")["error"].startswith("ValueError in fake_worker.py:")
    node.eventually(lambda: len(node.node.events("worker_ready")) == 3, "another is ready")
    assert node.node.pid(1) != pid
    node.wait_for(NEW)


def test_the_log_tells_of_it_once_every_worker_goes_by_it(start: StartReloading) -> None:
    node = start(bad="commits-0", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_commits"), "one is slow to put it in force")
    node.eventually(lambda: node.node.events("fake_committed"), "and the other is not")
    assert not node.node.events("reloaded")
    node.reload(OLD)
    node.go_on()
    node.eventually(lambda: len(node.node.events("reloaded")) == 2, "what was asked meanwhile is done too")
    assert node.policies() == [OLD, OLD]


def test_nobody_waits_for_ever_for_one_that_does_not_put_it_in_force(start: StartReloading) -> None:
    node = start(bad="commits-0", timing={**PATIENT, "prepare_s": 2})
    node.reload(NEW)
    assert node.said("reloaded")["changes"] == CHANGES
    node.go_on()
    node.wait_for(NEW)


def test_one_that_dies_before_it_has_put_it_in_force_holds_up_nobody(start: StartReloading) -> None:
    node = start(bad="commits-0", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_commits"), "one is slow to put it in force")
    os.kill(node.node.pid(0), signal.SIGKILL)
    node.said("reloaded")
    node.go_on()
    node.eventually(lambda: len(node.node.events("worker_ready")) == 3, "its successor is ready")
    assert node.policies() == [NEW, NEW]


def test_a_node_that_drains_tells_of_what_is_in_force(start: StartReloading) -> None:
    node = start(bad="commits-0", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_commits"), "one is slow to put it in force")
    node.node.process.send_signal(signal.SIGTERM)
    node.said("reloaded")
    node.go_on()
    assert node.node.process.wait(60) == ExitCode.OK


def test_a_signal_during_a_reload_asks_for_another(start: StartReloading) -> None:
    node = start(bad="slow-0", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_prepared"), "the first is under way")
    node.reload(OLD)
    node.go_on()
    node.eventually(lambda: len(node.node.events("reloaded")) == 2, "both are done")
    node.wait_for(OLD)


def test_nobody_waits_for_a_worker_that_reads_a_long_policy(start: StartReloading) -> None:
    node = start(bad="parses-0", workers="1", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: len(node.node.events("fake_parses")) == 1, "it reads")
    answer = node.node.ask()
    assert answer is not None
    assert answer["policy"] == OLD
    assert not node.node.events("reloaded")
    node.go_on()
    node.said("reloaded")


def test_a_node_that_drains_reloads_nothing(start: StartReloading) -> None:
    node = start(bad="slow-0", timing=PATIENT)
    node.reload(NEW)
    node.eventually(lambda: node.node.events("fake_prepared"), "it is under way")
    node.node.process.send_signal(signal.SIGTERM)
    assert node.said("reload_refused")["why"] == "the node is draining"
    node.go_on()
    assert node.node.process.wait(60) == ExitCode.OK


def test_a_policy_larger_than_a_pipe_arrives(start: StartReloading) -> None:
    node = start()
    large = {"users": {f"user-{number}": {"password": "x" * 50} for number in range(3_000)}}
    node.reload(large)
    assert node.said("reloaded")["more"] == 3_001 - 20
    node.wait_for(large)
    os.kill(node.node.pid(1), signal.SIGKILL)
    node.eventually(lambda: len(node.node.events("worker_ready")) == 3, "one is started with it")
    node.wait_for(large)


@pytest.mark.parametrize("has_file", [True, False])
def test_the_service_manager_is_told(has_file: bool, tmp_path: Path) -> None:
    """As systemd wants it of Type=notify-reload; one of Type=notify shows it as reloading meanwhile."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        policy = tmp_path / "policy.json"
        policy.write_text(json.dumps({"tables": OLD}))
        options = {"binds": ["127.0.0.1:0"], "workers": "1"}
        if has_file:
            options["policy"] = str(policy)
        node = subprocess.Popen(
            [sys.executable, str(FAKE_WORKER), json.dumps(options)],
            stderr=subprocess.DEVNULL,
            env={**ENVIRONMENT, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            ready = manager.recv(4096).decode().split("\n")
            assert ready[0] == "READY=1"
            for text in (json.dumps({"tables": NEW}), "{"):
                policy.write_text(text)
                node.send_signal(signal.SIGHUP)
                reloading = manager.recv(4096).decode().split("\n")
                assert reloading[0] == "RELOADING=1"
                assert int(reloading[1].removeprefix("MONOTONIC_USEC=")) > 0
                again = manager.recv(4096).decode().split("\n")
                assert again[0] == "READY=1"
                assert again[1].startswith(ready[1])
                assert again[1].endswith("see the log") == (has_file and text == "{")
        finally:
            node.terminate()
            node.wait(60)
