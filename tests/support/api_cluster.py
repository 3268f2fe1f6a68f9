"""Routers and nodes with APIs, as the real commands on loopback, and what their APIs answer."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil

from support.cluster_process import ClusterProcess, Edge, free_router_address
from support.polling import wait_until


class Said(NamedTuple):
    """An answer, and how long it took."""

    status: int
    headers: dict[str, str]
    text: str
    took_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(url: str, path: str, method: str = "GET", body: object = None, **headers: str) -> Said:
    """Ask the API at ``url``; header names with an underscore for each dash."""
    parts = urlsplit(url)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else body if isinstance(body, str) else json.dumps(body)
    if data is not None:
        given.setdefault("Content-Type", "application/json")
    began_at = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, path, data, given)
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    return Said(response.status, dict(response.headers), text, time.monotonic() - began_at)


def whole(url: str, path: str) -> Any:
    """The list, once every worker has answered for it: on a busy machine one may be too late for it."""

    def answered() -> Any:
        said = ask(url, path)
        return said.json if said.status == 200 and said.json["complete"] else None

    return wait_until(answered, f"all of {path}")


def api_of(process: ClusterProcess) -> str:
    """The URL of its API."""
    return f"http://{process.events('api_ready')[0]['api']}"


class ApiCluster:
    """Two routers and three nodes of one worker; each of the five has an API."""

    def __init__(self, directory: Path, *edge_options: str) -> None:
        addresses = [free_router_address(), free_router_address()]
        self.routers = {
            f"r{number}": ClusterProcess(
                ["router", "--bind", address, "--api", "127.0.0.1:0"], directory / f"r{number}.log"
            )
            for number, address in enumerate(addresses, 1)
        }
        self.router_addresses = dict(zip(self.routers, addresses, strict=True))
        named = [argument for address in addresses for argument in ("--router", address)]
        self.nodes = {
            name: Edge(
                ["--node-name", name, "--workers", "1", *named, "--api", "127.0.0.1:0",
                 "--http", "127.0.0.1:0", *edge_options],
                directory / f"{name}.log",
            )
            for name in ("a", "b", "c")
        }  # fmt: skip
        for process in self.all:
            process.wait_ready()
        self.wait_whole()

    @property
    def all(self) -> list[ClusterProcess]:
        return [*self.routers.values(), *self.nodes.values()]

    @property
    def apis(self) -> dict[str, str]:
        """The URL of each process's API."""
        return {name: api_of(each) for name, each in (*self.routers.items(), *self.nodes.items())}

    def wait_whole(self) -> None:
        """Every API knows all routers and nodes."""

        def is_whole() -> bool:
            return all(self._knows_all(url) for url in self.apis.values())

        wait_until(is_whole, "each API to know two routers and three nodes", 60)

    @staticmethod
    def _knows_all(url: str) -> bool:
        known = ask(url, "/v1/cluster").json
        numbers = known["nodes"], known["routers"], known["routers_answering"]
        return known["complete"] and numbers == (3, 2, 2)

    def stop(self, name: str) -> None:
        """SIGSTOP to the node, its workers too, or to the router."""
        for pid in self._pids(name):
            os.kill(pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        for pid in self._pids(name):
            os.kill(pid, signal.SIGCONT)

    def _pids(self, name: str) -> list[int]:
        process = {**self.routers, **self.nodes}[name]
        children = psutil.Process(process.pid).children(recursive=True)
        return [process.pid, *(child.pid for child in children)]

    def close(self) -> None:
        for name in self.nodes:
            self.resume(name)
        for process in reversed(self.all):
            process.kill()
