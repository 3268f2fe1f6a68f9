"""Whoever watches a page must see when its video stands still."""

from __future__ import annotations

from pathlib import Path

from browser_cluster import Cluster, OpenPage, StartPublisher
from test_libraries import MPEGTS, MPEGTS_JS, start
from watching import Watch


def test_a_stall_is_seen(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, browser_players: Path,
    console: list[str],
) -> None:  # fmt: skip
    """Its publisher goes without a word, and nothing is left to be shown."""
    publisher = publish(cluster.near.url("stalls"))
    page = open_page(f"http://127.0.0.1:{cluster.near.http_port}/")
    start(page, browser_players / MPEGTS_JS, MPEGTS, f"{cluster.near.page_url('stalls')}.flv")
    assert watch(page, 4).stalls == []
    publisher.end()
    page.wait_for_function("() => clockPicture.stalls.length > 0")
    console.clear()
