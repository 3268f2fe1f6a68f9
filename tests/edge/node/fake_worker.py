"""A worker without RTMP, for the supervisor's tests: it answers every connection with one JSON line.

Run as a script it is a node of such workers: ``fake_worker.py OPTIONS_JSON``, the configuration as
texts, with ``timing`` (fields of Timing), ``bad`` (how the workers misbehave) and ``policy`` (a file, the
fields of PolicyFound, which is read again on SIGHUP) beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.core.bus.identity import WorkerIdentity
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.policy_source import PolicyFound, PolicySource
from cluster.edge.node.status_pipe import StatusPipe
from cluster.edge.node.supervisor import Supervisor
from cluster.edge.node.worker_slot import Timing
from cluster.edge.streams.counters import Counters
from cluster.net.addresses import reserved
from cluster.process.logs import configure
from cluster.process.options import ConfigError

#: A file in the directory of the node: those that are slow go on once it is there.
GO_ON = "go-on"
POLL_S = 0.01
#: And after this in any case, so that no test waits for ever.
LONGEST_S = 60.0
logger = logging.getLogger("fake_worker")

BEAT_INTERVAL_S = 0.02
BAD = "FAKE_WORKER_BAD"


class FakePolicy:
    """Takes any policy, unless its worker is bad at that."""

    def __init__(self, tables: Mapping[str, Any], bad: str, slot: int) -> None:
        self.tables = self.prepared = tables
        self.bad = bad
        self.slot = slot

    def parse(self, tables: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.bad == "parses":
            logger.info("parses", extra={"event": "fake_parses"})
            wait_for_word()
        return tables

    def prepare(self, generation: int, tables: Mapping[str, Any]) -> None:
        match self.bad:
            case "refuses":
                raise ConfigError("not this one")
            case "fails":
                raise ValueError(str(tables))
            case "dies":
                os._exit(3)
            case "hangs":
                time.sleep(3600)
            case "slow":
                wait_for_word()
        self.prepared = tables
        logger.info("prepared", extra={"event": "fake_prepared", "slot": self.slot})

    def commit(self, generation: int) -> None:
        if self.bad == "breaks":
            raise ValueError(str(self.prepared))
        if self.bad == "commits":
            logger.info("commits", extra={"event": "fake_commits"})
            wait_for_word()
        self.tables = self.prepared
        logger.info("committed", extra={"event": "fake_committed", "slot": self.slot})

    def abort(self, generation: int) -> None:
        self.prepared = self.tables


def wait_for_word() -> None:
    """Stand still until the test says so."""
    until = time.monotonic() + LONGEST_S
    while not Path(GO_ON).exists() and time.monotonic() < until:
        time.sleep(POLL_S)


class FakeWorker:
    """Obeys SIGTERM. Its ``bad`` (environment) is one of: "", "boot", "crash", "deaf", "stuck-1"
    (slot 1 blocks its loop on the first connection), or, of a slot as well, what ``FakePolicy`` knows."""

    def __init__(
        self, config: EdgeConfig, identity: WorkerIdentity, status: StatusPipe, own_router: str | None,
        bound: list[socket.socket],
        shared: NodeShared,
    ) -> None:  # fmt: skip
        self.config, self.identity, self.status, self.bound = config, identity, status, bound
        self.bad = os.environ.get(BAD, "")
        self.counters = Counters()
        bad, _, slot = self.bad.partition("-")
        self.in_force = FakePolicy(shared.policy, bad if slot == str(identity.slot) else "", identity.slot)
        if self.bad == "boot":
            raise RuntimeError("this worker cannot boot")

    async def run(self) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, (lambda: None) if self.bad == "deaf" else ended.set)
        loop.add_signal_handler(signal.SIGINT, ended.set)
        servers = [
            await asyncio.start_server(self.answer, sock=bound) for bound in self.bound
        ]
        self.status.ready([server.sockets[0].getsockname()[:2] for server in servers])
        if self.bad == "crash":
            raise RuntimeError("this worker crashes once it is ready")
        while not ended.is_set():
            self.status.beat(self.counters.as_dict())
            await asyncio.sleep(BEAT_INTERVAL_S)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counters.connections_accepted += 1
        self.counters.connections = 7
        self.counters.closes["peer_closed"] = self.counters.closes.get("peer_closed", 0) + 1
        who = {"pid": os.getpid(), "slot": self.identity.slot, "incarnation": self.identity.incarnation,
               "policy": self.in_force.tables}  # fmt: skip
        writer.write(json.dumps(who | {"max_connections": self.config.max_connections}).encode() + b"\n")
        await writer.drain()
        writer.close()
        if self.bad == f"stuck-{self.identity.slot}":
            time.sleep(3600)  # noqa: ASYNC251 - the point: a loop that does not turn


def main() -> int:
    options = json.loads(sys.argv[1])
    os.environ[BAD] = options.pop("bad", "")
    timing = Timing(**options.pop("timing", {}))
    policy = options.pop("policy", None)
    source = PolicySource() if policy is None else PolicySource(read(policy), lambda: read(policy))
    config = EdgeConfig.from_texts(options)
    configure(config.log_format, config.log_level)
    with reserved(config.binds) as binds:
        config = EdgeConfig.from_texts({**options, "binds": [str(address) for address in binds]})
        node = Supervisor(
            config, is_alone=True, policy=source, worker_class="fake_worker:FakeWorker", timing=timing
        )
        return node.run()


def read(name: str) -> PolicyFound:
    try:
        return PolicyFound(**json.loads(Path(name).read_text()))
    except ValueError:
        raise ConfigError(f"{name}:1: is no policy") from None


if __name__ == "__main__":
    sys.exit(main())
