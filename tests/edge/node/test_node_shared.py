"""What workers sign with: one secret for all nodes that share a cluster key, else one for each start."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.bus.cluster_key import KeyFault
from cluster.edge.node.node_shared import shared_secret

KEY = "rtmp-cluster-key-1:"


def _key_file(path: Path, digit: str) -> Path:
    path.write_text(KEY + 64 * digit + "\n")
    path.chmod(0o600)
    return path


def test_nodes_of_one_cluster_key_sign_alike(tmp_path: Path) -> None:
    here, there = _key_file(tmp_path / "a", "1"), _key_file(tmp_path / "b", "1")
    secret = shared_secret(here)
    assert secret == shared_secret(there)
    assert len(bytes.fromhex(secret)) == 32
    assert secret != shared_secret(_key_file(tmp_path / "c", "2"))
    assert 64 * "1" not in secret


def test_without_one_each_start_has_its_own() -> None:
    assert shared_secret(None) != shared_secret(None)


def test_a_key_that_cannot_be_used_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFault):
        shared_secret(tmp_path / "missing")
