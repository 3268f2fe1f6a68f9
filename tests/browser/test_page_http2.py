"""Over TLS, Chromium takes low-latency HLS and MP4 without end by HTTP/2."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_cluster import HttpEdge, OpenPage, StartPublisher
from playwright.sync_api import Page
from test_libraries import HLS, HLS_DELAY_P50_MS, HLS_JS, start
from watching import Watch

from support.polling import wait_until

WATCH_S = 20.0


def _protocols(page: Page, suffix: str) -> set[str]:
    """By what the files with such names have come to the page."""
    found: list[list[str]] = page.evaluate(
        "() => performance.getEntriesByType('resource').map(each => [each.name, each.nextHopProtocol])"
    )
    return {protocol for name, protocol in found if suffix in name}


def test_hls_js_plays_low_latency_hls(
    secure: HttpEdge, open_page: OpenPage, publish: StartPublisher, watch: Watch, browser_players: Path,
    console: list[str],
) -> None:  # fmt: skip
    publish(secure.url("h2"))
    page = open_page(f"https://127.0.0.1:{secure.https_port}/", ignore_https_errors=True)
    url = f"https://127.0.0.1:{secure.https_port}/live/h2.m3u8"
    start(page, browser_players / HLS_JS, HLS, url)
    watch(page, 5)
    seen = watch(page, WATCH_S)
    print(seen)
    seen.assert_moves(WATCH_S)
    assert _protocols(page, ".m4s") == {"h2"}
    assert page.evaluate("hls.levels[hls.currentLevel].details.canBlockReload")
    assert seen.delay_p50_ms < HLS_DELAY_P50_MS + seen.excused_s * 1000
    console[:] = [line for line in console if "503" not in line]


@pytest.mark.in_full
def test_the_page_plays(
    secure: HttpEdge, open_page: OpenPage, publish: StartPublisher, watch: Watch
) -> None:
    publish(secure.url("page2"))
    page = open_page(f"https://127.0.0.1:{secure.https_port}/live/page2", ignore_https_errors=True)
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    seen = watch(page, WATCH_S)
    print(seen)
    seen.assert_moves(WATCH_S)
    assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    wait_until(lambda: secure.metrics().by("kind", "http_players").get("mp4") == 1, "one player by MP4")
