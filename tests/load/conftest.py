"""A real edge, and results made without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster_process import Edge
from support.tls import CertificateFiles, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, certificate: CertificateFiles) -> Iterator[Edge]:
    """One edge for all tests, with TLS too; streams must have names of their own."""
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    edge = Edge(["--workers", "1", "--bind-tls", "127.0.0.1:0", *certificate.options], log)
    try:
        edge.wait_ready()
        yield edge
        assert edge.stop() == 0, edge.log_text()
        assert "Traceback" not in edge.log_text(), edge.log_text()
    finally:
        edge.kill()
