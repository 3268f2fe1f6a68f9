"""What a node has beside its workers: a router and repeaters, unless there is nothing to share."""

from __future__ import annotations

import psutil
import pytest

from support.cluster_process import StartEdge, StartRouter


@pytest.mark.parametrize(("workers", "has_them"), [("1", False), ("2", True)])
def test_a_node_of_one_worker_in_a_cluster_has_neither_router_nor_repeaters(
    start_edge: StartEdge, start_router: StartRouter, workers: str, has_them: bool
) -> None:
    edge = start_edge("--workers", workers, "--router", start_router())
    # libzmq's ipc sockets are the only ones with a path.
    paths = [connection.laddr for connection in psutil.Process(edge.pid).net_connections("unix")]
    assert any(paths) == has_them, paths


def test_a_node_of_one_worker_by_itself_has_a_router(start_edge: StartEdge) -> None:
    edge = start_edge("--workers", "1")
    assert any(connection.laddr for connection in psutil.Process(edge.pid).net_connections("unix"))
