"""Where the delay of a stream is: the hops add up to what its players see, and a slow link is found."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, ClusterProcess, Edge, free_router_address
from support.polling import wait_until

pytestmark = pytest.mark.alone

LATE_MS = 50.0
#: The sum of the hops is what players see, but for this; a link that is not late is no longer either.
WITHIN_MS = 5.0
#: A machine with other things to do makes no figures: then it is measured anew.
TRIES = 3


class LateLink:
    """The three ports of a router, elsewhere: what goes through, either way, comes LATE_MS later."""

    def __init__(self, router: str) -> None:
        self._target = int(router.rpartition(":")[2])
        self.address = free_router_address()
        self._port = int(self.address.rpartition(":")[2])
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> LateLink:
        self._thread.start()
        assert self._begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        servers = [
            await asyncio.start_server(self._at(self._target + offset), "127.0.0.1", self._port + offset)
            for offset in range(3)
        ]
        self._begun.set()
        await self._end.wait()
        for server in servers:
            server.close()
            await server.wait_closed()

    def _at(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
        async def accepted(near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
            far, to_far = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(near, to_far), _pump(far, to_near), return_exceptions=True)

        return accepted


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    loop, late = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def deliver() -> None:
        while True:
            due_at, data = await late.get()
            await asyncio.sleep(max(0.0, due_at - loop.time()))
            if not data:
                break
            sink.write(data)
        sink.close()

    delivering = loop.create_task(deliver())
    data = b"?"
    while data:
        data = await source.read(65_536)
        late.put_nowait((loop.time() + LATE_MS / 1000, data))
    await delivering


class Cluster:
    """A router with an API, and two nodes of two workers; their link to it may be late."""

    def __init__(self, directory: Path, late: str) -> None:
        self._directory, self._late = directory, late
        self._all: list[ClusterProcess] = []

    def __enter__(self) -> Cluster:
        address = free_router_address()
        arguments = ["router", "--bind", address, "--api", "127.0.0.1:0"]
        router = self._started(ClusterProcess(arguments, self._log()))
        said = wait_until(lambda: next(iter(router.events("api_ready")), None), "the API")
        assert said is not None
        self.api = f"http://{said['api']}"
        self._link = LateLink(address)
        self._link.__enter__()
        self.edges: dict[str, Edge] = {}
        for name in ("near", "far"):
            router_there = self._link.address if name == self._late else address
            arguments = ["--workers", "2", "--node-name", name, "--router", router_there]
            self.edges[name] = self._started(Edge(arguments, self._log()))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for process in reversed(self._all):
                assert process.stop() == ExitCode.OK
        finally:
            for process in self._all:
                process.kill()
            self._link.__exit__()

    def _log(self) -> Path:
        return self._directory / f"{len(self._all)}.log"

    def _started(self, process: Any) -> Any:
        self._all.append(process)
        process.wait_ready()
        return process

    def seen(self) -> tuple[float, dict[str, Any]]:
        """The delay of video that players at the one node see of what is published at the other, and the
        trace meanwhile."""
        play = f"rtmp://127.0.0.1:{self.edges['far'].port}/live/trace"
        load = subprocess.Popen(
            [sys.executable, "-m", "cluster", "load", self.edges["near"].url("trace"), "--play-from", play,
             "--players", "4", "--bitrate", "1M", "--ramp", "1", "--duration", "12", "--json", "-"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        time.sleep(11)  # what the figures are medians of has been seen by then
        shown = subprocess.run(
            [sys.executable, "-m", "cluster", "trace", "live/trace", "--api", self.api, "--json"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        output, _ = load.communicate(timeout=60)
        return float(json.loads(output)["video_delay_ms"]["p50"]), json.loads(shown.stdout)


@pytest.fixture(params=["", "near", "far"], ids=["no link is late", "to the router", "from the router"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, request.param) as cluster:
        yield cluster


def hops(trace: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [hop for hop in trace["hops"] if hop["kind"] == kind]


def test_the_hops_add_up_and_a_late_link_is_found(
    cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    late = cluster._late
    for _ in range(TRIES):
        seen_ms, trace = cluster.seen()
        (origin,), (router,) = hops(trace, "origin"), hops(trace, "router")
        workers, players = hops(trace, "worker"), hops(trace, "players")
        assert trace["complete"], trace
        assert sum(each["players"] for each in players) == 4
        sums = [each["total_ms"] for each in players]
        expected = {
            "to the router": LATE_MS * (late == "near"), "from the router": LATE_MS * (late == "far")
        }  # fmt: skip
        found = {
            "to the router": router["delay_ms"],
            "from the router": max(each["delay_ms"] for each in workers),
        }
        elsewhere_ms = origin["delay_ms"] + origin["held_ms"] + max(each["delay_ms"] for each in players)
        is_well = (
            all(abs(each - seen_ms) <= WITHIN_MS for each in sums)
            and all(abs(found[link] - expected[link]) <= WITHIN_MS for link in expected)
            and elsewhere_ms <= WITHIN_MS
        )
        if is_well:
            return
    pytest.fail(f"players see {seen_ms:.1f} ms; sums {sums}, links {found}, elsewhere {elsewhere_ms}")
