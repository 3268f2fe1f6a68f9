"""The page with the metrics: where it is, where it is not, and who cannot hold it up."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterable, Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cluster import __version__
from cluster.core.errors import EnvironmentFault
from cluster.net.addresses import BindAddress
from cluster.net.metrics_page import _TIMEOUT_S, MAX_AT_ONCE, build_info, served

_OPEN_METRICS = "application/openmetrics-text"


class Numbers(Collector):
    def collect(self) -> Iterable[Metric]:
        return [GaugeMetricFamily("answer", "To everything.", value=42)]


@pytest.fixture
def page() -> Iterator[BindAddress]:
    with served(Numbers(), BindAddress("127.0.0.1", 0)) as address:
        yield address


def get(address: BindAddress, path: str, method: str = "GET") -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=30)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("path", ["/metrics", "/metrics?x=1"])
def test_the_metrics_are_there(page: BindAddress, path: str) -> None:
    status, body = get(page, path)
    assert status == 200
    assert "\nanswer 42.0\n" in body


def test_they_are_compressed_for_who_can_read_that(page: BindAddress) -> None:
    with contextlib.closing(http.client.HTTPConnection(*page, timeout=30)) as connection:
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip", "Accept": _OPEN_METRICS})
        answer = connection.getresponse()
        assert answer.getheader("Content-Encoding") == "gzip"
        assert str(answer.getheader("Content-Type")).startswith(_OPEN_METRICS)
        assert gzip.decompress(answer.read()).endswith(b"\nanswer 42.0\n# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metricsx", "/favicon.ico", "/?/metrics"])
def test_they_are_nowhere_else(page: BindAddress, path: str) -> None:
    assert get(page, path) == (404, "the metrics are at /metrics\n")


def test_nothing_else_can_be_done_there(page: BindAddress) -> None:
    assert get(page, "/metrics", "POST")[0] == 501


def test_an_address_of_ipv6_will_do() -> None:
    with served(Numbers(), BindAddress("::1", 0)) as address:
        assert address.host == "::1"
        assert get(address, "/metrics")[0] == 200


def test_an_address_that_is_taken_is_told_with_its_option(page: BindAddress) -> None:
    with pytest.raises(EnvironmentFault, match=r"the port is taken.*--metrics"), served(Numbers(), page):
        pass


def test_who_says_nothing_or_leaves_holds_up_nobody(
    page: BindAddress, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(page):
        for _ in range(3):
            with socket.create_connection(page) as rude:
                rude.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        assert get(page, "/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_no_more_threads_are_begun_than_a_few(page: BindAddress) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as open_ones:
        silent = [
            open_ones.enter_context(socket.create_connection(page, timeout=_TIMEOUT_S / 2))
            for _ in range(MAX_AT_ONCE + 1)
        ]
        assert silent[-1].recv(1) == b""  # before the others' time is up
        assert threading.active_count() <= before + MAX_AT_ONCE
    until_served = time.monotonic() + 30
    while time.monotonic() < until_served:
        with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError):
            assert get(page, "/metrics")[0] == 200
            return
    pytest.fail("nobody is served any more")


def test_the_version_is_a_label() -> None:
    (sample,) = build_info().samples
    assert sample.labels["version"] == __version__
    assert sample.value == 1
