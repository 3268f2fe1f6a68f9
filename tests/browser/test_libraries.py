"""mpegts.js and hls.js play for a minute without a stall, in a page that another node has served.

So the page is of another origin, as a site of its own would be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser_cluster import Cluster, HttpEdge, OpenPage, StartPublisher
from playwright.sync_api import Page
from watching import Watch, Watched

WATCH_S = float(os.environ.get("BROWSER_SECONDS", "60"))
#: At first they find out how far behind they want to be.
SETTLE_S = 5.0
FLV_DELAY_P50_MS = 3_000
HLS_DELAY_P50_MS = 3_000

MPEGTS_JS = "mpegts.js/dist/mpegts.js"
HLS_JS = "hls.js/dist/hls.js"

MPEGTS = """
url => {
  const player = mpegts.createPlayer(
    { type: "flv", isLive: true, url }, { enableStashBuffer: false, liveSync: true });
  player.on(mpegts.Events.ERROR, (...what) => window.faults.push([Date.now(), what.map(String).join(" ")]));
  player.attachMediaElement(document.querySelector("video"));
  player.load();
  player.play();
}
"""

HLS = """
url => {
  const hls = new Hls({ lowLatencyMode: true });
  hls.on(Hls.Events.ERROR, (_, what) => {
    window.faults.push([Date.now(), what.details + (what.fatal ? " (fatal)" : "")]);
  });
  hls.loadSource(url);
  hls.attachMedia(document.querySelector("video"));
  window.hls = hls;
}
"""


def start(page: Page, library: Path, start: str, url: str) -> None:
    page.set_content("<video muted autoplay playsinline width=320 height=180></video>")
    page.add_script_tag(path=library)
    page.evaluate("clockPicture.listen(document); window.faults = []")
    page.evaluate(start, url)
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")


def _watch_a_minute(watch: Watch, page: Page) -> Watched:
    """That is, for ``BROWSER_SECONDS``: without a stall, a fault, or a picture that is not right."""
    watch(page, SETTLE_S)
    page.evaluate("window.faults = []")
    seen = watch(page, WATCH_S)
    print(seen)
    seen.assert_moves(WATCH_S)
    assert seen.stalls == []
    assert [what for at, what in page.evaluate("window.faults") if not seen.is_disturbed(at)] == []
    return seen


def _elsewhere(edge: HttpEdge) -> str:
    return f"http://127.0.0.1:{edge.http_port}/"


def test_mpegts_js_plays_http_flv(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, browser_players: Path
) -> None:
    publish(cluster.near.url("mpegts"))
    page = open_page(_elsewhere(cluster.near))
    start(page, browser_players / MPEGTS_JS, MPEGTS, f"{cluster.far.page_url('mpegts')}.flv")
    seen = _watch_a_minute(watch, page)
    assert seen.delay_p50_ms < FLV_DELAY_P50_MS + seen.excused_s * 1000


@pytest.mark.in_full
def test_mpegts_js_plays_flv_over_a_web_socket(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, browser_players: Path
) -> None:
    publish(cluster.near.url("ws"))
    page = open_page(_elsewhere(cluster.far))
    url = f"{cluster.near.page_url('ws')}.flv".replace("http:", "ws:")
    start(page, browser_players / MPEGTS_JS, MPEGTS, url)
    watch(page, 6).assert_moves(6)
    assert page.evaluate("window.faults") == []


def test_hls_js_plays_low_latency_hls(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, watch: Watch, browser_players: Path,
    console: list[str],
) -> None:  # fmt: skip
    """The first viewer: a worker that has just begun has no old part, and sends players on for a while."""
    publish(cluster.near.url("hls"))
    page = open_page(_elsewhere(cluster.far))
    start(page, browser_players / HLS_JS, HLS, f"{cluster.near.page_url('hls')}.m3u8")
    seen = _watch_a_minute(watch, page)
    assert page.evaluate("hls.levels[hls.currentLevel].details.canBlockReload")
    # It stays behind by what it has stood still.
    assert seen.delay_p50_ms < HLS_DELAY_P50_MS + seen.excused_s * 1000
    console[:] = [line for line in console if "503" not in line]
