"""Metrics over HTTP, for Prometheus: at ``/metrics``, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import functools
import gzip
import platform
import socket
import threading
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from cluster import __version__
from cluster.core.errors import EnvironmentFault
from cluster.core.histogram import BOUNDS_S
from cluster.net.addresses import BindAddress, advice

PATH = "/metrics"

#: Whoever connects and says nothing, or does not read, holds a thread for so long.
_TIMEOUT_S = 10.0
_BOUNDS = (*map(floatToGoString, BOUNDS_S), "+Inf")
#: Connections served at once, each by a thread; one more is closed. A scraper needs one.
MAX_AT_ONCE = 16


@contextlib.contextmanager
def served(collector: Collector, address: BindAddress) -> Iterator[BindAddress]:
    """Serve what ``collector`` has while the body runs; yields where. EnvironmentFault if it cannot."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server = _server(address, type("Page", (_Page,), {"registry": registry}))
    except OSError as error:
        raise EnvironmentFault(f"cannot serve metrics on {address}: {advice(error)} (--metrics)") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield BindAddress(*server.socket.getsockname()[:2])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@functools.cache
def build_info() -> Metric:
    """Which version runs here, as Prometheus has it: a number that is always 1. Not to be changed."""
    labels = {"version": __version__, "python": platform.python_version()}
    family = GaugeMetricFamily(
        "rtmp_cluster_build_info", "The version that runs here; always 1.", labels=list(labels)
    )
    family.add_metric(list(labels.values()), 1)
    return family


def buckets(numbers: Sequence[float]) -> list[tuple[str, float]]:
    """The numbers of a histogram: how many there were up to each bound."""
    return list(zip(_BOUNDS, accumulate(numbers[1:]), strict=True))


class _Page(BaseHTTPRequestHandler):
    """One request."""

    timeout = _TIMEOUT_S
    registry: CollectorRegistry

    def do_GET(self) -> None:
        if urlsplit(self.path).path == PATH:
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.registry))
        else:
            text = f"the metrics are at {PATH}\n"
            self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", text.encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)  # five times as fast, and a tenth longer
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is worth no line."""


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], handler: type) -> None:
        self._free = threading.Semaphore(MAX_AT_ONCE)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own also asks the DNS for a name that nobody needs

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that has gone is worth no line."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def _server(address: BindAddress, handler: type) -> _Server:
    host = address.host or "0.0.0.0"
    family, _, _, _, where = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
    made = _Server6 if family == socket.AF_INET6 else _Server
    return made((str(where[0]), address.port), handler)
