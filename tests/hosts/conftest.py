"""Hosts made of network namespaces, once for all tests here, and a cluster on them for each test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts_cluster import NODES, ROUTERS, HostedCluster

from support.ffmpeg import Packets, hashes_of_file, make_clip
from support.topology import NotPermittedError, Topology, leftovers

#: A few lines of figures each test may print; shown at the end of the run.
_FIGURES: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.alone)


@contextlib.contextmanager
def _topology() -> Iterator[Topology]:
    topology = Topology([*ROUTERS, *NODES])
    try:
        try:
            topology.start()
        except NotPermittedError as error:
            pytest.skip(str(error))
        yield topology
    finally:
        topology.close()
    assert leftovers(topology) == []


@pytest.fixture(scope="session")
def hosts() -> Iterator[Topology]:
    """r1, r2, a, b and c on one network."""
    with _topology() as topology:
        yield topology


@pytest.fixture
def other_hosts() -> Iterator[Topology]:
    """Another network of the same hosts, for a cluster of other options."""
    with _topology() as topology:
        yield topology


class _Shared:
    """One cluster serves all tests, for as long as none of them breaks it."""

    def __init__(self, make: Callable[[], HostedCluster]) -> None:
        self._make = make
        self._cluster: HostedCluster | None = None

    def whole(self) -> HostedCluster:
        if self._cluster is None:
            self._cluster = self._make()
        self._cluster.make_whole()
        self._cluster.begin()
        return self._cluster

    def close(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()


@pytest.fixture(scope="session")
def _shared(hosts: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shared]:
    shared = _Shared(lambda: HostedCluster(hosts, tmp_path_factory.mktemp("cluster")))
    yield shared
    shared.close()


@pytest.fixture
def cluster(_shared: _Shared, request: pytest.FixtureRequest) -> Iterator[HostedCluster]:
    """Routers r1 and r2, nodes a, b and c, all running. What a test breaks is mended after it."""
    try:
        cluster = _shared.whole()
    except BaseException:
        _shared.close()
        raise
    failures = request.session.testsfailed
    yield cluster
    cluster.end()
    if request.session.testsfailed > failures:
        _shared.close()  # whatever state it is in: the next test gets another


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """``figure(text)``: a measured figure, printed with the run's summary."""
    return lambda text: _FIGURES.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _FIGURES:
        terminalreporter.section("figures from tests/hosts")
        for line in _FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 s of H.264 with B-frames and AAC."""
    path = tmp_path_factory.mktemp("hosts-clip") / "clip.flv"
    make_clip(path, seconds=4)
    return path


@pytest.fixture(scope="session")
def short_source(short_clip: Path) -> Packets:
    """The packets of the short clip."""
    return hashes_of_file(short_clip, short_clip.with_name("source"))
