"""Two nodes of one worker each at one router, so that it is known which worker a peer is connected to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from absence_table import AbsenceTable
from http_table import HttpTable
from interop_cluster import Clips, Cluster
from sight_table import SightTable
from table import Table
from workbench import Workbench, free_ports_from

from support.access_table import AccessTable
from support.cluster_process import ClusterProcess, Edge
from support.tls import make_certificate

#: Where ``make interop-table`` wants the table.
TABLE_FILE = os.environ.get("INTEROP_TABLE", "")
#: Players are told of the end this long after the publisher, so that they end by themselves.
GRACE_S = 0.5

_TABLE = Table()
_HTTP = HttpTable()
_SIGHTS = SightTable()
_ABSENCES = AbsenceTable()
_ACCESS = AccessTable("Who comes in")


@pytest.fixture(scope="session")
def table() -> Table:
    """Gathers what each cell showed; printed at the end of the run."""
    return _TABLE


@pytest.fixture(scope="session")
def http_table() -> HttpTable:
    """Gathers what each cell of playback over HTTP showed; printed with the table."""
    return _HTTP


@pytest.fixture(scope="session")
def sights() -> SightTable:
    """Gathers what each command saw; printed with the table."""
    return _SIGHTS


@pytest.fixture(scope="session")
def absence_table() -> AbsenceTable:
    """Gathers how soon viewers behind relays had media again; printed with the table."""
    return _ABSENCES


@pytest.fixture(scope="session")
def access_table() -> AccessTable:
    """Gathers who was let in with what; printed at the end, and in no document: it has no versions."""
    return _ACCESS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    sections = [*_HTTP.as_lines(), *_SIGHTS.as_lines(), *_ABSENCES.as_lines()]
    access = _ACCESS.as_lines()
    if access:
        terminalreporter.write_sep("=", "access table")
        terminalreporter.write_line("\n".join(access))
    if not _TABLE.rows and not sections:
        return
    terminalreporter.write_sep("=", "interop table")
    terminalreporter.write_line("\n".join([_TABLE.as_text() if _TABLE.rows else "", *sections]))
    if TABLE_FILE:
        Path(TABLE_FILE).write_text(_TABLE.as_document(sections))
        terminalreporter.write_line(f"written to {TABLE_FILE}")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    files = make_certificate(directory)
    address = f"tcp://127.0.0.1:{free_ports_from()}"
    router = ClusterProcess(["router", "--bind", address], directory / "router.log")
    started = [router]
    try:
        router.wait_ready()
        edges = [
            Edge(
                ["--workers", "1", "--router", address, "--node-name", name, "--bind-tls", "127.0.0.1:0",
                 *files.options, "--publish-grace", str(GRACE_S)],
                directory / f"{name}.log",
            )
            for name in ("same", "other")
        ]  # fmt: skip
        started += edges
        for edge in edges:
            edge.wait_ready()
        yield Cluster(*edges, files.cert)
        for process in reversed(started):
            assert process.stop() == 0, process.log_text()
        for edge in edges:
            assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        for process in started:
            process.kill()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[type[Workbench] | object]:
    """Makes workbenches, whose processes end with the test."""
    made: list[Workbench] = []

    def make(name: str, clip: Path) -> Workbench:
        directory = tmp_path / name
        directory.mkdir()
        made.append(Workbench(directory, clip))
        return made[-1]

    yield make
    for bench in made:
        bench.end()
