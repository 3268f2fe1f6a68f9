"""Where the delay of a stream is: the hops add up to what its players see, and a slow link is found."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT, ClusterProcess, Edge, free_router_address
from support.polling import wait_until

pytestmark = pytest.mark.alone

LATE_MS = 50.0
#: The sum of the hops is what players see, but for this; a link that is not late is no longer either.
WITHIN_MS = 5.0
PLAYERS = 4
#: The figures of a trace are medians of looks within four seconds.
FIRST_LOOKS_S = 4.0
LOOKS_APART_S = 1.0
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
        self._directory, self.late = directory, late
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
            router_there = self._link.address if name == self.late else address
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

    def seen(self) -> tuple[float, list[dict[str, Any]]]:
        """The delay of video that players at the one node see of what is published at the other, and the
        traces meanwhile."""
        play = f"rtmp://127.0.0.1:{self.edges['far'].port}/live/trace"
        load = subprocess.Popen(
            [sys.executable, "-m", "cluster", "load", self.edges["near"].url("trace"), "--play-from", play,
             "--players", str(PLAYERS), "--bitrate", "1M", "--ramp", "1", "--duration", "20",
             "--json", "-"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            wait_until(lambda: count_of(self.trace()) == PLAYERS, "all players in the trace")
            time.sleep(FIRST_LOOKS_S)
            traces = [self.trace()]
            for _ in range(4):
                time.sleep(LOOKS_APART_S)
                traces.append(self.trace())
            self.drawn = self.command()
            output, _ = load.communicate(timeout=60)
        finally:
            load.kill()
            load.communicate()
        return float(json.loads(output)["video_delay_ms"]["p50"]), traces

    def trace(self) -> dict[str, Any]:
        """What the API tells; nothing while there is no such stream."""
        try:
            with urllib.request.urlopen(f"{self.api}/v1/streams/live/trace/trace", timeout=10) as response:
                return dict(json.loads(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return {"hops": [], "complete": False}

    def command(self) -> str:
        """What the command draws."""
        command = [sys.executable, "-m", "cluster", "trace", "live/trace", "--api", self.api]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(params=["", "near", "far"], ids=["no link is late", "to the router", "from the router"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, request.param) as cluster:
        yield cluster


def hops(trace: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [hop for hop in trace["hops"] if hop["kind"] == kind]


def count_of(trace: dict[str, Any]) -> int:
    return sum(hop["players"] for hop in hops(trace, "players"))


def typical(traces: list[dict[str, Any]], kind: str, figure: str) -> float:
    """The median of all such hops."""
    return median(hop[figure] for trace in traces for hop in hops(trace, kind))


def test_the_hops_add_up_and_a_late_link_is_found(cluster: Cluster) -> None:
    late_ms = {name: LATE_MS * (name == cluster.late) for name in ("near", "far")}
    for _ in range(TRIES):
        seen_ms, traces = cluster.seen()
        assert all(trace["complete"] for trace in traces)
        assert cluster.drawn.startswith("live/trace: 4 players, the slowest way takes ")
        link_ms = {
            "near": typical(traces, "router", "delay_ms"), "far": typical(traces, "worker", "delay_ms")
        }  # fmt: skip
        sum_ms = typical(traces, "players", "total_ms")
        rest_ms = sum_ms - sum(link_ms.values())
        is_well = (
            abs(sum_ms - seen_ms) <= WITHIN_MS
            and all(abs(link_ms[name] - late_ms[name]) <= WITHIN_MS for name in link_ms)
            and rest_ms <= WITHIN_MS
        )
        if is_well:
            return
    found = f"the hops are {sum_ms:.1f}, links {link_ms}, the rest {rest_ms:.1f}"
    pytest.fail(f"players see {seen_ms:.1f} ms; {found}")
