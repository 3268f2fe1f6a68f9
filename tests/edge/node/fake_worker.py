"""A worker without RTMP, for the supervisor's tests: it answers every connection with one JSON line.

Run as a script it is a node of such workers: ``fake_worker.py OPTIONS_JSON``, the configuration as
texts, with ``timing`` (fields of Timing) and ``bad`` (how the workers misbehave) beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time

from cluster.core.bus.identity import WorkerIdentity
from cluster.edge.node.config import EdgeConfig
from cluster.edge.node.node_shared import NodeShared
from cluster.edge.node.status_pipe import StatusPipe
from cluster.edge.node.supervisor import Supervisor
from cluster.edge.node.worker_slot import Timing
from cluster.edge.streams.counters import Counters
from cluster.net.addresses import reserved
from cluster.process.logs import configure

BEAT_INTERVAL_S = 0.02
BAD = "FAKE_WORKER_BAD"


class FakeWorker:
    """Obeys SIGTERM. Its ``bad`` (environment) is one of: "", "boot", "crash", "deaf", "stuck-1"
    (slot 1 blocks its loop on the first connection)."""

    def __init__(
        self, config: EdgeConfig, identity: WorkerIdentity, status: StatusPipe, own_router: str | None,
        bound: list[socket.socket],
        shared: NodeShared,
    ) -> None:  # fmt: skip
        self.config, self.identity, self.status, self.bound = config, identity, status, bound
        self.bad = os.environ.get(BAD, "")
        self.counters = Counters()
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
        who = {"pid": os.getpid(), "slot": self.identity.slot, "incarnation": self.identity.incarnation}
        writer.write(json.dumps(who | {"max_connections": self.config.max_connections}).encode() + b"\n")
        await writer.drain()
        writer.close()
        if self.bad == f"stuck-{self.identity.slot}":
            time.sleep(3600)  # noqa: ASYNC251 - the point: a loop that does not turn


def main() -> int:
    options = json.loads(sys.argv[1])
    os.environ[BAD] = options.pop("bad", "")
    timing = Timing(**options.pop("timing", {}))
    config = EdgeConfig.from_texts(options)
    configure(config.log_format, config.log_level)
    with reserved(config.binds) as binds:
        config = EdgeConfig.from_texts({**options, "binds": [str(address) for address in binds]})
        node = Supervisor(config, is_alone=True, worker_class="fake_worker:FakeWorker", timing=timing)
        return node.run()


if __name__ == "__main__":
    sys.exit(main())
