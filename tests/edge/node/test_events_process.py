"""The process that delivers events, as the supervisor keeps it: real processes, and workers by hand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from cluster.core.errors import EnvironmentFault
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.events_process import EventsProcess
from cluster.edge.node.metrics import NodeNumbers
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.worker_slot import Timing
from support.cluster_process import Metrics
from support.webhook_receiver import SECRET_TEXT, WebhookReceiver

PROMPT = Timing(first_delay_s=0.01, longest_delay_s=0.01)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


def hooks(receiver: WebhookReceiver) -> dict[str, Any]:
    return {"hooks": {"events": receiver.url, "events_secret": SECRET_TEXT}}


class Keeper:
    """An ``EventsProcess``, and one worker that talks to it."""

    def __init__(self, tables: dict[str, Any], **options: Any) -> None:
        self.numbers = NodeNumbers(1)
        config = EdgeConfig(workers=1, **options)
        self.events = EventsProcess(tables, config, "ab12", self.numbers, PROMPT)
        self._worker: socket.socket | None = None

    def ticked(self) -> bool:
        self.events.tick()
        return True

    def total(self, name: str) -> float:
        """A number, as the metrics have it."""
        self.events.tick()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self.numbers)
        return Metrics(generate_latest(registry).decode()).total(name)

    def connected(self) -> bool:
        self.events.tick()
        worker = socket.socket(socket.AF_UNIX)
        try:
            worker.connect(self.events.address)
        except OSError:
            worker.close()
            return False
        self.die()
        self._worker = worker
        self.say({"worker": "ab12-0.1", "instance": "ab12"})
        return True

    def say(self, said: dict[str, Any]) -> None:
        assert self._worker is not None
        self._worker.sendall(json.dumps(said).encode() + b"\n")

    def publish(self, number: int) -> None:
        event = {"n": number, "type": "stream.published", "at": time.time(), "key": "live/a", "data": {}}
        self.say(event | {"opens": True})

    def die(self) -> None:
        """The worker is killed."""
        if self._worker is not None:
            self._worker.close()

    def close(self) -> None:
        self.die()
        self.events.kill()


@pytest.fixture
def keep() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def make(tables: dict[str, Any], **options: Any) -> Keeper:
            made = Keeper(tables, **options)
            stack.callback(made.close)
            return made

        yield make


def pid(events: EventsProcess) -> int:
    assert events._process is not None
    return events._process.pid


def test_where_nobody_is_told_there_is_no_process_and_no_place(keep: Any) -> None:
    for tables in ({}, {"hooks": {}}, {"hooks": {"publish": "http://127.0.0.1:1/"}}):
        events = keep(tables).events
        events.tick()
        assert (events.address, events.runs, events.due) == ("", False, float("inf"))
        events.end()
        events.kill()


def test_what_a_worker_tells_arrives_and_is_counted(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    keeper = keep(hooks(receiver))
    assert (Path(keeper.events.address).parent.stat().st_mode & 0o777) == 0o700
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: keeper.total("events_sent_total") == 1, "the event to be counted")
    assert [each.type for each in receiver.arrived] == ["stream.published"]
    keeper.die()
    eventually(lambda: len(receiver.arrived) == 2, "what is owed for the worker")
    assert receiver.arrived[1].data["reason"] == "worker_lost"
    assert receiver.faults == []
    assert keeper.total("process_memory_bytes") > 0


def test_a_process_that_was_killed_is_started_again_and_goes_on(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    receiver.stop()
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: keeper.total("events_waiting") == 1, "the event to wait")
    first = pid(keeper.events)
    os.kill(first, signal.SIGKILL)
    keeper.die()
    receiver.start()
    eventually(lambda: keeper.ticked() and receiver.arrived, "the event, from the next process", 60)
    assert keeper.events.runs
    assert pid(keeper.events) != first
    assert receiver.arrived[0].data["sequence"] == 1


def test_another_receiver_gets_what_waits(keep: Any, receiver: WebhookReceiver, eventually: Any) -> None:
    receiver.stop()
    other = WebhookReceiver()
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: keeper.total("events_waiting") == 1, "the event to wait")
    keeper.events.changed(NodeShared(policy=hooks(other)))
    eventually(lambda: keeper.ticked() and other.arrived, "the event at the other receiver", 60)
    other.close()


def test_to_tell_nobody_any_more_takes_a_restart(
    keep: Any, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    keep(hooks(receiver)).events.changed(NodeShared())
    keep({}).events.changed(NodeShared(policy=hooks(receiver)))
    assert [record.__dict__["event"] for record in caplog.records] == ["needs_restart"] * 2


def test_at_the_end_what_waits_is_delivered_and_the_place_is_removed(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: receiver.arrived, "it to have heard the worker")
    end = {"n": 2, "type": "stream.unpublished", "at": time.time(), "key": "live/a", "data": {}}
    keeper.say(end | {"closes": 1})
    keeper.die()
    keeper.events.end()
    eventually(lambda: keeper.ticked() and not keeper.events.runs, "the process to end")
    assert [each.type for each in receiver.arrived] == ["stream.published", "stream.unpublished"]
    keeper.events.kill()
    assert not Path(keeper.events.address).parent.exists()


def test_it_outlives_a_killed_supervisor_for_what_is_owed(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: receiver.arrived, "the first event")
    process = keeper.events._process
    process.stdin.close()
    keeper.die()
    assert process.wait(30) == 0
    assert [each.data.get("reason") for each in receiver.arrived] == [None, "worker_lost"]
    assert not Path(keeper.events.address).parent.exists()


def test_who_ends_it_by_hand_ends_no_session(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    keeper.publish(1)
    eventually(lambda: receiver.arrived, "the first event")
    first = pid(keeper.events)
    os.kill(first, signal.SIGTERM)
    eventually(lambda: keeper.ticked() and keeper.events.runs and pid(keeper.events) != first, "another")
    eventually(keeper.connected, "the process to listen again")
    keeper.say({"open": [1]})
    end = {"n": 2, "type": "stream.unpublished", "at": time.time(), "key": "live/a", "data": {}}
    keeper.say(end | {"closes": 1})
    eventually(lambda: len(receiver.arrived) == 2, "the end that the worker tells")
    assert [each.data["sequence"] for each in receiver.arrived] == [1, 2]
    assert "reason" not in receiver.arrived[1].data


def test_an_exception_ends_it_and_the_next_goes_on(
    keep: Any, receiver: WebhookReceiver, eventually: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    first = pid(keeper.events)
    keeper.say({"n": 1})
    eventually(lambda: keeper.ticked() and keeper.events.runs and pid(keeper.events) != first, "another")
    assert "the process that delivers events ends" in capfd.readouterr().err
    eventually(keeper.connected, "the process to listen again")
    keeper.publish(2)
    eventually(lambda: receiver.arrived, "the next event")


def test_one_that_does_not_end_in_time_is_killed(
    keep: Any, receiver: WebhookReceiver, eventually: Any
) -> None:
    keeper = keep(hooks(receiver))
    eventually(keeper.connected, "the process to listen")
    os.kill(pid(keeper.events), signal.SIGSTOP)
    keeper.events.end()
    keeper.events.end(within_s=0.1)
    eventually(lambda: keeper.ticked() and not keeper.events.runs, "the process to be killed")


def test_a_queue_that_cannot_be_is_refused_before_anything_starts(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    for queue in (tmp_path, tmp_path / "nowhere" / "queue"):
        with pytest.raises(EnvironmentFault, match=r"cannot write .* \(--events-queue\)"):
            Keeper(hooks(receiver), events_queue=queue)


def test_a_queue_that_another_node_has_is_told_of(
    keep: Any, receiver: WebhookReceiver, tmp_path: Path, eventually: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    first = keep(hooks(receiver), events_queue=tmp_path / "q")
    eventually(first.connected, "the process to listen")
    second = keep(hooks(receiver), events_queue=tmp_path / "q")
    said = ""

    def refused() -> bool:
        nonlocal said
        second.events.tick()
        said += capfd.readouterr().err
        return "as the queue of events: database is locked" in said

    eventually(refused, "the other node's process to say why it ends")
