"""What a repeater costs for each envelope, and what it saves the router and the workers of its node.

    python -m benchmarks.repeater --bytes 4000 --workers 4

A router, a repeater and a process of readers, which stand for workers, on this host; the same envelopes go
through them with the repeater and without it. CPU is that of each process, in microseconds an envelope.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import zmq

from benchmarks import machine, proc
from cluster.bus.cluster_key import ClusterKey
from cluster.bus.sockets import uplink_socket
from cluster.core.bus import bounds
from cluster.core.bus.endpoints import at_repeater, endpoints
from cluster.router.repeater import Repeaters
from cluster.router.router import Router

_TOPIC = b"live/a\0"
_KEY = ClusterKey(bytes(32))
_SPAWN = multiprocessing.get_context("spawn")
_MARK = bounds.DATA_HIGH_WATER_MARK


def _route(ready: Any, ending: Event, key: ClusterKey | None) -> None:
    with Router("tcp://127.0.0.1:0", key=key) as router:
        ready.put(router.endpoint)
        ending.wait()


def _repeater(ready: Any, ending: Event, router: str, own_router: str, key: ClusterKey | None) -> None:
    with Repeaters([router], own_router, key):
        ready.put(True)
        ending.wait()


def _read(ready: Any, ending: Event, endpoint: str, count: int, key: ClusterKey | None) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
    poller = zmq.Poller()
    for _ in range(count):
        reader = uplink_socket(context, zmq.SUB, _MARK, endpoint, key)
        reader.subscribe(_TOPIC)
        reader.connect(endpoint)
        poller.register(reader, zmq.POLLIN)
    received = 0
    ready.put(True)
    while not ending.is_set():
        for reader, _ in poller.poll(50):
            with contextlib.suppress(zmq.Again):
                while True:
                    reader.recv(zmq.DONTWAIT)
                    received += 1
    context.destroy(0)
    ready.put(received)


@contextlib.contextmanager
def _process(run: Callable[..., None], *arguments: object) -> Iterator[tuple[int, Any, Callable[[], Any]]]:
    """(process id, what it said first, a function that ends it and returns what it says last)."""
    ready, ending = _SPAWN.Queue(), _SPAWN.Event()
    process = _SPAWN.Process(target=run, args=(ready, ending, *arguments), daemon=True)
    process.start()

    def end() -> Any:
        ending.set()
        return ready.get(timeout=10)

    try:
        assert process.pid is not None
        yield process.pid, ready.get(timeout=30), end
    finally:
        ending.set()
        process.join(10)


def measure(
    size_bytes: int, workers: int, seconds: float, per_second: int, key: ClusterKey | None, repeated: bool
) -> dict[str, float]:
    """CPU microseconds for each envelope by process, and the part of the envelopes that arrived."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        router_pid, base, _ = stack.enter_context(_process(_route, key))
        router, own = endpoints(base), f"ipc://{Path(directory) / 'own'}"
        processes = {"router": router_pid}
        subscribe = router.subscribe
        if repeated:
            processes["repeater"], _, _ = stack.enter_context(_process(_repeater, base, own, key))
            subscribe = at_repeater(router, own).subscribe
        processes["workers"], _, end = stack.enter_context(_process(_read, subscribe, workers, key))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(1)
        stack.callback(context.destroy, 0)
        origin = uplink_socket(context, zmq.XPUB, _MARK, router.publish, key)
        origin.connect(router.publish)
        while origin.recv()[1:] != _TOPIC:
            pass  # it is not wanted so far
        time.sleep(1)  # by every reader, and everything is at rest
        before = {name: proc.cpu_s(pid) for name, pid in processes.items()}
        envelope = _TOPIC + bytes(size_bytes - len(_TOPIC))
        count, began_at = round(seconds * per_second), time.monotonic()
        for number in range(count):
            origin.send(envelope)
            time.sleep(max(0.0, began_at + number / per_second - time.monotonic()))
        time.sleep(0.5)
        used = {name: (proc.cpu_s(pid) - before[name]) / count * 1e6 for name, pid in processes.items()}
        return {"repeater": 0.0, **used, "arrived": end() / (count * workers)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repeater", description=__doc__)
    parser.add_argument("--bytes", type=int, default=4_000, help="of an envelope")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--per-second", type=int, default=500, help="envelopes sent")
    given = parser.parse_args()
    print(f"commit {machine.commit()}, {machine.machine()}, {machine.interpreter()}")
    print("cluster key  repeater   router repeater  workers   sum us/envelope  arrived")
    for key in (None, _KEY):
        for repeated in (False, True):
            figures = measure(given.bytes, given.workers, given.seconds, given.per_second, key, repeated)
            arrived = figures.pop("arrived")
            columns = "".join(f"{figures[name]:9.0f}" for name in ("router", "repeater", "workers"))
            print(f"{key is not None!s:12} {repeated!s:8} {columns}{sum(figures.values()):9.0f}"
                  f"         {arrived:.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
