"""What a worker process sees of the environment of its supervisor."""

from __future__ import annotations

import pytest

from cluster.edge.node.config import OPTIONS
from cluster.edge.node.worker_slot import process_environment


def test_a_worker_gets_no_secret_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody who may look at the process would see it; its options come by standard input."""
    monkeypatch.setenv(OPTIONS["publish_key"].env, "S3cret")
    monkeypatch.setenv("RTMP_CLUSTER_WORKERS", "2")
    environment = process_environment()
    assert "S3cret" not in "".join(environment.values())
    assert environment["RTMP_CLUSTER_WORKERS"] == "2"
    assert environment["PYTHONPATH"]
